"""The fitted model: each fold's learners, their survival curves stacked into one.

Needs no torch, so that a bundle predicts where none is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Singles
from accomplice.data.preprocessing.preprocessor import Inputs
from accomplice.training.estimators.hazard import TimeGrid, accumulate, gathered
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.stack import LEARNERS, Stack, weighted
from accomplice.training.models.fold_model import FoldModel
from accomplice.training.models.forward import BatchedEnsemble, LearnerCurves

#: Patients predicted at a time.
CHUNK = 8192


@dataclass(frozen=True)
class Ensemble:
    """All fold models, their network and the stack."""

    folds: tuple[FoldModel, ...]
    net: Networks
    grid: TimeGrid
    """Common bins of the stacked curve."""
    stack: Stack

    def cumulative(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Cumulative hazard (n, j + 1) at the common grid's edges for coded features (n, p).

        The folds' survival curves are averaged learner by learner, then stacked.
        """
        return self.pooled(self.forward(values, centre))

    def by_fold(self, values: Array, centre: NDArray[np.str_] | None = None) -> tuple[Array, Array]:
        """Return :meth:`cumulative` and what each fold's models say alone (k, n, j + 1)."""
        forward = self.forward(values, centre)
        alone = self.stack.calibrated(weighted(self.stack.weights, forward.learners))
        return self.pooled(forward), alone

    def learners(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Cumulative hazard (l, n, j + 1) of each learner: the mean of the folds' survival."""
        mean = self.forward(values, centre).learners.mean(axis=0)
        return np.asarray(-np.log(np.maximum(mean, 1e-300)))

    def replicates(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Stacked cumulative hazard of each fold and member (k * members, n, j + 1).

        Their spread shows how far the answer hangs on which patients were trained on. Members are
        those of the network; a fold's other learners go with each of them.
        """
        return self.each(self.forward(values, centre))

    def forward(self, values: Array, centre: NDArray[np.str_] | None = None) -> LearnerCurves:
        """Run every learner of every fold on coded features (n, p)."""
        return self._batched.forward(values, centre)

    @cached_property
    def _batched(self) -> BatchedEnsemble:
        return BatchedEnsemble(self.folds, self.net, self.grid)

    def pooled(self, forward: LearnerCurves) -> Array:
        """Cumulative hazard (n, j + 1) that answers; see :meth:`cumulative`."""
        by_fold = weighted(self.stack.weights, forward.learners)
        return self.stack.calibrated(by_fold.sum(axis=0) / len(by_fold))

    def each(self, forward: LearnerCurves) -> Array:
        """Cumulative hazards (k * members, n, j + 1); see :meth:`replicates`."""
        return self.stack.calibrated(self._each(forward).astype(float))

    def band(self, forward: LearnerCurves, part: float) -> Array:
        """Cumulative hazards (2, n, j + 1) between which a part of :meth:`each` lies.

        Edge by edge, the lower one first. Calibration keeps the order, so that it is done only to
        those next to the ends.
        """
        ranked = np.sort(self._each(forward), axis=0)
        last = len(ranked) - 1
        # numpy's own quantile takes six times as long for the few members of an ensemble.
        place = (1 - part) / 2 * last
        rank, way = int(place), place % 1
        inner = min(rank + 1, last)
        # What survives most has the lowest hazard.
        ends = [last - rank, rank, last - inner, inner]
        found = self.stack.calibrated(ranked[ends].astype(float))
        return np.asarray((1 - way) * found[:2] + way * found[2:])

    def _each(self, forward: LearnerCurves) -> Singles:
        """Survival (k * members, n, j + 1) that :meth:`each` calibrates."""
        weights, net = self.stack.weights.copy(), LEARNERS.index("net")
        own, weights[net] = weights[net], 0.0
        others = weighted(weights, forward.learners)
        curves = forward.members * np.float32(own)
        curves += others.astype(np.float32)[:, None]
        return curves.reshape(-1, *curves.shape[2:])


def mean_curve(curves: Array) -> Array:
    """Cumulative hazard (…) whose survival is the mean of the curves' (c, …) survivals."""
    return np.asarray(-np.log(np.maximum(np.exp(-curves).mean(axis=0), 1e-300)))


def net_inputs(folds: Sequence[FoldModel], inputs: Sequence[Inputs]) -> tuple[Singles, Singles]:
    """Stack each fold's inputs of its n patients, as float32.

    Returns:
        x (k, linear + embedded, n) and present (k, modalities, n).
    """
    n, width = len(inputs[0].linear), len(folds[0].net_columns[0])
    x = np.empty((len(folds), width, n), np.float32)
    for k, (fold, made) in enumerate(zip(folds, inputs, strict=True)):
        order, scale = fold.net_columns
        linear = made.linear.shape[1]
        embedded = order >= linear
        x[k, ~embedded] = made.linear.T[order[~embedded]]
        x[k, embedded] = made.embedded.T[order[embedded] - linear]
        x[k] *= scale[:, None].astype(np.float32)
    present = np.stack([made.present.T for made in inputs]).astype(np.float32)
    return x, present


def net_logits(net: Networks, folds: Sequence[FoldModel], inputs: Sequence[Inputs]) -> Singles:
    """Log-odds of the hazards (k, members, n, bins) of n patients, by each fold's inputs."""
    return net.logits(*net_inputs(folds, inputs))


def learner_curves(fold: FoldModel, inputs: Inputs, logits: Singles, grid: TimeGrid) -> Array:
    """Cumulative hazards (l, n, j + 1) of a fold's learners at another grid's edges.

    Args:
        fold: the fold's models.
        inputs: of n patients, by the fold's own preprocessing.
        logits: (members, n, bins) of the fold's networks.
        grid: with the j bins wanted.
    """
    anchor, forest, boosting = other_curves(fold, inputs, grid)
    return np.stack([anchor, mean_curve(member_curves(fold, logits, grid)), forest, boosting])


def other_curves(fold: FoldModel, inputs: Inputs, grid: TimeGrid) -> list[Array]:
    """Cumulative hazards (n, j + 1) of a fold's anchor, forest and boosting on another grid."""
    found = (m.cumulative(inputs.linear) for m in (fold.anchor, fold.forest, fold.boosting))
    return [on_grid(fold.grid, curve, grid) for curve in found]


def member_curves(fold: FoldModel, logits: Singles, grid: TimeGrid) -> Array:
    """Cumulative hazards (members, n, j + 1) of a fold's members from (members, n, bins)."""
    used = logits[..., : fold.grid.bins]
    return on_grid(fold.grid, accumulate(gathered(used)), grid)


def on_grid(own: TimeGrid, cumulative: Array, grid: TimeGrid) -> Array:
    """Cumulative hazard (…, j + 1) at another grid's edges from its values at ``own`` edges.

    A fold may have followed its patients less long than the cohort: its curve ends flat.
    """
    return own.at(cumulative, np.minimum(grid.edges, own.horizon))
