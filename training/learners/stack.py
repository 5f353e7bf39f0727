"""Combination and calibration of the learners, fitted to their out-of-fold predictions.

The stacked survival is the weighted mean of the learners' survival curves. It is a survival curve
again, and its Brier score is never worse than the weighted mean of theirs (Wolpert, "Stacked
generalization", Neural Networks 1992; Wey, Connett and Rudser, "Combining parametric,
semi-parametric, and non-parametric survival models with stacked survival models", Biostatistics
2015). A mean of survival curves is a mixture, so its weights are estimated by expectation
maximisation of the out-of-fold likelihood. With few events they would be noisy, and equal weights
are hard to beat (Clemen, "Combining forecasts", Int J Forecast 1989): so the priors are equal
weights, slope 1 and level 0, whose influence falls with the number of patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.config import StackConfig
from accomplice.training.estimators.hazard import TimeGrid, from_survival

#: Candidate slopes, of which that with the highest penalised likelihood is taken.
SLOPES = np.linspace(0.5, 1.6, 45)
#: Maximum number of steps of expectation maximisation.
STEPS = 1000
#: Maximum number of patients to whom a stack is fitted; of more, a random sample. The standard
#: error of the slope is then below 0.02, far less than slopes of two cohorts differ.
MOST = 20_000
#: Seed of the sample.
SEED = 11
#: Largest change of a weight in one step at which it has converged.
CONVERGED = 1e-6


@dataclass(frozen=True)
class Stack:
    """Weights and calibration that combine the learners' cumulative hazards."""

    weights: Array
    """(l,) weights of the learners, with sum 1, in the order of the learners."""
    slope: float
    """Slope of the log cumulative hazard around its mean; below 1 shrinks differences."""
    level: float | Array
    """Shift of the log cumulative hazard of all patients; (j,) where it differs between bins."""
    centre: Array
    """(j,) mean log cumulative hazard at the end of each bin."""

    def cumulative(self, learners: Array) -> Array:
        """Return the stacked, calibrated cumulative hazard (n, j + 1) at the edges.

        At the end of a bin it is exp(centre + slope · (log H − centre) + level), where H is the
        cumulative hazard of the learners' weighted mean survival, or its value at the bin before if
        that is higher.

        Args:
            learners: (l, n, j + 1) cumulative hazards of the learners.
        """
        return self._calibrated(_log_ends(learners, self.weights))

    def calibrated(self, survived: Array) -> Array:
        """Return the calibrated cumulative hazard (…, j + 1); see :meth:`cumulative`.

        Args:
            survived: (…, j + 1) weighted mean of the learners' survival.
        """
        return self._calibrated(_log_hazard(survived[..., 1:]))

    def _calibrated(self, log_ends: Array) -> Array:
        """Calibrate the stacked log cumulative hazard (…, j) at the end of each bin."""
        ends = np.exp(self.centre + self.slope * (log_ends - self.centre) + self.level)
        # With a slope above 1 the cumulative hazard could fall between bins: it must never fall.
        found = np.zeros((*ends.shape[:-1], ends.shape[-1] + 1))
        np.maximum.accumulate(ends, axis=-1, out=found[..., 1:])
        return found

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
    """Fit weights, slope and level by penalised likelihood.

    The priors weigh as much beside a sample of :data:`MOST` patients as beside all of them.

    Args:
        learners: (l, n, j + 1) out-of-fold cumulative hazard of each learner at the edges.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        grid: the j time bins.
        config: strengths of the priors.
    """
    if len(time) > MOST:
        rows = np.sort(np.random.default_rng(SEED).permutation(len(time))[:MOST])
        share = MOST / len(time)
        learners, time, event = learners[:, rows], time[rows], event[rows]
        wider = {k: getattr(config, k) / np.sqrt(share) for k in ("slope_sd", "level_sd")}
        config = config.model_copy(update={**wider, "equal": config.equal * share})
    at_risk, happened = grid.exposure(time), grid.events(time, event)

    def likelihood(cumulative: Array) -> Array:
        hazard = np.diff(cumulative, axis=-1)
        at_event = (happened * np.log(np.maximum(hazard, 1e-10))).sum(axis=-1)
        return np.asarray(at_event - (at_risk * hazard).sum(axis=-1))

    weights = _mixture(np.stack([likelihood(learner) for learner in learners]), config.equal)
    pooled = _log_ends(learners, weights)
    centre = pooled.mean(axis=0)
    precision, events = 1 / config.level_sd**2, float(event.sum())
    found = Stack(weights, 1.0, 0.0, centre), -np.inf
    for slope in SLOPES:
        flat = Stack(weights, float(slope), 0.0, centre)
        cumulative = flat._calibrated(pooled)
        expected = float(grid.at_own(cumulative, time).sum())
        # Log ratio of observed to expected events; the prior adds ``precision`` events to each.
        level = float(np.log((events + precision) / (expected + precision)))
        score = float(likelihood(cumulative * np.exp(level)).sum())
        score -= (slope - 1) ** 2 / (2 * config.slope_sd**2) + level**2 * precision / 2
        if score > found[1]:
            found = Stack(weights, float(slope), level, centre), score
    return found[0]


def _mixture(log_density: Array, equal: float) -> Array:
    """Return the weights (l,) of a mixture by expectation maximisation.

    Args:
        log_density: (l, n) log density of each patient's outcome under each learner.
        equal: strength of the prior of equal weights, as a number of patients.
    """
    density = np.exp(log_density - log_density.max(axis=0))
    learners, n = density.shape
    weights = np.full(learners, 1 / learners)
    for _ in range(STEPS):
        posterior = weights[:, None] * density
        posterior /= np.maximum(posterior.sum(axis=0), 1e-300)
        updated = (posterior.sum(axis=1) + equal / learners) / (n + equal)
        change = np.abs(updated - weights).max()
        weights = updated
        if change < CONVERGED:
            break
    return weights


def weighted(weights: Array, curves: Array) -> Array:
    """Return the weighted sum (…, n, j) of curves (…, l, n, j), for weights (l,).

    Args:
        weights: (l,) weights of the learners.
        curves: (…, l, n, j) their curves.
    """
    # No matrix product: its last digit would depend on a patient's position among the others.
    return np.asarray((weights[:, None, None] * curves).sum(axis=-3))


def _log_ends(learners: Array, weights: Array) -> Array:
    """Return the log cumulative hazard (n, j) of the mean survival at the end of each bin."""
    return _log_hazard(weighted(weights, np.exp(-learners[..., 1:])))


def _log_hazard(survived: Array) -> Array:
    """Return log(max(−log S, 1e-12)), elementwise."""
    return np.asarray(np.log(np.maximum(from_survival(survived), 1e-12)))
