"""Regions in which an arm is rare, and the bounds of the propensity in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.training.estimators.policy import COMMON, RARE

#: Maximum number of columns that bound a region, which is the depth of the tree that finds it.
DEPTH = 3


@dataclass(frozen=True)
class Regions:
    """Boxes in which an arm is rare; each is bounded in up to ``DEPTH`` columns."""

    column: Ints
    """(r, d) columns of the design; unused ones are column 0 with infinite bounds."""
    low: Array
    """(r, d) lower bounds, exclusive, midway between values of patients."""
    high: Array
    """(r, d) upper bounds, inclusive."""
    share: Array
    """(r,) share of treated patients in the region, after adding one patient with the treated share
    of all other patients."""

    def bound(self, X: Array, chance: Array) -> Array:
        """Return propensities (n,) bounded by the shares of the regions of each patient.

        In a region where the treated are rare, its share is the upper bound; where the untreated
        are rare, it is the lower bound.

        Args:
            X: (n, p) design.
            chance: (n,) propensity predicted by a model.
        """
        if not len(self.share):
            return chance
        value = X[:, self.column]
        inside = ((value > self.low) & (value <= self.high)).all(axis=2)
        most = np.where(inside & (self.share < RARE), self.share, 1.0).min(axis=1)
        least = np.where(inside & (self.share > COMMON), self.share, 0.0).max(axis=1)
        return np.asarray(np.minimum(np.maximum(chance, least), most))

    def to_json(self) -> dict[str, Any]:
        """Return the regions as plain data, with null for an open end."""
        plain = {name: array.astype(object) for name, array in vars(self).items()}
        for name in ("low", "high"):
            plain[name][~np.isfinite(vars(self)[name])] = None
        return {name: array.tolist() for name, array in plain.items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Regions:
        """Rebuild from :meth:`to_json`."""
        column = np.array(raw["column"], dtype=int).reshape(-1, DEPTH)
        low, high = (np.array(raw[end], dtype=float).reshape(-1, DEPTH) for end in ("low", "high"))
        return cls(
            column,
            np.where(np.isnan(low), -np.inf, low),
            np.where(np.isnan(high), np.inf, high),
            np.array(raw["share"], dtype=float),
        )

    @classmethod
    def none(cls) -> Regions:
        """Return no regions."""
        return cls.from_json({"column": [], "low": [], "high": [], "share": []})
