"""The gate before the alias ``champion``: rules for replacing the model in use.

The decision follows from the records of both models and their comparison on the same patients. Each
rule gives its figures, so that a refusal can be discussed; a promotion by force is recorded as one.

A loss is seen if the paired difference lies more than ``tolerated`` below 0. That no loss is seen
does not mean that there is none: the rule states the loss that its interval does not exclude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from accomplice.data.cells.rounding import month_text
from accomplice.training.bundle import Bundle
from accomplice.training.estimators.intervals import Z95, Estimate
from accomplice.training.estimators.policy import SOUND
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.comparison import Comparison
from accomplice.training.evaluation.record import CalibrationAt, Finding
from accomplice.training.metrics.table import METRICS, deciding, label
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.models.predictions import MODEL

#: Calibration figure -> range for its point estimate. The interval alone does not suffice: that of
#: few patients is wide and overlaps any range. Well-calibrated models of 240 patients have slopes
#: from 0.9 to 1.5, and observed/expected within a tenth of 1.
PLAUSIBLE = {"slope": (0.6, 1.67), "observed/expected": SOUND}
#: Fraction of the cohorts in which a challenger as good as the champion should show no loss.
EQUALS_PASS = 0.9
#: Metric -> standard errors of the paired difference beyond which a loss is taken for one; of every
#: other metric a loss must be certain (``Z95``), as of the Brier score, whose differences correlate
#: with those of C by 0.9.
STANDARD_ERRORS = {"uno_c": 1.4}
#: Metric -> largest tolerated loss times the root of the events. A difference in C of two models
#: whose errors are independent has a standard error of 0.28 / √events, of which this is 1.3.
OF_EVENTS = {"uno_c": 0.37}
#: Name of the rule on losses against the champion.
NOT_WORSE = "not_worse"


@dataclass(frozen=True)
class Rule:
    """A condition for promotion, and whether it holds."""

    name: str
    """Stable key, such as ``not_worse``."""
    asks: str
    """The condition in words."""
    holds: bool
    """Whether the condition holds."""
    why: str
    """Reason why the condition holds or fails, with figures."""


@dataclass(frozen=True)
class Decision:
    """The gate's decision: all rules, as they hold or fail."""

    rules: tuple[Rule, ...]
    better: bool = False
    """Whether the model is certainly better than the best champion before, or there was none."""

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return not self.failed

    @property
    def failed(self) -> tuple[Rule, ...]:
        """The rules that do not hold."""
        return tuple(rule for rule in self.rules if not rule.holds)


@dataclass(frozen=True)
class Task:
    """The task of a model: a study, its endpoint, and real or simulated patients."""

    study: str
    endpoint: str
    synthetic: bool
    """Whether the training patients are simulated."""


@dataclass(frozen=True)
class Challenger(Task):
    """The record of the model that is to become champion."""

    score: Estimate
    """Uno's C; without a survival endpoint, the AUROC with the highest lower limit, NaN if there is
    none."""
    scored_by: str
    """Name of the metric in ``score``."""
    gains: Mapping[str, Estimate]
    """Metric -> paired gain over Kaplan-Meier; empty if not on record."""
    calibration: Calibrated | None
    """Calibration at about half the judged horizon, or of the binary endpoint; None if unknown."""
    sentinels: tuple[Finding, ...] | None
    """Findings of the leak sentinels; None if none was run."""

    @classmethod
    def of(cls, bundle: Bundle) -> Challenger:
        """Return the record in the metrics of a bundle."""
        metrics = bundle.metrics
        review = metrics.get("review") or {}
        scored = metrics.get("models", {}).get(MODEL)
        if scored is not None:
            score, scored_by = Estimate.from_json(scored["uno_c"]), label("uno_c")
            recorded = metrics.get("gains", {}).get(KAPLAN_MEIER, {})
            gains = {name: Estimate.from_json(each) for name, each in recorded.items()}
            calibration = _recorded_calibration(review, metrics["horizon"] / 2)
        else:
            score, calibration = _best_response(metrics.get("responses", {}))
            scored_by, gains = "AUROC", {}
        listed = review.get("sentinels")
        return cls(
            study=bundle.study.name,
            endpoint=bundle.target,
            synthetic=bundle.study.synthetic,
            score=score,
            scored_by=scored_by,
            gains=gains,
            calibration=calibration,
            sentinels=None if not listed else tuple(Finding.model_validate(f) for f in listed),
        )


def decide(
    challenger: Challenger,
    incumbent: Task | None = None,
    comparison: Comparison | None = None,
    unjudged: str = "",
    best: Comparison | None = None,
    tries: int = 1,
) -> Decision:
    """Decide whether a model may become champion.

    Args:
        challenger: the model.
        incumbent: the champion; None where there is none.
        comparison: comparison of the challenger, as the first model, with the champion; without
            one the challenger does not pass.
        unjudged: reason why a champion was not compared; empty otherwise.
        best: comparison with the best champion so far, if that is another one and can be compared.
        tries: number of models that were compared on these patients, the challenger among them.

    Returns:
        The decision; rules on the champion come first, and only if there is one.
    """
    rules = [_learnt(challenger), _calibrated(challenger.calibration), _no_leak(challenger)]
    if incumbent is None:
        return Decision(tuple(rules), better=True)
    asked = [
        _same_task(challenger, incumbent),
        _real_patients(challenger, incumbent),
        _not_worse(comparison, unjudged, tries),
    ]
    if best is not None:
        asked.append(_not_below_best(best, tries))
    against = best or comparison
    better = against is not None and any(against.gains[m].low > 0 for m in deciding())
    return Decision((*asked, *rules), better)


def tolerated(metric: str, comparison: Comparison, tries: int = 1) -> float:
    """Return the largest loss in a metric that is not taken for one.

    It is the least of the metric's margin, of ``STANDARD_ERRORS`` of the paired difference, and of
    ``OF_EVENTS`` / √events; times Φ⁻¹(1 − 0.1^(1/t)) / Φ⁻¹(0.9), at least 0, where the challenger
    is the t-th model compared on these patients: of t models as good as the champion, with errors
    of their own, the best would pass in 9 of 10 cohorts.

    Args:
        metric: name of the metric.
        comparison: of the challenger, as the first model.
        tries: number t of models compared on these patients.
    """
    gain, normal = comparison.gains[metric], NormalDist()
    se = (gain.high - gain.low) / (2 * Z95)
    most = min(
        METRICS[metric].margin or 0.0,
        STANDARD_ERRORS.get(metric, Z95) * se,
        OF_EVENTS.get(metric, math.inf) / math.sqrt(max(comparison.events, 1)),
    )
    z = normal.inv_cdf(1 - (1 - EQUALS_PASS) ** (1 / tries))
    return most * max(z / normal.inv_cdf(EQUALS_PASS), 0.0)


def _same_task(challenger: Challenger, incumbent: Task) -> Rule:
    own, theirs = (f"{m.endpoint} of {m.study}" for m in (challenger, incumbent))
    same = own == theirs
    why = f"both predict {own}" if same else f"this predicts {own}, the champion {theirs}"
    return Rule("same_task", "predicts what the champion does", same, why)


def _real_patients(challenger: Challenger, incumbent: Task) -> Rule:
    holds = incumbent.synthetic or not challenger.synthetic
    kinds = ["synthetic" if m.synthetic else "real" for m in (challenger, incumbent)]
    why = f"trained on {kinds[0]} patients, the champion on {kinds[1]} ones"
    return Rule("real_patients", "real patients are not replaced by synthetic ones", holds, why)


def _not_worse(comparison: Comparison | None, unjudged: str, tries: int = 1) -> Rule:
    asks = "no loss against the champion is seen on the same patients"
    if comparison is None:
        return Rule(NOT_WORSE, asks, False, f"not compared: {unjudged}")
    return _no_loss(NOT_WORSE, asks, comparison, tries)


def _not_below_best(comparison: Comparison, tries: int) -> Rule:
    asks = "nor against the best champion so far, so that small losses do not add up"
    return _no_loss("not_below_best", asks, comparison, tries)


def _no_loss(name: str, asks: str, comparison: Comparison, tries: int) -> Rule:
    lost, texts, open_to = [], [], []
    for metric in deciding():
        gain = comparison.gains[metric]
        texts.append(f"{label(metric)} {gain:+.3f}")
        if math.isnan(gain.value) or math.isnan(gain.low):
            lost.append(f"{label(metric)} is not determined")
            continue
        most = tolerated(metric, comparison, tries)
        if gain.value < -most:
            lost.append(f"loss of {-gain.value:.3f} in {label(metric)}, {_beyond(most)}")
        open_to.append(f"{max(-gain.low, 0.0):.3f} in {label(metric)}")
    on = f"on {comparison.patients} patients with {comparison.events} events"
    why = f"gain in {', in '.join(texts)}, {on}"
    if tries > 1:
        why += f"; {tries} models were compared on these patients, so that less is tolerated"
    if lost:
        return Rule(name, asks, False, f"{'; '.join(lost)}: {why}")
    return Rule(name, asks, True, f"{why}; not excluded is a loss of {' or '.join(open_to)}")


def _beyond(most: float) -> str:
    return f"more than the {most:.3f} tolerated" if most > 0 else "where none is tolerated"


def _learnt(challenger: Challenger) -> Rule:
    asks, score = "has learnt something", challenger.score
    certain = [m for m, gain in challenger.gains.items() if gain.low > 0]
    lost = [m for m, gain in challenger.gains.items() if gain.high < 0]
    gains = ", ".join(f"{label(m)} {g:+.3f}" for m, g in challenger.gains.items())
    why = f"{challenger.scored_by} {score}"
    if challenger.gains:
        why += f"; gain over {KAPLAN_MEIER} in {gains}"
    gained = bool(certain) and not lost if challenger.gains else True
    return Rule("learnt", asks, score.low > 0.5 and gained, why)


def _calibrated(calibration: Calibrated | None) -> Rule:
    name, asks = "calibrated", "it is calibrated"
    if calibration is None:
        return Rule(name, asks, False, "not on record of this model")
    figures = {"slope": calibration.slope, "observed/expected": calibration.observed_expected}
    # A response has a slope alone.
    known = {what: each for what, each in figures.items() if not math.isnan(each.value)}
    off = [what for what, each in known.items() if not is_sound(what, each)]
    values = ", ".join(f"{what} {each:.2f}" for what, each in known.items())
    why = values or "not determined"
    if calibration.month:
        why += f" at {month_text(calibration.month)} months"
    if off:
        why = f"{' and '.join(off)} off: {why}"
    return Rule(name, asks, "slope" in known and not off, why)


def is_sound(what: str, figure: Estimate) -> bool:
    """Return whether a calibration figure, ideally 1, is tolerable.

    Its interval must overlap ``SOUND``, and its point estimate lie in ``PLAUSIBLE``.

    Args:
        what: name of the figure: ``slope`` or ``observed/expected``.
        figure: the figure with its interval.
    """
    low, high = PLAUSIBLE[what]
    agrees = figure.low <= SOUND[1] and figure.high >= SOUND[0]
    return agrees and low <= figure.value <= high


def _no_leak(challenger: Challenger) -> Rule:
    name, asks = "no_leak", "no leak sentinel fired"
    if challenger.sentinels is None:
        # The sentinels are of survival models.
        return Rule(name, asks, challenger.scored_by != label("uno_c"), "none was run")
    fired = [f.text for f in challenger.sentinels if f.status == "fired"]
    clear = f"{sum(f.status != 'not run' for f in challenger.sentinels)} were run, none fired"
    return Rule(name, asks, not fired, "; ".join(fired) or clear)


def _recorded_calibration(review: Mapping[str, Any], month: float) -> Calibrated | None:
    """Return the recorded calibration nearest to a month; None if there is none."""
    recorded = [CalibrationAt.model_validate(each) for each in review.get("calibration") or ()]
    if not recorded:
        return None
    at = min(recorded, key=lambda each: abs(each.month - month))
    return Calibrated(at.month, at.slope, at.observed_expected)


def _best_response(responses: Mapping[str, Any]) -> tuple[Estimate, Calibrated | None]:
    """Return AUROC and calibration of the binary endpoint with the highest lower AUROC limit."""
    figures = [each["metrics"] for each in responses.values()]
    if not figures:
        return Estimate(math.nan), None
    best = max(figures, key=lambda each: each["auroc"]["low"] or 0.0)
    slope = Estimate.from_json(best["calibration_slope"])
    return Estimate.from_json(best["auroc"]), Calibrated(0.0, slope, Estimate(math.nan))


def lines(decision: Decision) -> Sequence[str]:
    """Return the rules as the lines of a checklist."""
    return [f"{'holds' if r.holds else 'FAILS':<6} {r.asks}: {r.why}" for r in decision.rules]
