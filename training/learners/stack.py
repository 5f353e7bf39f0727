"""Combine the learners and calibrate: weights, slope and level from out-of-fold predictions.

The stacked survival is the weighted mean of the learners' survival curves: a mean of curves is one
again, and its Brier score is never worse than the mean of theirs (Wolpert, "Stacked
generalization", Neural Networks 1992; Wey, Connett and Rudser, "Combining parametric,
semi-parametric, and non-parametric survival models with stacked survival models", Biostatistics
2015). A mean of survival curves is a mixture, so its weights are found by expectation maximisation
of the out-of-fold likelihood. That is noisy on few events, and equal weights are hard to beat
(Clemen, "Combining forecasts", Int J Forecast 1989): they, slope 1 and level 0 are the priors,
which give way to many patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.config import StackConfig
from accomplice.training.estimators.hazard import TimeGrid, from_survival
from accomplice.training.learners.registry import stack_order

SLOPES = np.linspace(0.5, 1.6, 45)
#: Steps of expectation maximisation, and the change of a weight that ends them.
STEPS, SETTLED = 1000, 1e-6


@dataclass(frozen=True)
class Stack:
    """Weights and calibration that combine the learners' cumulative hazards."""

    weights: Array
    """(l,) the learners' parts, which sum to 1."""
    slope: float
    """Slope of the log cumulative hazard around its mean; below 1 shrinks differences."""
    level: float | Array
    """Added to the log cumulative hazard of all patients; (j,) where it differs between bins."""
    centre: Array
    """(j,) mean log cumulative hazard at the end of each bin."""

    def cumulative(self, learners: Array) -> Array:
        """Stacked cumulative hazard at the edges (n, j + 1) from the learners' (l, n, j + 1)."""
        return self._calibrated(_log_ends(learners, self.weights))

    def calibrated(self, survived: Array) -> Array:
        """Cumulative hazard (…, j + 1) from the learners' weighted mean survival (…, j + 1)."""
        return self._calibrated(_log_hazard(survived[..., 1:]))

    def _calibrated(self, log_ends: Array) -> Array:
        """Stretch and move the pooled log cumulative hazard (n, j); see :meth:`cumulative`."""
        ends = np.exp(self.centre + self.slope * (log_ends - self.centre) + self.level)
        # With a slope above 1 a steep curve could fall and rise again; survival must never rise.
        found = np.zeros((*ends.shape[:-1], ends.shape[-1] + 1))
        np.maximum.accumulate(ends, axis=-1, out=found[..., 1:])
        return found

    def weight(self, learner: str) -> float:
        """Return the part of a learner by its name in the registry, the network's among them."""
        return float(self.weights[stack_order().index(learner)])

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Stack:
        """Rebuild from :meth:`to_json`."""
        arrays = {k: np.array(v, dtype=float) for k, v in raw.items() if isinstance(v, list)}
        return cls(**{**raw, **arrays})


def fit_stack(
    learners: Array, time: Array, event: Bools, grid: TimeGrid, config: StackConfig
) -> Stack:
    """Fit weights, slope and level.

    Args:
        learners: (l, n, j + 1) out-of-fold cumulative hazard of each learner at the edges.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        grid: the j bins.
        config: the priors.
    """
    at_risk, happened = grid.exposure(time), grid.events(time, event)

    def likelihood(cumulative: Array) -> Array:
        gathered = np.diff(cumulative, axis=-1)
        seen = (happened * np.log(np.maximum(gathered, 1e-10))).sum(axis=-1)
        return np.asarray(seen - (at_risk * gathered).sum(axis=-1))

    weights = _mixture(np.stack([likelihood(learner) for learner in learners]), config.equal)
    pooled = _log_ends(learners, weights)
    centre = pooled.mean(axis=0)
    precision, events = 1 / config.level_sd**2, float(event.sum())
    found = Stack(weights, 1.0, 0.0, centre), -np.inf
    for slope in SLOPES:
        flat = Stack(weights, float(slope), 0.0, centre)
        cumulative = flat._calibrated(pooled)
        expected = float(grid.at_own(cumulative, time).sum())
        # Events against expected events, with the prior as that many of each beforehand.
        level = float(np.log((events + precision) / (expected + precision)))
        score = float(likelihood(cumulative * np.exp(level)).sum())
        score -= (slope - 1) ** 2 / (2 * config.slope_sd**2) + level**2 * precision / 2
        if score > found[1]:
            found = Stack(weights, float(slope), level, centre), score
    return found[0]


def _mixture(log_density: Array, equal: float) -> Array:
    """Weights (l,) of a mixture from its parts' log densities (l, n), ``equal`` patients shared."""
    density = np.exp(log_density - log_density.max(axis=0))
    parts, n = density.shape
    weights = np.full(parts, 1 / parts)
    for _ in range(STEPS):
        given = weights[:, None] * density
        given /= np.maximum(given.sum(axis=0), 1e-300)
        fresh = (given.sum(axis=1) + equal / parts) / (n + equal)
        change = np.abs(fresh - weights).max()
        weights = fresh
        if change < SETTLED:
            break
    return weights


def weighted(weights: Array, curves: Array) -> Array:
    """Weighted sum (…, n, j + 1) of curves (…, l, n, j + 1)."""
    # Not as a product, by which patients alike would differ in the last digit by their places.
    return np.asarray((weights[:, None, None] * curves).sum(axis=-3))


def _log_ends(learners: Array, weights: Array) -> Array:
    """Log cumulative hazard of the mean survival at the end of each bin (n, j)."""
    return _log_hazard(weighted(weights, np.exp(-learners[..., 1:])))


def _log_hazard(survived: Array) -> Array:
    return np.asarray(np.log(np.maximum(from_survival(survived), 1e-12)))
