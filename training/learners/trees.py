"""Binary trees on binned columns, grown many at a time, level by level.

A level of all trees is one pass of histograms: for each open node and candidate column the sums of
two statistics (events and expected events, or gradient and curvature) by bin, from which the gain
of every cut follows. Friedman, "Greedy function approximation: a gradient boosting machine", Ann
Stat 2001, for the gains; Ke et al., "LightGBM", NeurIPS 2017, for the histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.training.learners.tree_lookup import WORD, LeafLookup, Splits

Worth = Callable[[Array, Array], Array]
"""Value of a node from the sums of its two statistics; a cut gains its parts' values less it."""

#: Bins of a column.
BINS = 32
#: Entries grown at once: enough to pay for the calls, few enough for the cache.
AT_ONCE = 64_000
#: Most leaves looked up at once, words of rows, and bits left free: with rows of a length that is a
#: power of two, the numbers of a column would share the same places in the cache.
LOOKED_UP, WORDS, LEFT = 430_000, 5, 8
#: Rows below which descending the trees takes less time than the bitwise lookup.
FEW = 16


@dataclass(frozen=True)
class Cuts:
    """Candidate cuts of each column: midway between values, so that no patient's own is kept."""

    at: tuple[Array, ...]
    """By column: rising cut points, at most ``BINS - 1``."""

    @classmethod
    def fit(cls, X: Array) -> Cuts:
        """Choose cuts that part the rows of X (n, p) about equally."""
        return cls(tuple(_cuts(column) for column in X.T))

    def bin(self, X: Array) -> NDArray[np.uint8]:
        """Bin (n, p) of each value: how many cuts of its column lie below it."""
        binned = np.empty(X.shape, np.uint8)
        for j, cuts in enumerate(self.at):
            binned[:, j] = np.searchsorted(cuts, X[:, j], side="left")
        return binned


def _cuts(column: Array) -> Array:
    values, count = np.unique(column, return_counts=True)
    between, before = (values[:-1] + values[1:]) / 2, np.cumsum(count)[:-1]
    # Between two neighbours among the floating-point numbers there is nothing: no cut.
    apart = (values[:-1] < between) & (between < values[1:])
    between, before = between[apart], before[apart]
    if len(between) < BINS:
        return between
    wanted = np.arange(1, BINS) / BINS * len(column)
    place = np.clip(np.searchsorted(before, wanted), 1, len(before) - 1)
    place -= wanted - before[place - 1] <= before[place] - wanted
    return np.unique(between[place])


@dataclass(frozen=True)
class Trees:
    """Trees in one array of nodes; the first nodes are their roots."""

    count: int
    """Number of trees."""
    feature: NDArray[np.int32]
    """(nodes,) column a node cuts, -1 for a leaf."""
    cut: Array
    """(nodes,) rows above it go right."""
    left: NDArray[np.int32]
    """(nodes,) left child; the right one is next."""

    def leaves(self, X: Array) -> Ints:
        """Leaf (trees, n) that each row of X (n, p) falls into: its place among :attr:`ends`."""
        return self._walk(X) if len(X) < FEW else self._lookup.leaves(X)

    @cached_property
    def ends(self) -> Ints:
        """(leaves,) the nodes that are leaves, tree after tree."""
        leaves = np.flatnonzero((self.feature < 0) & (self.tree >= 0))
        return leaves[np.argsort(self.tree[leaves], kind="stable")]

    @cached_property
    def levels(self) -> list[Ints]:
        """Nodes that are no leaves, by their distance from the roots."""
        found, level = [], np.arange(self.count)
        while len(level := level[self.feature[level] >= 0]):
            found.append(level)
            level = np.concatenate([self.left[level], self.left[level] + 1])
        return found

    @cached_property
    def tree(self) -> Ints:
        """(nodes,) tree of each node, -1 where no root leads to it."""
        found = np.full(len(self.feature), -1)
        found[: self.count] = np.arange(self.count)
        for level in self.levels:
            found[self.left[level]] = found[self.left[level] + 1] = found[level]
        return found

    def batches(self, n: int) -> Iterator[slice]:
        """Cut n rows such that what is made of each part, leaf by leaf, stays in the cache."""
        words = min(max(LOOKED_UP // (max(self.count, 1) * WORD), 1), WORDS)
        step = words * WORD - LEFT
        return (slice(start, start + step) for start in range(0, n, step))

    def _walk(self, X: Array) -> Ints:
        """Leaves by descending from the roots, one level of all trees at a time."""
        (column, cut, asked), child = self._splits, self._child
        above = (X.take(column, axis=1) > cut).ravel()
        start = len(column) * np.arange(len(X))[:, None]
        node = np.repeat(np.arange(self.count)[None], len(X), axis=0)
        for _ in self.levels:
            split = asked.take(node)
            split += start
            node = child.take(node)
            node += above.take(split)
        return self._number.take(node.T)

    @cached_property
    def _number(self) -> Ints:
        """(nodes,) position of each leaf among the ``ends``."""
        found = np.zeros(len(self.feature), np.intp)
        found[self.ends] = np.arange(len(self.ends))
        return found

    @cached_property
    def _splits(self) -> Splits:
        return Splits.of(self.feature, self.cut)

    @cached_property
    def _lookup(self) -> LeafLookup:
        nodes = (self.count, self.left, self.levels, self.tree, self.ends)
        return LeafLookup.of(self._splits, *nodes)

    @cached_property
    def _child(self) -> Ints:
        """(nodes,) left child of each node; a leaf leads to itself."""
        return np.where(self.feature >= 0, self.left, np.arange(len(self.left)))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as named arrays."""
        return {"feature": self.feature, "cut": self.cut, "left": self.left}

    @classmethod
    def from_arrays(cls, count: int, arrays: Mapping[str, NDArray[np.generic]]) -> Trees:
        """Rebuild from :meth:`arrays`."""
        feature, left = (np.asarray(arrays[k], np.int32) for k in ("feature", "left"))
        return cls(count, feature, np.asarray(arrays["cut"], np.float64), left)


@dataclass(frozen=True)
class Growth:
    """Limits on the growth of trees."""

    depth: int
    """Most levels of cuts."""
    fewest: int
    """Rows a leaf holds at least."""
    tried: int
    """Columns tried at a node, drawn at random."""
    worth: Worth


def grow(
    binned: NDArray[np.uint8],
    cuts: Cuts,
    rows: Ints,
    tree: Ints,
    stats: tuple[Array, Array],
    growth: Growth,
    rng: np.random.Generator,
) -> tuple[Trees, Ints]:
    """Grow trees side by side.

    Args:
        binned: (n, p) from :meth:`Cuts.bin`.
        cuts: of the p columns.
        rows: (r,) row of ``binned`` of each entry; a tree's entries are its sample.
        tree: (r,) number of the entry's tree, each from 0 to the last at least once.
        stats: two statistics (r,) of each entry.
        growth: limits, and what a node is worth.
        rng: draws the columns tried.

    Returns:
        The trees, and the leaf (r,) of each entry.
    """
    count, p, flat = int(tree.max()) + 1, binned.shape[1], binned.ravel()
    feature, bins, left = np.full(count, -1), np.zeros(count, int), np.zeros(count, int)
    leaf = tree.copy()
    # Entries of open nodes, the open node of each, and an open node's place among all.
    entry, node, at = np.arange(len(rows)), tree, np.arange(count)
    for _ in range(growth.depth):
        large = np.bincount(node, minlength=len(at)) >= 2 * growth.fewest
        kept = large[node]
        entry, node, at = entry[kept], (np.cumsum(large) - 1)[node[kept]], at[large]
        if not len(at):
            break
        tried = _draw(len(at), p, growth.tried, rng)
        gain, column, cut = _best(
            flat.take((p * rows[entry])[:, None] + tried[node]),
            node,
            (stats[0][entry], stats[1][entry]),
            len(at),
            growth,
        )
        split = gain > 1e-12
        column = tried[np.arange(len(at)), column]
        # The columns drawn may all be constant in a node: it draws others at the next level.
        again = ~split & (growth.tried < p)
        born, total = int(split.sum()), len(feature)
        feature[at] = np.where(split, column, -1)
        bins[at] = np.where(split, cut, 0)
        left[at[split]] = total + 2 * np.arange(born)
        place = np.full(len(at), -1)
        place[split] = 2 * np.arange(born)
        place[again] = 2 * born + np.arange(int(again.sum()))
        kept = place[node] >= 0
        entry, node = entry[kept], node[kept]
        right = split[node] & (binned[rows[entry], column[node]] > cut[node])
        leaf[entry] = np.where(split[node], left[at[node]], at[node]) + right
        node = place[node] + right
        at = np.concatenate([total + np.arange(2 * born), at[again]])
        feature = np.append(feature, np.full(2 * born, -1))
        bins, left = (np.append(a, np.zeros(2 * born, int)) for a in (bins, left))
    table = np.zeros((p, BINS))
    for j, points in enumerate(cuts.at):
        table[j, : len(points)] = points
    cut_at = np.where(feature >= 0, table[np.maximum(feature, 0), bins], 0.0)
    return Trees(count, feature.astype(np.int32), cut_at, left.astype(np.int32)), leaf


def _draw(nodes: int, p: int, tried: int, rng: np.random.Generator) -> Ints:
    """Columns (nodes, tried) to try, without replacement."""
    if tried >= p:
        return np.broadcast_to(np.arange(p), (nodes, p))
    return np.argpartition(rng.random((nodes, p)), tried - 1, axis=1)[:, :tried]


def _best(
    bins: NDArray[np.uint8], node: Ints, stats: tuple[Array, Array], nodes: int, growth: Growth
) -> tuple[Array, Ints, Ints]:
    """Return each open node's best cut: its gain, which column tried, and after which bin."""
    tried = bins.shape[1]
    key = ((node[:, None] * tried + np.arange(tried)) * BINS + bins).ravel()
    shape = (nodes, tried, BINS)
    length = nodes * tried * BINS

    def below(weights: Array | None) -> Array:
        weights = None if weights is None else np.repeat(weights, tried)
        return np.bincount(key, weights, length).reshape(shape).cumsum(axis=2)

    number, first, second = below(None), below(stats[0]), below(stats[1])
    size, *whole = (s[:, 0, -1] for s in (number, first, second))
    number, first, second = (s[..., :-1] for s in (number, first, second))
    rest = size[:, None, None] - number
    allowed = np.nonzero((number >= growth.fewest) & (rest >= growth.fewest))
    first, second = first[allowed], second[allowed]
    others = [s[allowed[0]] for s in whole]
    worth, gain = growth.worth, np.full(number.shape, -np.inf)
    parted = worth(first, second) + worth(others[0] - first, others[1] - second)
    gain[allowed] = parted - worth(whole[0], whole[1])[allowed[0]]
    by_node = gain.reshape(nodes, -1)
    best = by_node.argmax(axis=1)
    return by_node[np.arange(nodes), best], best // (BINS - 1), best % (BINS - 1)


def side_by_side(trees: Sequence[Trees], columns: Sequence[Ints], width: int) -> list[Trees]:
    """Let the trees of each of k folds read their columns where all folds' designs lie in a row.

    Args:
        trees: of each fold.
        columns: (c,) of a fold's design, that the features of its trees are places in.
        width: columns of a fold's design; :func:`in_a_row` lays them out.
    """
    found = []
    for k, (own, read) in enumerate(zip(trees, columns, strict=True)):
        place = (read + k * width)[own.feature] if len(read) else own.feature
        feature = np.where(own.feature >= 0, place, -1).astype(np.int32)
        found.append(Trees(own.count, feature, own.cut, own.left))
    return found


def in_a_row(X: Array) -> Array:
    """Lay designs (k, n, p) out as (n, k * p); see :func:`side_by_side`."""
    k, n, p = X.shape
    return X.transpose(1, 0, 2).reshape(n, k * p)


def join(grown: Sequence[tuple[Trees, Array]]) -> tuple[Trees, Array]:
    """Put several batches of trees into one, in their order, and their nodes' values with them."""
    if not grown:
        none = np.empty(0, np.int32)
        return Trees(0, none, np.empty(0), none), np.empty(0)
    count = sum(trees.count for trees, _ in grown)
    places, roots, others = [], 0, count
    for trees, _ in grown:
        rest = len(trees.feature) - trees.count
        places.append(np.append(roots + np.arange(trees.count), others + np.arange(rest)))
        roots, others = roots + trees.count, others + rest
    place = np.concatenate(places)
    feature, cut, left = np.empty(others, np.int32), np.empty(others), np.empty(others, np.int32)
    value = np.empty((others, *grown[0][1].shape[1:]))
    feature[place] = np.concatenate([trees.feature for trees, _ in grown])
    cut[place] = np.concatenate([trees.cut for trees, _ in grown])
    left[place] = np.concatenate([p[t.left] for p, (t, _) in zip(places, grown, strict=True)])
    value[place] = np.concatenate([values for _, values in grown])
    return Trees(count, feature, cut, left), value
