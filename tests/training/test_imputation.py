"""Filling gaps: the conditional mean of a joint normal, and nothing from thin air."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.imputation import Joint, fit_joint


def correlated(n, seed=0, gaps=0.3):
    """Three columns with correlations .8, .4 and .5, and a fourth alone, with values missing."""
    rng = np.random.default_rng(seed)
    truth = np.array([[1, 0.8, 0.4, 0], [0.8, 1, 0.5, 0], [0.4, 0.5, 1, 0], [0, 0, 0, 1.0]])
    whole = rng.multivariate_normal(np.zeros(4), truth, n)
    return np.where(rng.random(whole.shape) < gaps, np.nan, whole), whole, truth


@st.composite
def tables(draw):
    n, q = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    numbers = st.just(np.nan) | st.integers(-2, 2).map(float) | st.floats(-3, 3)
    cells = draw(st.lists(numbers, min_size=n * q, max_size=n * q))
    return np.array(cells).reshape(n, q)


def test_the_covariance_is_recovered_from_blocks_and_gaps():
    columns, _, truth = correlated(40_000)
    columns[:15_000, :2] = np.nan
    np.testing.assert_allclose(fit_joint(columns).covariance, truth, atol=0.03)


def test_a_gap_gets_its_conditional_mean():
    covariance = np.array([[1.0, 0.8, 0.4], [0.8, 1.0, 0.5], [0.4, 0.5, 1.0]])
    filled = Joint(covariance).fill(np.array([[2.0, np.nan, 1.0], [np.nan, -1.0, np.nan]]))
    weights = np.linalg.solve([[1, 0.4], [0.4, 1]], [0.8, 0.5])
    np.testing.assert_allclose(filled[0], [2, weights @ [2, 1], 1])
    np.testing.assert_allclose(filled[1], [-0.8, -1, -0.5])


def test_filling_is_nearer_than_the_mean():
    columns, whole, _ = correlated(3000)
    gap = np.isnan(columns[:, 1])
    error = (fit_joint(columns).fill(columns) - whole)[gap, 1]
    assert (error**2).mean() < 0.65 * (whole[gap, 1] ** 2).mean()


@given(tables())
def test_known_values_stay_and_gaps_are_finite(columns):
    filled = fit_joint(columns).fill(columns)
    known = ~np.isnan(columns)
    np.testing.assert_array_equal(filled[known], columns[known])
    assert np.isfinite(filled).all()


@given(tables(), st.data())
def test_each_patient_is_filled_alone(columns, data):
    joint = fit_joint(columns)
    rows = np.array(data.draw(st.permutations(range(len(columns)))))
    whole = joint.fill(columns)
    np.testing.assert_allclose(joint.fill(columns[rows]), whole[rows], atol=1e-12)
    for i in range(len(columns)):
        np.testing.assert_allclose(joint.fill(columns[[i]])[0], whole[i], atol=1e-12)


def test_few_patients_together_show_next_to_no_correlation():
    x = np.array([-1.0, 1.0, -1.0, 1.0])
    few = fit_joint(np.stack([x, x], axis=1)).covariance
    assert few[0, 1] == pytest.approx(4 / 24)


def test_columns_that_are_never_known_together_are_unrelated():
    x = np.arange(-50.0, 51.0)
    gap = np.full(101, np.nan)
    joint = fit_joint(np.stack([np.append(x, gap), np.append(gap, x)], axis=1))
    assert joint.fill(np.array([[40.0, np.nan]]))[0, 1] == pytest.approx(0, abs=1e-12)


def test_no_patients_and_no_columns():
    assert fit_joint(np.zeros((5, 2))).fill(np.zeros((0, 2))).shape == (0, 2)
    assert fit_joint(np.zeros((5, 0))).fill(np.zeros((5, 0))).shape == (5, 0)


def test_json_round_trip():
    columns, _, _ = correlated(100)
    joint = fit_joint(columns)
    again = Joint.from_json(json.loads(json.dumps(joint.to_json())))
    np.testing.assert_array_equal(again.fill(columns), joint.fill(columns))
