"""Fill missing values with their mean given the values that are known.

Columns are taken as jointly normal (Little and Rubin, "Statistical Analysis with Missing Data"),
with a covariance from all pairs of known values, so that patients without a label and values that
are missing in blocks count too. Correlations are shrunken: what few patients show is near zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Correlations are as if so many further patients had shown none.
UNCORRELATED = 20.0
#: Least eigenvalue of the correlations: pairs of columns known in other patients may contradict
#: one another.
LEAST = 0.05
#: Variance of a column, whose scale is about 1, that is none.
TINY = 1e-12


@dataclass(frozen=True)
class Joint:
    """A joint normal distribution of q columns with mean 0."""

    covariance: Array
    """(q, q)."""

    def fill(self, columns: Array) -> Array:
        """Return columns (n, q) with each missing value at its mean given the patient's others."""
        known = ~np.isnan(columns)
        filled = np.where(known, columns, 0.0)
        _, first, pattern, count = np.unique(
            np.packbits(known, axis=1),
            axis=0,
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        order = np.argsort(pattern.ravel(), kind="stable")
        for row, end, size in zip(first, np.cumsum(count), count, strict=True):
            rows = order[end - size : end]
            have, lack = np.flatnonzero(known[row]), np.flatnonzero(~known[row])
            if len(have) and len(lack):
                between = self.covariance[np.ix_(have, lack)]
                weights = np.linalg.solve(self.covariance[np.ix_(have, have)], between)
                filled[np.ix_(rows, lack)] = filled[np.ix_(rows, have)] @ weights
        return filled

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {"covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Joint:
        """Rebuild from :meth:`to_json`."""
        return cls(np.array(raw["covariance"], dtype=float))


def fit_joint(columns: Array) -> Joint:
    """Estimate the covariance.

    Args:
        columns: (n, q) of mean 0, NaN is missing.
    """
    known = (~np.isnan(columns)).astype(float)
    values = np.nan_to_num(columns)
    together = known.T @ known
    # The variance of each column among the patients who have the other one too.
    variance = (values**2).T @ known
    size = np.sqrt(variance * variance.T)
    correlation = np.divide(values.T @ values, size, out=np.zeros_like(size), where=size > TINY)
    correlation *= together / (together + UNCORRELATED)
    np.fill_diagonal(correlation, 1.0)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    correlation = (vectors * np.maximum(eigenvalues, LEAST)) @ vectors.T
    spread = np.diag(variance) / np.maximum(np.diag(together), 1.0)
    # A column that never varied says nothing and is told nothing, whatever its scale.
    sd = np.sqrt(np.where(spread > TINY, spread, 1.0) / np.diag(correlation))
    return Joint(correlation * sd[:, None] * sd)
