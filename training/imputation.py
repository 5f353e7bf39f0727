"""What a missing number may have been, given the others: a joint normal distribution.

Used where a missing value must not count as average for certain: a patient without a marker has the
spread of everybody's, less what the known values tell (the regression calibration of Carroll et
al., "Measurement Error in Nonlinear Models", ch. 4, with missing values as the error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Patients' worth of evidence for no correlation, beforehand.
SHRINKAGE = 10.0
#: Least eigenvalue of the correlations, which are not of the same patients for each pair.
LEAST = 1e-3


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of c columns."""

    mean: Array
    """(c,)."""
    covariance: Array
    """(c, c)."""

    @classmethod
    def fit(cls, Z: Array) -> Gaussian:
        """Fit to n patients (n, c), NaN where missing, by all pairs of known values."""
        known = ~np.isnan(Z)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, Z, 0.0).sum(axis=0) / count
        centred = np.where(known, Z - mean, 0.0)
        spread = np.sqrt((centred**2).sum(axis=0) / count)
        pairs = known.astype(float).T @ known
        product = centred.T @ centred / np.maximum(spread[:, None] * spread, 1e-12)
        correlation = product / (pairs + SHRINKAGE)
        np.fill_diagonal(correlation, 1.0)
        size, direction = np.linalg.eigh(correlation)
        correlation = (direction * np.maximum(size, LEAST)) @ direction.T
        scale = np.maximum(spread, 1e-6) / np.sqrt(np.diag(correlation))
        return cls(mean, correlation * scale[:, None] * scale)

    def condition(
        self, Z: Array, wanted: NDArray[np.int_]
    ) -> tuple[Array, Array, NDArray[np.int_]]:
        """Return what is to be expected of some columns, given all that is known.

        Args:
            Z: (n, c), NaN where missing.
            wanted: (w,) columns.

        Returns:
            Mean (n, w), which is the value itself where it is known; covariance (k, w, w) of each
            pattern of missing values; the pattern (n,) of each patient.
        """
        known = ~np.isnan(Z)
        _, first, pattern = np.unique(
            np.packbits(known, axis=1), axis=0, return_index=True, return_inverse=True
        )
        pattern = pattern.reshape(-1)
        size = np.bincount(pattern, minlength=len(first))
        groups = np.split(np.argsort(pattern, kind="stable"), np.cumsum(size)[:-1])
        mean = Z[:, wanted]
        covariance = np.zeros((len(first), len(wanted), len(wanted)))
        for k, example in enumerate(first):
            seen = np.flatnonzero(known[example])
            unseen = np.flatnonzero(~known[example, wanted])
            if not len(unseen):
                continue
            rows, columns = groups[k], wanted[unseen]
            across = self.covariance[np.ix_(seen, columns)]
            slope = np.linalg.solve(self.covariance[np.ix_(seen, seen)], across)
            told = (Z[np.ix_(rows, seen)] - self.mean[seen]) @ slope
            mean[np.ix_(rows, unseen)] = self.mean[columns] + told
            left = self.covariance[np.ix_(columns, columns)] - across.T @ slope
            covariance[k][np.ix_(unseen, unseen)] = left
        return mean, covariance, pattern

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Gaussian:
        """Rebuild from :meth:`to_json`."""
        return cls(np.array(raw["mean"], dtype=float), np.array(raw["covariance"], dtype=float))
