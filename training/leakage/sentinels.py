"""Leak sentinels: checks in every run for leakage of the outcome into its figures.

Each sentinel answers one question with one finding; all run, in the same order. Only one that fired
bars a promotion. Nothing is dropped from a model: a feature is named, and the user moves it to
``ignored`` of the study file or confirms it under ``trusted``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec

from accomplice.data.arrays import Ints
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError, some
from accomplice.data.panels.panel import KNOWN_AFTER, load_panel
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.policy import (
    CEILING,
    CEILING_SLACK,
    FEW_DUPLICATES,
    SURPRISE,
    TOO_GOOD,
)
from accomplice.training.evaluation.record import Finding
from accomplice.training.evaluation.scores import Evaluation
from accomplice.training.leakage.duplicates import duplicates, same_ids, same_outcomes
from accomplice.training.leakage.shuffled_outcome import shuffled
from accomplice.training.leakage.single_feature import Single, single_features
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.models.predictions import MODEL
from accomplice.training.progress import Tick, silent
from accomplice.training.treatment.evidence import Evidence

Status = Literal["clear", "caution", "fired", "not run"]
#: Status and text of a finding, and the features that it names.
Answer = tuple[Status, str] | tuple[Status, str, tuple[str, ...]]
P = ParamSpec("P")

#: Question of each sentinel, in the order of the findings.
QUESTIONS: dict[str, str] = {}

#: Seconds that must be left for the shuffled outcome where time is limited.
SHUFFLED_SECONDS = 30.0

FIX = "Move it to ignored in the study file, or list it under trusted if it was known beforehand"
FIXES = "Move them to ignored in the study file, or list under trusted those known beforehand"


def sentinel(name: str, question: str) -> Callable[[Callable[P, Answer]], Callable[P, Finding]]:
    """Decorator that registers a function as the sentinel of a question."""
    QUESTIONS[name] = question

    def decorate(answer: Callable[P, Answer]) -> Callable[P, Finding]:
        @wraps(answer)
        def ask(*args: P.args, **kwargs: P.kwargs) -> Finding:
            status, text, *named = answer(*args, **kwargs)
            features = named[0] if named else ()
            return Finding(
                sentinel=name, question=question, status=status, text=text, features=features
            )

        return ask

    return decorate


def watch(
    cohort: Cohort,
    fold: Ints,
    evaluation: Evaluation,
    evidence: Evidence | None,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
) -> tuple[Finding, ...]:
    """Run all sentinels.

    Args:
        cohort: that the model was trained on.
        fold: (n,) in which each patient was judged.
        evaluation: of the model out of fold.
        evidence: of the treatment's effect, where one was estimated.
        config: of the run.
        tick: progress callback.
        budget: the pipeline is not fitted to shuffled outcomes where too little of it is left.
    """
    asked: tuple[Callable[[], Finding], ...] = (
        lambda: shuffled_outcome(cohort, config, budget),
        lambda: no_signal(evaluation),
        lambda: ceiling(cohort, evaluation),
        lambda: single_feature(cohort, config.seed),
        lambda: known_after(cohort),
        lambda: duplicated(cohort, fold),
        lambda: immortal_time(cohort, evidence),
    )
    found = []
    for done, ask in enumerate(asked):
        tick("sentinels", done, len(asked))
        found.append(ask())
    tick("sentinels", len(asked), len(asked))
    return tuple(found)


def fired(findings: tuple[Finding, ...]) -> bool:
    """Whether some sentinel fired."""
    return any(finding.status == "fired" for finding in findings)


@sentinel("shuffled_outcome", "Does the pipeline find anything in permuted outcomes?")
def shuffled_outcome(cohort: Cohort, config: Config, budget: Budget = UNLIMITED) -> Answer:
    """Fit the pipeline to shuffled outcomes: C must be 0.5 within its interval."""
    if budget.limited and budget.left() < SHUFFLED_SECONDS:
        return "not run", "Too little time was left for it."
    try:
        found = shuffled(cohort, config)
    except InputError:
        return "not run", "There are too few events for it."
    if not math.isfinite(found.c):
        return "not run", "C is not defined for these outcomes."
    low, high = found.interval
    told = (
        f"With the outcomes of {found.patients} patients permuted the pipeline reaches "
        f"C {found.c:.3f} ({low:.3f} to {high:.3f})"
    )
    if found.leaks:
        return (
            "fired",
            f"{told}, where there is nothing to find: outcomes of held-out patients leak into "
            "their predictions. Believe none of the run's figures.",
        )
    return "clear", f"{told}: nothing, as it must be."


@sentinel("no_signal", "Has the model learnt anything?")
def no_signal(evaluation: Evaluation) -> Answer:
    """Judge whether C excludes 0.5 and the Brier score gains on Kaplan–Meier."""
    c = evaluation.scores[MODEL].uno_c
    if math.isnan(c.low):
        return "not run", "The patients do not determine an interval of C."
    if c.low <= 0.5:
        return "caution", f"The model has learnt nothing certain: C {c}, and 0.5 is chance."
    gain = evaluation.gains.get(KAPLAN_MEIER, {}).get("ibs")
    if gain is not None and not gain.low > 0:
        return (
            "caution",
            f"The model ranks patients (C {c}), but its predictions gain nothing certain on one "
            f"Kaplan-Meier curve for all patients (integrated Brier score {gain}).",
        )
    return "clear", f"It ranks patients better than chance: C {c}."


@sentinel("ceiling", "Is the model better than is honest for such patients?")
def ceiling(cohort: Cohort, evaluation: Evaluation) -> Answer:
    """Compare the model's C with the ceiling: the highest C of sound models for such patients."""
    scores = evaluation.scores[MODEL]
    c = scores.harrell_c if math.isnan(scores.uno_c.value) else scores.uno_c
    declared = cohort.study.ceiling
    most = CEILING if declared is None else declared
    whose = "any patients" if declared is None else "such patients by the study file"
    if math.isnan(c.value):
        return "not run", "The patients do not determine C."
    if c.value <= most:
        return "clear", f"C {c} is not above {most:g}, honest for {whose}."
    if c.low >= most - CEILING_SLACK:
        return (
            "fired",
            f"C {c} is above {most:g}, which is honest for {whose}: a leak until shown otherwise. "
            "Look for a feature that knows the outcome, and for patients who are there twice.",
        )
    return (
        "caution",
        f"C {c} is above {most:g}, honest for {whose}, but with so few patients that may be "
        "chance.",
    )


@sentinel("single_feature", "Does one feature alone give the outcome away?")
def single_feature(cohort: Cohort, seed: int) -> Answer:
    """Name features that leak the outcome by their values, or by being recorded."""
    blind, most = cohort.prognostic(), cohort.study.ceiling
    found = single_features(blind, seed)
    too_good = min(TOO_GOOD, most or TOO_GOOD)
    leaks = [(one, why) for one in found if (why := one.gives_away(too_good))]
    trusted = set(cohort.study.trusted)
    certain = [each for each in leaks if each[0].feature not in trusted]
    if certain:
        return _named("fired", certain)
    vouched = [(one, f"{why}, but the study file trusts it") for one, why in leaks]
    strong = [
        (one, why)
        for one in found
        if (why := one.stands_out) and one.feature not in trusted and not one.gives_away(too_good)
    ]
    if vouched or strong:
        return _named("caution", [*vouched, *strong])
    looked = len({one.feature for one in found})
    strongest = max(found, key=lambda one: one.c)
    return (
        "clear",
        f"None of {looked} features gives the outcome away; the strongest, {strongest.feature}, "
        f"reaches C {strongest.c:.2f} alone.",
    )


def _named(status: Status, reasons: list[tuple[Single, str]]) -> Answer:
    told: dict[str, str] = {}
    for one, why in reasons:
        what = f"{one.feature} (whether it is recorded)" if one.recorded else one.feature
        told.setdefault(one.feature, f"{what}: {why}")
    fix = FIX if len(told) == 1 else FIXES
    return status, f"{'; '.join(told.values())}. {fix}.", tuple(told)


@sentinel("known_after", "Is a feature named like something known only after the outcome?")
def known_after(cohort: Cohort) -> Answer:
    """Name features whose name or column says that they are known only after the outcome."""
    panel, trusted = load_panel(), set(cohort.study.trusted)
    blind = cohort.study.prognostic()
    named = [
        name
        for name, feature in blind.features.items()
        if KNOWN_AFTER in {panel.why_ignored(n) for n in (name, feature.column or name)}
    ]
    if not named:
        return "clear", "No feature's name says so."
    certain = tuple(name for name in named if name not in trusted)
    if certain:
        said = f"{some(certain)}: by name {KNOWN_AFTER}. {FIX if len(certain) == 1 else FIXES}."
        return "fired", said, certain
    said = f"{some(named)}: by name {KNOWN_AFTER}, but the study file trusts the name."
    return "caution", said, tuple(named)


@sentinel("duplicates", "Are patients there twice, once to train and once to judge?")
def duplicated(cohort: Cohort, fold: Ints) -> Answer:
    """Count patients that appear twice, in different folds (n,)."""
    pairs = {*duplicates(cohort), *same_ids(cohort), *same_outcomes(cohort)}
    apart = {pair for pair in pairs if fold[pair[0]] != fold[pair[1]]}
    if not apart:
        kept = f" ({len(pairs)} pairs share a fold)" if pairs else ""
        return "clear", f"No patient is in two folds{kept}."
    patients = len({row for pair in apart for row in pair})
    told = (
        f"{patients} of {len(cohort)} rows are the same patient as a row in another fold, by their "
        "values, identifier, or outcome and clinical values: the model is judged on patients it "
        "was trained on. Keep one row a patient."
    )
    few = patients <= FEW_DUPLICATES * len(cohort)
    return "caution" if few else "fired", told


@sentinel("immortal_time", "Were patients counted as treated because they lived long enough to be?")
def immortal_time(cohort: Cohort, evidence: Evidence | None) -> Answer:
    """Report the alarms about the treatment's effect."""
    if cohort.study.treatment is None:
        return "not run", "The study file names no treatment."
    if evidence is None:
        return "not run", "No effect of the treatment was estimated."
    if evidence.alarms:
        told = "; ".join(evidence.alarms)
        said = f"{told[0].upper()}{told[1:]}. Read no benefit as one before that is explained."
        # Deaths before the treatment could begin are counted from the landmark on, and a hazard
        # ratio that chance may have put outside the trials' is worth a warning alone.
        certain = bool(evidence.distrust) or evidence.immortal_p < SURPRISE
        status: Status = "fired" if certain else "caution"
        return status, said, (cohort.study.treatment.column,)
    return (
        "clear",
        f"The hazard ratio of {evidence.label}, {evidence.hr['landmark']}, is {evidence.compared}; "
        "early events do not miss among the treated.",
    )
