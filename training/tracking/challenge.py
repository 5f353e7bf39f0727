"""Comparison of a model with the champion on the same patients, and the gate's decision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.training.evaluation.comparison import Comparison, compare
from accomplice.training.tracking.contenders import (
    Contender,
    cohort_of,
    contender,
    endpoint_of,
    predict,
)
from accomplice.training.tracking.gate import Challenger, Decision, Task, decide
from accomplice.training.tracking.promotion import best_of, count_tries


def judge(
    challenger: Contender,
    champion: ModelVersion | None,
    study: Path | None = None,
    *,
    forced: bool = False,
) -> Decision:
    """Return the gate's decision on a model, compared with the champion if there is one.

    A line on how each of the models is judged is printed.

    Args:
        challenger: the model.
        champion: the champion's version in the registry; None if there is none.
        study: study file of the patients to judge on; None: that of the model's run, or of the
            champion's if the model's is not known.
        forced: whether the promotion is forced; then it is no error that no such patients are
            known.

    Raises:
        InputError: no cohort to compare the models on is known or can be read, and the promotion is
            not forced.
    """
    candidate = Challenger.of(challenger.bundle)
    if champion is None:
        return decide(candidate)
    try:
        opponent = contender(f"models:/{champion.name}/{champion.version}")
    except InputError as error:
        tags = champion.tags
        task = Task(
            study=champion.name.removeprefix("accomplice-"),
            endpoint=tags.get("endpoint", "unknown"),
            synthetic=tags.get("synthetic") == "true",
        )
        return decide(candidate, task, None, f"the champion cannot be loaded ({error})")
    bundle = opponent.bundle
    task = Task(bundle.study.name, bundle.target, bundle.study.synthetic)
    found = _compare(challenger, opponent, _best(champion), study, forced)
    if isinstance(found, str):
        return decide(candidate, task, None, found)
    client = MlflowClient()
    tries = count_tries(client, champion.name, found.cohort, challenger.digest)
    return decide(candidate, task, found.champion, "", found.best, tries)


def registered_name(model: str) -> str | None:
    """Return NAME of an address ``models:/NAME@alias`` or ``models:/NAME/version``, else None."""
    if not model.startswith("models:/"):
        return None
    return re.split("[@/]", model.removeprefix("models:/"))[0]


@dataclass(frozen=True)
class _Compared:
    """A challenger's comparisons on one cohort."""

    cohort: str
    """Fingerprint of the cohort."""
    champion: Comparison
    best: Comparison | None
    """Comparison with the best champion so far; None if that is the champion, or not known."""


def _best(champion: ModelVersion) -> str | None:
    """Return the address of the best champion so far; None if it is the champion itself."""
    version = best_of(MlflowClient(), champion)
    return None if version == str(champion.version) else f"models:/{champion.name}/{version}"


def _compare(
    challenger: Contender,
    opponent: Contender,
    best: str | None,
    study: Path | None,
    forced: bool,
) -> _Compared | str:
    """Return the comparison with the champion and the best so far, or why there is none."""
    try:
        endpoint = endpoint_of(challenger, None)
        opponent.model(endpoint)
    except InputError as error:
        return str(error)
    try:
        cohort = cohort_of((challenger, opponent), study, endpoint)
    except InputError as error:
        if not forced:
            raise
        return str(error)
    try:
        own, theirs = (predict(c, cohort, endpoint, study) for c in (challenger, opponent))
        comparison = compare(own.predicted, theirs.predicted)
    except InputError as error:
        return str(error)
    say(f"it is judged {own.how}")
    say(f"the champion is judged {theirs.how}")
    if own.seen:
        # A champion that was fitted to these patients has an unfair advantage, which is tolerated.
        return "it knows the outcomes of these patients: name others by --study"
    with_best = None
    if best is not None:
        try:
            best_so_far = predict(contender(best), cohort, endpoint, study)
            with_best = compare(own.predicted, best_so_far.predicted)
            say(f"the best champion so far, {best}, is judged {best_so_far.how}")
        except InputError as error:
            say(f"the best champion so far, {best}, is not compared: {error}")
    return _Compared(cohort.fingerprint(), comparison, with_best)
