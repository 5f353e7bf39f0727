"""Find violations of positivity: regions of the features in which an arm is rare, by counts.

A smooth model predicts a propensity above 0 even for a stage, or beyond an age, without treated
patients. Here patients are counted: in each level of a column with few values, in the tails of
other columns, and in the leaves of a tree for the treatment (Danelian et al., "Identification of
in-sample positivity violations using regression trees: the PoRT algorithm", J Causal Inference
2023). A tail is the range in which the isotonic regression of the treatment on the column (Barlow
et al., "Statistical inference under order restrictions", 1972) is below 10 % or above 90 %. A
region counts only if its share differs significantly from that of all other patients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binom

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.policy import COMMON, RARE, SIGNIFICANT
from accomplice.training.learners.trees import BINS, Cuts, Growth, grow
from accomplice.training.treatment.propensity.regions import DEPTH, Regions

#: Maximum number of distinct values of a column whose values count as levels.
LEVELS = 12
#: Minimum number of patients in a leaf.
FEWEST = 10
#: Significance level, for each arm, of all leaves together; for levels and tails ``SIGNIFICANT``.
LEAF_CHANCE = 0.01


class _Box(NamedTuple):
    """Patients whose values of up to ``DEPTH`` columns are each in (low, high]."""

    columns: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def holds(self, X: Array) -> Bools:
        """Return whether each row of X (n, p) is inside (n,)."""
        value = X[:, list(self.columns)]
        return np.asarray(((value > self.low) & (value <= self.high)).all(axis=1))

    def cut(self, column: int, at: float, above: bool) -> _Box:
        """Return the part above or up to a value of a column."""
        low, high = (at, math.inf) if above else (-math.inf, at)
        if column not in self.columns:
            return _Box((*self.columns, column), (*self.low, low), (*self.high, high))
        j = self.columns.index(column)
        lows = (*self.low[:j], max(self.low[j], low), *self.low[j + 1 :])
        highs = (*self.high[:j], min(self.high[j], high), *self.high[j + 1 :])
        return _Box(self.columns, lows, highs)


def rare_regions(X: Array, treated: Bools) -> Regions:
    """Return the regions of a design (n, p) in which one of the arms is rare beyond chance.

    Of m patients inside, t treated, and a share q of treated patients among the others, the treated
    are rare in a region with (t + q) / (m + 1) < 10 % and P(T ≤ t) below a level, with T binomial
    of m and q; the untreated likewise. The level is 5 % over the number of levels and tails, and
    for leaves 1 % over the number of regions that as many columns can bound.

    Args:
        X: design.
        treated: (n,) whether the patient was treated.
    """
    column_wise = [_sides(j, X[:, j], treated) for j in range(X.shape[1])]
    tried = sum(count for count, _ in column_wise)
    found = [(box, SIGNIFICANT / tried) for _, boxes in column_wise for box in boxes]
    for box in _leaves(X, treated):
        ends = sum(math.isfinite(end) for end in (*box.low, *box.high))
        ways = (2 * X.shape[1] * BINS) ** ends / math.factorial(ends)
        found.append((box, LEAF_CHANCE / ways))
    kept = [(box, share) for box, level in found if (share := _rare(box, level, X, treated))]
    shape = (len(kept), DEPTH)
    column, low, high = np.zeros(shape, int), np.full(shape, -np.inf), np.full(shape, np.inf)
    for i, (box, _) in enumerate(kept):
        width = len(box.columns)
        column[i, :width], low[i, :width], high[i, :width] = box
    return Regions(column, low, high, np.array([share for _, share in kept], dtype=float))


def _rare(box: _Box, level: float, X: Array, treated: Bools) -> float | None:
    """Return the share of the treated in a box if an arm is rare in it; else None."""
    rows = box.holds(X)
    size = int(rows.sum())
    if not 0 < size < len(rows):
        return None
    had, usual = int(treated[rows].sum()), float(treated[~rows].mean())
    share = (had + usual) / (size + 1)
    few = share < RARE and binom.cdf(had, size, usual) < level
    many = share > COMMON and binom.sf(had - 1, size, usual) < level
    return share if few or many else None


def _sides(column: int, value: Array, treated: Bools) -> tuple[int, list[_Box]]:
    """Return the levels of a column (n,) of few values, or the tails of another.

    Returns:
        The number of regions tested for each arm, and the regions found.
    """
    values, count = np.unique(value, return_counts=True)
    between = (values[:-1] + values[1:]) / 2
    if len(values) <= LEVELS:
        ends = pairwise([-math.inf, *between.tolist(), math.inf])
        return len(values), [_Box((column,), (low,), (high,)) for low, high in ends]
    had = np.bincount(np.searchsorted(values, value), treated, len(values)) / count
    whole, found = _Box((), (), ()), []
    for rising in (False, True):
        share = isotonic_regression(had, weights=count, increasing=rising).x
        # A monotone share is lowest at one end and highest at the other.
        for tail in (share < RARE, share > COMMON):
            size, upper = int(tail.sum()), bool(tail[-1])
            if 0 < size < len(values):
                found.append(whole.cut(column, float(between[-size if upper else size - 1]), upper))
    return 2, found


def _leaves(X: Array, treated: Bools) -> Iterator[_Box]:
    """Yield the leaves of a tree that parts the treated from the untreated."""
    if not X.shape[1]:
        return
    cuts, n = Cuts.fit(X), len(X)
    growth = Growth(DEPTH, FEWEST, X.shape[1], _likelihood)
    had = treated.astype(float)
    rng = np.random.default_rng(0)  # not drawn from: all columns are tried
    trees, _ = grow(cuts.bin(X), cuts, np.arange(n), np.zeros(n, int), (had, 1 - had), growth, rng)
    nodes = [(0, _Box((), (), ()))]
    while nodes:
        node, box = nodes.pop()
        column, at, left = int(trees.feature[node]), float(trees.cut[node]), int(trees.left[node])
        if column >= 0:
            nodes += [(left, box.cut(column, at, False)), (left + 1, box.cut(column, at, True))]
        elif box.columns:
            yield box


def _likelihood(treated: Array, untreated: Array) -> Array:
    """Return a node's log-likelihood at its own share of the treated."""
    treated, untreated = np.maximum(treated, 1e-9), np.maximum(untreated, 1e-9)
    total = treated + untreated
    return np.asarray(treated * np.log(treated / total) + untreated * np.log(untreated / total))
