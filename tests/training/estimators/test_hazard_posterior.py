"""The posterior of the piecewise-exponential model: against integrals, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.hazard_posterior import (
    LEVEL_PRECISION,
    SPREADS,
    fit_posterior,
)

GRID = TimeGrid(np.array([0.0, 10.0, 25.0, 60.0]))
LINEAR = np.array([0.5])
SIX = np.zeros(6, dtype=int)


def cohort(n: int, beta: np.ndarray, rng: np.random.Generator):
    X = rng.standard_normal((n, len(beta)))
    time = rng.exponential(40 * np.exp(-X @ beta))
    followed = rng.uniform(20, 80, n)
    return X, np.minimum(time, followed), time <= followed


def test_one_coefficient_agrees_with_numerical_integration():
    """All of it on a lattice: the log hazard of one bin, one coefficient, each prior spread."""
    grid = TimeGrid(np.array([0.0, 60.0]))
    X, time, event = cohort(60, np.array([0.6]), np.random.default_rng(1))
    found = fit_posterior(X, np.array([0]), LINEAR, grid, time, event, np.ones(len(time)))
    exposure, seen = grid.exposure(time)[:, 0], event & (time <= 60)
    rate = np.log((seen.sum() + 0.5) / exposure.sum())
    levels, slopes = np.linspace(rate - 1.5, rate + 1.5, 301), np.linspace(-0.6, 1.6, 441)
    likelihood = levels[:, None] * seen.sum() + slopes * (seen @ X[:, 0])
    likelihood = likelihood - np.exp(levels)[:, None] * (exposure @ np.exp(X * slopes))
    likelihood -= LEVEL_PRECISION * (levels[:, None] - rate) ** 2 / 2
    mass = np.zeros_like(likelihood)
    for tau, width in zip(SPREADS, np.gradient(np.log(SPREADS)), strict=True):
        prior = np.exp(-((slopes / tau) ** 2) / 2) / tau
        cauchy = (tau / LINEAR[0]) / (1 + (tau / LINEAR[0]) ** 2)
        mass += np.exp(likelihood - likelihood.max()) * prior * cauchy * width
    mass /= mass.sum()
    mean = (mass * slopes).sum()
    spread = np.sqrt((mass * (slopes - mean) ** 2).sum())
    assert found.coefficients[0] == pytest.approx(mean, abs=0.02)
    assert np.sqrt(found.covariance[1, 1]) == pytest.approx(spread, rel=0.05)


def test_the_interval_of_a_log_hazard_covers():
    """80 % intervals of zᵀγ hold the truth in about 80 % of patients, small cohorts included."""
    beta = np.array([0.5, -0.4, 0.3, 0.0, 0.0, 0.0])
    covered = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, time, event = cohort(150, beta, rng)
        found = fit_posterior(
            X, np.zeros(6, dtype=int), LINEAR, GRID, time, event, np.ones(len(time))
        )
        fresh = rng.standard_normal((500, 6))
        variance = np.einsum("ij,jk,ik->i", fresh, found.covariance[3:, 3:], fresh)
        error = np.abs(fresh @ (found.coefficients - beta))
        covered.append((error <= 1.2816 * np.sqrt(variance)).mean())
    assert 0.73 < np.mean(covered) < 0.87


def test_noise_shrinks_to_none():
    X, time, event = cohort(400, np.zeros(8), np.random.default_rng(3))
    found = fit_posterior(X, np.zeros(8, dtype=int), LINEAR, GRID, time, event, np.ones(len(time)))
    assert np.abs(found.coefficients).max() < 0.1


def test_a_course_of_the_hazard_ratio_is_seen():
    """Effects that fade have ρ below 0, constant ones near 0."""
    courses = {}
    for fading in (False, True):
        rng = np.random.default_rng(4)
        X = rng.standard_normal((1500, 1))
        early = rng.exponential(30 * np.exp(-1.0 * X[:, 0]))
        # From month 10 on the hazard is the same for all.
        late = 10 + rng.exponential(30, len(X))
        time = np.where(early < 10, early, late) if fading else early
        event = time < 60
        found = fit_posterior(
            X, np.array([0]), LINEAR, GRID, np.minimum(time, 60.0), event, np.ones(len(time))
        )
        courses[fading] = found.course
    assert courses[True] < -0.3
    assert abs(courses[False]) < 0.1


def test_a_weight_multiplies_the_time_at_risk():
    X, time, event = cohort(300, np.array([0.5]), np.random.default_rng(5))
    twice = np.where(event, 1.0, 2.0)
    once = fit_posterior(X, np.array([0]), LINEAR, GRID, time, event, twice)
    rows = np.concatenate([np.arange(300), np.flatnonzero(~event)])
    all_ = fit_posterior(
        X[rows], np.array([0]), LINEAR, GRID, time[rows], event[rows], np.ones(len(rows))
    )
    np.testing.assert_allclose(once.coefficients, all_.coefficients, rtol=1e-6)
    np.testing.assert_allclose(once.covariance, all_.covariance, rtol=1e-6, atol=1e-9)


def test_without_events_the_posterior_is_finite():
    X, time, event = cohort(50, np.array([0.5]), np.random.default_rng(6))
    found = fit_posterior(X, np.array([0]), LINEAR, GRID, time, event & False, np.ones(50))
    assert np.isfinite(found.covariance).all()
    assert np.isfinite(found.log_time).all()
