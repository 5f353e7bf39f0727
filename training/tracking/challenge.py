"""A model against the champion: both judged on the same patients, then by the gate."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from accomplice.data.errors import InputError
from accomplice.training.evaluation.comparison import Comparison, compare
from accomplice.training.tracking.contenders import (
    Contender,
    answer,
    cohort_of,
    contender,
    endpoint_of,
)
from accomplice.training.tracking.gate import Challenger, Decision, Incumbent, decide


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
        forced: whether the model is promoted all the same, and may then lack such patients.
        say: takes a line about how each of the two is judged.

    Raises:
        InputError: no cohort is known to compare them on, and it is not forced.
    """
    candidate = Challenger.of(challenger.bundle)
    if champion is None:
        return decide(candidate)
    incumbent, opponent = _incumbent(champion)
    if isinstance(opponent, str):
        return decide(candidate, incumbent, None, opponent)
    comparison, unjudged = _compared(challenger, opponent, study, forced, say)
    return decide(candidate, incumbent, comparison, unjudged)


def registered(model: str) -> str | None:
    """Return the registered name in a model's name, if there is one."""
    if not model.startswith("models:/"):
        return None
    return re.split("[@/]", model.removeprefix("models:/"))[0]


def _incumbent(champion: ModelVersion) -> tuple[Incumbent, Contender | str]:
    """Load the champion; where that fails, return the reason, and what the registry knows."""
    try:
        found = contender(f"models:/{champion.name}/{champion.version}")
    except InputError as error:
        tags = champion.tags
        known = Incumbent(
            study=champion.name.removeprefix("accomplice-"),
            endpoint=tags.get("endpoint", "unknown"),
            synthetic=tags.get("synthetic") == "true",
        )
        return known, f"the champion cannot be loaded ({error})"
    bundle = found.bundle
    return Incumbent(bundle.study.name, bundle.target, bundle.study.synthetic), found


def _compared(
    challenger: Contender,
    opponent: Contender,
    study: Path | None,
    forced: bool,
    say: Callable[[str], None],
) -> tuple[Comparison | None, str]:
    """Compare a model with the champion, or return why that cannot be done."""
    both = (challenger, opponent)
    try:
        endpoint = endpoint_of(challenger, None)
        opponent.model(endpoint)
    except InputError as error:
        return None, str(error)
    try:
        cohort = cohort_of(both, study, endpoint)
    except InputError as error:
        if not forced:
            raise
        return None, str(error)
    try:
        answers = [answer(each, cohort, endpoint, study) for each in both]
        comparison = compare(answers[0].predicted, answers[1].predicted)
    except InputError as error:
        return None, str(error)
    for name, each in zip(("it", "the champion"), answers, strict=True):
        say(f"{name} is judged {each.how}")
    if answers[0].seen:
        # Where the champion knows them, that is to its own advantage.
        return None, "it knows the outcomes of these patients: name others by --study"
    return comparison, ""
