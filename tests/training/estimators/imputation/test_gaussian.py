"""Missing numbers from known ones: against the normal distribution's own formulas."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.imputation import gaussian as imputation
from accomplice.training.estimators.imputation.gaussian import LEAST, SHRINKAGE, Gaussian


def distribution(columns, seed=0):
    """A normal distribution whose columns all tell of one another."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(columns, columns)) / np.sqrt(columns)
    return Gaussian(rng.normal(size=columns), mix @ mix.T + 0.3 * np.eye(columns))


def draw(gaussian, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal(gaussian.mean, gaussian.covariance, n)


def conditional(gaussian, row, wanted):
    """Mean and covariance of the wanted columns of one patient, by the precision matrix."""
    unknown, known = np.flatnonzero(np.isnan(row)), np.flatnonzero(~np.isnan(row))
    mean, covariance = np.array(row), np.zeros((len(row), len(row)))
    if len(unknown):
        precision = np.linalg.inv(gaussian.covariance)
        left = np.linalg.inv(precision[np.ix_(unknown, unknown)])
        pull = precision[np.ix_(unknown, known)] @ (row[known] - gaussian.mean[known])
        mean[unknown] = gaussian.mean[unknown] - left @ pull
        covariance[np.ix_(unknown, unknown)] = left
    return mean[wanted], covariance[np.ix_(wanted, wanted)]


@st.composite
def cases(draw_):
    """A distribution, patients with gaps, and the columns asked for in any order."""
    columns, n = draw_(st.integers(1, 19)), draw_(st.integers(1, 12))
    gaussian = distribution(columns, draw_(st.integers(0, 5)))
    Z = draw(gaussian, n, 1).reshape(n, columns)
    size = n * columns
    gaps = np.array(draw_(st.lists(st.booleans(), min_size=size, max_size=size)))
    Z[gaps.reshape(n, columns)] = np.nan
    wanted = draw_(st.lists(st.integers(0, columns - 1), unique=True))
    return gaussian, Z, np.array(wanted, dtype=int)


class TestCondition:
    @given(case=cases())
    def test_is_the_conditional_normal(self, case):
        gaussian, Z, wanted = case
        mean, covariance, pattern = gaussian.condition(Z, wanted)
        assert mean.shape == (len(Z), len(wanted))
        for i, row in enumerate(Z):
            expected, spread = conditional(gaussian, row, wanted)
            np.testing.assert_allclose(mean[i], expected, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(covariance[pattern[i]], spread, rtol=1e-6, atol=1e-8)

    @given(case=cases())
    def test_known_values_come_back_bit_for_bit_and_certain(self, case):
        gaussian, Z, wanted = case
        mean, covariance, pattern = gaussian.condition(Z, wanted)
        asked = Z[:, wanted]
        known = ~np.isnan(asked)
        np.testing.assert_array_equal(mean[known], asked[known])
        assert np.isfinite(mean).all()
        each = np.einsum("nww->nw", covariance[pattern])
        assert (each[known] == 0).all()
        assert (each[~known] > 0).all()

    @given(case=cases())
    def test_covariance_is_positive_and_below_what_it_was_unseen(self, case):
        gaussian, Z, wanted = case
        _, covariance, _ = gaussian.condition(Z, wanted)
        before = gaussian.covariance[np.ix_(wanted, wanted)]
        for left in covariance:
            np.testing.assert_allclose(left, left.T, atol=1e-9)
            assert np.linalg.eigvalsh(left).min(initial=0) > -1e-9
            assert np.linalg.eigvalsh(before - left).min(initial=0) > -1e-9

    @given(case=cases())
    def test_patients_share_a_pattern_when_they_lack_the_same(self, case):
        gaussian, Z, wanted = case
        _, covariance, pattern = gaussian.condition(Z, wanted)
        lacking = [tuple(row) for row in np.isnan(Z)]
        same = {(a, b) for a, b in zip(pattern.tolist(), lacking, strict=True)}
        assert len(same) == len(set(lacking)) == len(set(pattern.tolist())) == len(covariance)

    @given(case=cases(), seed=st.integers(0, 9))
    def test_order_of_patients_is_no_matter(self, case, seed):
        gaussian, Z, wanted = case
        order = np.random.default_rng(seed).permutation(len(Z))
        mean, covariance, pattern = gaussian.condition(Z, wanted)
        again, spread, other = gaussian.condition(Z[order], wanted)
        np.testing.assert_allclose(again, mean[order], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(spread[other], covariance[pattern[order]], rtol=1e-10)

    def test_of_two_columns_has_its_closed_form(self):
        gaussian = Gaussian(np.array([1.0, -2.0]), np.array([[4.0, 3.0], [3.0, 9.0]]))
        mean, covariance, _ = gaussian.condition(np.array([[np.nan, 4.0]]), np.array([0]))
        assert mean[0, 0] == pytest.approx(1 + 3 / 9 * 6)
        assert covariance[0, 0, 0] == pytest.approx(4 - 9 / 9)

    def test_nothing_known_is_the_mean_and_the_whole_covariance(self):
        gaussian = distribution(11)
        wanted = np.array([9, 0, 10])
        mean, covariance, _ = gaussian.condition(np.full((2, 11), np.nan), wanted)
        np.testing.assert_allclose(mean, np.tile(gaussian.mean[wanted], (2, 1)))
        np.testing.assert_allclose(covariance[0], gaussian.covariance[np.ix_(wanted, wanted)])

    def test_patterns_that_differ_beyond_the_eighth_column_are_told_apart(self):
        gaussian = distribution(10)
        Z = np.tile(draw(gaussian, 1), (3, 1))
        Z[0, 8], Z[1, 9] = np.nan, np.nan
        mean, _, pattern = gaussian.condition(Z, np.arange(10))
        assert len(set(pattern.tolist())) == 3
        for i, row in enumerate(Z):
            np.testing.assert_allclose(
                mean[i], conditional(gaussian, row, np.arange(10))[0], rtol=1e-8
            )

    def test_no_patients_and_no_columns(self):
        gaussian = distribution(3)
        mean, _, pattern = gaussian.condition(np.empty((0, 3)), np.array([1]))
        assert mean.shape == (0, 1)
        assert pattern.shape == (0,)
        nothing = Gaussian(np.empty(0), np.empty((0, 0)))
        mean, covariance, pattern = nothing.condition(np.empty((4, 0)), np.empty(0, dtype=int))
        assert mean.shape == (4, 0)
        assert covariance[pattern].shape == (4, 0, 0)

    def test_patients_given_are_left_alone(self):
        gaussian, Z = distribution(4), np.full((2, 4), np.nan)
        gaussian.condition(Z, np.arange(4))
        assert np.isnan(Z).all()


class TestFit:
    def test_of_many_patients_is_the_truth(self):
        truth = distribution(6)
        found = Gaussian.fit(draw(truth, 40_000))
        sd = np.sqrt(np.diag(truth.covariance))
        np.testing.assert_allclose(found.mean, truth.mean, atol=0.03)
        np.testing.assert_allclose(found.covariance, truth.covariance, atol=0.03 * sd.max() ** 2)

    def test_of_complete_patients_is_their_covariance_but_for_the_shrinkage(self):
        Z = draw(distribution(5), 30)
        found = Gaussian.fit(Z)
        np.testing.assert_allclose(found.mean, Z.mean(axis=0))
        np.testing.assert_allclose(np.diag(found.covariance), Z.var(axis=0))
        sd = Z.std(axis=0)
        expected = np.corrcoef(Z.T) * 30 / (30 + SHRINKAGE)
        np.fill_diagonal(expected, 1.0)
        np.testing.assert_allclose(found.covariance / np.outer(sd, sd), expected, atol=1e-12)

    def test_values_missing_at_random_still_give_the_truth(self):
        truth = distribution(4)
        Z = draw(truth, 40_000)
        Z[np.random.default_rng(1).random(Z.shape) < 0.4] = np.nan
        found = Gaussian.fit(Z)
        np.testing.assert_allclose(found.mean, truth.mean, atol=0.05)
        np.testing.assert_allclose(found.covariance, truth.covariance, atol=0.15)

    def test_fills_the_gaps_with_what_was_there_as_far_as_it_can_be_known(self):
        truth = distribution(9)
        Z = draw(truth, 5000)
        holes = Z.copy()
        gone = np.random.default_rng(2).random(len(Z)) < 0.3
        holes[gone, 8] = np.nan
        found = Gaussian.fit(holes)
        mean, covariance, pattern = found.condition(holes, np.array([8]))
        error = (mean - Z[:, [8]])[gone, 0]
        left = covariance[pattern[gone], 0, 0]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(gone.sum())
        assert error.var() == pytest.approx(left[0], rel=0.1)
        assert left[0] < 0.8 * truth.covariance[8, 8]

    def test_pairs_that_contradict_one_another_still_make_a_distribution(self):
        # Each pair known in patients of its own: a goes with b, b with c, but a against c.
        x = np.linspace(-1, 1, 400)
        Z = np.full((1200, 3), np.nan)
        for k, (a, b, sign) in enumerate(((0, 1, 1), (1, 2, 1), (0, 2, -1))):
            Z[400 * k : 400 * (k + 1), a], Z[400 * k : 400 * (k + 1), b] = x, sign * x
        found = Gaussian.fit(Z)
        sd = np.sqrt(np.diag(found.covariance))
        np.testing.assert_allclose(sd, x.std())
        lengths = np.linalg.eigvalsh(found.covariance / np.outer(sd, sd))
        assert lengths.min() > LEAST / 2
        assert found.covariance[0, 1] > 0 > found.covariance[0, 2]

    @given(
        n=st.integers(1, 20),
        columns=st.integers(1, 12),
        gaps=st.floats(0, 1),
        seed=st.integers(0, 99),
    )
    def test_any_patients_give_a_covariance_that_can_be_solved(self, n, columns, gaps, seed):
        rng = np.random.default_rng(seed)
        # More columns than patients, copies of a column, constants, columns without any value.
        Z = rng.normal(size=(n, columns)) * rng.choice([0, 1e-8, 1, 1e4], columns)
        Z[:, -1] = Z[:, 0]
        Z[rng.random(Z.shape) < gaps] = np.nan
        found = Gaussian.fit(Z)
        sd = np.sqrt(np.diag(found.covariance))
        assert (sd > 0).all()
        correlation = found.covariance / np.outer(sd, sd)
        assert np.abs(correlation).max() <= 1 + 1e-9
        assert np.linalg.eigvalsh(correlation).min() > 0
        mean, _, _ = found.condition(Z, np.arange(columns))
        assert np.isfinite(mean).all()


def test_json_round_trip_is_exact():
    gaussian = distribution(7)
    again = Gaussian.from_json(json.loads(json.dumps(gaussian.to_json())))
    np.testing.assert_array_equal(again.mean, gaussian.mean)
    np.testing.assert_array_equal(again.covariance, gaussian.covariance)


@pytest.mark.parametrize("remembered", [0, 40, 10**6])
def test_patterns_met_again_say_what_they_said_at_first(monkeypatch, remembered):
    monkeypatch.setattr(imputation, "REMEMBERED", remembered)
    monkeypatch.setattr(imputation, "AT_ONCE", 5)
    gaussian = distribution(4)
    Z = draw(gaussian, 40)
    Z[np.random.default_rng(1).random(Z.shape) < 0.4] = np.nan
    wanted = np.array([0, 2])
    for rows in (slice(0, 3), slice(0, 40), slice(5, 9), slice(0, 3)):
        fresh = Gaussian(gaussian.mean, gaussian.covariance)
        for made, expected in zip(
            gaussian.condition(Z[rows], wanted),
            fresh.condition(Z[rows], wanted),
            strict=True,
        ):
            np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-12)
    assert len(gaussian._cache) * (4 * 2 + 2 * 2) <= max(remembered, 5 * 12)
