"""Normal scores of expression: its rank among the quantiles of the assay's training patients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints

#: Expression feature -> rising quantiles of its assay, and their normal scores.
Scores = dict[int, tuple[Array, Array]]

#: Probabilities at which an assay's reference quantiles are kept; the extremes, which would be one
#: patient's values, are not.
REFERENCE = np.linspace(0.005, 0.995, 41)
#: Normal scores at those probabilities.
SCORES = np.array([NormalDist().inv_cdf(p) for p in REFERENCE])
#: Most patients whose values are compared with all quantiles, instead of by a search.
FEW = 16
#: Scores computed at once; a wide assay's features are split into parts.
AT_ONCE = 2**19


def assay_scores(table: Array, expression: Bools) -> Scores:
    """Return the normal scores of the reference quantiles (41, p) of the expression features."""
    found = {}
    for j in np.flatnonzero(expression).tolist():
        quantiles = table[:, j]
        # Where many patients share a value (zeros of an assay) it scores as the middle of its
        # ranks.
        distinct, first = np.unique(quantiles, return_index=True)
        last = len(quantiles) - 1 - np.unique(quantiles[::-1], return_index=True)[1]
        found[j] = distinct, (SCORES[first] + SCORES[last]) / 2
    return found


class _Steps(NamedTuple):
    """Tables of the linear pieces between quantiles, indexed by the number of quantiles passed."""

    at: Array
    """(k, e, q) the quantiles, filled up with infinity."""
    first: Ints
    """(k, 1, e) where each feature's pieces begin, among those of all."""
    begin: Array
    """(k, e, q + 1) where each piece does."""
    slope: Array
    """(k, e, q + 1) of it; 0 before the first quantile and beyond the last."""
    score: Array
    """(k, e, q + 1) at its beginning."""


@dataclass(frozen=True)
class Ranks:
    """The scores of one assay's features, of one preprocessor or of several that share a study."""

    each: tuple[Scores, ...]
    """By preprocessor, of the same features."""

    @cached_property
    def features(self) -> Ints:
        """(e,) the features."""
        return np.array([*self.each[0]], dtype=np.intp)

    def score(self, measured: Array) -> Array:
        """Normal scores (k, n, e) of the features' values (n, e), linear between the quantiles."""
        n, features = measured.shape
        step = max(1, AT_ONCE // (len(self.each) * max(n, 1)))
        if features <= step:
            return self._score(measured, slice(None))
        found = np.empty((len(self.each), n, features))
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
        """How many quantiles (k, n, e) each value reaches, in one search for all preprocessors."""
        all_at, starts, passed = self._searched
        place = np.empty(measured.shape, np.intp)
        for e, at in enumerate(all_at[part]):
            place[:, e] = np.searchsorted(at, measured[:, e], side="right")
        place += starts[part]
        return passed.take(place, axis=1).astype(np.intp)

    @cached_property
    def _searched(self) -> tuple[list[Array], Ints, NDArray[np.uint8]]:
        """Each feature's quantiles of all preprocessors, and the index of its first place (e,).

        Then how many of its own quantiles (k, places) each preprocessor has up to a place.
        """
        each = [[quantiles for quantiles, _ in scores.values()] for scores in self.each]
        if len(each) == 1:
            counts = np.array([len(at) + 1 for at in each[0]])
            starts = np.cumsum(counts) - counts
            passed = np.arange(counts.sum()) - np.repeat(starts, counts)
            return each[0], starts, passed[None].astype(np.uint8)
        all_at = [np.unique(np.concatenate(quantiles)) for quantiles in zip(*each, strict=True)]
        starts = np.cumsum([0, *(len(at) + 1 for at in all_at)])[:-1]
        passed_by_each = [
            np.concatenate(
                [
                    np.searchsorted(own, np.append(-np.inf, at), side="right")
                    for own, at in zip(quantiles, all_at, strict=True)
                ]
            )
            for quantiles in each
        ]
        return all_at, starts, np.array(passed_by_each, dtype=np.uint8)

    @cached_property
    def _steps(self) -> _Steps:
        tables = [[*scores.values()] for scores in self.each]
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
