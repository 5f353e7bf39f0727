"""Regions without an arm: found where they are, seldom where chance alone made them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from accomplice.training.estimators.policy import COMMON, RARE
from accomplice.training.treatment.propensity.rare_regions import rare_regions
from accomplice.training.treatment.propensity.regions import Regions


def found_in(columns, treated):
    X = np.column_stack(columns).astype(float)
    return X, rare_regions(X, treated)


def edges(n=300, seed=0):
    """A level and an age, and who is never treated."""
    rng = np.random.default_rng(seed)
    stage, age = rng.choice(4, n), rng.normal(62, 10, n)
    never = (stage == 2) | (age > 75)
    return stage, age, never, rng.random(n) < np.where(never, 0, 0.6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("arm", ["treated", "untreated"])
def test_a_level_and_a_tail_without_an_arm(seed, arm):
    stage, age, never, treated = edges(seed=seed)
    treated = treated if arm == "treated" else ~treated
    X, found = found_in([stage, age], treated)
    chance = found.bound(X, np.full(len(X), 0.5))
    if arm == "treated":
        assert (chance[never] < RARE).all()
    else:
        assert (chance[never] > COMMON).all()
    assert (chance[~never] == 0.5).mean() > 0.95
    # Fresh patients just beyond the edge are inside.
    fresh = np.array([[0.0, 76.0], [0.0, 60.0], [2.0, 60.0]])
    beyond = found.bound(fresh, np.full(3, 0.5)) != 0.5
    assert beyond.tolist() == [True, False, True]


def test_a_lower_tail_with_one_exception():
    rng = np.random.default_rng(0)
    renal = rng.normal(80, 20, 400)
    treated = (rng.random(400) < 0.6) & (renal > 60)
    treated[np.argmin(renal)] = True
    X, found = found_in([renal], treated)
    chance = found.bound(np.array([[20.0], [58.0], [63.0]]), np.full(3, 0.5))
    assert ((chance < RARE) == [True, True, False]).all()
    assert ((found.share > 0) & (found.share < RARE)).all()
    # A model that gives less is left as it is.
    assert (found.bound(X, np.full(400, 0.001)) == 0.001).all()


def test_a_corner_of_two_columns():
    seen, wrong = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        stage, age = rng.choice(3, 600), rng.normal(62, 10, 600)
        never = (stage == 2) & (age > 65)
        treated = rng.random(600) < np.where(never, 0, 0.6)
        X, found = found_in([stage, age, *rng.normal(size=(4, 600))], treated)
        bound = found.bound(X, np.full(600, 0.5)) < RARE
        seen.append(bound[never].mean())
        wrong.append(bound[~never].mean())
    assert np.mean(seen) > 0.7
    assert np.mean(wrong) < 0.03


def test_chance_is_seldom_taken_for_an_edge():
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        columns = [*rng.normal(size=(6, 200)), *rng.integers(0, 5, (4, 200))]
        _, found = found_in(columns, rng.random(200) < 0.5)
        false += len(found.column) > 0
    assert false <= 20


def test_too_few_patients_show_nothing():
    rng = np.random.default_rng(0)
    level = np.append(np.ones(4), np.zeros(196))
    treated = (rng.random(200) < 0.6) & (level == 0)
    assert len(found_in([level], treated)[1].column) == 0


def test_ends_lie_between_patients_and_survive_json():
    stage, age, _, treated = edges()
    X, found = found_in([stage, age], treated)
    ends = np.concatenate([found.low, found.high]).ravel()
    assert not np.isin(ends[np.isfinite(ends)], X).any()
    again = Regions.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    for mine, theirs in zip(vars(found).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_without_regions_nothing_is_bound():
    chance = np.array([0.2, 0.9])
    np.testing.assert_array_equal(Regions.none().bound(np.zeros((2, 3)), chance), chance)
