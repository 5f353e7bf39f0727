"""Normal scores of gene expression: Φ⁻¹ of its rank among the quantiles of a group of patients.

Letters in shapes: k preprocessors, n patients, p features, e expression features, q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints

#: Position of an expression feature -> its distinct quantiles (q,), rising, and their scores (q,).
Scores = dict[int, tuple[Array, Array]]

#: Probabilities of the quantiles that a model stores; the lowest and highest value, each of which
#: is one patient's, are not stored.
REFERENCE = np.linspace(0.005, 0.995, 41)
#: Normal scores at those probabilities.
SCORES = np.array([NormalDist().inv_cdf(p) for p in REFERENCE])
#: Maximum number of patients whose values are compared with every quantile; for more, a binary
#: search is faster.
FEW = 16
#: Maximum number of scores computed at once, unless one feature has more; the features of a wide
#: assay are divided into parts.
AT_ONCE = 2**19


def assay_scores(table: Array, expression: Bools) -> Scores:
    """Return the normal scores of the expression features' quantiles.

    Args:
        table: (41, p) quantiles at the probabilities `REFERENCE`.
        expression: (p,) whether a feature is expression.
    """
    found = {}
    for j in np.flatnonzero(expression).tolist():
        quantiles = table[:, j]
        # A value of several quantiles (zeros of an assay) gets the mean of their extreme scores.
        distinct, first = np.unique(quantiles, return_index=True)
        last = len(quantiles) - 1 - np.unique(quantiles[::-1], return_index=True)[1]
        found[j] = distinct, (SCORES[first] + SCORES[last]) / 2
    return found


class _Steps(NamedTuple):
    """The linear pieces between quantiles, indexed by the number of quantiles at or below a value.

    A feature's score is ``score + slope * (value - begin)`` of its piece.
    """

    at: Array
    """(k, e, q) quantiles, filled up with infinity."""
    first: Ints
    """(k, 1, e) index of each feature's first piece in the flattened arrays of pieces."""
    begin: Array
    """(k, e, q + 1) value at which each piece begins; the first quantile for the piece below it."""
    slope: Array
    """(k, e, q + 1) slope of each piece; 0 below the first quantile and beyond the last."""
    score: Array
    """(k, e, q + 1) score at the beginning of each piece."""


@dataclass(frozen=True)
class Ranks:
    """Normal scores of expression by k preprocessors of one study, on the scale of one centre."""

    by_preprocessor: tuple[Scores, ...]
    """Scores of each preprocessor, for the same features."""

    @cached_property
    def features(self) -> Ints:
        """(e,) positions of the expression features."""
        return np.array([*self.by_preprocessor[0]], dtype=np.intp)

    def score(self, measured: Array) -> Array:
        """Return the normal scores (k, n, e) of expression (n, e), linear between the quantiles.

        NaN stays NaN; a value beyond all quantiles gets the score of the outermost one.
        """
        n, features = measured.shape
        k = len(self.by_preprocessor)
        step = max(1, AT_ONCE // (k * max(n, 1)))
        if features <= step:
            return self._score(measured, slice(None))
        found = np.empty((k, n, features))
        for start in range(0, features, step):
            part = slice(start, start + step)
            found[:, :, part] = self._score(measured[:, part], part)
        return found

    def _score(self, measured: Array, part: slice) -> Array:
        """Return :meth:`score` of some of the features."""
        at, first, begin, slope, score = self._steps
        if len(measured) <= FEW:
            passed = (measured[None, :, :, None] >= at[:, None, part]).sum(axis=-1)
        else:
            passed = self._search(measured, part)
        passed += first[:, :, part]
        found: Array = slope.take(passed)
        found *= measured - begin.take(passed)
        found += score.take(passed)
        return found

    def _search(self, measured: Array, part: slice) -> Ints:
        """Return how many quantiles (k, n, e) each value reaches, by one search a feature."""
        all_at, starts, passed = self._searched
        place = np.empty(measured.shape, np.intp)
        for e, at in enumerate(all_at[part]):
            place[:, e] = np.searchsorted(at, measured[:, e], side="right")
        place += starts[part]
        return passed.take(place, axis=1).astype(np.intp)

    @cached_property
    def _searched(self) -> tuple[list[Array], Ints, NDArray[np.uint8]]:
        """Tables for one search among the quantiles of all preprocessors together.

        They are each feature's joint quantiles; (e,) the feature's first column in the last table;
        and (k, columns) the number of a preprocessor's own quantiles that a value reaches if it
        reaches 0, 1, 2, ... of the feature's joint ones.
        """
        own_at = [[at for at, _ in scores.values()] for scores in self.by_preprocessor]
        if len(own_at) == 1:
            counts = np.array([len(at) + 1 for at in own_at[0]])
            starts = np.cumsum(counts) - counts
            passed = np.arange(counts.sum()) - np.repeat(starts, counts)
            return own_at[0], starts, passed[None].astype(np.uint8)
        all_at = [np.unique(np.concatenate(quantiles)) for quantiles in zip(*own_at, strict=True)]
        starts = np.cumsum([0, *(len(at) + 1 for at in all_at)])[:-1]
        passed_by_each = [
            np.concatenate(
                [
                    np.searchsorted(own, np.append(-np.inf, at), side="right")
                    for own, at in zip(quantiles, all_at, strict=True)
                ]
            )
            for quantiles in own_at
        ]
        return all_at, starts, np.array(passed_by_each, dtype=np.uint8)

    @cached_property
    def _steps(self) -> _Steps:
        tables = [[*scores.values()] for scores in self.by_preprocessor]
        longest = max(len(quantiles) for table in tables for quantiles, _ in table)
        at = np.full((len(tables), len(self.features), longest), np.inf)
        begin, slope, score = np.zeros((3, *at.shape[:2], longest + 1))
        for k, table in enumerate(tables):
            for e, (quantiles, scores) in enumerate(table):
                at[k, e, : len(quantiles)] = quantiles
                score[k, e, 1 : len(scores) + 1] = scores
        known = np.isfinite(at)
        begin[..., 1:][known] = at[known]
        # A value below all quantiles gets the score of the first.
        begin[..., 0], score[..., 0] = begin[..., 1], score[..., 1]
        width, rise = np.diff(begin[..., 1:]), np.diff(score[..., 1:])
        steep = np.finfo(float).tiny  # quantiles nearer than this to one another have no slope
        np.divide(rise, width, out=slope[..., 1:-1], where=known[..., 1:] & (width > steep))
        first = np.arange(0, begin.size, longest + 1).reshape(at.shape[0], 1, at.shape[1])
        return _Steps(at, first, begin, slope, score)
