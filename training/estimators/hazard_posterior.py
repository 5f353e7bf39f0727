"""Posterior of a piecewise-exponential regression, averaged over the spread of its priors.

In bin b patient i, exposed for the part e_ib of it, has an event at the rate
e_ib exp(α_b + z_iᵀγ) (Friedman, "Piecewise exponential models for survival data with covariates",
Ann Stat 1982). The columns of z come in blocks. Those of a block of q columns share the prior
γ ~ N(0, τ²/q), so that τ is the standard deviation of the block's log-hazard where its columns have
variance 1. τ has a half-Cauchy prior (Gelman, "Prior distributions for variance parameters in
hierarchical models", Bayesian Anal 2006) and takes the values of ``SPREADS``. The posterior is the
mixture over them, weighted by prior and marginal likelihood, the latter by Laplace's approximation
(Tierney and Kadane, "Accurate approximations for posterior moments and marginal densities", JASA
1986).

Hazards need not be proportional: a patient's deviation s from the mean log-hazard becomes
s (1 + ρ f_b) in bin b, f the logarithm of time less its mean over the events, with ρ ~ N(0, .6²).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.newton import climb

#: Values of τ that are averaged over, with up to two blocks and with more.
SPREADS = (0.03, 0.08, 0.16, 0.3, 0.5, 0.8, 1.2)
FEWER_SPREADS = (0.08, 0.3, 0.8, 1.2)
#: Precision of the prior of a bin's log hazard, around the log of its rate without features.
LEVEL_PRECISION = 0.01
#: Standard deviation of the prior of ρ.
COURSE_SD = 0.6
#: Upper bound of the log of a hazard, hazard ratio or cumulative hazard, against overflow.
LARGEST = 30.0
#: Weight, as a fraction of the largest, below which values of τ are left out.
NEGLIGIBLE = 1e-4


@dataclass(frozen=True)
class HazardPosterior:
    """Normal posterior of j bins' log hazards, of q coefficients and of their course."""

    level: Array
    """(j,) log of the hazard accumulated over each bin, at the mean log-hazard ratio."""
    coefficients: Array
    """(q,) posterior mean γ."""
    centre: float
    """Mean of zᵀγ over the patients."""
    covariance: Array
    """(j + q, j + q) posterior covariance of the bins' log hazards at z = 0, and of γ."""
    course: float
    """Posterior mean of ρ."""
    course_variance: float
    """Posterior variance of ρ."""
    log_time: Array
    """(j,) f: logarithm of the bin's middle in months less its mean over the events."""


def fit_posterior(
    Z: Array, blocks: Ints, scales: Array, grid: TimeGrid, time: Array, event: Bools, weight: Array
) -> HazardPosterior:
    """Fit the model; see the module.

    Args:
        Z: (n, q) columns of the features.
        blocks: (q,) block of each column, from 0 on.
        scales: (blocks,) scale of the half-Cauchy prior of each block's τ.
        grid: the j bins.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        weight: (n,) number of patients whose time at risk each one represents, if others without
            the event were left out; 1 where all are given. The events count once.

    Example:
        Of 400 patients those with z = 1 have twice the hazard of those with z = 0:

        >>> grid, z = TimeGrid(np.array([0.0, 6.0, 12.0])), np.repeat([0.0, 1.0], 200)
        >>> chance = np.tile((np.arange(200) + 0.5) / 200, 2)
        >>> time = np.minimum(-np.log(chance) * 12 / 2**z, 12.0)
        >>> found = fit_posterior(
        ...     z[:, None], np.array([0]), np.array([0.5]), grid, time, time < 12, np.ones(400)
        ... )
        >>> print(f"{np.exp(found.coefficients[0]):.1f}")
        1.9
    """
    exposure, happened = weight[:, None] * grid.exposure(time), grid.events(time, event)
    by_bin, by_patient = happened.sum(axis=0), happened.sum(axis=1)
    rate = np.log((by_bin + 0.5) / np.maximum(exposure.sum(axis=0), 0.5))
    bins, columns = len(rate), Z.shape[1]

    def rates(point: Array) -> Array:
        level, log_hz = point[:bins], Z @ point[bins:]
        return np.asarray(
            exposure
            * np.exp(np.minimum(level, LARGEST))
            * np.exp(np.minimum(log_hz, LARGEST))[:, None]
        )

    def information(expected: Array, prior: Array) -> Array:
        cross = expected.T @ Z
        return np.block(
            [
                [np.diag(expected.sum(axis=0)), cross],
                [cross.T, (Z * expected.sum(axis=1)[:, None]).T @ Z],
            ]
        ) + np.diag(prior)

    start = np.append(rate, np.zeros(columns))
    origin = start.copy()
    size = np.bincount(blocks)
    spreads = SPREADS if len(size) < 3 else FEWER_SPREADS
    evidence, points, precisions = [], [], []
    # Width of each value's cell in log τ, in which the density of τ gains a factor τ.
    widths = np.gradient(np.log(spreads))
    for chosen in product(range(len(spreads)), repeat=len(size)):
        tau, cells = np.array(spreads)[list(chosen)], widths[list(chosen)]
        prior = np.append(np.full(bins, LEVEL_PRECISION), (size / tau**2)[blocks])

        def value(point: Array, prior: Array = prior) -> float:
            likelihood = by_bin @ point[:bins] + by_patient @ (Z @ point[bins:])
            penalty = prior @ (point - origin) ** 2 / 2
            return float(likelihood - rates(point).sum() - penalty)

        def step(point: Array, prior: Array = prior) -> Array:
            expected = rates(point)
            slope = np.append(
                by_bin - expected.sum(axis=0), Z.T @ (by_patient - expected.sum(axis=1))
            )
            slope -= prior * (point - origin)
            precision = information(expected, prior)
            return np.asarray(np.linalg.solve(precision, slope), dtype=np.float64)

        start = climb(value, step, start)
        precision = information(rates(start), prior)
        relative = tau / scales
        evidence.append(
            value(start)
            + (np.log(prior).sum() - np.linalg.slogdet(precision)[1]) / 2
            + float(np.log(cells * relative / (1 + relative**2)).sum())
        )
        points.append(start)
        precisions.append(precision)
    chance = np.exp(np.array(evidence) - max(evidence))
    chance[chance < NEGLIGIBLE] = 0.0
    chance /= chance.sum()
    mean = chance @ np.array(points)
    covariance = np.zeros((bins + columns,) * 2)
    for part, point, precision in zip(chance, points, precisions, strict=True):
        if part:
            deviation = point - mean
            covariance += part * (np.linalg.inv(precision) + np.outer(deviation, deviation))
    middle = np.log((grid.edges[1:] + grid.edges[:-1]) / 2)
    log_time = middle - by_bin @ middle / max(float(by_bin.sum()), 1.0)
    log_hz = Z @ mean[bins:]
    centre = float(log_hz.mean())
    level, course, variance = _course(
        log_hz - centre, log_time, exposure, happened, mean[:bins] + centre
    )
    return HazardPosterior(level, mean[bins:], centre, covariance, course, variance, log_time)


def _course(
    log_hz: Array, log_time: Array, exposure: Array, happened: Array, level: Array
) -> tuple[Array, float, float]:
    """Fit ρ and the bins' log hazards, given the patients' deviations s (n,), ``log_hz``.

    Returns:
        The bins' log hazards (j,), ρ, and its posterior variance.
    """
    tilt = log_hz[:, None] * log_time
    prior = np.append(np.full(len(level), LEVEL_PRECISION), COURSE_SD**-2)
    start = np.append(level, 0.0)

    def rates(point: Array) -> Array:
        log_rate = point[:-1] + log_hz[:, None] + point[-1] * tilt
        return np.asarray(exposure * np.exp(np.minimum(log_rate, LARGEST)))

    def value(point: Array) -> float:
        observed = happened.sum(axis=0) @ point[:-1] + (happened * tilt).sum() * point[-1]
        return float(observed - rates(point).sum() - prior @ (point - start) ** 2 / 2)

    def information(point: Array) -> Array:
        expected = rates(point)
        cross = (expected * tilt).sum(axis=0)
        corner = (expected * tilt**2).sum()
        found = np.diag(np.append(expected.sum(axis=0), corner) + prior)
        found[:-1, -1] = found[-1, :-1] = cross
        return found

    def step(point: Array) -> Array:
        left = happened - rates(point)
        slope = np.append(left.sum(axis=0), (left * tilt).sum()) - prior * (point - start)
        return np.asarray(np.linalg.solve(information(point), slope), dtype=np.float64)

    point = climb(value, step, start)
    return point[:-1], float(point[-1]), float(np.linalg.inv(information(point))[-1, -1])
