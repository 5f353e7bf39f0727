"""Combinations of columns: their values, weights and what a file of them may hold."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.learners.combinations import (
    FEWEST,
    MOST,
    RIDGE,
    Combinations,
    draw_combinations,
)


def outcome(n, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random(n) < 0.4).astype(float), rng.uniform(0.05, 1, n)


class TestValues:
    def test_are_the_weighted_sums(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(50, 6))
        made = Combinations(np.array([[0, 3, 5], [4, 1, 2]]), rng.normal(size=(2, 3)))
        dense = np.zeros((6, 2))
        for j in range(2):
            dense[made.columns[j], j] = made.weights[j]
        np.testing.assert_allclose(made.of(X), X @ dense)
        np.testing.assert_array_equal(made.beside(X), np.concatenate([X, made.of(X)], axis=1))

    def test_do_not_depend_on_the_other_rows(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(333, 9))
        made = draw_combinations(X, *outcome(333), 5, rng)
        together = made.of(X)
        for i in range(0, 333, 7):
            np.testing.assert_array_equal(made.of(X[[i]])[0], together[i])

    def test_of_none_are_none(self):
        X = np.ones((4, 3))
        assert Combinations.none().of(X).shape == (4, 0)
        np.testing.assert_array_equal(Combinations.none().beside(X), X)

    def test_joined_keep_their_order(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(30, 5))
        parts = [draw_combinations(X, *outcome(30), 2, rng) for _ in range(3)]
        expected = np.concatenate([part.of(X) for part in parts], axis=1)
        np.testing.assert_array_equal(Combinations.join(parts).of(X), expected)


class TestDraw:
    @pytest.mark.parametrize(("columns", "count"), [(1, FEWEST), (10, 10), (200, MOST)])
    def test_as_many_as_columns_within_bounds(self, columns, count):
        X = np.random.default_rng(0).normal(size=(60, columns))
        made = draw_combinations(X, *outcome(60), 3, np.random.default_rng(1))
        assert made.columns.shape == made.weights.shape == (count, min(3, columns))
        assert all(len(set(own)) == len(own) for own in made.columns.tolist())

    def test_weights_are_a_penalised_newton_step(self, monkeypatch):
        monkeypatch.setattr("accomplice.training.learners.combinations.SAMPLE", 1)
        rng = np.random.default_rng(0)
        X, (observed, expected) = rng.normal(size=(80, 4)) * [1, 5, 0.1, 2], outcome(80)
        made = draw_combinations(X, observed, expected, 2, rng)
        spread = X.std(axis=0)
        for columns, weights in zip(made.columns, made.weights, strict=True):
            z = (X / spread)[:, columns]
            z = z - np.average(z, axis=0, weights=expected)
            information = np.einsum("i,ij,ik->jk", expected, z, z)
            ridge = RIDGE + np.trace(information) / 40
            score = z.T @ (observed - expected)
            step = np.linalg.solve(information + ridge * np.eye(2), score)
            np.testing.assert_allclose(weights * spread[columns], step)

    def test_follow_the_effects(self):
        rng = np.random.default_rng(3)
        X = rng.normal(size=(3000, 3))
        expected = rng.uniform(0.2, 1, 3000)
        observed = rng.poisson(expected * np.exp(0.3 * X[:, 0] - 0.6 * X[:, 1])).astype(float)
        made = draw_combinations(X, observed, expected, 3, rng)
        slope = made.weights / np.abs(made.weights).max(axis=1, keepdims=True)
        for columns, own in zip(made.columns, slope, strict=True):
            np.testing.assert_allclose(own[np.argsort(columns)], [0.5, -1, 0], atol=0.2)

    def test_unit_of_a_column_is_no_matter(self):
        X, unit = np.random.default_rng(0).normal(size=(90, 5)), np.array([1, 1e3, 1e-3, 7, 30])
        first, other = (
            draw_combinations(x, *outcome(90), 3, np.random.default_rng(1)) for x in (X, X * unit)
        )
        np.testing.assert_allclose(first.of(X), other.of(X * unit))


class TestArrays:
    def test_round_trip_exactly(self):
        made = draw_combinations(np.eye(9), *outcome(9), 2, np.random.default_rng(0))
        again = Combinations.from_arrays(made.arrays(), 9)
        np.testing.assert_array_equal(again.columns, made.columns)
        np.testing.assert_array_equal(again.weights, made.weights)
        assert Combinations.none().arrays() == {}
        assert Combinations.from_arrays({}, 9).count == 0

    @pytest.mark.parametrize(
        ("combined", "weights"),
        [
            ([[0, 3]], [[1.0, 2.0]]),
            ([[-1, 2]], [[1.0, 2.0]]),
            ([[0, 2]], [[1.0]]),
            ([0, 2], [1.0, 2.0]),
            (np.zeros((0, 2)), np.zeros((0, 2))),
        ],
    )
    def test_others_are_refused(self, combined, weights):
        with pytest.raises(ValueError, match="combinations"):
            Combinations.from_arrays(
                {"combined": np.array(combined), "weights": np.array(weights)}, columns=3
            )
