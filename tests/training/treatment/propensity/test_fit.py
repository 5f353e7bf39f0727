"""The chance of being treated: recovered, bounded, and fitted to those of whom it is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.logistic import Logistic, choose_logistic, expit
from accomplice.training.treatment.balance import balance
from accomplice.training.treatment.propensity import fit as module
from accomplice.training.treatment.propensity.fit import fit_propensity, likeliest_weight
from accomplice.training.treatment.propensity.score import RAREST, Propensity, only_linear


def drawn(n, columns=4, seed=0):
    """A design, who was treated, and the true chance."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns))
    chance = expit(0.8 * X[:, 0] - 0.5 * X[:, 1] - 0.3)
    return X, (rng.random(n) < chance).astype(float), chance


def test_recovers_the_truth():
    error = []
    for seed in range(3):  # by chance a term may be taken for a reason in one of them
        X, treated, chance = drawn(6000, seed=seed)
        found = fit_propensity(X, treated, 0).chance(X)
        error.append(np.abs(found - chance).mean())
    assert np.mean(error) < 0.015
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
    model = only_linear(np.arange(len(beta)) + 1, Logistic(0.0, np.array(beta), 1.0))
    X = scale * np.random.default_rng(0).normal(size=(20, 5))
    chance = model.chance(X)
    assert ((chance >= RAREST) & (chance <= 1 - RAREST)).all()


def bent(n, kind, seed=0):
    """A design, who was treated, and the true chance, which no linear model describes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    beyond = {
        "product": X[:, 0] * X[:, 1],
        "square": 0.8 * (X[:, 0] ** 2 - 1),
        "corner": 2.0 * ((X[:, 0] > 0.5) & (X[:, 1] > 0)) - 0.5,
    }[kind]
    chance = expit(0.4 * X[:, 2] + beyond)
    return X, (rng.random(n) < chance).astype(float), chance


@pytest.mark.parametrize("kind", ["product", "square", "corner"])
def test_recovers_what_is_not_linear(kind):
    X, treated, _ = bent(1000, kind)
    fresh, _, chance = bent(1000, kind, seed=1)
    found = fit_propensity(X, treated, 0)
    plain = only_linear(found.columns, choose_logistic(X, treated == 1))
    error, linear = (np.sqrt(((m.chance(fresh) - chance) ** 2).mean()) for m in (found, plain))
    assert error < 0.75 * linear


def test_the_arms_are_alike_after_weighting_in_what_visibly_decides():
    after = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, fold = rng.normal(size=(230, 8)), rng.permutation(230) % 3
        treated = (rng.random(230) < expit(0.3 - 0.55 * X[:, 0])).astype(float)
        chance = np.empty(230)
        for k in range(3):
            inside = fold != k
            chance[~inside] = fit_propensity(X[inside], treated[inside], 0).chance(X[~inside])
        found = balance(X, tuple("abcdefgh"), treated, chance)
        after.append(found.after[found.names.index("a")])
    # Before weighting the arms differ by 0.53.
    assert abs(np.mean(after)) < 0.1


def test_the_weight_is_the_likeliest():
    first, second = np.random.default_rng(0).uniform(0.1, 0.9, (2, 200))
    weight = likeliest_weight(first, second)

    def log_likelihood(w):
        return np.log((1 - w) * first + w * second).sum()

    assert 0 < weight < 1
    assert all(log_likelihood(weight) >= log_likelihood(w) - 1e-6 for w in np.linspace(0, 1, 101))


def test_of_an_older_bundle_is_its_regression():
    model = Logistic(0.3, np.array([0.5, -1.0]), 2.0)
    raw = json.loads(json.dumps({"columns": [0, 2], "model": model.to_json()}))
    X = np.random.default_rng(0).normal(size=(30, 3))
    expected = np.clip(model.probability(X[:, [0, 2]]), RAREST, 1 - RAREST)
    np.testing.assert_array_equal(Propensity.from_json(raw).chance(X), expected)


def test_nobody_of_a_level_or_beyond_a_value_has_a_chance():
    rng = np.random.default_rng(0)
    stage, age = rng.choice(3, 400, p=[0.2, 0.4, 0.4]), rng.normal(62, 10, 400)
    never = (stage == 1) | (age > 75)
    treated = (rng.random(400) < np.where(never, 0, 0.6)).astype(float)
    X = np.column_stack([stage, age, rng.normal(size=(400, 5))]).astype(float)
    chance = fit_propensity(X, treated, 0).chance(X)
    assert chance[never].max() < 0.1
    assert (chance[~never] > 0.1).mean() > 0.95


def in_centres(n, seed=0):
    """A design, centres, who was treated, and the true chance, which differs by centre."""
    rng = np.random.default_rng(seed)
    X, place = rng.normal(size=(n, 4)), rng.integers(0, 4, n)
    chance = expit(0.6 * X[:, 0] + np.array([-1.5, -0.5, 0.5, 1.5])[place])
    centre = np.array(["north", "east", "south", "west"])[place]
    return X, centre, (rng.random(n) < chance).astype(float), chance


def test_the_centre_decides_too():
    X, centre, treated, chance = in_centres(3000)
    found = fit_propensity(X, treated, 0, centre=centre)
    assert np.abs(found.chance(X, centre) - chance).mean() < 0.03
    assert np.abs(fit_propensity(X, treated, 0).chance(X) - chance).mean() > 0.15
    # Other centres, and unknown ones, are between those that are known.
    for other in (None, np.full(3000, "elsewhere"), np.full(3000, "")):
        assert found.chance(X, other).mean() == pytest.approx(treated.mean(), abs=0.06)


def test_neither_order_nor_names_of_centres_matter():
    X, centre, treated, _ = in_centres(400)
    expected = fit_propensity(X, treated, 0, centre=centre).chance(X, centre)
    renamed = np.array([name[::-1] for name in centre])
    found = fit_propensity(X, treated, 0, centre=renamed).chance(X, renamed)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_small_centres_are_not_kept():
    X, centre, treated, _ = in_centres(400)
    centre[:5] = "hamlet"
    assert set(fit_propensity(X, treated, 0, centre=centre).centres) == {
        "north",
        "east",
        "south",
        "west",
    }
    assert not fit_propensity(X, treated, 0, centre=np.full(400, "north")).centres


def test_nobody_of_a_centre_that_never_treats_has_a_chance():
    X, centre, treated, _ = in_centres(400)
    treated[centre == "north"] = 0.0
    found = fit_propensity(X, treated, 0, centre=centre)
    assert found.chance(X, centre)[centre == "north"].max() < 0.1
    assert (found.chance(X, centre)[centre != "north"] > 0.1).mean() > 0.9
    again = Propensity.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    np.testing.assert_array_equal(again.chance(X, centre), found.chance(X, centre))


@pytest.mark.parametrize("kind", ["linear", "corner"])
def test_json_round_trip_is_exact(kind):
    X, treated, _ = drawn(200) if kind == "linear" else bent(600, kind)
    found = fit_propensity(X, treated, 0)
    assert kind == "linear" or found.trees is not None
    again = Propensity.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    np.testing.assert_array_equal(again.chance(X), found.chance(X))
    assert again.to_json() == found.to_json()
