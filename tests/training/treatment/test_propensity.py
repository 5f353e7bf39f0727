"""The chance of being treated: recovered, bounded, and fitted to those of whom it is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.logistic import Logistic, expit
from accomplice.training.treatment import propensity as module
from accomplice.training.treatment.propensity import RAREST, Propensity, fit_propensity


def drawn(n, columns=4, seed=0):
    """A design, who was treated, and the true chance."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns))
    chance = expit(0.8 * X[:, 0] - 0.5 * X[:, 1] - 0.3)
    return X, (rng.random(n) < chance).astype(float), chance


def test_recovers_the_truth():
    X, treated, chance = drawn(6000)
    found = fit_propensity(X, treated, 0).chance(X)
    assert np.abs(found - chance).mean() < 0.015
    # Of those with about one chance, that part was treated.
    for low, high in ((0.2, 0.3), (0.4, 0.5), (0.6, 0.7)):
        group = (found > low) & (found < high)
        assert treated[group].mean() == pytest.approx(found[group].mean(), abs=0.06)


def test_patients_of_unknown_treatment_have_no_part():
    X, treated, _ = drawn(400)
    treated[::3] = np.nan
    known = ~np.isnan(treated)
    other = X.copy()
    other[~known] = 1e3
    expected = fit_propensity(X[known], treated[known], 0)
    assert fit_propensity(X, treated, 0).to_json() == expected.to_json()
    assert fit_propensity(other, treated, 0).to_json() == expected.to_json()


def test_constant_columns_have_no_part():
    X, treated, _ = drawn(300)
    X = np.column_stack([np.ones(300), X, np.zeros(300)])
    assert fit_propensity(X, treated, 0).columns.tolist() == [1, 2, 3, 4]


def test_without_any_column_everybody_has_the_arms_share():
    _, treated, _ = drawn(300)
    found = fit_propensity(np.zeros((300, 2)), treated, 0)
    np.testing.assert_allclose(found.chance(np.ones((5, 2))), treated.mean())


def test_noise_is_not_taken_for_reasons():
    rng = np.random.default_rng(0)
    X, treated = rng.normal(size=(400, 300)), (rng.random(400) < 0.6).astype(float)
    chance = fit_propensity(X[:300], treated[:300], 0).chance(X[300:])
    held_out = treated[300:]

    def likelihood(chance):
        return np.log(np.where(held_out == 1, chance, 1 - chance)).mean()

    assert likelihood(chance) > likelihood(np.full(100, treated[:300].mean())) - 0.02


def test_only_the_columns_considered_are_used():
    X, treated, _ = drawn(300)
    found = fit_propensity(X, treated, 0, np.array([1, 3]))
    assert found.columns.tolist() == [1, 3]


def test_of_very_many_patients_some_are_enough(monkeypatch):
    X, treated, chance = drawn(4000)
    monkeypatch.setattr(module, "MOST_PATIENTS", 2000)
    some = fit_propensity(X, treated, 0)
    assert np.abs(some.chance(X) - chance).mean() < 0.04
    assert some.to_json() == fit_propensity(X, treated, 0).to_json()
    assert some.to_json() != fit_propensity(X, treated, 1).to_json()


@given(
    beta=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=3),
    scale=st.sampled_from([0.0, 1.0, 1e8]),
)
def test_nobody_is_certain(beta, scale):
    model = Logistic(0.0, np.array(beta), 1.0)
    X = scale * np.random.default_rng(0).normal(size=(20, 5))
    chance = Propensity(np.arange(len(beta)) + 1, model).chance(X)
    assert ((chance >= RAREST) & (chance <= 1 - RAREST)).all()


def test_json_round_trip_is_exact():
    X, treated, _ = drawn(200)
    found = fit_propensity(X, treated, 0)
    again = Propensity.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.chance(X), found.chance(X))
    assert again.to_json() == found.to_json()
