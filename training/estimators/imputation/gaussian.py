"""Conditional distribution of missing numbers given the known ones: a joint normal distribution.

Used where a single imputation by the mean would leave out its uncertainty: a missing marker keeps
the variance that the known values do not explain (the regression calibration of Carroll et al.,
"Measurement Error in Nonlinear Models", ch. 4, with missing values as the error).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints

#: Shrinkage of correlations towards 0, as a number of uncorrelated patients added.
SHRINKAGE = 20.0
#: Minimum eigenvalue of the correlation matrix: its entries are of different patients, so that it
#: may have negative ones.
LEAST = 0.05
#: Variance, on a scale of about 1, below which a column is constant.
TINY = 1e-12
#: Maximum number of patterns of missing values that are computed at once.
AT_ONCE = 1024
#: Maximum size, in numbers, of a distribution's cache of regressions; beyond it, it is emptied.
REMEMBERED = 2**20


def _patterns(known: Bools) -> tuple[Ints, Ints]:
    """Return each pattern's first row (k,) and each row's pattern (n,) of known values (n, c)."""
    packed = np.packbits(known, axis=1)
    text, width = packed.tobytes(), packed.shape[1]
    place: dict[bytes, int] = {}
    first: list[int] = []
    pattern: list[int] = []
    for i in range(len(known)):
        number = place.setdefault(text[i * width : (i + 1) * width], len(place))
        if number == len(first):
            first.append(i)
        pattern.append(number)
    return np.array(first, dtype=int), np.array(pattern, dtype=int)


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of c columns."""

    mean: Array
    """(c,) mean of each column."""
    covariance: Array
    """(c, c) covariance of the columns."""

    @classmethod
    def fit(cls, Z: Array) -> Gaussian:
        """Fit to Z (n, c), NaN where missing.

        Means and variances are of each column's known values; the variance of a constant column
        is 1. A correlation is of the m patients with both values, times m / (m + ``SHRINKAGE``);
        then eigenvalues below ``LEAST`` are raised to it.
        """
        known = (~np.isnan(Z)).astype(float)
        together = known.T @ known
        count = np.maximum(np.diag(together), 1.0)
        mean = np.nan_to_num(Z).sum(axis=0) / count
        centred = np.nan_to_num(Z - mean)
        # The variance of each column among the patients who have the other one too.
        variance = (centred**2).T @ known
        size = np.sqrt(variance * variance.T)
        correlation = np.divide(
            centred.T @ centred, size, out=np.zeros_like(size), where=size > TINY
        )
        correlation *= together / (together + SHRINKAGE)
        np.fill_diagonal(correlation, 1.0)
        length, direction = np.linalg.eigh(correlation)
        correlation = (direction * np.maximum(length, LEAST)) @ direction.T
        spread = np.diag(variance) / count
        # A constant column predicts no other and is predicted by none, whatever its scale.
        scale = np.sqrt(np.where(spread > TINY, spread, 1.0) / np.diag(correlation))
        return cls(mean, correlation * scale[:, None] * scale)

    def condition(self, Z: Array, wanted: Ints) -> tuple[Array, Array, Ints]:
        """Return the conditional distribution of some columns, given all known values.

        With o the observed columns and w the wanted ones, its mean is μ_w + Σ_wo Σ_oo⁻¹ (z_o − μ_o)
        and its covariance Σ_ww − Σ_wo Σ_oo⁻¹ Σ_ow.

        Args:
            Z: (n, c) values, NaN where missing.
            wanted: (w,) positions of the wanted columns.

        Returns:
            Mean (n, w), equal to the value where it is known; covariance (k, w, w) of each of k
            patterns of missing values; the pattern (n,) of each patient.
        """
        known = ~np.isnan(Z)
        first, pattern = _patterns(known)
        slopes, covariance = self._regressions(known[first], wanted)
        deviation = np.where(known, Z - self.mean, 0.0)
        mean = np.where(
            known[:, wanted],
            Z[:, wanted],
            self.mean[wanted] + np.einsum("nc,ncw->nw", deviation, slopes[pattern]),
        )
        return mean, covariance, pattern

    def _regressions(self, observed: Bools, wanted: Ints) -> tuple[Array, Array]:
        """Return the result of :meth:`_regress`, with a cache of earlier patterns.

        Patients often miss the same values together, so that most patterns recur.
        """
        k, c, w = *observed.shape, len(wanted)
        slopes, covariance = np.zeros((k, c, w)), np.zeros((k, w, w))
        names = [wanted.tobytes() + pattern.tobytes() for pattern in observed]
        cached = [self._cache.get(name) for name in names]
        new = np.array([i for i, entry in enumerate(cached) if entry is None], dtype=int)
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            slopes[part], covariance[part] = self._regress(observed[part], wanted)
        if len(self._cache) + len(new) > REMEMBERED // max(c * w + w * w, 1):
            self._cache.clear()
        for i, entry in enumerate(cached):
            if entry is not None:
                slopes[i], covariance[i] = entry
            elif len(new) <= AT_ONCE:
                self._cache[names[i]] = slopes[i].copy(), covariance[i].copy()
        return slopes, covariance

    @cached_property
    def _cache(self) -> dict[bytes, tuple[Array, Array]]:
        """Wanted columns and pattern -> slopes (c, w) and covariance (w, w)."""
        return {}

    def _regress(self, observed: Bools, wanted: Ints) -> tuple[Array, Array]:
        """Regress some columns (w,) on the observed ones in each of k patterns (k, c).

        Returns:
            Slopes (k, c, w), 0 for columns that are not observed; covariance (k, w, w) of the
            residuals, 0 for columns that are observed.
        """
        both = observed[:, :, None] & observed[:, None, :]
        # All patterns at once: an unobserved column is made independent of the others.
        square = np.where(both, self.covariance, np.eye(observed.shape[1]))
        across = np.where(observed[:, :, None], self.covariance[:, wanted], 0.0)
        slopes = np.linalg.solve(square, across)
        residual = self.covariance[np.ix_(wanted, wanted)] - across.mT @ slopes
        hidden = ~observed[:, wanted]
        return slopes, np.where(hidden[:, :, None] & hidden[:, None, :], residual, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Gaussian:
        """Rebuild from :meth:`to_json`."""
        return cls(np.array(raw["mean"], dtype=float), np.array(raw["covariance"], dtype=float))
