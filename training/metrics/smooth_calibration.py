"""Smooth calibration curve at a month, with a band, ICI, E50 and E90.

Austin, Harrell and van Klaveren, "Graphical calibration curves and the integrated calibration index
(ICI) for survival models", Stat Med 2020: the hazard is regressed by a Cox model on a restricted
cubic spline of the complementary log-log of the predicted risk, and the curve is the fitted risk by
predicted risk. Here events after the month do not count, and time is replaced, for each patient, by
H(T) / H(month), the fraction of the predicted cumulative hazard by the end T of follow-up. If
predicted hazards are proportional, the order of events, and so the fit, is that of time itself; if
not, calibrated predictions are proportional in the new time all the same. No censoring weights are
needed; censoring may depend on the features of the predictions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools, Reals
from accomplice.training.estimators.checks import checked_finite, checked_outcome
from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.intervals import Number
from accomplice.training.estimators.proportional_hazards import natural_spline
from accomplice.training.metrics.calibration import CLIP

#: Minimum number of events by the horizon for a curve: ten for each coefficient of the spline.
LEAST_EVENTS = 20
#: Quantiles of the transformed predictions at which the spline has its knots.
KNOTS = (0.1, 0.5, 0.9)
#: Quantiles of the predictions between which the curve is drawn, and its number of points.
DRAWN, POINTS = (0.025, 0.975), 25
#: Largest standard error of a parameter, the transformed predictions having a standard deviation of
#: 1: above it the likelihood has no maximum.
WIDEST = 20.0
#: Number of draws of the parameters for the band and the ICI by chance, and number of quantiles of
#: the predictions that approximate their distribution in the latter.
DRAWS, QUANTILES = 1000, 100


@dataclass(frozen=True)
class SmoothCalibration:
    """Observed survival as a smooth function of that predicted, and its distance from it."""

    predicted: tuple[Number, ...]
    """(g,) predicted survival at the month, rising."""
    observed: tuple[Number, ...]
    """(g,) observed survival of patients with such a prediction."""
    low: tuple[Number, ...]
    """(g,) lower end of the simultaneous 95 % confidence band of the curve."""
    high: tuple[Number, ...]
    """(g,) upper end of that band."""
    ici: Number
    """Integrated calibration index: mean over patients of |observed − predicted|."""
    e50: Number
    """Median of |observed − predicted|."""
    e90: Number
    """90th percentile of |observed − predicted|."""
    ici_by_chance: Number
    """ICI that calibrated predictions of such patients stay below in 95 % of cohorts."""


def smooth_calibration(event: Bools, expected: Reals, whole: Reals) -> SmoothCalibration | None:
    """Return the smooth calibration curve of predicted survival at a month.

    With x = log H of the predicted cumulative hazard H at the month, a Cox model of the events by
    then (Efron's ties) on a restricted cubic spline of x with knots at its 10th, 50th and 90th
    percentiles gives the observed survival exp(−H₀ exp f(x)). The band is on the scale of
    log H₀ + f(x), linear in three parameters: ± c standard errors, with c the 95th percentile of
    the largest distance along the curve, in standard errors, of draws from the parameters' normal
    distribution (sup-t). The ICI of predictions that are right is above 0 by chance alone; its 95th
    percentile is that of curves whose parameters are off by the same draws.

    Args:
        event: (n,) bool, whether the event was observed by the month.
        expected: (n,) predicted cumulative hazard at the end of each patient's follow-up, or at the
            month if it is earlier.
        whole: (n,) predicted cumulative hazard at the month.

    Returns:
        The curve between the 2.5th and 97.5th percentile of the predictions; None with fewer than
        20 events, no patient followed to the month without one, equal predictions, or predictions
        that separate the events from the others, so that the fit has no maximum.

    Raises:
        ValueError: as `checked_outcome`; a hazard that is not finite or of another shape.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rate = 0.02 * np.exp(rng.normal(size=2000))
        >>> time = rng.exponential(1 / rate)
        >>> found = smooth_calibration(time < 36, rate * np.minimum(time, 36), rate * 36)
        >>> found.ici < found.ici_by_chance < 0.05
        True
    """
    event, expected = checked_outcome(event, expected)
    whole = checked_finite("whole", whole, event.shape)
    alive = np.clip(np.exp(-whole), CLIP, 1 - CLIP)
    x = np.log(-np.log(alive))
    # Rounded, so that times that are tied stay so.
    scaled = np.ones_like(x)
    np.divide(expected, whole, out=scaled, where=expected < whole)
    scaled = scaled.round(12)
    spread = x.std()
    if event.sum() < LEAST_EVENTS or not (scaled[~event] == 1).any() or spread < 1e-9:
        return None
    middle = x.mean()
    knots = np.unique(np.quantile((x - middle) / spread, KNOTS))
    bends = 1 if len(knots) == len(KNOTS) else 0

    def basis(values: Array) -> Array:
        scaled = (values - middle) / spread
        return natural_spline(scaled, knots)[:, : 2 + bends] if bends else np.c_[scaled**0, scaled]

    risk_sets = RiskSets(scaled, event)
    X = basis(x)[:, 1:]
    beta = fit_cox(X, risk_sets, np.zeros(1 + bends))
    eta = X @ beta
    _, mean, covariance = risk_sets.at_events(X, eta)
    rise = risk_sets.increments(eta)
    theta = np.concatenate([[math.log(rise.sum())], beta])
    root = np.linalg.cholesky(_covariance(rise, mean, covariance))
    if np.linalg.norm(root, axis=1).max() > WIDEST:
        return None
    moved = np.random.default_rng(0).normal(size=(DRAWS, 2 + bends)) @ root.T

    first, last = np.quantile(alive, DRAWN).round(2).clip(CLIP, 1 - CLIP).tolist()
    at = np.unique(np.linspace(first, last, POINTS))
    on_curve = basis(np.log(-np.log(at)))
    curve, se = on_curve @ theta, np.linalg.norm(on_curve @ root, axis=1)
    reach = np.quantile(np.abs(moved @ on_curve.T / se).max(axis=1), 0.95) * se

    away = np.abs(_survival(np.c_[np.ones(len(x)), X] @ theta) - alive)
    stand_in = np.quantile(x, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    chance = np.abs(_survival(stand_in + moved @ basis(stand_in).T) - _survival(stand_in))
    return SmoothCalibration(
        predicted=tuple(at.tolist()),
        observed=tuple(_survival(curve).tolist()),
        low=tuple(_survival(curve + reach).tolist()),
        high=tuple(_survival(curve - reach).tolist()),
        ici=float(away.mean()),
        e50=float(np.quantile(away, 0.5)),
        e90=float(np.quantile(away, 0.9)),
        ici_by_chance=float(np.quantile(chance.mean(axis=1), 0.95)),
    )


def _covariance(rise: Array, mean: Array, covariance: Array) -> Array:
    """Return the covariance of the log cumulative baseline hazard and a Cox model's coefficients.

    Args:
        rise: (e,) rise of the cumulative baseline hazard at each event.
        mean: (e, p) mean of the design in each event's risk set.
        covariance: (e, p, p) its covariance there.
    """
    total = rise.sum()
    of_beta = np.linalg.inv(covariance.sum(axis=0))
    shared = of_beta @ (rise @ mean / total)
    of_level = (rise**2).sum() / total**2 + rise @ mean @ shared / total
    return np.block([[of_level, -shared[None]], [-shared[:, None], of_beta]])


def _survival(log_cumulative: Array) -> Array:
    return np.asarray(np.exp(-np.exp(np.minimum(log_cumulative, 30.0))))
