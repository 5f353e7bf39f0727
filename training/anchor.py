"""The anchor: a ridge Cox model with Efron's ties, fitted by Newton's method.

Efron, "The efficiency of Cox's likelihood function for censored data", JASA 1977; penalties chosen
by the cross-validated partial likelihood of Verweij and van Houwelingen, Stat Med 1993.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.splits import stratified_folds
from training.hazard import TimeGrid, accumulate

Array = NDArray[np.float64]

#: Penalties tried, as multiples of the number of events (and of columns a patient, above 1).
PENALTIES = tuple(float(x) for x in np.geomspace(3.0, 0.003, 9))


@dataclass(frozen=True)
class RiskSets:
    """Who was at risk at each event: what the partial likelihood needs of time and event."""

    time: Array
    """(n,) follow-up."""
    event: NDArray[np.bool_]
    """(n,) whether the event was seen."""

    @cached_property
    def order(self) -> NDArray[np.int_]:
        """Patients by falling time, so that a risk set is a run from the start (n,)."""
        return np.argsort(-self.time, kind="stable")

    @cached_property
    def _ties(self) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_], Array]:
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


@dataclass(frozen=True)
class Anchor:
    """A fitted ridge Cox with a piecewise-constant baseline."""

    beta: Array
    """(p,) log-hazard ratio for one unit of each design column."""
    centre: float
    """Mean of ``X @ beta`` over the training patients, taken off ``log_hz``."""
    baseline: Array
    """(j + 1,) cumulative hazard at the grid's edges for ``log_hz`` = 0."""
    penalty: float
    """The chosen penalty, as a multiple of the number of events (see ``PENALTIES``)."""
    ratio: float
    """How many times more the markers are penalised than the first modality."""

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Anchor:
        """Rebuild from :meth:`to_json`."""
        arrays = {k: np.array(raw[k], dtype=float) for k in ("beta", "baseline")}
        return cls(**{**raw, **arrays})

    def log_hz(self, X: Array) -> Array:
        """Log-hazard ratio (n,) against the average training patient."""
        return X @ self.beta - self.centre

    def cumulative(self, X: Array) -> Array:
        """Cumulative hazard (n, j + 1) at the grid's edges."""
        return np.exp(np.clip(self.log_hz(X), -30, 30))[:, None] * self.baseline


def fit_anchor(
    X: Array,
    time: Array,
    event: NDArray[np.bool_],
    grid: TimeGrid,
    markers: NDArray[np.bool_],
    *,
    ratios: tuple[float, ...] = (1.0, 4.0),
    penalties: tuple[float, ...] = PENALTIES,
    folds: int = 5,
    seed: int = 0,
) -> Anchor:
    """Choose penalties by inner cross-validation, then fit on all patients given.

    Args:
        X: (n, p) linear design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        grid: bins of the baseline hazard.
        markers: (p,) columns that may be penalised more than the others.
        ratios: how many times more, each tried.
        penalties: tried, as multiples like ``PENALTIES``, from strong to weak.
        folds: of the inner cross-validation, fewer where events are few.
        seed: of the inner folds.
    """
    ratios = ratios if markers.any() and not markers.all() else (1.0,)
    # Many standardised columns vary more together than a few: their penalty grows with them.
    unit = float(max(event.sum(), 1)) * max(1.0, X.shape[1] / max(len(X), 1))
    candidates = [(p, r) for r in ratios for p in penalties]
    chosen = candidates[0]
    if len(candidates) > 1 and event.sum() >= 4:
        score = _cross_validated(X, time, event, markers, ratios, penalties, folds, seed, unit)
        chosen = candidates[int(np.argmax(score))]
    penalty, ratio = chosen
    weights = unit * penalty * np.where(markers, ratio, 1.0)
    beta = fit_cox(X, RiskSets(time, event), weights)
    log_hz = X @ beta
    centre = float(log_hz.mean())
    return Anchor(beta, centre, baseline_hazard(log_hz - centre, time, event, grid), penalty, ratio)


def baseline_hazard(log_hz: Array, time: Array, event: NDArray[np.bool_], grid: TimeGrid) -> Array:
    """Cumulative baseline hazard (j + 1,): events over weighted time at risk, bin by bin."""
    at_risk = np.exp(np.clip(log_hz, -30, 30)) @ grid.exposure(time)
    happened = grid.events(time, event).sum(axis=0)
    return accumulate(happened / np.maximum(at_risk, 1e-9))


def _cross_validated(
    X: Array,
    time: Array,
    event: NDArray[np.bool_],
    markers: NDArray[np.bool_],
    ratios: tuple[float, ...],
    penalties: tuple[float, ...],
    folds: int,
    seed: int,
    unit: float,
) -> Array:
    """Cross-validated log partial likelihood of each (ratio, penalty), flat."""
    folds = int(min(folds, event.sum() // 2))
    fold = stratified_folds(event, time, folds, seed)
    whole = RiskSets(time, event)
    score = np.zeros((len(ratios), len(penalties)))
    for k in range(folds):
        inside = fold != k
        part = RiskSets(time[inside], event[inside])
        for i, ratio in enumerate(ratios):
            relative = unit * inside.mean() * np.where(markers, ratio, 1.0)
            for j, beta in enumerate(ridge_path(X[inside], part, relative, penalties)):
                log_hz = X @ beta
                score[i, j] += whole.value(log_hz) - part.value(log_hz[inside])
    return score.ravel()
