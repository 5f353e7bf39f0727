"""Cox's model: the partial likelihood, fits under a ridge, and the baseline hazard.

Cox, "Regression models and life-tables", J R Stat Soc B 1972. :class:`RiskSets` knows one linear
model's likelihood to the second derivative, with Efron's ties ("The efficiency of Cox's likelihood
function for censored data", JASA 1977), as Newton's method wants it; :class:`RiskSums` the gradient
by patient of many models at once, as boosting wants it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.hazard import TimeGrid, accumulate


@dataclass(frozen=True)
class RiskSets:
    """Who was at risk at each event: what the partial likelihood needs of time and event."""

    time: Array
    """(n,) follow-up."""
    event: Bools
    """(n,) whether the event was seen."""

    @cached_property
    def order(self) -> Ints:
        """Patients by falling time, so that a risk set is a run from the start (n,)."""
        return np.argsort(-self.time, kind="stable")

    @cached_property
    def _ties(self) -> tuple[Ints, Ints, Ints, Array]:
        """For each event e, in order of falling time: end of its risk set, its tie group, share.

        The share is l/d for the l-th of d tied events: the part of the tied patients' weight that
        Efron's approximation takes out of the risk set.
        """
        time, event = self.time[self.order], self.event[self.order]
        end = np.searchsorted(-time, -time, side="right")
        rows = np.flatnonzero(event)
        _, start, group, size = np.unique(
            -time[rows], return_index=True, return_inverse=True, return_counts=True
        )
        share = (np.arange(len(rows)) - start[group]) / size[group]
        return rows, end[rows], group, share

    def evaluate(self, X: Array, log_hz: Array) -> tuple[float, Array, Array]:
        """Return the log partial likelihood, its gradient (p,) and its information (p, p).

        Args:
            X: (n, p) design.
            log_hz: (n,) linear predictor; any shift of it gives the same result.
        """
        rows, end, group, share = self._ties
        n, p = X.shape
        if len(rows) == 0:
            return 0.0, np.zeros(p), np.zeros((p, p))
        x, eta = X[self.order], log_hz[self.order]
        eta = np.maximum(eta - eta.max(), -500.0)
        weight = np.exp(eta)
        groups = int(group[-1]) + 1
        tied = np.zeros((groups, p + 1))
        wx = np.concatenate([weight[:, None], weight[:, None] * x], axis=1)
        np.add.at(tied, group, wx[rows])
        at_risk = np.cumsum(wx, axis=0)[end - 1] - share[:, None] * tied[group]
        total, mean = at_risk[:, 0], at_risk[:, 1:] / at_risk[:, :1]
        value = float(eta[rows].sum() - np.log(total).sum())
        gradient = x[rows].sum(axis=0) - mean.sum(axis=0)
        # Each patient's summed share of the events' averages: all events up to their own time,
        # less what Efron takes out for the events they are tied with.
        gain = np.zeros(n + 1)
        np.add.at(gain, end, 1 / total)
        own = np.cumsum(gain[::-1])[::-1][1:]
        drop = np.zeros(groups)
        np.add.at(drop, group, share / total)
        own[rows] -= drop[group]
        information = (x * (weight * own)[:, None]).T @ x - mean.T @ mean
        return value, gradient, information

    def value(self, log_hz: Array) -> float:
        """Return the log partial likelihood alone."""
        return self.evaluate(np.zeros((len(log_hz), 0)), log_hz)[0]

    def at_events(self, X: Array, log_hz: Array) -> tuple[Ints, Array, Array]:
        """Return who had each event, and the design's mean and covariance among those at risk.

        Args:
            X: (n, p) design.
            log_hz: (n,) linear predictor.

        Returns:
            The patient of each event (e,), by falling time; means (e, p) and covariances (e, p, p)
            weighted by the hazard, ties as Efron's.
        """
        rows, end, group, share = self._ties
        x, eta = X[self.order], log_hz[self.order]
        weight = np.exp(np.maximum(eta - eta.max(), -500.0))[:, None]
        square = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        moments = weight * np.concatenate([np.ones_like(weight), x, square], axis=1)
        tied = np.zeros((int(group[-1]) + 1 if len(rows) else 0, moments.shape[1]))
        np.add.at(tied, group, moments[rows])
        at_risk = np.cumsum(moments, axis=0)[end - 1] - share[:, None] * tied[group]
        p = x.shape[1]
        mean = at_risk[:, 1 : p + 1] / at_risk[:, :1]
        second = (at_risk[:, p + 1 :] / at_risk[:, :1]).reshape(-1, p, p)
        return self.order[rows], mean, second - mean[:, :, None] * mean[:, None, :]


def fit_cox(
    X: Array, risk_sets: RiskSets, penalty: Array, start: Array | None = None, steps: int = 30
) -> Array:
    """Maximise ``log partial likelihood - 1/2 sum_j penalty_j beta_j²``.

    Args:
        X: (n, p) design.
        risk_sets: of the same n patients.
        penalty: (p,) ridge penalty of each coefficient, > 0 unless n is well above p.
        start: (p,) where Newton's method begins; zero if absent.
        steps: at the most.

    Returns:
        (p,) coefficients.
    """
    n, p = X.shape
    if p > n and (penalty > 0).all():
        Z, back = row_space(X, penalty)
        return np.asarray(back @ fit_cox(Z, risk_sets, np.ones(Z.shape[1])))
    beta = np.zeros(p) if start is None else start
    log_hz = X @ beta
    value, gradient, information = risk_sets.evaluate(X, log_hz)
    objective = value - 0.5 * float(penalty @ beta**2)
    for _ in range(steps):
        slope = gradient - penalty * beta
        system = information + np.diag(penalty + 1e-12 * (1 + np.trace(information) / max(p, 1)))
        step = np.linalg.solve(system, slope)
        if float(slope @ step) < 1e-12 * (1 + abs(objective)):
            break
        for halving in range(20):
            trial = beta + step / 2**halving
            log_hz = X @ trial
            value, gradient, information = risk_sets.evaluate(X, log_hz)
            reached = value - 0.5 * float(penalty @ trial**2)
            if reached >= objective - 1e-12 * abs(objective):
                break
        else:
            break
        beta, objective = trial, reached
    return beta


def row_space(X: Array, penalty: Array) -> tuple[Array, Array]:
    """Return a design Z (n, k) with at most n columns, and the way back (p, k).

    With penalties above zero the best coefficients of X (n, p) lie in the space of its rows. So
    ``back @ gamma`` is the best ``beta`` under ``penalty`` where ``gamma`` is the best for Z under
    a penalty of 1. The rows' inner products give it: with many columns that is far quicker than
    a decomposition of X.
    """
    scaled = X / np.sqrt(penalty)
    squared, left = np.linalg.eigh(scaled @ scaled.T)
    keep = squared > squared[-1] * 1e-12
    size, left = np.sqrt(squared[keep]), left[:, keep]
    back = scaled.T @ (left / size) / np.sqrt(penalty)[:, None]
    return left * size, back


def ridge_path(
    X: Array, risk_sets: RiskSets, relative: Array, penalties: Sequence[float]
) -> Iterator[Array]:
    """Yield the coefficients (p,) at each penalty, each fit begun at the one before.

    Args:
        X: (n, p) design.
        risk_sets: of the same n patients.
        relative: (p,) each column's part of the penalty, > 0.
        penalties: from strong to weak.
    """
    n, p = X.shape
    Z, back, own = X, None, relative
    if p > n:
        Z, back = row_space(X, relative)
        own = np.ones(Z.shape[1])
    beta: Array | None = None
    for penalty in penalties:
        beta = fit_cox(Z, risk_sets, penalty * own, beta)
        yield beta if back is None else back @ beta


def baseline_hazard(log_hz: Array, time: Array, event: Bools, grid: TimeGrid) -> Array:
    """Cumulative baseline hazard (j + 1,): events over weighted time at risk, bin by bin."""
    at_risk = np.exp(np.clip(log_hz, -30, 30)) @ grid.exposure(time)
    happened = grid.events(time, event).sum(axis=0)
    return accumulate(happened / np.maximum(at_risk, 1e-9))


@dataclass(frozen=True)
class RiskSums:
    """Cox's partial likelihood (Breslow's ties) of many log-hazards of the same n patients."""

    order: Ints
    """(n,) patients by falling time."""
    end: Ints
    """(n,) end of the risk set of each patient in that order."""
    event: Array
    """(n,) 1 for an event, in that order."""

    @classmethod
    def of(cls, time: Array, event: Bools) -> RiskSums:
        """Sort patients (n,) once."""
        order = np.argsort(-time, kind="stable")
        end = np.searchsorted(-time[order], -time[order], side="right")
        return cls(order, end, event[order].astype(float))

    def value(self, log_hz: Array, weight: Array) -> Array:
        """Log partial likelihood (m,) for log_hz and weight (m, n)."""
        log_hz, weight = log_hz[:, self.order], weight[:, self.order]
        top = log_hz.max(axis=1, keepdims=True)
        total = np.cumsum(np.exp(log_hz - top) * weight, axis=1)[:, self.end - 1]
        gained = log_hz - top - np.log(np.maximum(total, 1e-300))
        return np.asarray((weight * self.event * gained).sum(axis=1))

    def slopes(self, log_hz: Array, weight: Array) -> tuple[Array, Array]:
        """Gradient (m, n) by each patient's log-hazard, and the expected events as curvature.

        Patients of weight 0 are scored too, against the risk sets of the others.
        """
        members, n = log_hz.shape
        hazard = log_hz[:, self.order]
        hazard = np.exp(hazard - hazard.max(axis=1, keepdims=True))
        weight = weight[:, self.order]
        total = np.cumsum(hazard * weight, axis=1)[:, self.end - 1]
        rate = weight * self.event / np.maximum(total, 1e-300)
        # An event counts for all who are in its risk set: those before its end.
        ends = (np.arange(members)[:, None] * (n + 1) + self.end).ravel()
        ended = np.bincount(ends, rate.ravel(), members * (n + 1)).reshape(members, n + 1)
        expected = hazard * np.cumsum(ended[:, ::-1], axis=1)[:, ::-1][:, 1:]
        gradient, curvature = np.empty_like(log_hz), np.empty_like(log_hz)
        gradient[:, self.order] = self.event - expected
        curvature[:, self.order] = expected
        return gradient, curvature
