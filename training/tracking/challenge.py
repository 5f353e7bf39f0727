"""Compare a model with the champion on the same patients, and let the gate decide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from accomplice.data.errors import InputError
from accomplice.training.evaluation.comparison import Comparison, compare
from accomplice.training.tracking.contenders import (
    Contender,
    cohort_of,
    contender,
    endpoint_of,
    predict,
)
from accomplice.training.tracking.gate import Challenger, Decision, Task, decide


def judge(
    challenger: Contender,
    champion: ModelVersion | None,
    study: Path | None = None,
    *,
    forced: bool = False,
    say: Callable[[str], None] = print,
) -> Decision:
    """Let the gate decide on a model, against the champion where there is one.

    Args:
        challenger: the model.
        champion: the registry's, if any.
        study: study file of the patients to judge on; that of a model's run if absent.
        forced: whether the model is promoted in any case, so that no such patients are needed.
        say: callback for a line about how each of the two is judged.

    Raises:
        InputError: no cohort is known to compare them on, and it is not forced.
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
    comparison, unjudged = _compared(challenger, opponent, study, forced, say)
    return decide(candidate, task, comparison, unjudged)


def registered(model: str) -> str | None:
    """Return the registered name in a model's name, if there is one."""
    if not model.startswith("models:/"):
        return None
    return re.split("[@/]", model.removeprefix("models:/"))[0]


def _compared(
    challenger: Contender,
    opponent: Contender,
    study: Path | None,
    forced: bool,
    say: Callable[[str], None],
) -> tuple[Comparison | None, str]:
    """Compare a model with the champion; return the comparison, or None and why there is none."""
    try:
        endpoint = endpoint_of(challenger, None)
        opponent.model(endpoint)
    except InputError as error:
        return None, str(error)
    try:
        cohort = cohort_of((challenger, opponent), study, endpoint)
    except InputError as error:
        if not forced:
            raise
        return None, str(error)
    try:
        own, theirs = (predict(c, cohort, endpoint, study) for c in (challenger, opponent))
        comparison = compare(own.predicted, theirs.predicted)
    except InputError as error:
        return None, str(error)
    say(f"it is judged {own.how}")
    say(f"the champion is judged {theirs.how}")
    if own.seen:
        # Where the champion knows them, that is to its own advantage.
        return None, "it knows the outcomes of these patients: name others by --study"
    return comparison, ""
