"""Judge predicted probabilities of a binary endpoint by discrimination, calibration and calls.

The metrics are functions of the labels and probabilities of n patients (n,). A metric that these
patients do not determine is NaN, as may happen in a bootstrap draw by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.checks import checked_survival
from accomplice.training.estimators.intervals import Estimate, plain, wilson
from accomplice.training.estimators.logistic import expit, fit_logistic, logit
from accomplice.training.evaluation.bootstrap import BootstrapDraws
from accomplice.training.metrics.calibration import CalibrationGroups
from accomplice.training.models.response import shift_to_rate

#: Log-odds are taken of probabilities clipped to [CLIP, 1 − CLIP].
CLIP = 1e-6


class Calls(NamedTuple):
    """Accuracy of calling patients positive from a threshold of the probability on."""

    ppv: float
    """Positive predictive value: share of positives among the patients called."""
    npv: float
    """Negative predictive value: share of negatives among the patients not called."""
    sensitivity: float
    """Share of the positives who are called."""
    specificity: float
    """Share of the negatives who are not called."""


@dataclass(frozen=True)
class ResponseEvaluation:
    """Evaluation of one binary endpoint."""

    labelled: int
    """Number of patients with a label."""
    positive: int
    """Number of patients with a positive label."""
    threshold: float
    """Minimum probability of a patient who is called positive; also the rate of PPV and NPV."""
    threshold_is: Literal["local rate", "observed rate"]
    estimates: dict[str, Estimate]
    """Metric -> estimate with its interval; the keys are those of ``METRICS``."""
    bootstraps: int
    """Draws for each interval."""

    @property
    def verdict(self) -> str:
        """Verdict in words: AUROC, and whether its interval lies above 0.5."""
        found = self.estimates["auroc"]
        count = f"{self.labelled} labelled patients ({self.positive} positive)"
        if math.isnan(found.low):
            return f"{count}: too few to judge"
        # An AUROC below 0.5 is noise too: the training rate moves away from a held-out label.
        conclusion = "better than chance" if found.low > 0.5 else "not better than chance"
        figure = f"AUROC {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
        return f"{figure} on {count}: exploratory; {conclusion}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, undefined ones as null."""
        return {
            "protocol": "out of fold; 95 % bootstrap intervals; exploratory",
            "labelled": self.labelled,
            "positive": self.positive,
            "bootstraps": self.bootstraps,
            "threshold": {"value": self.threshold, "is": self.threshold_is},
            "verdict": self.verdict,
            "metrics": plain(self.estimates),
        }


#: Metric -> label, in the order of :func:`_figures`.
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "scaled_brier": "scaled Brier score",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "ppv": "PPV",
    "npv": "NPV",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


def judge_response(
    label: Array,
    probability: Array,
    *,
    local_rate: float | None = None,
    bootstraps: int = 1000,
    seed: int = 0,
) -> ResponseEvaluation:
    """Judge out-of-fold probabilities of a binary endpoint.

    Args:
        label: (n,) 1, 0, or NaN for patients without a label, who are left out.
        probability: (n,) predicted probability at the labelled patients' rate, as
            :func:`models.response.out_of_fold` returns it.
        local_rate: rate of positives where the model is used; the observed rate if absent. It is
            the threshold of calls, and the rate at which PPV and NPV are stated. If given, the
            calls are made after the predictions are moved to this mean.
        bootstraps: number of draws for each interval.
        seed: seed of the draws.

    Raises:
        ValueError: no patient has a label, or a labelled patient's probability is not a number in
            [0, 1].
    """
    known = ~np.isnan(label)
    positive = label[known] == 1
    chance = checked_survival("probability", probability[known], positive.shape)
    if not positive.size:
        raise ValueError("no patient has a label to judge by")
    rate = float(positive.mean()) if local_rate is None else local_rate
    moved = chance
    if local_rate is not None:
        log_odds = _log_odds(chance)
        moved = expit(log_odds + shift_to_rate(log_odds, local_rate))
    draws = BootstrapDraws.of(positive.size, bootstraps, seed)
    drawn = np.array(
        [_figures(positive[r], chance[r], moved[r], rate, local_rate) for r in draws.rows()]
    )
    return ResponseEvaluation(
        labelled=int(positive.size),
        positive=int(positive.sum()),
        threshold=rate,
        threshold_is="observed rate" if local_rate is None else "local rate",
        estimates={
            metric: Estimate.of_draws(figures, open_ended=True)
            for metric, figures in zip(METRICS, drawn.T, strict=True)
        },
        bootstraps=bootstraps,
    )


def by_score(positive: Bools, score: Array) -> tuple[Array, Ints, Ints]:
    """Return the distinct scores (s,), rising, and numbers of positives and negatives at each."""
    scores, place = np.unique(score, return_inverse=True)
    total = np.bincount(place)
    cases = np.bincount(place[positive], minlength=total.size)
    return scores, cases, total - cases


def auroc(positive: Bools, score: Array) -> float:
    """Return the area under the ROC curve: P(positive scores higher than negative) + ½ P(equal).

    NaN without both labels (Hanley & McNeil, Radiology 1982).
    """
    _, cases, controls = by_score(positive, score)
    below = np.cumsum(controls) - controls
    pairs = float(cases.sum() * controls.sum())
    return float((cases * (below + controls / 2)).sum() / pairs) if pairs else math.nan


def auprc(positive: Bools, score: Array) -> float:
    """Return the average precision: Σ over scores of precision × share of the positives there.

    The precision at a score is that of calling patients from it on (Davis & Goadrich, "The
    relationship between precision-recall and ROC curves", ICML 2006). A useless score has the rate
    of positives; NaN without a positive patient.
    """
    _, cases, controls = (part[::-1] for part in by_score(positive, score))
    if not cases.sum():
        return math.nan
    called = np.cumsum(cases)
    return float((cases * called / (called + np.cumsum(controls))).sum() / cases.sum())


def brier(positive: Bools, probability: Array) -> float:
    """Return the mean squared error of the probabilities (Brier, Mon Weather Rev 1950)."""
    return float(((probability - positive) ** 2).mean())


def scaled_brier(positive: Bools, probability: Array) -> float:
    """Return 1 − Brier score / (rate (1 − rate)), with the observed rate of positives.

    The denominator is the Brier score of predicting the rate for all. NaN without both labels.
    """
    rate = positive.mean()
    of_rate = float(rate * (1 - rate))
    return 1 - brier(positive, probability) / of_rate if of_rate else math.nan


def calibration_slope(positive: Bools, probability: Array) -> float:
    """Return b of logit P(positive) = a + b logit p: below 1 where predictions are too extreme.

    Cox, "Two further applications of a model for binary regression", Biometrika 1958. NaN without
    both labels, and where all predictions are equal or separate the labels.
    """
    log_odds = _log_odds(probability)
    cases, controls = log_odds[positive], log_odds[~positive]
    if not cases.size or not controls.size or log_odds.min() == log_odds.max():
        return math.nan
    if cases.min() >= controls.max() or controls.min() >= cases.max():
        return math.nan
    centred = (log_odds - log_odds.mean())[:, None]
    return float(fit_logistic(centred, positive, 0.0).beta[0])


def calibration_intercept(positive: Bools, probability: Array) -> float:
    """Return a of logit P(positive) = a + logit p: above 0 where predictions are too low.

    NaN without both labels.
    """
    if not 0 < positive.mean() < 1:
        return math.nan
    none = np.zeros((positive.size, 0))
    return fit_logistic(none, positive, 0.0, offset=_log_odds(probability)).intercept


def calls_at(
    positive: Bools, probability: Array, threshold: float, rate: float | None = None
) -> Calls:
    """Return the accuracy of calling patients positive from a threshold on.

    A share of no patients is NaN.

    Args:
        positive: (n,) whether the label is positive.
        probability: (n,) predicted probability.
        threshold: minimum probability of patients who are called positive.
        rate: rate r of positives at which PPV and NPV are stated, by Bayes' rule from sensitivity
            and specificity, PPV = r sens / (r sens + (1 − r) (1 − spec)); the observed rate if
            absent.
    """
    called = probability >= threshold
    sensitivity = _share(called & positive, positive)
    specificity = _share(~called & ~positive, ~positive)
    if rate is None:
        ppv, npv = _share(called & positive, called), _share(~called & ~positive, ~called)
    else:
        true, false = rate * sensitivity, (1 - rate) * (1 - specificity)
        ppv = true / (true + false) if true + false > 0 else math.nan
        true, false = (1 - rate) * specificity, rate * (1 - sensitivity)
        npv = true / (true + false) if true + false > 0 else math.nan
    return Calls(ppv, npv, sensitivity, specificity)


def calibration_groups(positive: Bools, probability: Array, groups: int) -> CalibrationGroups:
    """Compare predicted and observed rate, with its Wilson interval, in g groups of patients.

    The groups are quantiles of the prediction, at most ``groups``; equal predictions share one.
    """
    edges = np.quantile(probability, np.linspace(0, 1, groups + 1)[1:-1])
    _, group = np.unique(np.searchsorted(edges, probability, side="left"), return_inverse=True)
    size = np.bincount(group).astype(np.int64)
    cases = np.bincount(group, weights=positive).astype(np.float64)
    low, high = wilson(cases, size)
    predicted = np.bincount(group, weights=probability) / size
    return CalibrationGroups(predicted, cases / size, low, high, size)


def _figures(
    positive: Bools, chance: Array, moved: Array, rate: float, local_rate: float | None
) -> tuple[float, ...]:
    """Return the metrics in the order of ``METRICS``; calls are made on the moved predictions."""
    return (
        auroc(positive, chance),
        auprc(positive, chance),
        brier(positive, chance),
        scaled_brier(positive, chance),
        calibration_slope(positive, chance),
        calibration_intercept(positive, chance),
        *calls_at(positive, moved, rate, local_rate),
    )


def _log_odds(probability: Array) -> Array:
    """Return the log-odds of clipped probabilities."""
    return logit(np.clip(probability, CLIP, 1 - CLIP))


def _share(members: Bools, among: Bools) -> float:
    """Return the share of members among some patients; NaN if there are none."""
    count = np.count_nonzero(among)
    return np.count_nonzero(members) / count if count else math.nan
