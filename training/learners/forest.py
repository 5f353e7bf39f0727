"""A survival forest, for thresholds, interactions and crossing hazards.

Trees split by the full likelihood of proportional hazards, which depends on the observed events and
those expected at the average patient's hazard (LeBlanc and Crowley, "Relative risk trees for
censored survival data", Biometrics 1992; Ishwaran et al., "Relative risk forests for exercise heart
rate recovery as a predictor of mortality", JASA 2004). Each leaf has its own survival curve, whose
hazards are shrunk towards the average hazard times the leaf's relative risk, so that leaves of few
patients have smooth curves.
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
    for_joint_design,
    grow,
    join,
    joint_design,
)

#: Fraction of the patients on whom a tree is grown, drawn without replacement.
SAMPLE = 0.7
#: Maximum number of patients on whom a tree is grown.
MOST = 2000
#: Maximum depth of a tree.
DEPTH = 12
#: Prior events, observed and expected, of a leaf's relative risk.
RISK_PRIOR = 0.3
#: Prior events, observed and expected, of a node when splits are compared.
SPLIT_PRIOR = 1.0
#: Prior time at risk in each bin, in patients, by which a leaf's hazards are shrunk.
SHRINKAGE = 1.0
#: Target number of batches of trees under a time limit, which is checked after each.
TIME_CHECKS = 10


@dataclass(frozen=True)
class Forest(Learner):
    """A fitted survival forest."""

    TIME: ClassVar[float] = 0.4
    """Fraction of the fold's remaining time that a fit may take."""

    columns: Ints
    """(c,) columns of the design that the trees use."""
    trees: Trees
    """All trees; their features are positions in ``columns``."""
    survival: Singles
    """(nodes, j) survival of each leaf's patients at the end of each bin; that of inner nodes, the
    average survival, is not used."""

    @classmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Forest:
        """Grow on a fold's training patients; see :func:`fit_forest`."""
        outcome = data.X, data.time, data.event, data.grid
        return fit_forest(*outcome, data.tree_columns, config.forest, config.seed, budget)

    def cumulative(self, X: Array) -> Array:
        """Return the cumulative hazard (n, j + 1) of the trees' mean survival, for X (n, p)."""
        return np.asarray(self.batched([self], X.shape[1])(X[None])[0])

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Return a function that predicts for all folds at once; see :meth:`Learner.batched`."""
        bins = max(f.survival.shape[1] for f in fitted)
        counts = [f.trees.count for f in fitted]
        tables = [
            np.pad(f.survival.astype(float), ((0, 0), (0, bins - f.survival.shape[1])))
            for f in fitted
        ]
        moved = for_joint_design([f.trees for f in fitted], [f.columns for f in fitted], columns)
        trees, values = join(list(zip(moved, tables, strict=True)))
        table = values[trees.leaf_nodes].astype(np.float32)
        # Positions (k, t) of each fold's trees, padded to the largest number, and their weights
        # (k, 1, t).
        place = np.zeros((len(fitted), max(counts)), np.intp)
        share = np.zeros((len(fitted), 1, max(counts)), np.float32)
        first = 0
        for own, part, count in zip(place, share, counts, strict=True):
            own[:count], part[:, :count] = first + np.arange(count), 1 / count
            first += count

        def cumulative(X: Array) -> Array:
            flat = joint_design(X)
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
    """Return each patient's weighted mean survival (n, k, j) over the trees of k forests.

    Args:
        table: (leaves, j) survival of the leaves of all trees.
        leaves: (k, trees, n) row of the table for each tree and patient.
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
    """Fit a survival forest.

    Args:
        X: (n, p) design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        grid: j bins of the leaves' curves.
        columns: (c,) columns that may be split on.
        config: number of trees and minimum number of patients in a leaf.
        seed: seed of subsamples and candidate columns.
        budget: time limit, checked after each batch of trees.
    """
    rng = np.random.default_rng(seed)
    X = X[:, columns]
    cuts = Cuts.fit(X)
    binned = cuts.bin(X)
    at_risk, happened = grid.exposure(time), grid.events(time, event)
    average = happened.sum(axis=0) / np.maximum(at_risk.sum(axis=0), 1e-9)
    expected, observed = at_risk @ average, happened.sum(axis=1)
    size = max(1, min(int(SAMPLE * len(X)), MOST))
    tried = max(1, int(np.ceil(np.sqrt(len(columns)))))
    growth = Growth(DEPTH, config.leaf, tried, _likelihood)
    grown: list[tuple[Trees, Array]] = []
    most = max(1, AT_ONCE // size)
    if budget.limited:
        most = min(most, -(-config.trees // TIME_CHECKS))
    pace = budget.pace()
    while (done := sum(t.count for t, _ in grown)) < config.trees:
        if grown and not pace.another():
            budget.cut("forest", done, f"{config.trees} trees")
            break
        count = min(config.trees - done, most)
        drawn = [rng.choice(len(X), size, replace=False, shuffle=False) for _ in range(count)]
        rows = np.concatenate(drawn)
        tree = np.repeat(np.arange(count), size)
        trees, leaf = grow(binned, cuts, rows, tree, (observed[rows], expected[rows]), growth, rng)
        curves = _curves(leaf, len(trees.feature), happened[rows], at_risk[rows], average)
        grown.append((trees, curves))
    trees, survival = join(grown)
    return Forest(columns, trees, survival.astype(np.float32))


def _likelihood(observed: Array, expected: Array) -> Array:
    """Return a node's log-likelihood at its own risk: O log(O / E), with prior events.

    The terms left out have the same sum for all splits of a node.
    """
    observed, expected = observed + SPLIT_PRIOR, expected + SPLIT_PRIOR
    return np.asarray(observed * np.log(observed / expected))


def _curves(leaf: Ints, nodes: int, happened: Array, at_risk: Array, average: Array) -> Array:
    """Return the survival (nodes, j) of each leaf's patients, at the end of each bin.

    Nodes that are no leaf have the average survival. A bin's hazard is (d + s · r · h) / (t + s):
    d events and time t at risk of the leaf, average hazard h, relative risk r of the leaf, and
    s = ``SHRINKAGE``.

    Args:
        leaf: (r,) node of each of the trees' entries.
        nodes: number of nodes.
        happened: (r, j) events of each entry by bin.
        at_risk: (r, j) fraction of each bin at risk.
        average: (j,) average hazard of each bin.
    """
    events, exposure = (
        np.stack([np.bincount(leaf, column, nodes) for column in by_entry.T], axis=1)
        for by_entry in (happened, at_risk)
    )
    risk = (events.sum(axis=1) + RISK_PRIOR) / (exposure @ average + RISK_PRIOR)
    hazard = (events + SHRINKAGE * risk[:, None] * average) / (exposure + SHRINKAGE)
    return np.exp(-accumulate(hazard)[:, 1:])
