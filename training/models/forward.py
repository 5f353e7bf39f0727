"""Batched forward pass: every learner of every fold in one call each.

An ensemble of five folds, each with a linear model, networks, a forest and boosted trees, takes
thousands of small array operations for one patient when its parts run one after another. Here each
step runs for all folds at once: one preprocessing, one pass of the network with its weights laid
out beforehand, one lookup of all forests and one of all boosted trees. Patients come in blocks that
stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints, Singles
from accomplice.data.preprocessing.batched import BatchedInputs, BatchedPreprocessor
from accomplice.training.estimators.hazard import TimeGrid, gathered, hazard_ratio, survival
from accomplice.training.learners.boosting import mean_of_members
from accomplice.training.learners.forest import mean_rows
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.stack import LEARNERS
from accomplice.training.learners.trees import Trees, join
from accomplice.training.models.fold_model import FoldModel

#: Patients worked on at once.
BLOCK = 1024
#: Where the network, and the other learners, are among all.
NET, OTHERS = (
    LEARNERS.index("net"),
    [LEARNERS.index(name) for name in ("anchor", "forest", "boosting")],
)


class LearnerCurves(NamedTuple):
    """Survival of n patients at the common grid's edges, by every learner of every fold."""

    learners: Array
    """(k, l, n, j + 1) in the order of ``LEARNERS``; of the network the mean of its members."""
    members: Singles
    """(k, members, n, j + 1) of the network's members, as precise as its products."""


@dataclass(frozen=True)
class BatchedEnsemble:
    """The folds of an ensemble, laid out to run at once."""

    folds: Sequence[FoldModel]
    net: Networks
    grid: TimeGrid
    """Common bins, at whose edges curves are read."""

    def forward(self, values: Array, centre: NDArray[np.str_] | None) -> LearnerCurves:
        """Run every learner of every fold on coded features (n, p)."""
        if not len(values):  # nobody's curves have shapes too
            nobody = self._block(np.full((1, values.shape[1]), np.nan), None)
            return LearnerCurves(nobody.learners[:, :, :0], nobody.members[:, :, :0])
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

    def _block(self, values: Array, centre: NDArray[np.str_] | None) -> LearnerCurves:
        n = len(values)
        inputs = self._preprocessors.transform(values, centre)
        linear = inputs.linear
        flat = linear.transpose(1, 0, 2).reshape(n, len(linear) * linear.shape[2])
        # Each fold has bins of its own: its curves are read off at the common ones.
        at_edges, in_bins = self._readings
        hazard = gathered(self._logits(inputs))
        folds, m, bins = hazard.shape[0], hazard.shape[1], hazard.shape[3]
        cumulative = hazard.reshape(folds, m * n, bins) @ in_bins
        members = np.exp(-cumulative.astype(np.float32)).reshape(folds, m, n, -1)
        own = np.empty((folds, 3, n, at_edges.shape[1]))
        own[:, 0], own[:, 1] = self._anchor(linear), self._forest(flat)
        own[:, 2] = self._boosted(flat)
        others = survival(own.reshape(folds, 3 * n, -1) @ at_edges).reshape(folds, 3, n, -1)
        learners = np.empty((folds, len(LEARNERS), *others.shape[2:]))
        learners[:, OTHERS] = others
        members.mean(axis=1, dtype=float, out=learners[:, NET])
        return LearnerCurves(learners, members)

    def _logits(self, inputs: BatchedInputs) -> Singles:
        """Log-odds of the hazards (k, members, n, bins)."""
        order, scale = self._net_inputs
        linear = inputs.linear.astype(np.float32).transpose(0, 2, 1)
        both = np.concatenate([linear, inputs.embedded], axis=1)
        n = both.shape[2]
        x = both.reshape(-1, n).take(order, axis=0)
        x *= scale
        return self.net.logits(x, inputs.present.astype(np.float32)[None])

    def _anchor(self, linear: Array) -> Array:
        """Cumulative hazards (k, n, j + 1) of the folds' anchors for their designs (k, n, p)."""
        beta, centre, baseline = self._anchors
        log_hz = (linear * beta).sum(axis=2, keepdims=True) - centre
        return hazard_ratio(log_hz) * baseline

    def _forest(self, flat: Array) -> Array:
        """Cumulative hazards (k, n, j + 1) of the folds' forests."""
        grown, table, place, share = self._forests
        bins, widest = table.shape[1], self.net.shape.bins
        mean = np.ones((len(flat), len(place), widest + 1))
        for rows in grown.batches(len(flat)):
            mean[rows, :, 1 : bins + 1] = mean_rows(table, grown.leaves(flat[rows])[place], share)
        hazard = -np.log(np.maximum(mean, 1e-12))
        return np.asarray(hazard.transpose(1, 0, 2))

    def _boosted(self, flat: Array) -> Array:
        """Cumulative hazards (k, n, j + 1) of the folds' boosted trees."""
        grown, step, parts = self._boosting
        there, centre, baseline = self._members
        folds, m, n = *centre.shape[:2], len(flat)
        log_hz = np.zeros((folds, m, n))
        for rows in grown.batches(n) if grown.count else ():
            added = step.take(grown.leaves(flat[rows]))
            for own, (first, rounds, members) in zip(log_hz, parts, strict=True):
                trees = added[first : first + rounds * members]
                by_round = trees.reshape(rounds, members, added.shape[1])
                np.add.reduce(by_round, axis=0, out=own[:members, rows])
        return mean_of_members(log_hz - centre, there, baseline)

    @cached_property
    def _preprocessors(self) -> BatchedPreprocessor:
        return BatchedPreprocessor(tuple(fold.preprocessor for fold in self.folds))

    @cached_property
    def _readings(self) -> tuple[Array, Array]:
        """What reads curves off at the common edges (j + 1,): matrices by which to multiply.

        Of cumulative hazards (k, …, i + 1) at the folds' own edges, on as many bins as any has; and
        (k, …, i) of the hazards in these bins. A fold's curve ends flat.
        """
        edges, bins = self.grid.edges, self.net.shape.bins
        found = np.zeros((len(self.folds), bins + 1, len(edges)))
        for own, fold in zip(found, self.folds, strict=True):
            own[: fold.grid.bins + 1] = fold.grid.readings(np.minimum(edges, fold.grid.horizon))
        # A bin adds to every edge after it.
        return found, np.flip(np.cumsum(np.flip(found, axis=1), axis=1), axis=1)[:, 1:].copy()

    @cached_property
    def _net_inputs(self) -> tuple[Ints, Singles]:
        """Where the network's inputs (k, i) lie among all folds' columns; their scale (k, i, 1)."""
        columns = [fold.net_columns for fold in self.folds]
        first = self.folds[0].preprocessor
        width = len(first.linear_columns()) + len(first.embedded_columns())
        order = np.stack([own + k * width for k, (own, _) in enumerate(columns)])
        scale = np.stack([scale for _, scale in columns]).astype(np.float32)
        return order, scale[:, :, None]

    @cached_property
    def _anchors(self) -> tuple[Array, Array, Array]:
        """Coefficients (k, 1, p), centres (k, 1, 1) and baselines (k, 1, j + 1)."""
        anchors = [fold.anchor for fold in self.folds]
        beta, centre = np.stack([a.beta for a in anchors]), np.array([a.centre for a in anchors])
        return beta[:, None], centre[:, None, None], self._wide([a.baseline for a in anchors])

    @cached_property
    def _forests(self) -> tuple[Trees, Singles, Ints, Singles]:
        """All folds' trees, and the survival (leaves, j) at their leaves.

        Then which trees are each fold's (k, t), as many as any has, and their parts (k, 1, t).
        """
        forests = [fold.forest for fold in self.folds]
        bins = max(forest.survival.shape[1] for forest in forests)
        counts = [forest.trees.count for forest in forests]
        tables = [
            np.pad(f.survival.astype(float), ((0, 0), (0, bins - f.survival.shape[1])))
            for f in forests
        ]
        moved = self._moved([f.trees for f in forests], [f.columns for f in forests])
        grown, table = join(list(zip(moved, tables, strict=True)))
        place = np.zeros((len(forests), max(counts)), np.intp)
        share = np.zeros((len(forests), 1, max(counts)), np.float32)
        first = 0
        for own, part, count in zip(place, share, counts, strict=True):
            own[:count], part[:, :count] = first + np.arange(count), 1 / count
            first += count
        return grown, table[grown.ends].astype(np.float32), place, share

    @cached_property
    def _members(self) -> tuple[Array, Array, Array]:
        """Of boosting's members, as many as any fold has: which there are, centre and baseline.

        They are (k, m), (k, m, 1) and (k, 1, 1, j + 1).
        """
        fitted = [fold.boosting for fold in self.folds]
        most = max(boosting.members for boosting in fitted)
        there, centre = np.zeros((len(fitted), most)), np.zeros((len(fitted), most, 1))
        for k, boosting in enumerate(fitted):
            there[k, : boosting.members] = 1
            centre[k, : boosting.members, 0] = boosting.centre
        return there, centre, self._wide([b.baseline for b in fitted])[:, None]

    def _wide(self, curves: Sequence[Array]) -> Array:
        """Curves (k, 1, j + 1) of the folds on as many bins as any has, 0 beyond their own."""
        found = np.zeros((len(curves), 1, self.net.shape.bins + 1))
        for own, curve in zip(found[:, 0], curves, strict=True):
            own[: len(curve)] = curve
        return found

    @cached_property
    def _boosting(self) -> tuple[Trees, Array, list[tuple[int, int, int]]]:
        """All folds' boosted trees, and what their leaves add.

        Then of each fold its first tree, its rounds and its members: in each round one of every
        member.
        """
        fitted, parts, first = [fold.boosting for fold in self.folds], [], 0
        for boosting in fitted:
            parts.append((first, boosting.trees.count // boosting.members, boosting.members))
            first += boosting.trees.count
        moved = self._moved([b.trees for b in fitted], [b.columns for b in fitted])
        grown, step = join([(t, b.step) for t, b in zip(moved, fitted, strict=True)])
        return grown, step[grown.ends], parts

    def _moved(self, trees: Sequence[Trees], columns: Sequence[Ints]) -> list[Trees]:
        """Let each fold's trees read their columns where all folds' designs lie side by side."""
        width = len(self.folds[0].preprocessor.linear_columns())
        found = []
        for k, (own, read) in enumerate(zip(trees, columns, strict=True)):
            place = (read + k * width)[own.feature] if len(read) else own.feature
            feature = np.where(own.feature >= 0, place, -1).astype(np.int32)
            found.append(Trees(own.count, feature, own.cut, own.left))
        return found
