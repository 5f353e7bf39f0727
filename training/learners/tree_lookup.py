"""Bitwise lookup of the leaves of many rows, 64 rows at a time: a variant of QuickScorer.

A node has the set of rows that reach it, as bits. The rows of its right child are those at the node
and above its cut, the others are the left child's: a level of all trees takes two operations on
words. A row's leaf is then read off the sets in binary: digit by digit, it is 1
where the row is in any of the leaves whose numbers have a 1 there. After Lucchese et al.,
"QuickScorer", SIGIR 2015, whose bits are a row's leaves; here they are a leaf's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints

Words = NDArray[np.uint64]

#: Rows of a word.
WORD = 64
ALL = np.uint64(2**WORD - 1)


class _Level(NamedTuple):
    """Children of the nodes of one level: right ones first, then left ones, in a row."""

    parents: Ints
    """Places of the nodes."""
    split: Ints
    """Split of each."""
    right: slice
    left: slice


class Splits(NamedTuple):
    """Unique (column, cut) splits of all trees; the last is a sentinel that no value exceeds."""

    column: Ints
    """(q,) column that each compares."""
    cut: Array
    """(q,) values above it go right."""
    asked: Ints
    """(nodes,) split of each node; a leaf has the last one."""

    @classmethod
    def of(cls, feature: NDArray[np.integer], cut: Array) -> Splits:
        """Collect the splits of nodes from their columns (nodes,), -1 at leaves, and cuts."""
        asks = np.flatnonzero(feature >= 0)
        order = asks[np.lexsort((cut[asks], feature[asks]))]
        column, cut = feature[order].astype(np.intp), cut[order]
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(column) != 0) | (np.diff(cut) != 0)
        asked = np.full(len(feature), new.sum())
        asked[order] = np.cumsum(new) - 1
        return cls(np.append(column[new], 0), np.append(cut[new], np.inf), asked)


@dataclass(frozen=True)
class LeafLookup:
    """Trees laid out for the bitwise lookup of many rows."""

    columns: Ints
    """(c,) columns that any split compares."""
    column: Ints
    """(q,) which of them each split compares."""
    cut: Array
    """(q, 1) values above it go right."""
    levels: tuple[_Level, ...]
    nodes: int
    digits: Ints
    """(most, digits * trees) places of the leaves that have a 1 in a digit of their number, from
    the highest digit to the lowest, in each tree after tree; filled up with a place beyond the
    nodes, where no row is."""
    first: Ints
    """(trees, 1) number of each tree's first leaf, among those of all."""

    @classmethod
    def of(
        cls,
        splits: Splits,
        count: int,
        children: NDArray[np.integer],
        by_level: Sequence[Ints],
        tree: Ints,
        ends: Ints,
    ) -> LeafLookup:
        """Lay trees out.

        Args:
            splits: of their nodes.
            count: trees; their roots are the first nodes.
            children: (nodes,) left child of each node, which its right one follows.
            by_level: inner nodes of each level, from the roots down.
            tree: (nodes,) tree of each node.
            ends: (leaves,) nodes that are leaves, tree by tree.
        """
        # Nodes lie level by level.
        place, levels = np.zeros(len(children), np.intp), []
        place[:count] = np.arange(count)
        nodes = count
        for parents in by_level:
            right, left = children[parents] + 1, children[parents]
            middle, end = nodes + len(parents), nodes + 2 * len(parents)
            place[right], place[left] = np.arange(nodes, middle), np.arange(middle, end)
            rights, lefts = slice(nodes, middle), slice(middle, end)
            levels.append(_Level(place[parents], splits.asked[parents], rights, lefts))
            nodes = end
        owner = tree[ends]
        first = np.searchsorted(owner, np.arange(count))
        number = np.arange(len(owner)) - first[owner]
        digits = _digits(place[ends], owner, number, count, nodes)
        columns, column = np.unique(splits.column, return_inverse=True)
        cut = splits.cut[:, None]
        return cls(columns, column, cut, tuple(levels), nodes, digits, first[:, None])

    def leaves(self, X: Array) -> Ints:
        """Leaf (trees, n) that each row of X (n, p) falls into; counted over all trees'."""
        n, trees = len(X), len(self.first)
        words = max(-(-n // WORD), 1)
        above = np.zeros((len(self.cut), words * WORD // 8), np.uint8)
        # Of a wide design few columns are looked at: the others are not moved.
        asked = X.T[self.columns].take(self.column, axis=0) > self.cut
        above[:, : -(-n // 8)] = np.packbits(asked, axis=1, bitorder="little")
        rows = self._reaching(above.view(np.uint64))
        # Not by reduceat, which keeps the interpreter to itself.
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
        """Rows (nodes + 1, words) at each node, of those above each cut (q, words); last, none."""
        rows = np.empty((self.nodes + 1, above.shape[1]), np.uint64)
        rows[: len(self.first)] = ALL
        rows[-1] = 0
        for parents, split, right, left in self.levels:
            here = rows.take(parents, axis=0)
            np.bitwise_and(here, above.take(split, axis=0), out=rows[right])
            np.bitwise_xor(here, rows[right], out=rows[left])
        return rows


def _digits(place: Ints, owner: Ints, number: Ints, trees: int, none: int) -> Ints:
    """See :attr:`LeafLookup.digits`, of leaves in the order of the trees that own them."""
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
