"""Cox's model: the partial likelihood, ridge-penalised fits, and the baseline hazard.

Cox, "Regression models and life-tables", J R Stat Soc B 1972. :class:`RiskSets` computes one linear
model's likelihood with two derivatives for Newton's method, ties by Efron ("The efficiency of Cox's
likelihood function for censored data", JASA 1977); :class:`RiskSums` computes the gradients of many
models by patient for boosting, ties by Breslow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.hazard import TimeGrid, accumulate
from accomplice.training.estimators.newton import Newton, maximise

#: Newton decrement gᵀH⁻¹g, as a fraction of 1 + |objective|, below which no further step is taken.
DECREMENT = 1e-12


class _Ties(NamedTuple):
    """The e events by falling time, tied events in one group."""

    rows: Ints
    """(e,) rows of the events among the patients by falling time."""
    end: Ints
    """(e,) number of patients in each event's risk set."""
    start: Ints
    """(g,) first event of each group."""
    group: Ints
    """(e,) group of each event."""
    share: Array
    """(e,) l/d for the l-th of d tied events, l = 0 … d − 1: the part of the tied patients' weight
    that Efron's approximation takes out of the risk set."""

    def at_risk(self, weighted: Array) -> Array:
        """Return Efron's sums (e, c) over each event's risk set of rows (n, c) by falling time."""
        tied = np.add.reduceat(weighted[self.rows], self.start, axis=0)
        found = np.cumsum(weighted, axis=0)[self.end - 1]
        found -= self.share[:, None] * tied[self.group]
        return found

    def spent(self, total: Array, n: int) -> Array:
        """Return each patient's sum (n,) of 1 / total over the events up to their own time.

        The parts that Efron's approximation takes out for the events they are tied with are left
        out. Patients are by falling time; ``total`` (e,) is the weight of each event's risk set.
        """
        gain = np.bincount(self.end, 1 / total, n + 1)
        found = np.cumsum(gain[::-1], dtype=float)[::-1][1:]
        found[self.rows] -= np.add.reduceat(self.share / total, self.start)[self.group]
        return found


@dataclass(frozen=True)
class RiskSets:
    """Risk sets of the events, from which Cox's partial likelihood is computed.

    With η the linear predictor, R an event's risk set and D the d events at the same time, of which
    it is number l = 0 … d − 1, Efron's log partial likelihood is the sum over events of
    η − log(Σ_R exp η − l/d Σ_D exp η).
    """

    time: Array
    """(n,) follow-up time."""
    event: Bools
    """(n,) whether the event was observed."""

    @cached_property
    def order(self) -> Ints:
        """(n,) patients by falling time, so that each risk set is the first patients of them."""
        return np.argsort(-self.time, kind="stable")

    @cached_property
    def _ties(self) -> _Ties:
        """The events by falling time, with their ties."""
        time, event = self.time[self.order], self.event[self.order]
        end = np.searchsorted(-time, -time, side="right")
        rows = np.flatnonzero(event)
        _, start, group, size = np.unique(
            -time[rows], return_index=True, return_inverse=True, return_counts=True
        )
        share = (np.arange(len(rows)) - start[group]) / size[group]
        return _Ties(rows, end[rows], start, group, share)

    def evaluate(self, X: Array, log_hz: Array) -> tuple[float, Array, Array]:
        """Return the log partial likelihood, its gradient (p,) and its information (p, p).

        Args:
            X: (n, p) design.
            log_hz: (n,) linear predictor; any shift of it gives the same result.
        """
        return self.evaluate_sorted(X[self.order], log_hz[self.order])

    def evaluate_sorted(self, x: Array, log_hz: Array) -> tuple[float, Array, Array]:
        """Return :meth:`evaluate` for patients already in :attr:`order`.

        Args:
            x: (n, p) design, in that order.
            log_hz: (n,) linear predictor, in that order.
        """
        rows = self._ties.rows
        n, p = x.shape
        if len(rows) == 0:
            return 0.0, np.zeros(p), np.zeros((p, p))
        eta = np.maximum(log_hz - log_hz.max(), -500.0)
        weight = np.exp(eta)
        weighted = np.empty((n, p + 1))
        weighted[:, 0] = weight
        np.multiply(weight[:, None], x, out=weighted[:, 1:])
        at_risk = self._ties.at_risk(weighted)
        total, mean = at_risk[:, 0], at_risk[:, 1:] / at_risk[:, :1]
        value = float(eta[rows].sum() - np.log(total).sum())
        gradient = x[rows].sum(axis=0) - mean.sum(axis=0)
        own = self._ties.spent(total, n)
        information = (x * (weight * own)[:, None]).T @ x - mean.T @ mean
        return value, gradient, information

    def residuals(self, log_hz: Array) -> Array:
        """Return the martingale residual (n,) of each patient, the likelihood's slope by log_hz.

        Args:
            log_hz: (n,) linear predictor; any shift of it gives the same result.
        """
        found = np.empty(len(log_hz))
        found[self.order] = self.residuals_sorted(log_hz[self.order])
        return found

    def residuals_sorted(self, log_hz: Array) -> Array:
        """Return :meth:`residuals` for patients already in :attr:`order`."""
        rows = self._ties.rows
        if len(rows) == 0:
            return np.zeros(len(log_hz))
        weight = np.exp(np.maximum(log_hz - log_hz.max(), -500.0))
        total = self._ties.at_risk(weight[:, None])[:, 0]
        found: Array = -weight * self._ties.spent(total, len(weight))
        found[rows] += 1.0
        return found

    def value(self, log_hz: Array) -> float:
        """Return the log partial likelihood alone."""
        return self.evaluate(np.zeros((len(log_hz), 0)), log_hz)[0]

    def at_events(self, X: Array, log_hz: Array) -> tuple[Ints, Array, Array]:
        """Return the patient of each event, and the design's mean and covariance in its risk set.

        Args:
            X: (n, p) design.
            log_hz: (n,) linear predictor.

        Returns:
            Patients (e,) by falling time; means (e, p) and covariances (e, p, p) over the risk
            sets, weighted by the hazard exp(log_hz), with Efron's correction for ties.
        """
        x, eta = X[self.order], log_hz[self.order]
        weight = np.exp(np.maximum(eta - eta.max(), -500.0))[:, None]
        square = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        moments = weight * np.concatenate([np.ones_like(weight), x, square], axis=1)
        at_risk, p = self._ties.at_risk(moments), x.shape[1]
        mean = at_risk[:, 1 : p + 1] / at_risk[:, :1]
        second = (at_risk[:, p + 1 :] / at_risk[:, :1]).reshape(-1, p, p)
        return self.order[self._ties.rows], mean, second - mean[:, :, None] * mean[:, None, :]

    def increments(self, log_hz: Array) -> Array:
        """Return the rise (e,) of the cumulative baseline hazard at each event, by falling time.

        It is 1 / (Σ_R exp η − l/d Σ_D exp η), so that the sum over the events up to t is the
        cumulative hazard to t of a patient whose linear predictor is 0.
        """
        return np.asarray(1 / self._ties.at_risk(np.exp(log_hz[self.order])[:, None])[:, 0])


def fit_cox(X: Array, risk_sets: RiskSets, penalty: Array, start: Array | None = None) -> Array:
    """Maximise Cox's ``log partial likelihood - 1/2 sum_j penalty_j beta_j²`` by Newton's method.

    Args:
        X: (n, p) design.
        risk_sets: risk sets of the same n patients.
        penalty: (p,) ridge penalty of each coefficient, > 0 unless n is well above p.
        start: (p,) first coefficients; zero if absent, or if p > n and all penalties are > 0.

    Returns:
        (p,) coefficients.

    Example:
        >>> X, time = np.array([[1.0], [0.0], [1.0], [0.0]]), np.array([1.0, 2.0, 3.0, 4.0])
        >>> risk_sets = RiskSets(time, np.ones(4, dtype=bool))
        >>> fit_cox(X, risk_sets, penalty=np.ones(1)).round(4)
        array([0.3857])
    """
    n, p = X.shape
    if p > n and (penalty > 0).all():
        Z, back = row_space(X, penalty)
        return np.asarray(back @ fit_cox(Z, risk_sets, np.ones(Z.shape[1])))
    x = X[risk_sets.order]

    def evaluate(_: Ints, points: Array) -> tuple[Array, Newton]:
        beta = points[0]
        value, gradient, information = risk_sets.evaluate_sorted(x, x @ beta)
        objective = value - 0.5 * float(penalty @ beta**2)

        def newton(_: Bools) -> tuple[Array, Bools]:
            slope = gradient - penalty * beta
            # As a diagonal: the information of a design without variation is singular.
            information.flat[:: p + 1] += penalty + 1e-12 * (1 + information.trace() / max(p, 1))
            step = np.linalg.solve(information, slope)
            return step[None], np.array([slope @ step < DECREMENT * (1 + abs(objective))])

        return np.array([objective]), newton

    begin = np.zeros((1, p)) if start is None else start[None]
    return np.asarray(maximise(evaluate, begin).point[0])


def row_space(X: Array, penalty: Array) -> tuple[Array, Array]:
    """Return a design Z (n, k) with at most n columns, and the matrix ``back`` (p, k) from it.

    With penalties (p,) above zero the best coefficients of X (n, p) are diag(1 / penalty) Xᵀ a for
    some a (n,). So ``back @ gamma`` is the best ``beta`` under ``penalty`` where ``gamma`` is the
    best for Z under a penalty of 1 (Hastie and Tibshirani, "Efficient quadratic regularization for
    expression arrays", Biostatistics 2004). Z is from the eigenvectors of X diag(1 / penalty) Xᵀ:
    with many columns that is far quicker than a decomposition of X.

    Args:
        X: (n, p) design.
        penalty: (p,) ridge penalty of each coefficient, > 0.

    Example:
        >>> Z, back = row_space(np.array([[3.0, 4.0]]), np.ones(2))
        >>> (Z @ back.T).round(6)
        array([[3., 4.]])
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
    """Yield the coefficients (p,) at each penalty; each fit starts at those of the one before.

    Args:
        X: (n, p) design.
        risk_sets: risk sets of the same n patients.
        relative: (p,) factor of each column's penalty, > 0.
        penalties: penalties of a column with factor 1, from strong to weak.

    Example:
        >>> X, time = np.array([[1.0], [0.0], [1.0], [0.0]]), np.array([1.0, 2.0, 3.0, 4.0])
        >>> risk_sets = RiskSets(time, np.ones(4, dtype=bool))
        >>> np.concatenate(list(ridge_path(X, risk_sets, np.ones(1), (10.0, 1.0)))).round(4)
        array([0.0622, 0.3857])
    """
    n, p = X.shape
    Z, back, factor = X, None, relative
    if p > n:
        Z, back = row_space(X, relative)
        factor = np.ones(Z.shape[1])
    beta: Array | None = None
    for penalty in penalties:
        beta = fit_cox(Z, risk_sets, penalty * factor, beta)
        yield beta if back is None else back @ beta


def baseline_hazard(log_hz: Array, time: Array, event: Bools, grid: TimeGrid) -> Array:
    """Return the cumulative baseline hazard (j + 1,), piecewise constant, at the grid's edges.

    Its increment in a bin is (number of events) / Σ (exp(log_hz) · fraction of the bin at risk),
    the maximum likelihood estimate given ``log_hz``.

    Args:
        log_hz: (n,) linear predictor.
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed.
        grid: the j bins.

    Example:
        >>> grid, event = TimeGrid(np.array([0.0, 2.0])), np.array([True, False])
        >>> baseline_hazard(np.zeros(2), np.array([1.0, 2.0]), event, grid).round(4)
        array([0.    , 0.6667])
    """
    at_risk = np.exp(np.clip(log_hz, -30, 30)) @ grid.exposure(time)
    events = grid.events(time, event).sum(axis=0)
    return accumulate(events / np.maximum(at_risk, 1e-9))


@dataclass(frozen=True)
class RiskSums:
    """Cox's partial likelihood of many log-hazards of the same n patients, ties by Breslow.

    With log-hazards η, weights w and risk set R, the log partial likelihood is the sum over events
    of w (η − log Σ_R w exp η).
    """

    order: Ints
    """(n,) patients by falling time."""
    end: Ints
    """(n,) number of patients in each patient's risk set, in that order."""
    event: Array
    """(n,) 1 for an event, in that order."""

    @classmethod
    def of(cls, time: Array, event: Bools) -> RiskSums:
        """Return the sums for patients with follow-up and event (n,).

        Args:
            time: (n,) follow-up.
            event: (n,) whether the event was observed.
        """
        order = np.argsort(-time, kind="stable")
        end = np.searchsorted(-time[order], -time[order], side="right")
        return cls(order, end, event[order].astype(float))

    def value(self, log_hz: Array, weight: Array) -> Array:
        """Return the log partial likelihood (m,) for log_hz and weight (m, n).

        Args:
            log_hz: (m, n) log-hazards of m models.
            weight: (m, n) weights of the patients.
        """
        log_hz, weight = log_hz[:, self.order], weight[:, self.order]
        top = log_hz.max(axis=1, keepdims=True)
        total = np.cumsum(np.exp(log_hz - top) * weight, axis=1)[:, self.end - 1]
        gained = log_hz - top - np.log(np.maximum(total, 1e-300))
        return np.asarray((weight * self.event * gained).sum(axis=1))

    def slopes(self, log_hz: Array, weight: Array) -> tuple[Array, Array]:
        """Return gradient and curvature (m, n) by each patient's log-hazard, per unit of weight.

        The gradient is the martingale residual δ − E, the curvature E, an upper bound of the
        negative second derivative; with the event indicator δ and the expected events
        E = exp η Σ (w / Σ_R w exp η) over the events up to the patient's time. Patients of weight 0
        get both too, from the risk sets of the others.

        Args:
            log_hz: (m, n) log-hazards of m models.
            weight: (m, n) weights of the patients.
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
