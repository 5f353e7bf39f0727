"""Test of proportional hazards by Grambsch and Therneau, and a smooth log hazard ratio over time.

Grambsch and Therneau, "Proportional hazards tests and diagnostics based on weighted residuals",
Biometrika 1994; the score test in the exact form of R's ``cox.zph`` (survival 3), time transformed
by the Kaplan–Meier curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.intervals import Z95
from accomplice.training.estimators.kaplan_meier import KaplanMeier

#: Events per term of the smooth curve.
EVENTS_EACH = 10
#: Points of the curve.
POINTS = 60


@dataclass(frozen=True)
class EffectOverTime:
    """A log hazard ratio as it changes with follow-up, smoothed, with a 95 % band."""

    months: Array
    """(t,) within the middle nine tenths of the event times."""
    log: Array
    low: Array
    high: Array


def zph_test(X: Array, time: Array, event: Bools) -> list[ChiSquare]:
    """Score test of each column of X (n, p) for an effect that changes with time.

    The tested term is x · g(t), with g(t) = 1 − S(t−) of Kaplan and Meier about its mean over the
    events; the statistic is χ² on one degree of freedom.

    Example:
        >>> time, event = np.arange(1.0, 41.0), np.ones(40, dtype=bool)
        >>> ends = (time <= 10) | (time > 30)  # those at risk of an event first, or last
        >>> zph_test(ends[:, None].astype(float), time, event)[0].p_value < 0.05
        True
    """
    risk_sets = RiskSets(time, event)
    beta = fit_cox(X, risk_sets, np.zeros(X.shape[1]))
    rows, mean, variance = risk_sets.at_events(X, X @ beta)
    residual = X[rows] - mean
    g = _transformed(time, event, time[rows])
    plain, first = variance.sum(axis=0), np.tensordot(g, variance, 1)
    second = np.tensordot(g**2, variance, 1)
    score = g @ residual
    known = np.linalg.inv(plain)
    found = []
    for j in range(X.shape[1]):
        spread = float(second[j, j] - first[j] @ known @ first[j])
        found.append(ChiSquare.of(float(score[j] ** 2 / spread), 1))
    return found


def effect_over_time(x: Array, time: Array, event: Bools) -> EffectOverTime:
    """Smooth the scaled Schoenfeld residuals of one covariate x (n,) by a natural cubic spline.

    Of e events with residuals r and the total information V, the scaled residual is β + e r / V:
    its mean at a time is about the log hazard ratio at that time.

    It has up to four terms in transformed time, fewer where events are few.

    Example:
        >>> time, event = np.arange(1.0, 41.0), np.ones(40, dtype=bool)
        >>> x = (time % 2 == 0).astype(float)
        >>> found = effect_over_time(x, time, event)
        >>> found.months[[0, -1]].round(2), found.log.shape
        (array([ 2.95, 38.05]), (60,))
    """
    X, risk_sets = x[:, None], RiskSets(time, event)
    beta = fit_cox(X, risk_sets, np.zeros(1))
    rows, mean, variance = risk_sets.at_events(X, X @ beta)
    events, information = len(rows), float(variance.sum())
    scaled = beta[0] + events * (X[rows, 0] - mean[:, 0]) / information
    g = _transformed(time, event, time[rows])
    terms = int(np.clip(events // EVENTS_EACH, 1, 4))
    knots = np.quantile(g, np.linspace(0.05, 0.95, max(terms, 2)))
    basis = natural_spline(g, knots)[:, :terms]
    low, high = np.quantile(time[rows], [0.05, 0.95])
    months = np.linspace(low, high, POINTS)
    at = natural_spline(_transformed(time, event, months), knots)[:, :terms]
    inner = np.linalg.pinv(basis.T @ basis)
    curve = at @ (inner @ (basis.T @ scaled))
    # Scaled residuals vary as the coefficient does, times the number of events.
    spread = Z95 * np.sqrt((at @ inner * at).sum(axis=1) * events / information)
    return EffectOverTime(months, curve, curve - spread, curve + spread)


def natural_spline(x: Array, knots: Array) -> Array:
    """Basis (n, k) of cubic splines that are straight beyond the outer of k knots.

    Hastie, Tibshirani and Friedman, "The elements of statistical learning", 5.2.1.

    Example:
        >>> natural_spline(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))
        array([[1. , 0. , 0. ],
               [1. , 1. , 0.5],
               [1. , 2. , 3. ]])
    """
    last = knots[-1]

    def arch(knot: float) -> Array:
        rise = np.maximum(x - knot, 0) ** 3 - np.maximum(x - last, 0) ** 3
        return np.asarray(rise / max(last - knot, 1e-12))

    bends = [arch(knot) - arch(knots[-2]) for knot in knots[:-2]]
    return np.stack([np.ones_like(x), x, *bends], axis=1)


def _transformed(time: Array, event: Bools, at: Array) -> Array:
    """1 − S(t−), with Kaplan–Meier survival S, at times (t,), less its mean over the events."""
    curve = KaplanMeier.fit(time, event)
    return np.asarray((1 - curve.before(at)) - (1 - curve.before(time[event])).mean())
