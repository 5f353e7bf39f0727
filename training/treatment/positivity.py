"""Regions without treated, or without untreated, patients: a count guard beside the propensity.

A model smooths over an edge: where nobody of a stage, or beyond an age, was ever treated, it still
gives a chance. Here patients are counted: in each level of a column with few values, and in the
tails of the others. A tail is where the isotonic regression of the treatment on the column (Barlow
et al., "Statistical inference under order restrictions", 1972) is below 10 %, or above 90 %. A
region counts if its patients are so many that chance does not explain the arm that misses
(Danelian et al., "Identification of in-sample positivity violations using regression trees: the
PoRT algorithm", J Causal Inference 2023, for regions by trees).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binom

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.policy import COMMON, RARE, SIGNIFICANT

#: Maximum of distinct values of a column whose values count as levels.
LEVELS = 12


class _Region(NamedTuple):
    """Patients whose value of a column is in (low, high]."""

    column: int
    low: float
    high: float
    rows: Bools


@dataclass(frozen=True)
class Regions:
    """Regions in which an arm is rare."""

    column: Ints
    """(r,) column of the design."""
    low: Array
    """(r,) patients with a value above this, midway between values of patients, …"""
    high: Array
    """(r,) … and up to this are inside; −inf and inf for tails."""
    share: Array
    """(r,) share of the treated among the patients inside, with one more of the usual share."""

    def bound(self, X: Array, chance: Array) -> Array:
        """Return propensities (n,) no nearer to 1/2 than the shares of the regions around X (n, p).

        Args:
            X: design.
            chance: (n,) propensity by a model.
        """
        value = X[:, self.column]
        inside = (value > self.low) & (value <= self.high)
        rare, common = self.share < RARE, self.share > COMMON
        most = np.where(inside & rare, self.share, 1.0).min(axis=1, initial=1.0)
        least = np.where(inside & common, self.share, 0.0).max(axis=1, initial=0.0)
        return np.minimum(np.maximum(chance, least), most)

    def to_json(self) -> dict[str, Any]:
        """Return the regions as plain data, with null for an open end."""
        ends = ([e if np.isfinite(e) else None for e in v.tolist()] for v in (self.low, self.high))
        low, high = ends
        shares = self.share.tolist()
        return {"column": self.column.tolist(), "low": low, "high": high, "share": shares}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Regions:
        """Rebuild from :meth:`to_json`."""
        low, high = (
            np.array([end if e is None else e for e in raw[name]], dtype=float)
            for name, end in (("low", -np.inf), ("high", np.inf))
        )
        return cls(np.array(raw["column"], dtype=int), low, high, np.array(raw["share"], float))

    @classmethod
    def none(cls) -> Regions:
        """Return no regions."""
        return cls.from_json({"column": [], "low": [], "high": [], "share": []})


def rare_regions(X: Array, treated: Bools, columns: Ints) -> Regions:
    """Return the regions in which one of the arms is rare beyond chance.

    Of m patients inside, t treated, and a share q of treated patients among the others, a region
    without the treated has (t + q) / (m + 1) < 10 % and P(T ≤ t) < 5 % / (number of regions), with
    T binomial of m and q; for the untreated likewise.

    Args:
        X: (n, p) design.
        treated: (n,) whether the patient was treated.
        columns: (c,) columns of the design that are looked at.
    """
    tried = [region for j in columns.tolist() for region in _regions(j, X[:, j], treated)]
    found = []
    level = SIGNIFICANT / max(len(tried), 1)
    for column, low, high, rows in tried:
        size, others = int(rows.sum()), int((~rows).sum())
        if not size or not others:
            continue
        had, usual = int(treated[rows].sum()), float(treated[~rows].mean())
        share = (had + usual) / (size + 1)
        few = share < RARE and binom.cdf(had, size, usual) < level
        many = share > COMMON and binom.sf(had - 1, size, usual) < level
        if few or many:
            found.append((column, low, high, share))
    column, low, high, share = np.array(found, dtype=float).reshape(-1, 4).T
    return Regions(column.astype(int), low, high, share)


def _regions(column: int, value: Array, treated: Bools) -> Iterator[_Region]:
    """Yield the levels of a column (n,) of few values, or the tails of another."""
    values, count = np.unique(value, return_counts=True)
    between = (values[:-1] + values[1:]) / 2
    if len(values) <= LEVELS:
        ends = np.concatenate([[-np.inf], between, [np.inf]])
        for low, high in pairwise(ends.tolist()):
            yield _Region(column, low, high, (value > low) & (value <= high))
        return
    had = np.bincount(np.searchsorted(values, value), treated, len(values)) / count
    for rising in (False, True):
        share = isotonic_regression(had, weights=count, increasing=rising).x
        # The ends of a monotone course are the tails: the few at one, the many at the other.
        for tail in (share < RARE, share > COMMON):
            size = int(tail.sum())
            if not 0 < size < len(values):
                # It was looked for, too.
                yield _Region(column, np.inf, np.inf, np.zeros(len(value), bool))
            elif tail[-1]:
                edge = float(between[-size])
                yield _Region(column, edge, np.inf, value > edge)
            else:
                edge = float(between[size - 1])
                yield _Region(column, -np.inf, edge, value <= edge)
