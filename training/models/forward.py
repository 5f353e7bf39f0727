"""Batched forward pass: every learner of every fold in one call each.

An ensemble of five folds, each with a linear model, networks, a forest and boosted trees, takes
thousands of small array operations for one patient when its parts run one after another. Here each
step runs for all folds at once: one preprocessing, one pass of the network with its weights laid
out beforehand, one call of each learner. Patients come in blocks that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.data.preprocessing.batched_preprocessor import BatchedInputs, BatchedPreprocessor
from accomplice.data.preprocessing.preprocessor import Inputs
from accomplice.training.estimators.hazard import TimeGrid, bin_hazard, survival
from accomplice.training.learners.learner import Batched
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.network.inputs import NetInputs
from accomplice.training.learners.registry import LEARNERS, NET, stack_order
from accomplice.training.models.fold_model import FoldModel

#: Patients predicted at once.
BLOCK = 1024


class LearnerCurves(NamedTuple):
    """Survival of n patients at the common grid's edges, by every learner of every fold."""

    learners: Array
    """(k, l, n, j + 1) in the order of the stack's weights; the network's is its members' mean."""
    members: NDArray[np.floating]
    """(k, members, n, j + 1) of the network's members."""


@dataclass(frozen=True)
class BatchedEnsemble:
    """The folds of an ensemble, laid out to run at once."""

    folds: Sequence[FoldModel]
    net: Networks
    grid: TimeGrid
    """Common bins, at whose edges curves are read."""
    precision: type[np.floating] = np.float32
    """Precision of the members' curves; single, as in the network's products, is faster."""

    def by_fold(self) -> list[BatchedEnsemble]:
        """Return the models of each fold by themselves, for out-of-fold predictions.

        They are in double precision, since the stack is fitted on them.
        """
        return [
            BatchedEnsemble((fold,), net, self.grid, np.float64)
            for fold, net in zip(self.folds, self.net.by_fold(), strict=True)
        ]

    def forward(self, values: Array, centre: NDArray[np.str_] | None) -> LearnerCurves:
        """Run every learner of every fold on coded features (n, p)."""
        if not len(values):  # the curves of no patients have shapes too
            one = self._block(np.full((1, values.shape[1]), np.nan), None)
            return LearnerCurves(one.learners[:, :, :0], one.members[:, :, :0])
        parts = []
        for start in range(0, len(values), BLOCK):
            rows = slice(start, start + BLOCK)
            parts.append(self._block(values[rows], None if centre is None else centre[rows]))
        if len(parts) == 1:
            return parts[0]
        return LearnerCurves(
            np.concatenate([part.learners for part in parts], axis=2),
            np.concatenate([part.members for part in parts], axis=2),
        )

    def of_inputs(self, inputs: Inputs) -> LearnerCurves:
        """Run an ensemble of one fold on n patients' inputs by the fold's own preprocessor."""
        embedded = inputs.embedded.T[None].astype(np.float32)
        return self._run(BatchedInputs(inputs.linear[None], embedded, inputs.present.T))

    def _block(self, values: Array, centre: NDArray[np.str_] | None) -> LearnerCurves:
        return self._run(self._preprocessors.transform(values, centre))

    def _run(self, inputs: BatchedInputs) -> LearnerCurves:
        # Each fold has bins of its own: its curves are read off at the common ones.
        at_edges, in_bins = self._readings
        # Patient by patient, so that learners need not move it to see all folds' columns in a row.
        linear = np.ascontiguousarray(inputs.linear.transpose(1, 0, 2)).transpose(1, 0, 2)
        folds, n, _ = linear.shape
        hazard = bin_hazard(self._logits(inputs))
        m, bins = hazard.shape[1], hazard.shape[3]
        cumulative = hazard.reshape(folds, m * n, bins) @ in_bins
        members = np.exp(-cumulative.astype(self.precision)).reshape(folds, m, n, -1)
        places, runs = self._learners
        own = np.empty((folds, len(runs), n, at_edges.shape[1]))
        for i, run in enumerate(runs):
            own[:, i] = run(linear)
        others = survival(own.reshape(folds, len(runs) * n, -1) @ at_edges)
        learners = np.empty((folds, len(runs) + 1, n, others.shape[-1]))
        learners[:, places] = others.reshape(folds, len(runs), n, -1)
        members.mean(axis=1, dtype=float, out=learners[:, self._net_place])
        return LearnerCurves(learners, members)

    def _logits(self, inputs: BatchedInputs) -> NDArray[np.float32]:
        """Log-odds of the hazards (k, members, n, bins)."""
        x = self._net_inputs.take(inputs.linear, inputs.embedded)
        return self.net.logits(x, inputs.present.astype(np.float32)[None])

    @cached_property
    def _preprocessors(self) -> BatchedPreprocessor:
        return BatchedPreprocessor(tuple(fold.preprocessor for fold in self.folds))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The learners in the order of the stack's weights."""
        return stack_order(self.folds[0].learners)

    @cached_property
    def _net_place(self) -> int:
        return self.names.index(NET)

    @cached_property
    def _learners(self) -> tuple[Ints, list[Batched]]:
        """Places of the learners beside the network in the stack's order, and their batches."""
        columns = len(self.folds[0].preprocessor.linear_columns())
        names = self.folds[0].learners
        runs = [LEARNERS[n].batched([f.learners[n] for f in self.folds], columns) for n in names]
        return np.array([self.names.index(name) for name in names]), runs

    @cached_property
    def _net_inputs(self) -> NetInputs:
        folds = self.folds
        return NetInputs.of([f.preprocessor for f in folds], [f.anchor.beta for f in folds])

    @cached_property
    def _readings(self) -> tuple[Array, Array]:
        """Matrices that curves are multiplied by to be read at the common edges (j + 1,).

        Of cumulative hazards (k, …, w + 1) at the folds' own edges, w the most bins of any; and
        (k, …, i) of the hazards in the bins of the network. A fold's curve ends flat.
        """
        edges, bins = self.grid.edges, self.net.shape.bins
        found = np.zeros((len(self.folds), bins + 1, len(edges)))
        for own, fold in zip(found, self.folds, strict=True):
            own[: fold.grid.bins + 1] = fold.grid.readings(np.minimum(edges, fold.grid.horizon))
        most = max(fold.grid.bins for fold in self.folds)
        # A bin adds to every edge after it.
        in_bins = np.flip(np.cumsum(np.flip(found, axis=1), axis=1), axis=1)[:, 1:].copy()
        return found[:, : most + 1].copy(), in_bins
