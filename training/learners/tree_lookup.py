"""Bitwise lookup of the leaves of many rows, 64 rows at a time: a variant of QuickScorer.

The set of rows that reach a node is a bit vector in words of 64 rows. The rows of its right child
are those that reach the node and are above its split point, the others are the left child's: a
level of all trees takes two operations on words. The number of a row's leaf is then found digit by
digit in binary: a digit is 1 if the row reaches any of the leaves whose numbers have a 1 there.
After Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees", SIGIR 2015, where a bit vector holds a row's leaves, not a leaf's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints

#: Bit vectors (…, words) of sets of rows.
Words = NDArray[np.uint64]

#: Number of rows in a word.
WORD = 64
#: Word of all rows.
ALL = np.uint64(2**WORD - 1)


class _Level(NamedTuple):
    """Inner nodes of one level, with the positions of their children."""

    parents: Ints
    """(m,) positions of the nodes."""
    split: Ints
    """(m,) split of each node."""
    right: slice
    """Positions of the m right children."""
    left: slice
    """Positions of the m left children."""


class Splits(NamedTuple):
    """Distinct splits (column and split point) of all trees; the last is a sentinel at infinity."""

    column: Ints
    """(q,) column of each split."""
    cut: Array
    """(q,) split point; rows with a value above it go right."""
    of_node: Ints
    """(nodes,) position of each node's split; a leaf has the sentinel."""

    @classmethod
    def of(cls, feature: NDArray[np.integer], cut: Array) -> Splits:
        """Collect the distinct splits of nodes.

        Args:
            feature: (nodes,) column that each node splits on, -1 for a leaf.
            cut: (nodes,) split point of each node.
        """
        inner = np.flatnonzero(feature >= 0)
        order = inner[np.lexsort((cut[inner], feature[inner]))]
        column, cut = feature[order].astype(np.intp), cut[order]
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(column) != 0) | (np.diff(cut) != 0)
        of_node = np.full(len(feature), new.sum())
        of_node[order] = np.cumsum(new) - 1
        return cls(np.append(column[new], 0), np.append(cut[new], np.inf), of_node)


@dataclass(frozen=True)
class LeafLookup:
    """Trees arranged for the bitwise lookup of many rows; nodes are numbered level by level."""

    columns: Ints
    """(c,) columns of the design that are split on, and column 0, that of the sentinel."""
    column: Ints
    """(q,) position in ``columns`` of each split's column."""
    cut: Array
    """(q, 1) split points; rows with a value above one go right."""
    levels: tuple[_Level, ...]
    """Inner nodes of each level, from the roots down."""
    nodes: int
    """Number of nodes."""
    digits: Ints
    """(most, digits * trees) a column for each binary digit, from the highest, and tree: positions
    of the tree's leaves whose number has a 1 in that digit, padded with ``nodes``, the position
    of an empty set of rows."""
    first: Ints
    """(trees, 1) position of each tree's first leaf among the leaves of all trees."""

    @classmethod
    def of(
        cls,
        splits: Splits,
        count: int,
        children: NDArray[np.integer],
        by_level: Sequence[Ints],
        tree: Ints,
        leaf_nodes: Ints,
    ) -> LeafLookup:
        """Arrange trees for the lookup.

        Args:
            splits: distinct splits of the trees' nodes.
            count: number of trees; their roots are the first nodes.
            children: (nodes,) left child of each node; the right child is the next node.
            by_level: inner nodes of each level, from the roots down.
            tree: (nodes,) tree of each node.
            leaf_nodes: (leaves,) nodes that are leaves, tree by tree.
        """
        # Position of each node in the order of levels.
        place, levels = np.zeros(len(children), np.intp), []
        place[:count] = np.arange(count)
        nodes = count
        for parents in by_level:
            right, left = children[parents] + 1, children[parents]
            middle, end = nodes + len(parents), nodes + 2 * len(parents)
            place[right], place[left] = np.arange(nodes, middle), np.arange(middle, end)
            rights, lefts = slice(nodes, middle), slice(middle, end)
            levels.append(_Level(place[parents], splits.of_node[parents], rights, lefts))
            nodes = end
        owner = tree[leaf_nodes]
        first = np.searchsorted(owner, np.arange(count))
        number = np.arange(len(owner)) - first[owner]
        digits = _digits(place[leaf_nodes], owner, number, count, nodes)
        columns, column = np.unique(splits.column, return_inverse=True)
        cut = splits.cut[:, None]
        return cls(columns, column, cut, tuple(levels), nodes, digits, first[:, None])

    def leaves(self, X: Array) -> Ints:
        """Return the leaf (trees, n) of each row of X (n, p), numbered over all trees."""
        n, trees = len(X), len(self.first)
        words = max(-(-n // WORD), 1)
        above = np.zeros((len(self.cut), words * WORD // 8), np.uint8)
        # Only the columns that are split on are copied, which are few of a wide design.
        compared = X.T[self.columns].take(self.column, axis=0) > self.cut
        above[:, : -(-n // 8)] = np.packbits(compared, axis=1, bitorder="little")
        rows = self._reaching(above.view(np.uint64))
        # Padded, since reduceat, which needs no padding, holds the interpreter lock.
        ones = np.bitwise_or.reduce(rows.take(self.digits, axis=0), axis=0)
        bits = np.unpackbits(ones.view(np.uint8), axis=1, bitorder="little")
        digits = bits.reshape(len(bits) // max(trees, 1), trees, words * WORD)
        number = np.zeros(digits.shape[1:], np.min_scalar_type(2 ** len(digits) - 1))
        for digit in digits:
            number += number  # a shift takes ten times as long
            number |= digit
        found = number[:, :n].astype(np.intp)
        found += self.first
        return found

    def _reaching(self, above: Words) -> Words:
        """Return the rows (nodes + 1, words) that reach each node; the last entry has no row.

        Args:
            above: (q, words) rows above each split point.
        """
        rows = np.empty((self.nodes + 1, above.shape[1]), np.uint64)
        rows[: len(self.first)] = ALL
        rows[-1] = 0
        for parents, split, right, left in self.levels:
            at_parents = rows.take(parents, axis=0)
            np.bitwise_and(at_parents, above.take(split, axis=0), out=rows[right])
            np.bitwise_xor(at_parents, rows[right], out=rows[left])
        return rows


def _digits(place: Ints, owner: Ints, number: Ints, trees: int, none: int) -> Ints:
    """Return :attr:`LeafLookup.digits`.

    Args:
        place: (leaves,) position of each leaf's node, tree by tree.
        owner: (leaves,) tree of each leaf.
        number: (leaves,) number of each leaf within its tree.
        trees: number of trees.
        none: position of an empty set of rows.
    """
    segments, width = [], int(number.max(initial=0)).bit_length()
    for digit in range(width - 1, -1, -1):
        ones = (number >> digit) & 1 == 1
        ends = np.searchsorted(owner[ones], np.arange(1, trees))
        segments += np.split(place[ones], ends)
    most = max((len(segment) for segment in segments), default=0)
    found = np.full((most, width * trees), none)
    for column, segment in enumerate(segments if trees else ()):
        found[: len(segment), column] = segment
    return found
