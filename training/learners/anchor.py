"""The anchor: a Cox model under a ridge or elastic net, chosen by inner cross-validation.

The criterion is the cross-validated partial likelihood (Verweij and van Houwelingen,
"Cross-validation in survival analysis", Stat Med 1993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.budget import Budget
from accomplice.training.config import Config
from accomplice.training.estimators.cox import RiskSets, baseline_hazard, fit_cox, ridge_path
from accomplice.training.estimators.hazard import TimeGrid, hazard_ratio
from accomplice.training.learners.elastic_net import elastic_net_path, null_penalty
from accomplice.training.learners.learner import Batched, Learner, TrainingData, on_most_bins

#: Penalties tried, as multiples of e · max(1, p / n), for e events among n patients and p columns.
PENALTIES = tuple(float(x) for x in np.geomspace(3.0, 0.003, 9))
#: Number of penalties tried with an elastic net.
SPARSE_PENALTIES = 16
#: Number of penalties after the best one that are tried with an elastic net; weak ones take long.
PATIENCE = 3
#: Maximum number of patients on whom penalties are compared. With some thousand events the data
#: outweigh the prior: all but the strongest penalties give the same model, whichever is chosen.
MOST_COMPARED = 5000
#: Minimum number of events among them, if there are as many.
ENOUGH_EVENTS = 1000


@dataclass(frozen=True)
class Anchor(Learner):
    """A fitted penalised Cox model with a piecewise-constant baseline hazard."""

    beta: Array
    """(p,) log-hazard ratio for one unit of each design column."""
    centre: float
    """Mean of ``X @ beta`` over the training patients, which :meth:`log_hz` subtracts."""
    baseline: Array
    """(j + 1,) baseline cumulative hazard at the grid's edges, of a patient with ``log_hz`` 0."""
    penalty: float
    """Chosen penalty, as a multiple of e · max(1, p / n); see ``PENALTIES``."""
    ratio: float
    """Chosen ratio of the penalty of the markers' columns to that of the first modality."""

    @classmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Anchor:
        """Fit on a fold's training patients; see :func:`fit_anchor`."""
        del budget  # the fit is short, and cannot be stopped early
        return fit_anchor(
            data.X,
            data.time,
            data.event,
            data.grid,
            data.markers,
            mixing=config.anchor.mixing,
            ratios=config.anchor.marker_penalties,
            folds=config.anchor.folds,
            seed=config.seed,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(
        cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> Self:
        """Rebuild from :meth:`to_json`; ``arrays`` is not used."""
        del arrays
        own = {k: np.array(raw[k], dtype=float) for k in ("beta", "baseline")}
        return cls(**{**raw, **own})

    def log_hz(self, X: Array) -> Array:
        """Return log-hazard ratios (n,) against the average training patient, for X (n, p)."""
        return X @ self.beta - self.centre

    def cumulative(self, X: Array) -> Array:
        """Return the cumulative hazard (n, j + 1) at the grid's edges, for X (n, p)."""
        return hazard_ratio(self.log_hz(X))[:, None] * self.baseline

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Return a function that predicts for all folds at once; see :meth:`Learner.batched`."""
        del columns
        beta, centre = np.stack([f.beta for f in fitted]), np.array([f.centre for f in fitted])
        beta, centre = beta[:, None], centre[:, None, None]
        baseline = on_most_bins([f.baseline for f in fitted])[:, None]

        def cumulative(X: Array) -> Array:
            log_hz = (X * beta).sum(axis=2, keepdims=True) - centre
            return hazard_ratio(log_hz) * baseline

        return cumulative


def fit_anchor(
    X: Array,
    time: Array,
    event: Bools,
    grid: TimeGrid,
    markers: Bools,
    *,
    mixing: float = 0.0,
    ratios: tuple[float, ...] = (1.0, 4.0),
    penalties: tuple[float, ...] = PENALTIES,
    folds: int = 5,
    seed: int = 0,
) -> Anchor:
    """Choose penalties by inner cross-validation, then fit on all n patients.

    With fewer than four events the first penalty and the first ratio are taken. Of more than
    :data:`MOST_COMPARED` patients a random sample chooses; its penalty is taken as it is, since
    that of a normal prior does not grow with the patients.

    Args:
        X: (n, p) linear design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        grid: bins of the baseline hazard.
        markers: (p,) whether the column may be penalised more than the others.
        mixing: share of the lasso in the penalty: 0 for a ridge, 1 for a lasso.
        ratios: candidate ratios of the markers' penalty to that of the other columns; if all or no
            columns are markers, the ratio is 1.
        penalties: candidate penalties in the unit of ``PENALTIES``, from strong to weak. With an
            elastic net ``SPARSE_PENALTIES`` in their range, none above that without any column.
        folds: maximum number of inner folds; each holds at least two events.
        seed: seed of the inner folds.
    """
    ratios = ratios if markers.any() and not markers.all() else (1.0,)
    some = _compared(event, seed)
    sample = X[some], time[some], event[some]
    unit = _unit(sample[0], sample[2])
    if mixing:
        penalties = _sparse_penalties(*sample, markers, ratios, penalties, unit, mixing)
    candidates = [(p, r) for r in ratios for p in penalties]
    penalty, ratio = candidates[0]
    start: Array | None = None
    if len(candidates) > 1 and event.sum() >= 4:
        tried = *sample, markers, ratios, penalties, folds, seed, unit
        score = _sparse_cross_validated(*tried, mixing) if mixing else _cross_validated(*tried)
        penalty, ratio = candidates[int(np.argmax(score))]
        if len(sample[0]) < len(X):
            if not mixing:
                weights = unit * penalty * np.where(markers, ratio, 1.0)
                start = fit_cox(sample[0], RiskSets(*sample[1:]), weights)
            penalty *= unit / _unit(X, event)
    weights = _unit(X, event) * penalty * np.where(markers, ratio, 1.0)
    whole = RiskSets(time, event)
    if mixing:
        beta = next(elastic_net_path(X, whole, weights, (1.0,), mixing))
    else:
        beta = fit_cox(X, whole, weights, start)
    log_hz = X @ beta
    centre = float(log_hz.mean())
    return Anchor(beta, centre, baseline_hazard(log_hz - centre, time, event, grid), penalty, ratio)


def _unit(X: Array, event: Bools) -> float:
    """Return the unit of ``PENALTIES`` for a design (n, p) and the events (n,) of its patients."""
    # The variance of a sum of standardised columns grows with their number, so the penalty does.
    events, columns = int(event.sum()), int(X.shape[1])
    return max(events, 1) * max(1.0, columns / max(len(X), 1))


def _compared(event: Bools, seed: int) -> Ints | slice:
    """Return the patients on whom penalties are compared.

    Of many patients they are a random sample, with at least ``ENOUGH_EVENTS`` events where there
    are as many. Where such a sample has more than the cohort's share of events, these are rare, and
    the log-hazard ratios of cases and a sample of the others are those of the cohort (Prentice, "A
    case-cohort design for epidemiologic cohort studies and disease prevention trials", Biometrika
    1986).
    """
    if len(event) <= MOST_COMPARED:
        return slice(None)
    order = np.random.default_rng([seed, 3]).permutation(len(event))
    first = order[event[order]][:ENOUGH_EVENTS]
    rest = order[~np.isin(order, first)]
    some = np.concatenate([first, rest])[:MOST_COMPARED]
    if event[order[:MOST_COMPARED]].sum() >= len(first):
        some = order[:MOST_COMPARED]
    return np.sort(some)


def _cross_validated(
    X: Array,
    time: Array,
    event: Bools,
    markers: Bools,
    ratios: tuple[float, ...],
    penalties: tuple[float, ...],
    folds: int,
    seed: int,
    unit: float,
) -> Array:
    """Return the cross-validated log partial likelihood (ratios * penalties,), ratio by ratio.

    It is the sum over folds of the log partial likelihood of all patients less that of the patients
    outside the fold, on whom the coefficients are fitted.
    """
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


def _sparse_penalties(
    X: Array,
    time: Array,
    event: Bools,
    markers: Bools,
    ratios: tuple[float, ...],
    penalties: tuple[float, ...],
    unit: float,
    mixing: float,
) -> tuple[float, ...]:
    """Return the penalties tried with an elastic net, from strong to weak.

    The strongest is that of ``penalties``, or the least that leaves out all columns, if lower.
    """
    risk_sets = RiskSets(time, event)
    weights = [unit * np.where(markers, ratio, 1.0) for ratio in ratios]
    none = max(null_penalty(X, risk_sets, weight, mixing) for weight in weights)
    strong, weak = max(penalties), min(penalties)
    found = np.geomspace(max(min(strong, none), weak), weak, SPARSE_PENALTIES)
    return tuple(float(x) for x in found)


def _sparse_cross_validated(
    X: Array,
    time: Array,
    event: Bools,
    markers: Bools,
    ratios: tuple[float, ...],
    penalties: tuple[float, ...],
    folds: int,
    seed: int,
    unit: float,
    mixing: float,
) -> Array:
    """Return what :func:`_cross_validated` does with an elastic net.

    A ratio's weak penalties, ``PATIENCE`` after the best and later, are not tried: -inf.
    """
    folds = int(min(folds, event.sum() // 2))
    fold = stratified_folds(event, time, folds, seed)
    whole = RiskSets(time, event)
    parts = [(fold != k, RiskSets(time[fold != k], event[fold != k])) for k in range(folds)]
    score = np.full((len(ratios), len(penalties)), -np.inf)
    for own, ratio in zip(score, ratios, strict=True):
        weight = unit * np.where(markers, ratio, 1.0)
        paths = [
            elastic_net_path(X[inside], part, inside.mean() * weight, penalties, mixing)
            for inside, part in parts
        ]
        for j, betas in enumerate(zip(*paths, strict=True)):
            held_out = 0.0
            for (inside, part), beta in zip(parts, betas, strict=True):
                log_hz = X @ beta
                held_out += whole.value(log_hz) - part.value(log_hz[inside])
            own[j] = held_out
            if j - own.argmax() >= PATIENCE:
                break
    return score.ravel()
