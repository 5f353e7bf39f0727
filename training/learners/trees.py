"""Binary trees on binned columns, grown many at a time, level by level.

One level of all trees is one pass of histograms: for each open node and candidate column, the sums
by bin of two statistics (events and expected events, or gradient and curvature), from which the
gain of every split follows. For the gains: Friedman, "Greedy function approximation: a gradient
boosting machine", Ann Stat 2001; for the histograms: Ke et al., "LightGBM: a highly efficient
gradient boosting decision tree", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.training.learners.tree_lookup import WORD, LeafLookup, Splits

NodeScore = Callable[[Array, Array], Array]
"""Function from the sums of a node's two statistics (s,) to its score (s,), elementwise.

The gain of a split is the sum of the children's scores less the node's.
"""

#: Maximum number of bins of a column.
BINS = 32
#: Entries (rows of all trees' samples) grown at once: enough to outweigh the cost of the calls, few
#: enough for the processor's cache.
AT_ONCE = 64_000
#: Maximum number of trees times rows that are looked up at once, unless one word of rows has more.
LOOKED_UP = 430_000
#: Maximum number of words of rows that are looked up at once.
WORDS = 5
#: Rows by which a batch is shorter than its words: with a length that is a power of two, the values
#: of a column would share few lines of the processor's cache.
LEFT = 8
#: Number of rows below which descending the trees is faster than the bitwise lookup.
FEW = 16


@dataclass(frozen=True)
class Cuts:
    """Candidate split points: midway between values, so that no patient's value is stored."""

    at: tuple[Array, ...]
    """(p,) for each column its rising split points, at most ``BINS - 1``."""

    @classmethod
    def fit(cls, X: Array) -> Cuts:
        """Choose split points that divide the rows of X (n, p) into bins of about equal size."""
        return cls(tuple(_cuts(column) for column in X.T))

    def bin(self, X: Array) -> NDArray[np.uint8]:
        """Return the bin (n, p) of each value of X (n, p): the number of split points below it."""
        binned = np.empty(X.shape, np.uint8)
        for j, cuts in enumerate(self.at):
            binned[:, j] = np.searchsorted(cuts, X[:, j], side="left")
        return binned


def _cuts(column: Array) -> Array:
    """Return the split points of a column (n,)."""
    values, count = np.unique(column, return_counts=True)
    between, before = (values[:-1] + values[1:]) / 2, np.cumsum(count)[:-1]
    # Between adjacent floating-point numbers there is no split point.
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
    """Trees as arrays over the nodes of all of them; the roots are the first nodes."""

    count: int
    """Number of trees."""
    feature: NDArray[np.int32]
    """(nodes,) column that the node splits on, -1 for a leaf."""
    cut: Array
    """(nodes,) split point; rows with a value above it go to the right child."""
    left: NDArray[np.int32]
    """(nodes,) left child; the right child is the next node."""

    def leaves(self, X: Array) -> Ints:
        """Return the leaf (trees, n) of each row of X (n, p), as a position in ``leaf_nodes``."""
        return self._walk(X) if len(X) < FEW else self._lookup.leaves(X)

    @cached_property
    def leaf_nodes(self) -> Ints:
        """(leaves,) nodes that are leaves, tree by tree."""
        leaves = np.flatnonzero((self.feature < 0) & (self.tree >= 0))
        return leaves[np.argsort(self.tree[leaves], kind="stable")]

    @cached_property
    def levels(self) -> list[Ints]:
        """Inner nodes of each level, from the roots down."""
        found, level = [], np.arange(self.count)
        while len(level := level[self.feature[level] >= 0]):
            found.append(level)
            level = np.concatenate([self.left[level], self.left[level] + 1])
        return found

    @cached_property
    def tree(self) -> Ints:
        """(nodes,) tree of each node, -1 for a node that no root leads to."""
        found = np.full(len(self.feature), -1)
        found[: self.count] = np.arange(self.count)
        for level in self.levels:
            found[self.left[level]] = found[self.left[level] + 1] = found[level]
        return found

    def batches(self, n: int) -> Iterator[slice]:
        """Divide n rows into batches whose values by leaf fit into the processor's cache."""
        words = min(max(LOOKED_UP // (max(self.count, 1) * WORD), 1), WORDS)
        step = words * WORD - LEFT
        return (slice(start, start + step) for start in range(0, n, step))

    def _walk(self, X: Array) -> Ints:
        """Find the leaves by descending from the roots, one level of all trees at a time."""
        (column, cut, split_of), child = self._splits, self._child
        above = (X.take(column, axis=1) > cut).ravel()
        start = len(column) * np.arange(len(X))[:, None]
        node = np.repeat(np.arange(self.count)[None], len(X), axis=0)
        for _ in self.levels:
            split = split_of.take(node)
            split += start
            node = child.take(node)
            node += above.take(split)
        return self._number.take(node.T)

    @cached_property
    def _number(self) -> Ints:
        """(nodes,) position of each leaf in ``leaf_nodes``."""
        found = np.zeros(len(self.feature), np.intp)
        found[self.leaf_nodes] = np.arange(len(self.leaf_nodes))
        return found

    @cached_property
    def _splits(self) -> Splits:
        """Distinct splits of the nodes."""
        return Splits.of(self.feature, self.cut)

    @cached_property
    def _lookup(self) -> LeafLookup:
        """Trees arranged for the bitwise lookup."""
        nodes = (self.count, self.left, self.levels, self.tree, self.leaf_nodes)
        return LeafLookup.of(self._splits, *nodes)

    @cached_property
    def _child(self) -> Ints:
        """(nodes,) left child of each node; a leaf leads to itself."""
        return np.where(self.feature >= 0, self.left, np.arange(len(self.left)))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the trees, except their number, as named arrays."""
        return {"feature": self.feature, "cut": self.cut, "left": self.left}

    @classmethod
    def from_arrays(cls, count: int, arrays: Mapping[str, NDArray[np.generic]]) -> Trees:
        """Rebuild from the number of trees and :meth:`arrays`.

        Raises:
            ValueError: the arrays are not those of so many trees.
        """
        feature, left = (np.asarray(arrays[k], np.int32) for k in ("feature", "left"))
        cut, nodes = np.asarray(arrays["cut"], np.float64), len(feature)
        inner = np.flatnonzero(feature >= 0)
        children = np.concatenate([left[inner], left[inner] + 1])
        # A node that is not the child of one earlier node could lead to itself, without an end.
        if not (
            feature.shape == left.shape == cut.shape == (nodes,)
            and type(count) is int
            and 0 <= count <= nodes
            and (children > np.tile(inner, 2)).all()
            and ((count <= children) & (children < nodes)).all()
            and np.bincount(children, minlength=1).max() <= 1
        ):
            raise ValueError("these are no trees")
        return cls(count, feature, cut, left)


@dataclass(frozen=True)
class Growth:
    """Settings of the growth of trees."""

    depth: int
    """Maximum depth of a tree."""
    fewest: int
    """Minimum number of entries on each side of a split."""
    tried: int
    """Number of candidate columns drawn at random for each node, or all if there are fewer."""
    score: NodeScore
    """Score of a node, by which splits are compared."""


def grow(
    binned: NDArray[np.uint8],
    cuts: Cuts,
    rows: Ints,
    tree: Ints,
    stats: tuple[Array, Array],
    growth: Growth,
    rng: np.random.Generator,
) -> tuple[Trees, Ints]:
    """Grow several trees together.

    Args:
        binned: (n, p) bins of the design, from :meth:`Cuts.bin`.
        cuts: split points of the p columns.
        rows: (r,) row of ``binned`` of each entry; a tree's entries are its sample.
        tree: (r,) tree of each entry, from 0; each tree has at least one entry.
        stats: the two statistics (r,) of each entry.
        growth: settings.
        rng: generator of the candidate columns.

    Returns:
        The trees, and the node (r,) that is each entry's leaf.
    """
    count, p, flat = int(tree.max()) + 1, binned.shape[1], binned.ravel()
    feature, bins, left = np.full(count, -1), np.zeros(count, int), np.zeros(count, int)
    leaf = tree.copy()
    # Entries in open nodes, the open node of each entry, and each open node's position in ``left``.
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
        # A node without gain may have drawn constant columns: it is tried again at the next level.
        again = ~split & (growth.tried < p)
        splits, total = int(split.sum()), len(feature)
        feature[at] = np.where(split, column, -1)
        bins[at] = np.where(split, cut, 0)
        left[at[split]] = total + 2 * np.arange(splits)
        place = np.full(len(at), -1)
        place[split] = 2 * np.arange(splits)
        place[again] = 2 * splits + np.arange(int(again.sum()))
        kept = place[node] >= 0
        entry, node = entry[kept], node[kept]
        right = split[node] & (binned[rows[entry], column[node]] > cut[node])
        leaf[entry] = np.where(split[node], left[at[node]], at[node]) + right
        node = place[node] + right
        at = np.concatenate([total + np.arange(2 * splits), at[again]])
        feature = np.append(feature, np.full(2 * splits, -1))
        bins, left = (np.append(a, np.zeros(2 * splits, int)) for a in (bins, left))
    table = np.zeros((p, BINS))
    for j, points in enumerate(cuts.at):
        table[j, : len(points)] = points
    cut_at = np.where(feature >= 0, table[np.maximum(feature, 0), bins], 0.0)
    return Trees(count, feature.astype(np.int32), cut_at, left.astype(np.int32)), leaf


def _draw(nodes: int, p: int, tried: int, rng: np.random.Generator) -> Ints:
    """Draw the candidate columns (nodes, tried) of each node, without replacement."""
    if tried >= p:
        return np.broadcast_to(np.arange(p), (nodes, p))
    return np.argpartition(rng.random((nodes, p)), tried - 1, axis=1)[:, :tried]


def _best(
    bins: NDArray[np.uint8], node: Ints, stats: tuple[Array, Array], nodes: int, growth: Growth
) -> tuple[Array, Ints, Ints]:
    """Return the best split of each open node: gain, candidate column and last bin that goes left.

    The gain is -inf for a node without a split that leaves ``fewest`` entries on each side.

    Args:
        bins: (r, tried) bin of each entry in the candidate columns of its node.
        node: (r,) open node of each entry.
        stats: the two statistics (r,) of each entry.
        nodes: number of open nodes.
        growth: settings.
    """
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
    score, gain = growth.score, np.full(number.shape, -np.inf)
    parted = score(first, second) + score(others[0] - first, others[1] - second)
    gain[allowed] = parted - score(whole[0], whole[1])[allowed[0]]
    by_node = gain.reshape(nodes, -1)
    best = by_node.argmax(axis=1)
    return by_node[np.arange(nodes), best], best // (BINS - 1), best % (BINS - 1)


def for_joint_design(trees: Sequence[Trees], columns: Sequence[Ints], width: int) -> list[Trees]:
    """Return the trees of k folds, whose features are columns of :func:`joint_design`.

    Args:
        trees: the trees of each fold; their features are positions in the fold's ``columns``.
        columns: for each fold the columns (c,) of its design that its trees use.
        width: number of columns of a fold's design.
    """
    found = []
    for k, (own, read) in enumerate(zip(trees, columns, strict=True)):
        place = (read + k * width)[own.feature] if len(read) else own.feature
        feature = np.where(own.feature >= 0, place, -1).astype(np.int32)
        found.append(Trees(own.count, feature, own.cut, own.left))
    return found


def joint_design(X: Array) -> Array:
    """Return the designs (k, n, p) of k folds as one joint design (n, k * p)."""
    k, n, p = X.shape
    return X.transpose(1, 0, 2).reshape(n, k * p)


def join(grown: Sequence[tuple[Trees, Array]]) -> tuple[Trees, Array]:
    """Join several batches of trees into one, in their order.

    Args:
        grown: trees, with an array (nodes, …) of values of their nodes.

    Returns:
        All trees, and the values of all their nodes.
    """
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
