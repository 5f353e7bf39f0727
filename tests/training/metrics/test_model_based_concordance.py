"""Model-based concordance: closed form, all pairs by brute force, simulation, contributions."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.metrics.concordance import concordances
from accomplice.training.metrics.model_based_concordance import (
    model_based_concordance,
    model_based_contributions,
)

GRID = TimeGrid(np.array([0.0, 7.0, 20.0, 60.0]))


def crossing(n, seed=0):
    """Return risks with ties, and cumulative hazards whose hazards cross."""
    rng = np.random.default_rng(seed)
    increments = rng.exponential([0.1, 0.3, 0.6], (n, 3))
    return np.round(rng.normal(size=n), 1), np.c_[np.zeros(n), increments.cumsum(axis=1)]


def by_pairs(risk, cumulative, tau):
    """Return concordant and comparable probability (n, n) of each ordered pair, in closed form."""
    edges = np.append(GRID.edges[GRID.edges < tau], tau)
    at = GRID.at(cumulative, edges)
    first = np.zeros((len(risk), len(risk)))
    for left, step in zip(at.T[:-1], np.diff(at).T, strict=True):
        both, total = left[:, None] + left, step[:, None] + step
        first += np.exp(-both) * step[:, None] / total * -np.expm1(-total)
    np.fill_diagonal(first, 0)
    higher = (risk[:, None] > risk) + 0.5 * (risk[:, None] == risk)
    return first * higher, first


@pytest.mark.parametrize("tau", [5.0, 20.0, 33.0, 60.0])
def test_is_the_sum_over_all_pairs(tau):
    risk, cumulative = crossing(120)
    concordant, comparable = by_pairs(risk, cumulative, tau)
    found = model_based_concordance(risk, GRID, cumulative, tau)
    assert found == pytest.approx(concordant.sum() / comparable.sum(), abs=1e-11)


def test_proportional_hazards_on_any_grid():
    """Under a common baseline P(i first) = h_i / (h_i + h_j) (1 − exp(−(h_i + h_j) H(τ)))."""
    log_hz = np.random.default_rng(1).normal(0, 1, 80)
    hazard, coarse = np.exp(log_hz), TimeGrid(np.array([0.0, 60.0]))
    total = hazard[:, None] + hazard
    first = hazard[:, None] / total * -np.expm1(-0.8 * total)
    np.fill_diagonal(first, 0)
    expected = (first * (log_hz[:, None] > log_hz)).sum() / first.sum()
    for grid in (GRID, coarse):
        cumulative = hazard[:, None] * np.interp(grid.edges, [0, 60], [0, 0.8])
        found = model_based_concordance(log_hz, grid, cumulative, 60.0)
        assert found == pytest.approx(expected, abs=1e-11)


def test_observed_concordance_tends_to_it():
    risk, cumulative = crossing(400, seed=3)
    rows = np.random.default_rng(4).integers(0, 400, 40_000)
    target = np.random.default_rng(5).exponential(size=40_000)
    time = np.array(
        [
            np.interp(h, curve, GRID.edges) if h < curve[-1] else 61.0
            for h, curve in zip(target, cumulative[rows], strict=True)
        ]
    )
    event = time <= 60
    seen = concordances(event, time, risk[rows], censoring(time, event), tau=30.0).uno
    assert model_based_concordance(risk, GRID, cumulative, 30.0) == pytest.approx(seen, abs=0.008)


def test_patients_more_alike_are_expected_to_be_ranked_less_well():
    log_hz = np.random.default_rng(6).normal(size=300)
    base = np.array([0.0, 0.1, 0.3, 0.8])
    wide, narrow = (
        model_based_concordance(spread, GRID, np.exp(spread)[:, None] * base, 60.0)
        for spread in (log_hz, 0.5 * log_hz)
    )
    assert 0.5 < narrow < wide - 0.08


def test_contributions_are_the_infinitesimal_jackknife():
    risk, cumulative = crossing(60, seed=7)
    concordant, comparable = by_pairs(risk, cumulative, 40.0)

    def weighted(m):
        return (m @ concordant @ m) / (m @ comparable @ m)

    ones, step = np.ones(60), 1e-6
    slope = [
        (weighted(ones + step * e) - weighted(ones - step * e)) / (2 * step) for e in np.eye(60)
    ]
    found = model_based_contributions(risk, GRID, cumulative, 40.0)
    assert found == pytest.approx(weighted(ones) + 60 * np.array(slope), abs=1e-6)


def test_patients_in_another_order_and_extreme_hazards():
    risk, cumulative = crossing(50, seed=8)
    found = model_based_concordance(risk, GRID, cumulative, 60.0)
    assert model_based_concordance(risk[::-1], GRID, cumulative[::-1], 60.0) == pytest.approx(found)
    cumulative[:10] *= 1e4
    assert 0 <= model_based_concordance(risk, GRID, cumulative, 60.0) <= 1


def test_undefined():
    with pytest.raises(UndefinedMetricError, match="no pair"):
        model_based_concordance(np.zeros(3), GRID, np.zeros((3, 4)), 60.0)
    with pytest.raises(UndefinedMetricError, match="1 patients"):
        model_based_concordance(np.zeros(1), GRID, np.ones((1, 4)), 60.0)
    with pytest.raises(ValueError, match="finite"):
        model_based_concordance(np.full(3, np.nan), GRID, np.ones((3, 4)), 60.0)
