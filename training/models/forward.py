"""Batched forward pass: each learner predicts for all folds in one call.

An ensemble of five folds, each with a linear model, networks, a forest and boosted trees, takes
thousands of small array operations for one patient when its parts run one after another. Here each
step runs for all folds at once: one preprocessing, one pass of the network with its weights laid
out beforehand, one call of each learner. Patients are predicted in blocks that fit into the cache.

Shapes: k folds, l learners, n patients, j bins of the common grid, p features, d columns of the
linear design.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """(k, l, n, j + 1) survival by each learner, in the order of the stack's weights.

    The network's is the mean of its members'.
    """
    members: NDArray[np.floating]
    """(k, members, n, j + 1) survival by each member of the network."""
    terms: Array | None = None
    """(n, q) terms read from the first fold's linear design, where they were asked for."""


@dataclass(frozen=True)
class BatchedEnsemble:
    """The folds of an ensemble, laid out to run at once."""

    folds: Sequence[FoldModel]
    """The k fold models."""
    net: Networks
    """The networks of the same folds."""
    grid: TimeGrid
    """Common bins, at whose edges curves are read."""
    precision: type[np.floating] = np.float32
    """Precision of the members' curves. Single is faster, and the network computes in it anyway."""

    def by_fold(self) -> list[BatchedEnsemble]:
        """Return the k ensembles of one fold each, for out-of-fold predictions.

        Their curves are in double precision, since the stack is fitted on them.
        """
        return [
            BatchedEnsemble((fold,), net, self.grid, np.float64)
            for fold, net in zip(self.folds, self.net.by_fold(), strict=True)
        ]

    def forward(
        self,
        values: Array,
        centre: NDArray[np.str_] | None,
        read: Callable[[Array], Array] | None = None,
    ) -> LearnerCurves:
        """Predict survival by every learner of every fold.

        Args:
            values: (n, p) coded features without the treatment, NaN is missing.
            centre: (n,) hospital; None where no hospital is known.
            read: function from the first fold's linear design (n, d) to ``terms`` (n, q).
        """
        if not len(values):  # without patients too, the arrays have their other dimensions
            one = self._block(np.full((1, values.shape[1]), np.nan), None, read)
            terms = None if one.terms is None else one.terms[:0]
            return LearnerCurves(one.learners[:, :, :0], one.members[:, :, :0], terms)
        parts = []
        for start in range(0, len(values), BLOCK):
            rows = slice(start, start + BLOCK)
            own = None if centre is None else centre[rows]
            parts.append(self._block(values[rows], own, read))
        if len(parts) == 1:
            return parts[0]
        return LearnerCurves(
            np.concatenate([part.learners for part in parts], axis=2),
            np.concatenate([part.members for part in parts], axis=2),
            None if read is None else np.concatenate([part.terms for part in parts]),
        )

    def of_inputs(self, inputs: Inputs) -> LearnerCurves:
        """Predict survival by a single fold's learners, from inputs that its preprocessor made."""
        embedded = inputs.embedded.T[None].astype(np.float32)
        return self._run(BatchedInputs(inputs.linear[None], embedded, inputs.present.T))

    def _block(
        self,
        values: Array,
        centre: NDArray[np.str_] | None,
        read: Callable[[Array], Array] | None,
    ) -> LearnerCurves:
        inputs = self._preprocessors.transform(values, centre)
        found = self._run(inputs)
        return found if read is None else found._replace(terms=read(inputs.linear[0]))

    def _run(self, inputs: BatchedInputs) -> LearnerCurves:
        # Each fold has its own bins: its curves are read at the edges of the common ones.
        at_edges, in_bins = self._readings
        # Patients first in memory: learners then find all folds' columns of a patient side by side.
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
        """Return the log-odds of the network's hazards (k, members, n, bins)."""
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
        """Positions among ``names`` of the learners but the network, and functions to run them."""
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
        """Matrices whose products with a fold's curves are cumulative hazards at the common edges.

        The first (k, w + 1, j + 1) takes cumulative hazards at the fold's own edges, w the largest
        number of bins of any fold; the second (k, bins, j + 1) takes the hazards in the network's
        bins. Beyond the last edge of a fold its curve is flat.
        """
        edges, bins = self.grid.edges, self.net.shape.bins
        found = np.zeros((len(self.folds), bins + 1, len(edges)))
        for own, fold in zip(found, self.folds, strict=True):
            own[: fold.grid.bins + 1] = fold.grid.readings(np.minimum(edges, fold.grid.horizon))
        most = max(fold.grid.bins for fold in self.folds)
        # The hazard of a bin adds to the cumulative hazard at every later edge.
        in_bins = np.flip(np.cumsum(np.flip(found, axis=1), axis=1), axis=1)[:, 1:].copy()
        return found[:, : most + 1].copy(), in_bins
