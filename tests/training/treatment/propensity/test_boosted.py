"""Boosted propensities: the right slopes, calibrated, and kept exactly."""

from __future__ import annotations

import json

import numpy as np

from accomplice.training.estimators.logistic import expit
from accomplice.training.treatment.propensity.boosted import (
    BoostedPropensity,
    LogisticSums,
    boost_propensity,
)


def test_slopes_are_those_of_the_likelihood():
    rng = np.random.default_rng(0)
    sums, score, weight = LogisticSums(rng.random(6) < 0.5, 0.3), rng.normal(size=(2, 6)), 1.0
    gradient, curvature = sums.slopes(score, np.ones((2, 6)))
    for j in range(6):
        step = np.zeros(6)
        step[j] = 1e-4
        up, at, down = (
            sums.value(score + s * step, np.full((2, 6), weight)) for s in (1.0, 0.0, -1.0)
        )
        np.testing.assert_allclose((up - down) / 2e-4, gradient[:, j], atol=1e-6)
        np.testing.assert_allclose(-(up - 2 * at + down) / 1e-8, curvature[:, j], atol=1e-5)


def corner(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    chance = expit(-0.5 + 2.0 * ((X[:, 0] > 0) & (X[:, 1] > 0)))
    return X, rng.random(n) < chance, chance


def test_a_corner_is_found_and_kept_exactly():
    X, label, _ = corner(1200, 0)
    found, held_out = boost_propensity(X, label, 0)
    fresh, _, chance = corner(1000, 1)
    assert np.sqrt(((found.probability(fresh) - chance) ** 2).mean()) < 0.1
    assert abs(held_out.mean() - label.mean()) < 0.03
    again = BoostedPropensity.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.probability(fresh), found.probability(fresh))
    assert not np.isin(found.trees.cut[found.trees.feature >= 0], X).any()


def test_without_a_reason_all_have_about_the_share():
    rng = np.random.default_rng(0)
    X, label = rng.normal(size=(300, 3)), rng.random(300) < 0.4
    found, _ = boost_propensity(X, label, 0)
    assert np.ptp(found.probability(X)) < 0.3
