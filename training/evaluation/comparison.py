"""Two models judged on the same patients: their metrics, and the paired differences.

Scores are of predictions without the treatment, calibration of those under it, as served. Both
models are scored on the same bootstrap draws, so that the difficulty of patients cancels out
of the difference. Its interval covers the sampling of the judged patients and, out of fold, that of
the training patients (see `evaluation.training_variance`), not the variation between trainings of
the same model with other seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError, enumerated
from accomplice.data.splits import within
from accomplice.training.estimators.censoring import censoring_of
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.estimators.intervals import Estimate, plain
from accomplice.training.estimators.kaplan_meier import judged_horizon
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import Calibrated, calibrated, recentred
from accomplice.training.evaluation.scores import Figures, estimates, score_estimates
from accomplice.training.evaluation.training_variance import WIDEST, Allowance, Contributions
from accomplice.training.metrics.score import ModelOutput
from accomplice.training.metrics.table import METRICS, deciding, gains, label
from accomplice.training.models.predictions import MODEL, Predictions

#: Bootstrap draws for an interval that a decision depends on.
DRAWS = 1000
#: Maximum number of bootstrap draws for a calibration's interval; each draw is a refit.
CALIBRATION_DRAWS = 200


@dataclass(frozen=True)
class Side(Figures):
    """The metrics and the calibration of one of two models."""

    calibration: Calibrated

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        found: dict[str, Any] = plain(
            {
                **self.figures,
                "calibration_slope": self.calibration.slope,
                "observed_expected": self.calibration.observed_expected,
            }
        )
        return found


@dataclass(frozen=True)
class Comparison:
    """Two models on the same patients."""

    patients: int
    events: int
    horizon: float
    """Months to which the models are judged."""
    first: Side
    second: Side
    gains: dict[str, Estimate]
    """Metric -> paired difference; above 0 the first model is better, in each metric."""
    bootstraps: int
    """Draws for the intervals of scores and differences."""

    @property
    def month(self) -> float:
        """Month at which calibration is judged."""
        return self.first.calibration.month

    def verdict(self, first: str = "A", second: str = "B") -> str:
        """Return in words which model is better, by the 95 % intervals of the deciding metrics."""
        better = [label(m) for m in deciding() if self.gains[m].low > 0]
        worse = [label(m) for m in deciding() if self.gains[m].high < 0]
        clauses = [f"{first} is better in {enumerated(better)}"] if better else []
        clauses += [f"{second} is better in {enumerated(worse)}"] if worse else []
        return "; ".join(clauses) or f"no certain difference between {first} and {second}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, undefined ones as null."""
        return {
            "patients": self.patients,
            "events": self.events,
            "horizon": self.horizon,
            "calibration_month": self.month,
            "bootstraps": self.bootstraps,
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "gains": plain(self.gains),
        }


def compare(
    first: Predictions, second: Predictions, bootstraps: int = DRAWS, seed: int = 0
) -> Comparison:
    """Compare two models on the patients that both predict, to the smaller of their horizons.

    They are judged to an earlier month where follow-up ends before; see :func:`judged_horizon`.

    Args:
        first: predictions of the first model.
        second: predictions of the second model; patients are matched by :func:`same_patients`.
        bootstraps: number of draws, the same for both models.
        seed: seed of the draws.

    Raises:
        InputError: the predictions share no patients, or fewer than ``EVENTS_TO_JUDGE`` events by
            the smaller horizon.
    """
    horizon = min(_reach(first), _reach(second))
    rows = same_patients(first.cohort, second.cohort, horizon)
    time, event = _truncated(first.cohort, rows[0], horizon)
    if event.sum() < EVENTS_TO_JUDGE:
        raise InputError(
            f"the models share {len(time)} patients with {int(event.sum())} events by month "
            f"{horizon:g}: {EVENTS_TO_JUDGE} are needed to compare them"
        )
    chosen = censoring_of(first.cohort.take(rows[0]), time, event)
    end = judged_horizon(time, event, horizon, chosen.reach)
    judged = BootstrappedOutcome.of(time, event, end, bootstraps, seed, chosen.weights)
    sources = list(zip((first, second), rows, strict=True))
    outputs = [_output(judged, *source) for source in sources]
    figures = judged.figures(outputs)
    parts = [
        _contributions(judged, output, *source)
        for output, source in zip(outputs, sources, strict=True)
    ]
    fewer, months = judged.first(CALIBRATION_DRAWS), (judged.horizon / 2,)
    sides = [
        Side(
            score_estimates(drawn, part),
            *calibrated(fewer, made.grid, recentred(made.served, made.group)[chosen], months),
        )
        for (made, chosen), drawn, part in zip(sources, figures, parts, strict=True)
    ]
    return Comparison(
        patients=len(time),
        events=judged.events,
        horizon=judged.horizon,
        first=sides[0],
        second=sides[1],
        gains=estimates(gains(figures[0], figures[1], tuple(METRICS)), _allowances(*parts)),
        bootstraps=bootstraps,
    )


def same_patients(first: Cohort, second: Cohort, horizon: float) -> tuple[Ints, Ints]:
    """Return the rows (m,) in either cohort of the patients that are in both.

    The same patient has the same identifier and the same outcome up to ``horizon`` months, since
    identifiers may be row numbers, and outcomes may have been updated. The order is that of the
    first cohort.

    Raises:
        InputError: no patient is in both.
    """
    _, a, b = np.intersect1d(first.ids, second.ids, return_indices=True)
    # In the first cohort's order: a model judged on all its patients has the same draws.
    order = np.argsort(a)
    a, b = a[order], b[order]
    one, other = _truncated(first, a, horizon), _truncated(second, b, horizon)
    same = np.isclose(one[0], other[0], rtol=1e-9) & (one[1] == other[1])
    if not same.any():
        raise InputError(
            "the models share no patients: --study names a cohort that both can be judged on"
        )
    return a[same], b[same]


def _reach(predicted: Predictions) -> float:
    """Return the smaller of the horizons of the predictions and of their cohort, in months."""
    return min(predicted.grid.horizon, predicted.cohort.horizon)


def _truncated(cohort: Cohort, rows: Ints, horizon: float) -> tuple[Array, Bools]:
    """Return time and event of some patients (m,), censored at the horizon."""
    time, event = cohort.time[rows], cohort.event[rows]
    return np.minimum(time, horizon), event & (time <= horizon)


def _contributions(
    judged: BootstrappedOutcome, output: ModelOutput, predicted: Predictions, rows: Ints
) -> Contributions | None:
    """Return the contributions of some patients to a model's metrics; None without fold models."""
    by_fold = None if predicted.by_fold is None else predicted.by_fold.take(rows)
    if by_fold is None or not len(by_fold.rows):
        return None
    return Contributions.of(judged, output, by_fold, by_fold.curves[MODEL], predicted.grid)


def _allowances(first: Contributions | None, second: Contributions | None) -> dict[str, Allowance]:
    """Return the adjustments of the intervals of the differences between two models, by metric.

    If only one is cross-fitted, the variance over training sets is taken as its maximum.
    """
    if first is None and second is None:
        return {}
    if first is None or second is None:
        return dict.fromkeys(METRICS, Allowance(WIDEST))
    return first.allowances_of_gains(second)


def _output(judged: BootstrappedOutcome, predicted: Predictions, rows: Ints) -> ModelOutput:
    """Return the predictions of some patients (m,) in the form that metrics take."""
    curves = predicted.curves[MODEL]
    # The mean of a fold is taken over all its patients, as where the model is judged alone.
    risk = within(log_risk(curves), predicted.group)[rows]
    return judged.output(risk, predicted.grid, curves[rows])[0]
