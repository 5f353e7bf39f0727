"""A survival forest, for thresholds, interactions and crossing hazards.

Trees split patients by the full likelihood of proportional hazards, events against those expected
at the average patient's hazard (LeBlanc and Crowley, "Relative risk trees for censored survival
data", Biometrics 1992; Ishwaran et al., "Relative risk forests for exercise heart rate recovery as
a predictor of mortality", JASA 2004). A leaf holds its own curve over the bins, shrunk towards the
average curve at the leaf's risk, so that few patients do not make a jagged one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints, Singles
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config, ForestConfig
from accomplice.training.estimators.hazard import TimeGrid, accumulate, from_survival
from accomplice.training.learners.learner import Batched, Learner, TrainingData
from accomplice.training.learners.trees import (
    AT_ONCE,
    Cuts,
    Growth,
    Trees,
    grow,
    in_a_row,
    join,
    side_by_side,
)

#: Part of the patients that a tree is grown on, and how many at most.
SAMPLE, MOST = 0.7, 2000
#: Levels of cuts at most.
DEPTH = 12
#: Expected events that weigh like the leaf's own, in its risk and when a cut is judged.
FEW, JUDGED = 0.3, 1.0
#: Time at risk in a bin, in patients, that weighs like the leaf's own.
SHRINKAGE = 1.0
#: Checks of the clock by a forest with a deadline.
LOOKS = 10


@dataclass(frozen=True)
class Forest(Learner):
    """A fitted forest."""

    TIME: ClassVar[float] = 0.4

    columns: Ints
    """(c,) columns of the design it uses."""
    trees: Trees
    survival: Singles
    """(nodes, j) survival at the end of each bin."""

    @classmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Forest:
        """Grow on a fold's training patients; see :func:`fit_forest`."""
        outcome = data.X, data.time, data.event, data.grid
        return fit_forest(*outcome, data.tree_columns, config.forest, config.seed, budget)

    def cumulative(self, X: Array) -> Array:
        """Cumulative hazard (n, j + 1) of the trees' mean survival for a design X (n, p)."""
        return np.asarray(self.batched([self], X.shape[1])(X[None])[0])

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Look the leaves of all folds' trees up in one call."""
        bins = max(f.survival.shape[1] for f in fitted)
        counts = [f.trees.count for f in fitted]
        tables = [
            np.pad(f.survival.astype(float), ((0, 0), (0, bins - f.survival.shape[1])))
            for f in fitted
        ]
        moved = side_by_side([f.trees for f in fitted], [f.columns for f in fitted], columns)
        trees, values = join(list(zip(moved, tables, strict=True)))
        table = values[trees.ends].astype(np.float32)
        # Which trees are each fold's (k, t), as many as any has, and their parts (k, 1, t).
        place = np.zeros((len(fitted), max(counts)), np.intp)
        share = np.zeros((len(fitted), 1, max(counts)), np.float32)
        first = 0
        for own, part, count in zip(place, share, counts, strict=True):
            own[:count], part[:, :count] = first + np.arange(count), 1 / count
            first += count

        def cumulative(X: Array) -> Array:
            flat = in_a_row(X)
            mean = np.ones((len(flat), len(place), bins + 1))
            for rows in trees.batches(len(flat)):
                mean[rows, :, 1:] = mean_rows(table, trees.leaves(flat[rows])[place], share)
            return from_survival(mean).transpose(1, 0, 2)

        return cumulative

    def to_json(self) -> dict[str, Any]:
        """Return the number of trees."""
        return {"trees": self.trees.count}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        return {**self.trees.arrays(), "columns": self.columns, "survival": self.survival}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`to_json` and :meth:`arrays`."""
        grown = Trees.from_arrays(raw["trees"], arrays)
        return cls(np.asarray(arrays["columns"], np.int_), grown, arrays["survival"])


def mean_rows(table: Singles, leaves: Ints, share: Singles) -> Singles:
    """Weighted means (n, k, j) of the rows of a table (leaves, j).

    Args:
        table: of all trees' leaves.
        leaves: (k, trees, n) of n patients in k forests.
        share: (k, 1, trees) weights of each forest's trees.
    """
    # As a product: numpy's own mean over so few columns takes ten times as long.
    return np.asarray((share @ table.take(leaves.transpose(2, 0, 1), axis=0))[:, :, 0])


def fit_forest(
    X: Array,
    time: Array,
    event: Bools,
    grid: TimeGrid,
    columns: Ints,
    config: ForestConfig,
    seed: int,
    budget: Budget = UNLIMITED,
) -> Forest:
    """Grow a forest.

    Args:
        X: (n, p) design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        grid: j bins of the leaves' curves.
        columns: (c,) columns that may be cut.
        config: how many trees, and their leaves.
        seed: of samples and columns.
        budget: after which no more trees are grown.
    """
    rng = np.random.default_rng(seed)
    X = X[:, columns]
    cuts = Cuts.fit(X)
    binned = cuts.bin(X)
    at_risk, happened = grid.exposure(time), grid.events(time, event)
    average = happened.sum(axis=0) / np.maximum(at_risk.sum(axis=0), 1e-9)
    expected, seen = at_risk @ average, happened.sum(axis=1)
    size = max(1, min(int(SAMPLE * len(X)), MOST))
    tried = max(1, int(np.ceil(np.sqrt(len(columns)))))
    growth = Growth(DEPTH, config.leaf, tried, _likelihood)
    grown: list[tuple[Trees, Array]] = []
    most = max(1, AT_ONCE // size)
    if budget.limited:
        most = min(most, -(-config.trees // LOOKS))
    pace = budget.pace()
    while (done := sum(t.count for t, _ in grown)) < config.trees:
        if grown and not pace.another():
            budget.cut("forest", done, f"{config.trees} trees")
            break
        count = min(config.trees - done, most)
        drawn = [rng.choice(len(X), size, replace=False, shuffle=False) for _ in range(count)]
        rows = np.concatenate(drawn)
        tree = np.repeat(np.arange(count), size)
        trees, leaf = grow(binned, cuts, rows, tree, (seen[rows], expected[rows]), growth, rng)
        curves = _curves(leaf, len(trees.feature), happened[rows], at_risk[rows], average)
        grown.append((trees, curves))
    trees, survival = join(grown)
    return Forest(columns, trees, survival.astype(np.float32))


def _likelihood(seen: Array, expected: Array) -> Array:
    """Log-likelihood of a node at its own risk, up to a term that all cuts share."""
    seen, expected = seen + JUDGED, expected + JUDGED
    return np.asarray(seen * np.log(seen / expected))


def _curves(leaf: Ints, nodes: int, happened: Array, at_risk: Array, average: Array) -> Array:
    """Survival (nodes, j) of each node's own entries."""
    events, exposure = (
        np.stack([np.bincount(leaf, column, nodes) for column in made.T], axis=1)
        for made in (happened, at_risk)
    )
    risk = (events.sum(axis=1) + FEW) / (exposure @ average + FEW)
    hazard = (events + SHRINKAGE * risk[:, None] * average) / (exposure + SHRINKAGE)
    return np.exp(-accumulate(hazard)[:, 1:])
