"""Calibration of predicted survival: slope, groups, intercept, observed/expected, D-calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.training.estimators.checks import (
    UndefinedMetricError,
    checked_outcome,
    checked_survival,
)
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.complementary_log_log import fit_complementary_log_log
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.kaplan_meier import (
    Censoring,
    KaplanMeier,
    inverse_censoring,
    observed_survival,
)

#: Newton decrement gᵀH⁻¹g, divided by the sum of weights, below which the fit has converged.
PROMISED = 1e-12
#: Predictions are clipped to [CLIP, 1 − CLIP], since 0 and 1 would have infinite leverage.
CLIP = 1e-4
#: Range of the log cumulative hazards below which all predictions count as equal.
ALIKE = 1e-9


class Calibration(NamedTuple):
    """Calibration slope and intercept; 1 and 0 where predictions are calibrated."""

    slope: float
    intercept: float


@dataclass(frozen=True, eq=False)
class CalibrationGroups:
    """Predicted against observed survival at a horizon, by group of rising prediction.

    Attributes:
        predicted: (g,), mean predicted survival.
        observed: (g,), survival by `observed_survival`; NaN where follow-up ends before the
            horizon, with the curve above 0.
        low: (g,), lower end of the interval of `observed`; NaN also where `observed` is 0 or 1.
        high: (g,), upper end of that interval, NaN as `low`.
        size: (g,) int, number of patients.
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
    censoring: Censoring,
    clip: float = CLIP,
) -> Calibration:
    """Regress the event by the horizon on the log of the predicted cumulative hazard.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        survival_at_horizon: (n,), predicted probability to be event-free after the horizon.
        horizon: time to which survival is predicted, in the unit of `time`.
        censoring: distribution of the censoring time, as for `inverse_censoring`.
        clip: predictions are clipped to [clip, 1 − clip], since 0 and 1 would have infinite
            leverage.

    Returns:
        With x = log(−log S(horizon)) and P(event by horizon) = 1 − exp(−exp(a + b x)),
        fitted by maximum likelihood with inverse censoring weights: the slope is b; the intercept
        is a with b held at 1, so exp(intercept) is observed over predicted cumulative hazard. The
        regression on the log cumulative hazard follows Crowson, Atkinson and Therneau, Stat Methods
        Med Res 2016, at one horizon as in van Geloven et al., BMJ 2022; it needs no proportional
        hazards. A slope below 1 means that predictions are too extreme; it is NaN where all
        predictions are equal.

    Raises:
        UndefinedMetricError: no event by the horizon, no patient followed beyond it, predictions
            that separate the two completely, or as `inverse_censoring`.
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> event = np.array([True, False, False, False, True, True, True, False])
        >>> time, survival = np.where(event, 1.0, 3.0), np.repeat([0.75, 0.25], 4)
        >>> found = calibration_at(event, time, survival, 2.0, censoring(time, event))
        >>> round(found.slope, 4), abs(round(found.intercept, 4))
        (1.0, 0.0)
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
    intercept = _fitted(ones, log_hazard, case, weight)[0]
    if np.ptp(log_hazard) < ALIKE:
        return Calibration(math.nan, intercept)
    centred = log_hazard - np.average(log_hazard, weights=weight)
    slope = _fitted(np.column_stack((ones, centred)), np.zeros_like(centred), case, weight)[1]
    return Calibration(slope, intercept)


def _fitted(design: Array, offset: Array, case: Bools, weight: Array) -> list[float]:
    start = np.zeros((1, design.shape[1]))
    given = (design, offset, case, weight[None], start)
    beta = fit_complementary_log_log(*given, gain_limit=PROMISED)[0]
    if np.isnan(beta).any():
        raise UndefinedMetricError(
            "no calibration slope: the predictions part patients with and without an event "
            "without error, so the likelihood has no maximum"
        )
    return [float(b) for b in beta]


def calibration_groups(
    event: Bools,
    time: Reals,
    survival_at_horizon: Reals,
    horizon: float,
    groups: int = 10,
    level: float = 0.95,
    censoring: Censoring | None = None,
) -> CalibrationGroups:
    """Return mean predicted and observed survival by quantile group of the prediction.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        survival_at_horizon: (n,), predicted probability to be event-free after the horizon.
        horizon: time to which survival is predicted, in the unit of `time`.
        groups: maximum number of groups; equal predictions share a group.
        level: confidence level of the intervals.
        censoring: distribution of the censoring time; if absent, the same for all patients.

    Returns:
        The g groups by rising prediction, g ≤ `groups`.

    Raises:
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape; groups
            below 1.

    Example:
        >>> event = np.array([True, False, False, False, True, True, True, False])
        >>> time, survival = np.where(event, 1.0, 3.0), np.repeat([0.75, 0.25], 4)
        >>> groups = calibration_groups(event, time, survival, 2.0, groups=2)
        >>> groups.predicted, groups.observed
        (array([0.25, 0.75]), array([0.25, 0.75]))
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
        weights = None if censoring is None else censoring.take(member)
        curve = observed_survival(time[member], event[member], weights)
        observed, (low, high) = curve.at(horizon), curve.interval(horizon, level)
        if curve.last < horizon and curve.survival[-1] > 0:
            observed = low = high = np.asarray(np.nan)
        rows.append((survival[member].mean(), observed, low, high, member.sum()))
    predicted, observed, low, high, size = np.array(rows, dtype=np.float64).T
    return CalibrationGroups(predicted, observed, low, high, size.astype(np.int64))


def observed_expected(
    event: Bools,
    time: Reals,
    survival_at_horizon: Reals,
    horizon: float,
) -> float:
    """Return the observed over the mean predicted probability of an event by the horizon.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        survival_at_horizon: (n,), predicted probability to be event-free after the horizon.
        horizon: time to which survival is predicted, in the unit of `time`.

    Returns:
        (1 − Kaplan–Meier survival) / (1 − mean predicted survival), calibration in the large at a
        fixed time (McLernon et al., Ann Intern Med 2023); above 1, predicted risks are too low.

    Raises:
        UndefinedMetricError: follow-up ends before the horizon, with the curve above 0, or all
            predicted risks are 0.
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape.

    Example:
        >>> event = np.array([True, False, False, False, True, True, True, False])
        >>> time, survival = np.where(event, 1.0, 3.0), np.repeat([0.75, 0.25], 4)
        >>> round(observed_expected(event, time, survival, 2.0), 4)
        1.0
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


def calibration_intercept(event: Bools, expected: Array) -> Estimate:
    """Return the log of the observed over the expected number of events, with its interval.

    It is calibration in the large as the intercept of a Poisson regression of the events with the
    log of the expected ones as offset (Crowson, Atkinson and Therneau, "Assessing calibration of
    prognostic risk scores", Stat Methods Med Res 2016): log(D / Σ e), standard error 1 / √D of D
    events. Above 0, predicted hazards are too low.

    Args:
        event: (n,) whether the event was observed by the month that is judged.
        expected: (n,) predicted cumulative hazard at the end of each patient's follow-up, or at
            that month if it is earlier.

    Returns:
        The intercept with a 95 % interval; NaN without events.

    Example:
        >>> print(calibration_intercept(np.tile([True, False], 50), np.full(100, 0.4)))
        0.223 (-0.054 to 0.500)
    """
    events, total = int(event.sum()), float(expected.sum())
    if not events or total <= 0:
        return Estimate(math.nan)
    return Estimate.normal(math.log(events / total), 1 / math.sqrt(events))


def observed_expected_contributions(
    event: Bools, time: Reals, survival_at_horizon: Reals, horizon: float
) -> Array:
    """Return each patient's contribution (n,) to `observed_expected`, which is their mean.

    With Y at risk and d events, log S = Σ log(1 − d / Y). Counting patient k once more changes
    log S by V(min(time_k, horizon)) − [event by the horizon] / (Y − d), where V is Greenwood's sum
    Σ d / (Y (Y − d)). The contribution is the ratio plus n times the change of the ratio by the
    patient: the infinitesimal jackknife, as in `metrics.concordance.concordance_contributions`.
    Arguments and errors are those of `observed_expected`.

    Example:
        >>> event = np.array([True, False, False, False, True, True, True, False])
        >>> time, survival = np.where(event, 1.0, 3.0), np.repeat([0.75, 0.25], 4)
        >>> parts = observed_expected_contributions(event, time, survival, 2.0)
        >>> round(float(parts.mean()), 4)
        1.0
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
        event: (n,) bool, True where the event was observed, False where censored.
        survival_at_time: (n,), predicted survival of each patient at the time of event or
            censoring. For a model that ends at a horizon, censor there first.
        bins: number of bins of equal width.

    Returns:
        The statistic Σ (N_b − n/bins)² / (n/bins), with N_b patients in bin b. A patient censored
        at survival s is spread evenly over [0, s] (Haider et al., "Effective ways to build and
        evaluate individual survival distributions", JMLR 2020), so that bins vary less than
        multinomial counts do. The p value therefore is of the chi-square distribution with the mean
        and variance of Σ λ χ²₁, where λ are the eigenvalues of bins · C and C is the mean of
        (w − 1/bins)(w − 1/bins)ᵀ over the patients' parts w in the bins (Rao and Scott, "On
        chi-squared tests for multiway contingency tables with cell proportions estimated from
        survey data", Ann Stat 1984). A small p value speaks against calibration.

    Raises:
        ValueError: fewer than two bins, no patients, an event that is not boolean, survival
            outside [0, 1] or of another shape.

    Example:
        >>> even = np.arange(0.05, 1.0, 0.1)
        >>> found = d_calibration(np.ones(10, dtype=bool), even)
        >>> round(found.statistic, 6), round(found.p_value, 6)
        (0.0, 1.0)
    """
    survival = checked_survival("survival_at_time", survival_at_time, np.shape(event))
    event, survival = checked_outcome(event, survival)
    if bins < 2:
        raise ValueError(f"bins must be 2 or more, got {bins}")
    # A patient censored at survival 0 belongs to the lowest bin.
    whole = np.flatnonzero(event | (survival == 0))
    label = np.minimum((survival * bins).astype(np.int64), bins - 1)
    part = (survival * bins)[:, None] - np.arange(bins)
    np.clip(part, 0.0, 1.0, out=part)
    part[whole] = 0.0
    part[whole, label[whole]] = 1.0
    part /= part.sum(axis=1, keepdims=True)
    counts, even = part.sum(axis=0), 1 / bins
    statistic = float(((counts - event.size * even) ** 2).sum() / (event.size * even))
    part -= even
    covariance = bins * (part.T @ part) / event.size
    mean, square = float(np.trace(covariance)), float((covariance**2).sum())
    if square <= 0:
        return ChiSquare(statistic, 1.0)
    return ChiSquare.of(statistic * mean / square, mean**2 / square)._replace(statistic=statistic)
