"""Terms that a linear model leaves out: chosen where they are, seldom where there are none."""

from __future__ import annotations

import json

import numpy as np

from accomplice.training.treatment.propensity.terms import (
    HINGE,
    MOST_PAIRED,
    STEP,
    Terms,
    candidates,
    chosen,
)


def residuals(beyond, X, seed=0):
    """Residuals of variance 1 that hold what a linear fit has left out."""
    return beyond + np.random.default_rng(seed).normal(size=len(X))


def test_a_product_and_a_bend_are_chosen():
    X = np.random.default_rng(1).normal(size=(600, 5))
    found = chosen(
        X, candidates(X), residuals(0.4 * X[:, 1] * X[:, 3] + np.abs(X[:, 0]), X), np.ones(600)
    )
    pairs = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert {(1, 3), (0, HINGE)} <= pairs
    made = found.of(X)
    np.testing.assert_allclose(made.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(made.std(axis=0), 1)


def test_noise_has_few_terms():
    X = np.random.default_rng(1).normal(size=(400, 6))
    made = candidates(X)
    count = [len(chosen(X, made, residuals(0.0, X, s), np.ones(400)).left) for s in range(100)]
    assert np.mean(count) < 0.5


def test_a_threshold_and_a_level_are_chosen():
    X = np.random.default_rng(1).normal(size=(600, 2))
    found = chosen(X, candidates(X), residuals(1.0 * (X[:, 0] > 0.9), X), np.ones(600))
    assert (found.left[0], found.right[0]) == (0, STEP)
    assert 0.6 < found.knot[0] < 1.2
    levels = np.tile([0.0, 1.0, 2.0], 100)[:, None]
    beyond = residuals(1.0 * (levels[:, 0] == 1), levels)
    assert len(chosen(levels, candidates(levels), beyond, np.ones(300)).left) == 1


def test_wide_designs_pair_the_strongest():
    X = np.random.default_rng(0).normal(size=(100, MOST_PAIRED + 20))
    strength = np.arange(X.shape[1], dtype=float)
    made = candidates(X, strength)
    products = made.left[made.right >= 0]
    assert products.min() == 20
    assert len(products) == MOST_PAIRED * (MOST_PAIRED - 1) // 2


def test_a_design_as_wide_as_its_patients_has_none():
    X = np.random.default_rng(0).normal(size=(40, 20))
    assert len(chosen(X, candidates(X), X[:, 0] * X[:, 1], np.ones(40)).left) == 0


def test_json_round_trip_and_join():
    X = np.random.default_rng(0).normal(size=(100, 3))
    made = candidates(X)
    again = Terms.from_json(json.loads(json.dumps(made.to_json())))
    np.testing.assert_array_equal(again.of(X), made.of(X))
    both = made.joined(Terms.none()).joined(made)
    np.testing.assert_array_equal(both.of(X), np.hstack([made.of(X)] * 2))
    # No knot is a patient's value.
    assert not np.isin(made.knot[made.right < 0], X).any()
