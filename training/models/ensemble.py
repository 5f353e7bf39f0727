"""The fitted model: each fold's learners, their survival curves stacked into one.

This module needs no torch, so that a bundle predicts where none is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.training.estimators.hazard import TimeGrid, from_survival
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.registry import NET
from accomplice.training.learners.stack import Stack, weighted
from accomplice.training.models.fold_model import FoldModel
from accomplice.training.models.forward import BatchedEnsemble, LearnerCurves

#: Patients for whom baselines predict at a time.
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
        """Return the cumulative hazard (n, j + 1) at the common grid's edges.

        The folds' survival curves are averaged learner by learner, then stacked.

        Args:
            values: (n, p) coded features without the treatment; NaN is missing.
            centre: (n,) hospital; None where no hospital is known.
        """
        return self.pooled(self.forward(values, centre))

    def by_fold(self, values: Array, centre: NDArray[np.str_] | None = None) -> tuple[Array, Array]:
        """Return :meth:`cumulative`, and that of each fold's models alone (k, n, j + 1).

        Args:
            values: (n, p) coded features without the treatment; NaN is missing.
            centre: (n,) hospital; None where no hospital is known.
        """
        forward = self.forward(values, centre)
        alone = self.stack.calibrated(weighted(self.stack.weights, forward.learners))
        return self.pooled(forward), alone

    def learners(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return each learner's cumulative hazard (l, n, j + 1), from the folds' mean survival.

        Args:
            values: (n, p) coded features without the treatment; NaN is missing.
            centre: (n,) hospital; None where no hospital is known.
        """
        mean = self.forward(values, centre).learners.mean(axis=0)
        return from_survival(mean)

    def replicates(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the stacked cumulative hazard of each fold and member (k * members, n, j + 1).

        Their spread shows how far the answer depends on the patients trained on. Members are
        those of the network; a fold's other learners go with each of them.

        Args:
            values: (n, p) coded features without the treatment; NaN is missing.
            centre: (n,) hospital; None where no hospital is known.
        """
        forward = self.forward(values, centre)
        weights, net = self.stack.weights.copy(), self.names.index(NET)
        own, weights[net] = weights[net], 0.0
        others = weighted(weights, forward.learners)
        curves = forward.members.astype(np.float32, copy=False) * np.float32(own)
        curves += others.astype(np.float32)[:, None]
        survived = curves.reshape(-1, *curves.shape[2:])
        return self.stack.calibrated(survived.astype(float))

    def forward(
        self,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        read: Callable[[Array], Array] | None = None,
    ) -> LearnerCurves:
        """Run every learner of every fold; see :meth:`BatchedEnsemble.forward`.

        Args:
            values: (n, p) coded features without the treatment; NaN is missing.
            centre: (n,) hospital; None where no hospital is known.
            read: function from the first fold's linear design (n, d) to terms (n, q); None: no
                terms.
        """
        return self.batched.forward(values, centre, read)

    @property
    def names(self) -> tuple[str, ...]:
        """The learners in the order of the stack's weights."""
        return self.batched.names

    @property
    def weights(self) -> dict[str, float]:
        """Learner -> its weight in the stack."""
        return dict(zip(self.names, self.stack.weights.tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields alone: the layouts for runs are functions, and are made again."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def alone(self) -> list[BatchedEnsemble]:
        """The models of each fold by themselves, for out-of-fold predictions."""
        return self.batched.by_fold()

    @cached_property
    def batched(self) -> BatchedEnsemble:
        """All folds, laid out to run at once."""
        return BatchedEnsemble(self.folds, self.net, self.grid)

    def pooled(self, forward: LearnerCurves) -> Array:
        """Return :meth:`cumulative` (n, j + 1) from the learners' survival."""
        by_fold = weighted(self.stack.weights, forward.learners)
        return self.stack.calibrated(by_fold.sum(axis=0) / len(by_fold))


def mean_curve(curves: Array) -> Array:
    """Return the cumulative hazard (…) of the mean survival of c cumulative hazards (c, …)."""
    return from_survival(np.exp(-curves).mean(axis=0))


def on_grid(own: TimeGrid, cumulative: Array, grid: TimeGrid) -> Array:
    """Return a cumulative hazard (…, j + 1) at another grid's edges from that at its own edges.

    A fold may have followed its patients less long than the cohort: its curve ends flat.

    Args:
        own: time grid of the curve.
        cumulative: (…, i + 1) cumulative hazard at its i + 1 edges.
        grid: the j bins at whose edges it is read.
    """
    return own.at(cumulative, np.minimum(grid.edges, own.horizon))
