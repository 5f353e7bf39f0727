"""Leak sentinels: checks in every run for reasons not to believe the model's evaluation.

Most look for leakage of the outcome; ``no_signal`` looks for a model without signal, and
``immortal_time`` and ``balance`` for a biased effect of the treatment. Each sentinel answers one
question with one finding; all are run, in the same order. A model with a finding of status
``fired`` is promoted only by force. Sentinels drop no feature: they name it, and the user moves it
to ``ignored`` in the study file or confirms it under ``trusted``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from types import MappingProxyType
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
from accomplice.training.leakage.single_feature import SingleFeature, single_features
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.models.predictions import MODEL
from accomplice.training.progress import Tick, silent
from accomplice.training.second_process import SecondProcess, Task
from accomplice.training.treatment.evidence import Evidence, sentences

#: Status of a finding, from harmless to severe; ``not run`` if the question cannot be answered.
Status = Literal["clear", "caution", "fired", "not run"]
#: Status and text of a finding, and the features that it names, if any.
Answer = tuple[Status, str] | tuple[Status, str, tuple[str, ...]]
P = ParamSpec("P")

#: Sentinel -> its question, in the order of the findings; filled by :func:`sentinel`.
QUESTIONS: dict[str, str] = {}

#: No run of a sentinel, as a default argument.
NOTHING_BEGUN: Mapping[str, Task[Finding]] = MappingProxyType({})
#: Seconds of a limited budget that must be left for the fit to shuffled outcomes.
SHUFFLED_SECONDS = 30.0

#: Advice for one named feature.
FIX = "Move it to ignored in the study file, or list it under trusted if it was known beforehand"
#: Advice for several named features.
FIXES = "Move them to ignored in the study file, or list under trusted those known beforehand"


def sentinel(name: str, question: str) -> Callable[[Callable[P, Answer]], Callable[P, Finding]]:
    """Return a decorator that registers a function as a sentinel and makes its answer a finding.

    Args:
        name: stable name of the sentinel.
        question: question that the function answers.
    """
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


def run_sentinels(
    cohort: Cohort,
    fold: Ints,
    evaluation: Evaluation,
    evidence: Evidence | None,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    begun: Mapping[str, Task[Finding]] = NOTHING_BEGUN,
) -> tuple[Finding, ...]:
    """Run all sentinels on a trained model.

    Args:
        cohort: the n training patients.
        fold: (n,) held-out fold of each patient.
        evaluation: out-of-fold evaluation of the model.
        evidence: evidence on the treatment's effect; None if no effect was estimated.
        config: run configuration.
        tick: progress callback.
        budget: time budget; with less than ``SHUFFLED_SECONDS`` left, the pipeline is not fitted
            to shuffled outcomes.
        begun: sentinel -> its run in the second process; see :func:`begin_sentinels`.

    Returns:
        A finding of each sentinel, in the order of ``QUESTIONS``.
    """
    sentinels: dict[str, Callable[[], Finding]] = {
        "shuffled_outcome": lambda: shuffled_outcome(cohort, config, budget),
        "no_signal": lambda: no_signal(evaluation),
        "ceiling": lambda: ceiling(cohort, evaluation),
        "single_feature": lambda: single_feature(cohort, config.seed),
        "known_after": lambda: known_after(cohort),
        "duplicates": lambda: duplicated(cohort, fold),
        "immortal_time": lambda: immortal_time(cohort, evidence),
        "balance": lambda: balance(cohort, evidence),
    }
    found = []
    for done, (name, run) in enumerate(sentinels.items()):
        tick("sentinels", done, len(sentinels))
        found.append(begun[name].result() if name in begun else run())
    tick("sentinels", len(sentinels), len(sentinels))
    return tuple(found)


def begin_sentinels(
    cohort: Cohort, config: Config, second: SecondProcess
) -> dict[str, Task[Finding]]:
    """Begin the sentinels that take long and need no fit, if there is a second process.

    Args:
        cohort: training patients.
        config: run configuration.
        second: the second process, or none.

    Returns:
        Sentinel -> its run; empty without a second process.
    """
    if not second.runs:
        return {}
    return {
        "shuffled_outcome": second.submit(shuffled_outcome, cohort, config, keeps=True),
        "single_feature": second.submit(single_feature, cohort, config.seed),
    }


def fired(findings: tuple[Finding, ...]) -> bool:
    """Whether some sentinel fired."""
    return any(finding.status == "fired" for finding in findings)


@sentinel("shuffled_outcome", "Does the pipeline find anything in permuted outcomes?")
def shuffled_outcome(cohort: Cohort, config: Config, budget: Budget = UNLIMITED) -> Answer:
    """Report whether the pipeline, fitted to shuffled outcomes, reaches a C certainly above 0.5.

    See :attr:`shuffled_outcome.Shuffled.leaks`.

    Args:
        cohort: training patients.
        config: run configuration.
        budget: time budget; see :func:`run_sentinels`.
    """
    if budget.limited and budget.left() < SHUFFLED_SECONDS:
        return "not run", "Too little time was left for it."
    try:
        found = shuffled(cohort, config)
    except InputError:
        return "not run", "There are too few events for it."
    if not math.isfinite(found.c):
        return "not run", "C is not defined for these outcomes."
    low, high = found.interval
    result = (
        f"With the outcomes of {found.patients} patients permuted the pipeline reaches "
        f"C {found.c:.3f} ({low:.3f} to {high:.3f})"
    )
    if found.leaks:
        return (
            "fired",
            f"{result}, where there is nothing to find: outcomes of held-out patients leak into "
            "their predictions. Believe none of the run's figures.",
        )
    return "clear", f"{result}: nothing, as it must be."


@sentinel("no_signal", "Has the model learnt anything?")
def no_signal(evaluation: Evaluation) -> Answer:
    """Report whether the model ranks better than chance and predicts better than Kaplan–Meier.

    C must be above 0.5, and the gain in the integrated Brier score above 0, by their intervals.
    """
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
    """Report whether the model's C is above the ceiling, the highest C of models without leakage.

    The ceiling is the study file's, or ``CEILING`` without one. If the lower end of C's interval is
    more than ``CEILING_SLACK`` below the ceiling, or undefined, a C above it is only a caution.
    """
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
    """Report features that leak the outcome by their values, or by whether they are recorded.

    Leaks that the study file trusts, and unusually strong features, are only a caution.

    Args:
        cohort: training patients.
        seed: seed of folds and of the choice of patients.
    """
    blind, most = cohort.prognostic(), cohort.study.ceiling
    found = single_features(blind, seed)
    too_good = min(TOO_GOOD, most or TOO_GOOD)
    leaks = [(one, why) for one in found if (why := one.leak_by(too_good))]
    trusted = set(cohort.study.trusted)
    certain = [(one, why) for one, why in leaks if one.feature not in trusted]
    if certain:
        return _named("fired", certain)
    vouched = [(one, f"{why}, but the study file trusts it") for one, why in leaks]
    strong = [
        (one, why)
        for one in found
        if (why := one.stands_out) and one.feature not in trusted and not one.leak_by(too_good)
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


def _named(status: Status, reasons: list[tuple[SingleFeature, str]]) -> Answer:
    """Return an answer that names each feature once, with its first reason."""
    texts: dict[str, str] = {}
    for one, why in reasons:
        name = f"{one.feature} (whether it is recorded)" if one.recorded else one.feature
        texts.setdefault(one.feature, f"{name}: {why}")
    fix = FIX if len(texts) == 1 else FIXES
    return status, f"{'; '.join(texts.values())}. {fix}.", tuple(texts)


@sentinel("known_after", "Is a feature named like something known only after the outcome?")
def known_after(cohort: Cohort) -> Answer:
    """Report features whose name or column is that of data known only after the outcome.

    If the study file trusts all of them, they are only a caution.
    """
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
        text = f"{some(certain)}: by name {KNOWN_AFTER}. {FIX if len(certain) == 1 else FIXES}."
        return "fired", text, certain
    text = f"{some(named)}: by name {KNOWN_AFTER}, but the study file trusts the name."
    return "caution", text, tuple(named)


@sentinel("duplicates", "Are patients there twice, once to train and once to judge?")
def duplicated(cohort: Cohort, fold: Ints) -> Answer:
    """Report patients who appear twice, in different folds, as ``leakage.duplicates`` finds them.

    Up to a part of ``FEW_DUPLICATES`` of the rows they are only a caution.

    Args:
        cohort: the n training patients.
        fold: (n,) held-out fold of each patient.
    """
    pairs = {*duplicates(cohort), *same_ids(cohort), *same_outcomes(cohort)}
    apart = {pair for pair in pairs if fold[pair[0]] != fold[pair[1]]}
    if not apart:
        together = f" ({len(pairs)} pairs share a fold)" if pairs else ""
        return "clear", f"No patient is in two folds{together}."
    patients = len({row for pair in apart for row in pair})
    text = (
        f"{patients} of {len(cohort)} rows are the same patient as a row in another fold, by their "
        "values, identifier, or outcome and clinical values: the model is judged on patients it "
        "was trained on. Keep one row a patient."
    )
    few = patients <= FEW_DUPLICATES * len(cohort)
    return "caution" if few else "fired", text


@sentinel("immortal_time", "Were patients counted as treated because they lived long enough to be?")
def immortal_time(cohort: Cohort, evidence: Evidence | None) -> Answer:
    """Report the signs of bias, above all immortal time, in the treatment's effect."""
    if cohort.study.treatment is None:
        return "not run", "The study file names no treatment."
    if evidence is None:
        return "not run", "No effect of the treatment was estimated."
    if evidence.alarms:
        alarms = "; ".join(evidence.alarms)
        text = f"{alarms[0].upper()}{alarms[1:]}. Read no benefit as one before that is explained."
        # An alarm is certain if the effect is distrusted or the early events are too unlikely. A
        # hazard ratio that may be outside the trials' range by chance only calls for caution.
        certain = bool(evidence.distrust) or evidence.immortal_p < SURPRISE
        status: Status = "fired" if certain else "caution"
        return status, text, (cohort.study.treatment.column,)
    return (
        "clear",
        f"The hazard ratio of {evidence.label}, {evidence.hr['landmark']}, is {evidence.compared}; "
        "early events do not miss among the treated.",
    )


@sentinel("balance", "Are treated and untreated patients alike after weighting?")
def balance(cohort: Cohort, evidence: Evidence | None) -> Answer:
    """Report features that differ between the weighted arms by more than 0.1, beyond chance."""
    if cohort.study.treatment is None:
        return "not run", "The study file names no treatment."
    if evidence is None:
        return "not run", "No effect of the treatment was estimated."
    text = sentences(evidence)["balance"]
    return ("caution" if evidence.balance.off else "clear"), text
