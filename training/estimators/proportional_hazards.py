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

#: Events for each term of the spline, the constant among them.
EVENTS_EACH = 10
#: Number of months at which the curve is computed.
POINTS = 60


@dataclass(frozen=True)
class EffectOverTime:
    """Log hazard ratio of one covariate as a smooth function of follow-up, with its 95 % band."""

    months: Array
    """(t,) rising, from the 5th to the 95th percentile of the event times."""
    log_hr: Array
    """(t,) log hazard ratio at each of the months."""
    low: Array
    """(t,) lower end of its pointwise 95 % interval."""
    high: Array
    """(t,) upper end of its pointwise 95 % interval."""


def zph_test(X: Array, time: Array, event: Bools) -> list[ChiSquare]:
    """Test each column of X (n, p) for an effect that changes with time, by a score test.

    The tested term is x · g(t), with g(t) = 1 − S(t−) of the Kaplan–Meier curve, centred on its
    mean over the events. The statistic χ² = U² / (V₂ − v₁ᵀ V₀⁻¹ v₁) has one degree of freedom,
    with U = Σ g r over the events, r the Schoenfeld residuals, V the covariances in the risk sets,
    V₀ = Σ V, v₁ the column of Σ g V, and V₂ the diagonal element of Σ g² V.

    Args:
        X: (n, p) covariates.
        time: (n,) follow-up.
        event: (n,) whether the event was observed.

    Returns:
        (p,) the test of each column.

    Raises:
        LinAlgError: V₀ is singular, as it can be with linearly dependent columns.

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
    v0, v1 = variance.sum(axis=0), np.tensordot(g, variance, 1)
    v2 = np.tensordot(g**2, variance, 1)
    score = g @ residual
    inverse = np.linalg.inv(v0)
    found = []
    for j in range(X.shape[1]):
        information = float(v2[j, j] - v1[j] @ inverse @ v1[j])
        found.append(ChiSquare.of(float(score[j] ** 2 / information), 1))
    return found


def effect_over_time(x: Array, time: Array, event: Bools) -> EffectOverTime:
    """Smooth the scaled Schoenfeld residuals of one covariate by a natural cubic spline.

    With e events, residuals r and the total information V, a scaled residual is β + e r / V; its
    mean at a time is about the log hazard ratio at that time. The spline in transformed time has
    one term per 10 events, at least one and at most four. The first term is a constant, so that the
    curve is flat with fewer than 20 events.

    Args:
        x: (n,) covariate.
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed.

    Example:
        >>> time, event = np.arange(1.0, 41.0), np.ones(40, dtype=bool)
        >>> x = (time % 2 == 0).astype(float)
        >>> found = effect_over_time(x, time, event)
        >>> found.months[[0, -1]].round(2), found.log_hr.shape
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
    # The variance of a scaled residual is that of the coefficient times the number of events.
    spread = Z95 * np.sqrt((at @ inner * at).sum(axis=1) * events / information)
    return EffectOverTime(months, curve, curve - spread, curve + spread)


def natural_spline(x: Array, knots: Array) -> Array:
    """Return the basis (n, k) of natural cubic splines of x (n,), linear beyond the outer knots.

    Hastie, Tibshirani and Friedman, "The elements of statistical learning", 5.2.1. The columns are
    1, x and k − 2 cubic terms, for k knots.

    Args:
        x: (n,) values.
        knots: (k,) knots, rising, at least two.

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
    """Return 1 − S(t−) of the Kaplan–Meier curve S at times (t,), less its mean at the events."""
    curve = KaplanMeier.fit(time, event)
    return np.asarray((1 - curve.before(at)) - (1 - curve.before(time[event])).mean())
