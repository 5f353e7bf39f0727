"""A survival forest, for thresholds, interactions and crossing hazards.

Trees split by the full likelihood of proportional hazards, which depends on the observed events and
those expected at the average patient's hazard (LeBlanc and Crowley, "Relative risk trees for
censored survival data", Biometrics 1992; Ishwaran et al., "Relative risk forests for exercise heart
rate recovery as a predictor of mortality", JASA 2004). Each leaf has its own survival curve, whose
hazards are shrunk towards the average hazard times the leaf's relative risk, so that leaves of few
patients have smooth curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints, Singles
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config, ForestConfig
from accomplice.training.estimators.hazard import TimeGrid, accumulate, from_survival
from accomplice.training.learners.combinations import Combinations, draw_combinations
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
#: Prior events, observed and expected, of a leaf's relative risk.
RISK_PRIOR = 0.3
#: Prior events, observed and expected, of a node when splits are compared.
SPLIT_PRIOR = 1.0
#: Prior time at risk in each bin, in patients, by which a leaf's hazards are shrunk.
SHRINKAGE = 1.0
#: Target number of batches of trees under a time limit, which is checked after each.
TIME_CHECKS = 10
#: Target number of batches of oblique trees; each has combinations of its own.
DRAWS = 10


@dataclass(frozen=True)
class Forest(Learner):
    """A fitted survival forest."""

    TIME: ClassVar[float] = 0.4
    """Fraction of the fold's remaining time that a fit may take."""

    columns: Ints
    """(c,) columns of the design that the trees use."""
    trees: Trees
    """All trees; their features are positions in ``columns``, followed by the combinations."""
    survival: Singles
    """(nodes, j) survival of each leaf's patients at the end of each bin; that of inner nodes, the
    average survival, is not used."""
    combinations: Combinations = field(default_factory=Combinations.none)
    """Combinations of ``columns``, as positions in it."""

    @classmethod
    def used(cls, config: Config) -> bool:
        """Whether ``forest.use`` is set."""
        return config.forest.use

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
        moved, design = _joint(fitted, columns)
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
            mean = np.ones((X.shape[1], len(place), bins + 1))
            for rows in trees.batches(X.shape[1]):
                leaves = trees.leaves(design(X[:, rows]))
                mean[rows, :, 1:] = mean_rows(table, leaves[place], share)
            return from_survival(mean).transpose(1, 0, 2)

        return cumulative

    def to_json(self) -> dict[str, Any]:
        """Return the number of trees."""
        return {"trees": self.trees.count}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        own: dict[str, NDArray[Any]] = {"columns": self.columns, "survival": self.survival}
        return {**self.trees.arrays(), **own, **self.combinations.arrays()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`to_json` and :meth:`arrays`."""
        grown, columns = Trees.from_arrays(raw["trees"], arrays), arrays["columns"]
        combinations = Combinations.from_arrays(arrays, len(columns))
        return cls(np.asarray(columns, np.int_), grown, arrays["survival"], combinations)


def _joint(fitted: Sequence[Forest], columns: int) -> tuple[list[Trees], Callable[[Array], Array]]:
    """Return the trees of k folds on one joint design, and the function that makes it.

    The function is from designs (k, n, p) to the joint design (n, …).

    Args:
        fitted: the forest of each fold.
        columns: p, the number of columns of each fold's design.
    """
    trees = [f.trees for f in fitted]
    if not any(f.combinations.count for f in fitted):
        return for_joint_design(trees, [f.columns for f in fitted], columns), joint_design
    places, first = [], 0
    for f in fitted:
        width = len(f.columns) + f.combinations.count
        places.append(first + np.arange(width))
        first += width

    def design(X: Array) -> Array:
        own = [f.combinations.beside(x[:, f.columns]) for f, x in zip(fitted, X, strict=True)]
        return np.concatenate(own, axis=1)

    return for_joint_design(trees, places, 0), design


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
        config: number and depth of trees, minimum number of patients in a leaf, share of the
            columns tried, size of combinations.
        seed: seed of subsamples, candidate columns and combinations.
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
    grown: list[tuple[Trees, Array]] = []
    combined: list[Combinations] = []
    most = max(1, AT_ONCE // size)
    if config.oblique:
        most = min(most, -(-config.trees // DRAWS))
    if budget.limited:
        most = min(most, -(-config.trees // TIME_CHECKS))
    pace = budget.pace()
    while (done := sum(t.count for t, _ in grown)) < config.trees:
        if grown and not pace.another():
            budget.cut("forest", done, f"{config.trees} trees")
            break
        count = min(config.trees - done, most)
        bins, points = binned, cuts
        if config.oblique:
            combined.append(draw_combinations(X, observed, expected, config.oblique, rng))
            values = combined[-1].of(X)
            added = Cuts.fit(values)
            bins = np.concatenate([binned, added.bin(values)], axis=1)
            points = Cuts(cuts.at + added.at)
        drawn = [rng.choice(len(X), size, replace=False, shuffle=False) for _ in range(count)]
        rows = np.concatenate(drawn)
        tree = np.repeat(np.arange(count), size)
        growth = Growth(config.depth, config.leaf, _tried(len(points.at), config), _likelihood)
        trees, leaf = grow(bins, points, rows, tree, (observed[rows], expected[rows]), growth, rng)
        curves = _curves(leaf, len(trees.feature), happened[rows], at_risk[rows], average)
        earlier = sum(part.count for part in combined[:-1])
        place = trees.feature + np.where(trees.feature < len(columns), 0, earlier)
        grown.append((replace(trees, feature=place.astype(np.int32)), curves))
    trees, survival = join(grown)
    combinations = Combinations.join(combined) if combined else Combinations.none()
    return Forest(columns, trees, survival.astype(np.float32), combinations)


def _tried(columns: int, config: ForestConfig) -> int:
    """Return the number of columns, combinations among them, that are tried at a split."""
    share = config.candidates
    return max(1, int(np.ceil(np.sqrt(columns) if share is None else share * columns)))


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
