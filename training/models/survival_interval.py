"""The 80 % interval of a patient's survival, from the posterior of a second model.

The spread of an ensemble's members shows how far they differ, not how far their mean is from the
truth. The interval is therefore computed from a model with a known posterior: a
piecewise-exponential regression on the same design, with linear and curved terms of the features
(``estimators.hazard_posterior``). The curved ones are random cosine features of a Gaussian kernel
(Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007), less their linear
part. The posterior gives the mean m and the variance V of the log cumulative hazard at each month.

The ensemble predicts L. If the truth is N(m, V), the mean square of its distance from (L + m) / 2
is V + (L − m)² / 4: the interval is (L + m) / 2 ± z √(V + (L − m)² / 4), with z the normal
quantile. It is wider where the ensemble and the posterior disagree, and includes L.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.hazard_posterior import LARGEST

#: Coverage of the interval, and its half width in standard deviations.
LEVEL = 0.8
HALF = NormalDist().inv_cdf((1 + LEVEL) / 2)
#: Standard deviations to which a column of the design is clipped.
FARTHEST = 5.0
#: Lower bound of a cumulative hazard before the logarithm.
LEAST = 1e-12


class LogHazards(NamedTuple):
    """Centre and variance of n patients' log cumulative hazards at the ends of j bins."""

    centre: Array
    """(n, j) centre of each log cumulative hazard."""
    variance: Array
    """(n, j) variance of each log cumulative hazard around its centre."""

    def at(self, grid: TimeGrid, month: float) -> tuple[Array, Array]:
        """Return the central cumulative hazard (n,) at a month and the SD (n,) of its logarithm."""
        (place,), (part,) = grid.place(np.array([month]))
        until = np.exp(np.minimum(self.centre[:, max(place - 1, 0) : place + 1], LARGEST))
        before = until[:, 0] if place else 0.0
        hazard = before + part * (until[:, -1] - before)
        return hazard, np.sqrt(self.variance[:, place])


@dataclass(frozen=True)
class Terms:
    """Linear and curved terms of a linear design."""

    mean: Array
    """(p,) means of the design's columns."""
    inverse: Array
    """(p,) one over their standard deviations, 0 where they are constant."""
    projection: Array
    """(p, a) matrix from the standardised design to the linear terms."""
    frequencies: Array
    """(a, r) frequencies of the cosines."""
    phases: Array
    """(r,) phases of the cosines."""
    axes: Array
    """(r, k) matrix from the cosines to the curved terms."""
    straight: Array
    """(a + 1, k) linear part of the curved terms, which is subtracted: a constant, and coefficients
    of the linear terms."""

    def of(self, design: Array) -> Array:
        """Return the terms (n, a + k) of a design (n, p)."""
        scaled = (design - self.mean) * self.inverse
        linear = np.clip(scaled, -FARTHEST, FARTHEST, out=scaled) @ self.projection
        angle = linear @ self.frequencies + self.phases
        # Cosines in single precision, 25 times as fast, are off by some 1e-7.
        curved = np.cos(angle.astype(np.float32)).astype(np.float64) @ self.axes
        curved -= self.straight[0] + linear @ self.straight[1:]
        return np.concatenate([linear, curved], axis=1)


@dataclass(frozen=True)
class SurvivalInterval:
    """A fitted posterior, read at the ends of the common grid's bins."""

    terms: Terms
    coefficients: Array
    """(q,) posterior mean of the log-hazard ratio for one unit of each term."""
    centre: float
    """Mean of terms times coefficients over the patients of the fit."""
    root: Array
    """(q, q) root of the coefficients' covariance: with z the terms, |zᵀ root|² is the variance
    of the log-hazard."""
    level: Array
    """(j,) log of the hazard accumulated over each bin, at the mean log-hazard."""
    level_variance: Array
    """(j,) variance of the log cumulative hazard at the end of each bin, with all terms 0."""
    joint: Array
    """(q, j) covariance of that log cumulative hazard with the coefficients."""
    course: float
    """Relative change of the log-hazard ratios with the logarithm of time."""
    course_variance: float
    """Variance of the course."""
    log_time: Array
    """(j,) logarithm of time in each bin, less its mean over the events."""
    mean_log_time: Array
    """(j,) mean of ``log_time`` up to the end of each bin, weighted by the hazard of ``level``."""

    def log_hazards(self, cumulative: Array, terms: Array) -> LogHazards:
        """Return centre and variance of the intervals; see the module's docstring.

        Args:
            cumulative: (n, j + 1) cumulative hazard that the ensemble predicts.
            terms: (n, q) of the first fold's linear design; see :meth:`Terms.of`.
        """
        log_hz = (terms @ self.coefficients - self.centre)[:, None]
        tilted = np.minimum(log_hz * (1 + self.course * self.log_time) + self.level, LARGEST)
        mean = np.log(np.cumsum(np.exp(tilted), axis=1))
        factor = 1 + self.course * self.mean_log_time
        spread = ((terms @ self.root) ** 2).sum(axis=1)[:, None]
        variance = spread * factor**2 + 2 * (terms @ self.joint) * factor + self.level_variance
        variance += self.course_variance * (log_hz * self.mean_log_time) ** 2
        difference = np.log(np.maximum(cumulative[:, 1:], LEAST)) - mean
        return LogHazards(mean + difference / 2, np.maximum(variance, 0.0) + difference**2 / 4)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state by name; a number is an array without dimensions."""
        own = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name != "terms"}
        return own | {f.name: getattr(self.terms, f.name) for f in fields(Terms)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`arrays`."""
        state: dict[str, Any] = {k: a if a.ndim else float(a) for k, a in arrays.items()}
        terms = Terms(**{f.name: state.pop(f.name) for f in fields(Terms)})
        return cls(terms=terms, **state)


def ends(found: LogHazards) -> Array:
    """Return the interval's cumulative hazards (2, n, j + 1), the lower ones first."""
    half = HALF * np.sqrt(found.variance)
    curves = np.zeros((2, *half.shape[:-1], half.shape[-1] + 1))
    np.exp(np.minimum(found.centre - half, LARGEST), out=curves[0, :, 1:])
    np.exp(np.minimum(found.centre + half, LARGEST), out=curves[1, :, 1:])
    # Cumulative hazards never fall.
    return np.asarray(np.maximum.accumulate(curves, axis=-1))
