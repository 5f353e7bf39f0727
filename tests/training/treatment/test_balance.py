"""Balance of the arms: the textbook's differences, and a test with a known error rate."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.logistic import expit
from accomplice.training.treatment.balance import MOST_SHOWN, Balance, balance


def drawn(n, seed, columns=8):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns))
    chance = expit(0.8 * X[:, 0] - 0.5 * X[:, 1])
    return X, (rng.random(n) < chance).astype(float), chance


def test_differences_are_the_textbook_s():
    X, treated, chance = drawn(200, 0)
    names = tuple(f"x{j}" for j in range(8))
    found = balance(X, names, treated, chance)
    had, weight = treated == 1, np.abs(treated - chance)
    for name, before, after in zip(found.names, found.before, found.after, strict=True):
        x = X[:, names.index(name)]
        spread = np.sqrt((x[had].var() + x[~had].var()) / 2)
        assert before == pytest.approx((x[had].mean() - x[~had].mean()) / spread)
        means = [np.average(x[arm], weights=weight[arm]) for arm in (had, ~had)]
        assert after == pytest.approx((means[0] - means[1]) / spread)


def test_right_propensities_are_seldom_called_off_and_wrong_ones_are():
    names = tuple("abcdefgh")
    false = true = 0
    for seed in range(150):
        X, treated, chance = drawn(400, seed)
        false += balance(X, names, treated, chance).off
        true += balance(X, names, treated, np.full(400, 0.5)).off
    assert false <= 15  # 5 % are 7.5
    assert true == 150


def test_what_does_not_vary_has_no_part():
    X, treated, chance = drawn(60, 0, columns=2)
    found = balance(np.column_stack([np.ones(60), X]), ("one", "a", "b"), treated, chance)
    assert set(found.names) == {"a", "b"}
    none = balance(np.ones((60, 1)), ("one",), treated, chance)
    assert (none.names, none.largest, none.p, none.off) == ((), 0.0, 1.0, False)


def test_of_many_features_all_are_judged_and_those_that_differ_most_recorded():
    X, treated, chance = drawn(300, 0, columns=MOST_SHOWN + 10)
    names = tuple(f"x{j}" for j in range(MOST_SHOWN + 10))
    found = balance(X, names, treated, chance)
    assert len(found.names) == MOST_SHOWN + 10
    assert found.names[0] == "x0"
    plain = found.to_json()
    assert len(plain["features"]) == MOST_SHOWN
    assert plain["largest"] == max(abs(each["after"]) for each in plain["features"])


def test_a_feature_that_is_off_after_weighting_alone_counts_among_many():
    before, after = np.full(MOST_SHOWN + 5, 0.5), np.zeros(MOST_SHOWN + 5)
    before[-1], after[-1] = 0.2, 0.4
    names = tuple(f"x{j}" for j in range(len(before)))
    found = Balance(names, before, after, p=0.001)
    assert (found.largest, names[found.worst], found.off) == (0.4, names[-1], True)
    assert found.to_json()["largest"] == 0.4
