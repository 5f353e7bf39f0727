"""Do predicted probabilities come true? Calibration slope, groups and D-calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.kaplan_meier import KaplanMeier, inverse_censoring
from accomplice.training.estimators.outcome import (
    UndefinedMetricError,
    checked_outcome,
    checked_survival,
)


class Calibration(NamedTuple):
    """Slope 1 and intercept 0 where predictions come true."""

    slope: float
    intercept: float


@dataclass(frozen=True, eq=False)
class CalibrationGroups:
    """Predicted against observed survival at a horizon, by group of rising prediction.

    Attributes:
        predicted: (g,), mean predicted survival.
        observed: (g,), Kaplan–Meier survival; NaN where follow-up ends before the horizon.
        low: (g,), lower end of its interval; NaN too where observed is 0 or 1.
        high: (g,), upper end, likewise.
        size: (g,) int, patients.
    """

    predicted: Array
    observed: Array
    low: Array
    high: Array
    size: Ints


def calibration_at(
    event: Bools,
    time: Reals,
    survival_at_horizon: Reals,
    horizon: float,
    censoring: KaplanMeier,
    clip: float = 1e-4,
) -> Calibration:
    """Regress what happened by the horizon on the log of the predicted cumulative hazard.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        survival_at_horizon: (n,), predicted probability to be event-free after the horizon.
        horizon: in the unit of `time`.
        censoring: KaplanMeier, from `kaplan_meier.censoring`.
        clip: predictions are held in [clip, 1 − clip]: a certain one would have infinite
            leverage.

    Returns:
        With x = log(−log S(horizon)) and P(event by horizon) = 1 − exp(−exp(a + b x)),
        fitted by maximum likelihood with inverse censoring weights: the slope is b; the intercept
        is a with b held at 1, so exp(intercept) is observed over predicted cumulative hazard. The
        regression on log cumulative hazard is Crowson's (2016), at one horizon as in van Geloven et
        al. (2022); it needs no proportional hazards. A slope under 1 means predictions too extreme;
        it is NaN where all predictions are equal.

    Raises:
        UndefinedMetricError: no event by the horizon, nobody followed beyond it, predictions
            that part the two without error, or as `inverse_censoring`.
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape.
    """
    event, time = checked_outcome(event, time)
    survival = checked_survival("survival_at_horizon", survival_at_horizon, event.shape)
    case, control = event & (time <= horizon), time > horizon
    if not case.any() or not control.any():
        raise UndefinedMetricError(
            f"no calibration at {horizon:g}: {np.count_nonzero(case)} patients with an event by "
            f"then, {np.count_nonzero(control)} followed beyond"
        )
    known = case | control
    weight = inverse_censoring(censoring, np.minimum(time, horizon), known)[known]
    case = case[known]
    log_hazard = np.log(-np.log(np.clip(survival[known], clip, 1 - clip)))
    ones = np.ones((case.size, 1))
    intercept = _complementary_log_log(ones, log_hazard, case, weight)[0]
    if log_hazard.min() == log_hazard.max():
        return Calibration(math.nan, float(intercept))
    centred = log_hazard - np.average(log_hazard, weights=weight)
    design = np.column_stack((ones, centred))
    slope = _complementary_log_log(design, np.zeros_like(centred), case, weight)[1]
    return Calibration(float(slope), float(intercept))


def _complementary_log_log(design: Array, offset: Array, case: Bools, weight: Array) -> Array:
    """Fit P(case) = 1 − exp(−exp(offset + design @ β)) by weighted maximum likelihood.

    Fisher scoring with halved steps; the likelihood is concave in β (k,).
    """

    def fitted(beta: Array) -> tuple[Array, Array, float]:
        # Beyond these bounds the probability is 0 or 1 to the last digit.
        hazard = np.exp(np.clip(offset + design @ beta, -30.0, 3.5))
        probability = -np.expm1(-hazard)
        likelihood = weight @ np.where(case, np.log(probability), -hazard)
        return hazard, probability, float(likelihood)

    beta = np.zeros(design.shape[1])
    hazard, probability, likelihood = fitted(beta)
    for _ in range(100):
        score = design.T @ (weight * (case - probability) * hazard / probability)
        information = weight * hazard**2 * (1 - probability) / probability
        step = np.linalg.lstsq(design.T * information @ design, score, rcond=None)[0]
        if score @ step < 1e-12 * weight.sum():
            # Where predictions part the cases, the likelihood flattens but the steps stay long.
            if np.abs(design @ step).max() > 1e-3:
                break
            return np.asarray(beta + step)
        for _ in range(40):
            hazard, probability, tried = fitted(beta + step)
            if tried >= likelihood:
                break
            step = step / 2
        beta, likelihood = beta + step, tried
    raise UndefinedMetricError(
        "no calibration slope: the predictions part patients with and without an event "
        "without error, so the likelihood has no maximum"
    )


def calibration_groups(
    event: Bools,
    time: Reals,
    survival_at_horizon: Reals,
    horizon: float,
    groups: int = 10,
    level: float = 0.95,
) -> CalibrationGroups:
    """Set mean predicted survival beside the observed, by quantile group of the prediction.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        survival_at_horizon: (n,), predicted probability to be event-free after the horizon.
        horizon: in the unit of `time`.
        groups: at most so many; equal predictions stay together.
        level: coverage of the intervals.

    Returns:
        One row for each of g ≤ groups.

    Raises:
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape; groups
            below 1.
    """
    event, time = checked_outcome(event, time)
    survival = checked_survival("survival_at_horizon", survival_at_horizon, event.shape)
    if groups < 1:
        raise ValueError(f"groups must be 1 or more, got {groups}")
    edges = np.quantile(survival, np.linspace(0, 1, groups + 1)[1:-1])
    labels = np.searchsorted(edges, survival, side="left")
    rows = []
    for label in np.unique(labels):
        member = labels == label
        curve = KaplanMeier.fit(time[member], event[member])
        observed, (low, high) = curve.at(horizon), curve.interval(horizon, level)
        if curve.last < horizon and curve.survival[-1] > 0:
            observed = low = high = np.asarray(np.nan)
        rows.append((survival[member].mean(), observed, low, high, member.sum()))
    predicted, observed, low, high, size = np.array(rows, dtype=np.float64).T
    return CalibrationGroups(predicted, observed, low, high, size.astype(np.int64))


def observed_expected(
    event: Bools, time: Reals, survival_at_horizon: Reals, horizon: float
) -> float:
    """Set the observed risk by the horizon over the mean of the predicted ones.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        survival_at_horizon: (n,), predicted probability to be event-free after the horizon.
        horizon: in the unit of `time`.

    Returns:
        (1 − Kaplan–Meier survival) / mean predicted risk (McLernon et al. 2023, calibration in the
        large at a fixed time); above 1 the risks are predicted too low.

    Raises:
        UndefinedMetricError: follow-up ends before the horizon, or no risk is predicted.
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape.
    """
    event, time = checked_outcome(event, time)
    survival = checked_survival("survival_at_horizon", survival_at_horizon, event.shape)
    curve = KaplanMeier.fit(time, event)
    expected = float(1 - survival.mean())
    if (curve.last < horizon and curve.survival[-1] > 0) or expected <= 0:
        raise UndefinedMetricError(
            f"no observed over expected at {horizon:g}: follow-up ends at {curve.last:g}, the mean "
            f"predicted risk is {expected:g}"
        )
    return (1 - float(curve.at(horizon))) / expected


def observed_expected_contributions(
    event: Bools, time: Reals, survival_at_horizon: Reals, horizon: float
) -> Array:
    """Share out `observed_expected` among the patients, whose mean it is.

    With Y at risk and d events, log S = Σ log(1 − d / Y). Counting patient k once more changes it
    by V(min(time_k, horizon)) − [event by the horizon] / (Y − d), where V is Greenwood's sum
    Σ d / (Y (Y − d)). The contribution is the ratio plus n times its change by the patient, as in
    `metrics.concordance.concordance_contributions`. Parameters and errors are those of
    `observed_expected`.
    """
    ratio = observed_expected(event, time, survival_at_horizon, horizon)
    curve, risk = KaplanMeier.fit(time, event), 1 - np.asarray(survival_at_horizon, np.float64)
    n, observed, expected = len(time), 1 - float(curve.at(horizon)), float(risk.mean())
    change = np.zeros(n)
    if observed < 1:
        place = np.searchsorted(curve.times, np.minimum(time, horizon), side="right") - 1
        variance = np.append(0.0, np.where(np.isfinite(curve.variance), curve.variance, 0.0))
        beyond = n - np.searchsorted(np.sort(time), curve.times, side="left")
        died = np.bincount(np.searchsorted(curve.times, time[event]), minlength=curve.times.size)
        left = np.maximum(beyond - died, 1)
        case = event & (time <= horizon)
        change = variance[place + 1] - case / left[np.maximum(place, 0)]
    moved = -(1 - observed) * change * n / expected
    return np.asarray(ratio + moved - ratio * (risk - expected) / expected)


def d_calibration(event: Bools, survival_at_time: Reals, bins: int = 10) -> ChiSquare:
    """Test whether the predicted survival at the patients' own times is uniform.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        survival_at_time: (n,), predicted survival of each patient at the time of event or
            censoring. For a model that ends at a horizon, censor there first.
        bins: how many, of equal width.

    Returns:
        Σ (N_b − n/bins)² / (n/bins) on bins − 1 degrees of freedom. A patient censored
        at survival s is spread evenly over [0, s] (Haider et al. 2020). A small p-value speaks
        against calibration; heavy censoring makes the test blunt.

    Raises:
        ValueError: fewer than two bins, no patients, an event that is not boolean, survival
            outside [0, 1].
    """
    survival = checked_survival("survival_at_time", survival_at_time, np.shape(event))
    event, survival = checked_outcome(event, survival)
    if bins < 2:
        raise ValueError(f"bins must be 2 or more, got {bins}")
    label = np.minimum((survival * bins).astype(np.int64), bins - 1)
    # Censored at survival 0: the whole patient belongs to the lowest bin.
    spread = np.where(event | (survival == 0), np.inf, survival)
    own = np.where(np.isinf(spread), 1.0, (survival - label / bins) / spread)
    below = np.bincount(label, weights=1 / (bins * spread), minlength=bins)
    counts = np.bincount(label, weights=own, minlength=bins)
    counts += np.cumsum(below[::-1])[::-1] - below
    expected = event.size / bins
    statistic = float(((counts - expected) ** 2).sum() / expected)
    return ChiSquare.of(statistic, bins - 1)
