"""Calibration at a few months: slope, observed/expected, intercept, smooth curve and groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cells.rounding import round_off
from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.complementary_log_log import (
    derivatives,
    fit_complementary_log_log,
)
from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.kaplan_meier import inverse_censoring
from accomplice.training.estimators.policy import EVENTS_A_POINT, EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.record import CalibrationAt
from accomplice.training.metrics.calibration import (
    ALIKE,
    CLIP,
    calibration_groups,
    calibration_intercept,
)
from accomplice.training.metrics.joint_calibration import JointCalibration, joint_calibration
from accomplice.training.metrics.smooth_calibration import (
    SmoothCalibration,
    smooth_calibration,
)

#: Months at which calibration is judged, if follow-up is long enough.
USUAL = (12.0, 36.0, 60.0)
#: Maximum number of groups in the calibration plot.
MOST_GROUPS = 10
#: Change of intercept and slope below which their fit has converged.
SHORT = 1e-9


def judged_months(followed: BootstrappedOutcome) -> tuple[float, ...]:
    """Return the months at which calibration is judged.

    They are the months of `USUAL` up to the horizon with at least `EVENTS_TO_JUDGE` events by then
    and as many patients followed beyond. If there are fewer than two such months, they are one, two
    and three thirds of the horizon, rounded down to three digits.
    """
    time, event = followed.time, followed.event
    usual = tuple(
        month
        for month in USUAL
        if month <= followed.horizon * (1 + 1e-9)
        and (event & (time <= month)).sum() >= EVENTS_TO_JUDGE
        and (time > min(month, followed.horizon)).sum() >= EVENTS_TO_JUDGE
    )
    if len(usual) >= 2:
        return usual
    return tuple(round_off(followed.horizon * k / 3, up=False) for k in (1, 2, 3))


def middle_month(months: Sequence[float], horizon: float) -> float:
    """Return the month nearest to half of the horizon."""
    return min(months, key=lambda month: abs(month - horizon / 2))


def survival_at(
    followed: BootstrappedOutcome, grid: TimeGrid, cumulative: Array, month: float
) -> Array:
    """Return survival (n,) of cumulative hazards (n, j + 1) at a month, or an earlier horizon."""
    at = np.array([min(month, followed.horizon)])
    return np.asarray(survival(grid.at(cumulative, at))[:, 0])


def recentred(cumulative: Array, group: Ints) -> Array:
    """Return cumulative hazards (n, j + 1) scaled so that all groups have the same mean log-hazard.

    The models of a fold predict lower hazards where its held-out patients had, by chance, worse
    outcomes, which would make the slope of out-of-fold predictions too low; the served ensemble has
    no such differences. Each group's hazards are multiplied by one factor, so that its mean
    log-hazard is that of all patients.

    Args:
        cumulative: (n, j + 1) cumulative hazards at the grid's edges.
        group: (n,) label of each patient, from 0; see ``models.predictions``.
    """
    return np.asarray(cumulative * recentring_factors(cumulative, group)[:, None])


def recentring_factors(cumulative: Array, group: Ints) -> Array:
    """Return the factor (n,) of each patient's hazards in :func:`recentred`."""
    if not group.any():
        return np.ones(len(group))
    risk = log_risk(cumulative)
    mean = np.bincount(group, risk) / np.maximum(np.bincount(group), 1)
    return np.exp(mean @ np.bincount(group) / len(group) - mean[group])


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Calibration at one month."""

    month: float
    slope: Estimate
    """Calibration slope: below 1, predictions are too extreme; above 1, too similar."""
    observed_expected: Estimate
    """Observed over predicted event probability; above 1, predictions are too low."""
    survival: Array = field(default_factory=lambda: np.empty(0))
    """(n,) predicted survival at the month, or an earlier horizon; empty without patients."""
    intercept: Estimate = field(default_factory=lambda: Estimate(math.nan))
    """Log of observed over predicted hazard by the month; above 0, predictions are too low."""
    smooth: SmoothCalibration | None = None
    """Smooth calibration curve; None where it cannot be fitted."""


def calibrated(
    followed: BootstrappedOutcome,
    grid: TimeGrid,
    cumulative: Array,
    months: Sequence[float],
    patient_weight: Array | None = None,
) -> tuple[Calibrated, ...]:
    """Return the calibration of cumulative hazards at each month.

    Args:
        followed: outcomes of n patients, and bootstrap draws.
        grid: the j bins of the curves.
        cumulative: (n, j + 1) cumulative hazards at the grid's edges.
        months: months at which calibration is judged; the horizon in place of later ones.
        patient_weight: (n,) weight of each patient in the slope, by which those of censoring are
            multiplied; None: 1 for all.
    """
    found = []
    for month in months:
        at = min(month, followed.horizon)
        event, expected = _by_month(followed, grid, cumulative, at)
        alive = survival_at(followed, grid, cumulative, at)
        slope = Estimate.of_draws(slopes(followed, alive, month, patient_weight))
        ratio = Estimate.of_draws(followed.observed_expected(alive, month))
        intercept = calibration_intercept(event, expected)
        smooth = smooth_calibration(event, expected, grid.at(cumulative, np.array([at]))[:, 0])
        found.append(Calibrated(month, slope, ratio, alive, intercept, smooth))
    return tuple(found)


def _by_month(
    followed: BootstrappedOutcome, grid: TimeGrid, cumulative: Array, at: float
) -> tuple[Bools, Array]:
    """Return events (n,) by a month, and the cumulative hazard (n,) up to it or to censoring."""
    event = followed.event & (followed.time <= at)
    return event, grid.at_own(cumulative, np.minimum(followed.time, at))


def calibration(
    followed: BootstrappedOutcome, grid: TimeGrid, cumulative: Array, months: Sequence[float]
) -> tuple[CalibrationAt, ...]:
    """Return calibration at each month, also in groups by prediction; arguments as `calibrated`."""
    found = []
    for each in calibrated(followed, grid, cumulative, months):
        at = min(each.month, followed.horizon)
        events = int((followed.event & (followed.time <= at)).sum())
        groups = int(np.clip(events // EVENTS_A_POINT, 1, MOST_GROUPS))
        outcome = followed.event, followed.time
        seen = calibration_groups(*outcome, each.survival, at, groups, censoring=followed.weights)
        found.append(
            CalibrationAt(
                month=each.month,
                slope=each.slope,
                observed_expected=each.observed_expected,
                intercept=each.intercept,
                smooth=each.smooth,
                **{name: tuple(array.tolist()) for name, array in vars(seen).items()},
            )
        )
    return tuple(found)


def calibrated_jointly(
    followed: BootstrappedOutcome, grid: TimeGrid, cumulative: Array
) -> JointCalibration | None:
    """Test calibration over the follow-up to the horizon; None where it cannot be tested.

    Arguments are those of :func:`calibrated`.
    """
    event = followed.event & (followed.time <= followed.horizon)
    return joint_calibration(event, *expected_events(followed, grid, cumulative))


def expected_events(
    followed: BootstrappedOutcome, grid: TimeGrid, cumulative: Array
) -> tuple[Array, Array]:
    """Return the cumulative hazard (n,) at the end of follow-up, and its log (n,) at the horizon.

    Follow-up ends at the horizon. Arguments are those of `calibrated`.
    """
    time = np.minimum(followed.time, followed.horizon)
    whole = grid.at(cumulative, np.array([followed.horizon]))[:, 0]
    return grid.at_own(cumulative, time), np.asarray(np.log(np.maximum(whole, 1e-300)))


def slopes(
    followed: BootstrappedOutcome, alive: Array, month: float, patient_weight: Array | None = None
) -> Array:
    """Return the calibration slope (1 + d,) as :func:`metrics.calibration.calibration_at`.

    The first is that of all patients, the others are those of d draws; NaN where undefined.

    Args:
        followed: outcomes of n patients, and bootstrap draws.
        alive: (n,) predicted survival at the month.
        month: month by which the event is predicted; the horizon in place of a later one.
        patient_weight: (n,) weight of each patient, by which that of censoring is multiplied; None:
            1.
    """
    at, draws = min(month, followed.horizon), followed.draws
    case = followed.event & (followed.time <= at)
    known = case | (followed.time > at)
    undefined = np.full(len(draws.counts), np.nan)
    x = np.log(-np.log(np.clip(alive, CLIP, 1 - CLIP)))
    if not case.any() or case[known].all() or np.ptp(x[known]) < ALIKE:
        return undefined
    try:
        weight = inverse_censoring(followed.weights, np.minimum(followed.time, at), known)
    except UndefinedMetricError:
        return undefined
    weight = weight if patient_weight is None else weight * patient_weight
    x = x - np.average(x, weights=weight)
    if draws.exact:
        return _fit(case[known], x[known], draws.patient_counts[:, known] * weight[known])[:, 1]
    beta = _fit(case, x, weight[None])[0]
    score, information = (
        each[0] for each in derivatives(case, weight[None], beta[:1] + beta[1:] * x[None])
    )
    design = np.stack([np.ones_like(x), x])
    influence = np.linalg.solve(design * information @ design.T, design * score)[1]
    return draws.mean(beta[1] + len(followed) * influence)


def _fit(case: Bools, x: Array, weight: Array) -> Array:
    """Fit P(case) = 1 − exp(−exp(a + b x)) for each row of weights (d, n) at once.

    Returns:
        (d, 2) a and b; NaN where the likelihood has no maximum.
    """
    total = np.maximum(weight.sum(axis=1), 1e-12)
    rate = np.clip(weight @ case / total, 1e-6, 1 - 1e-6)
    start = np.stack([np.log(-np.log1p(-rate)), np.ones_like(rate)], axis=1)
    design = np.stack([np.ones_like(x), x], axis=1)
    return fit_complementary_log_log(
        design, np.zeros_like(x), case, weight, start, change_limit=SHORT
    )
