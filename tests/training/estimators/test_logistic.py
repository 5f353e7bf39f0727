"""Ridge logistic regression against scikit-learn and what must hold at any maximum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.logistic import (
    Logistic,
    choose_logistic,
    expit,
    fit_logistic,
    log_likelihood,
    logit,
)


def simulate(n, p, seed=0, effect=0.8):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    return X, rng.random(n) < expit(-0.7 + effect * X[:, :2].sum(axis=1))


@st.composite
def problems(draw):
    """Few patients of both labels, a design with ties, an offset."""
    n, p = draw(st.integers(2, 12)), draw(st.integers(0, 15))
    numbers = st.integers(-2, 2).map(float) | st.floats(-3, 3)
    X = np.array(draw(st.lists(numbers, min_size=n * p, max_size=n * p))).reshape(n, p)
    label = np.array([True, False, *draw(st.lists(st.booleans(), min_size=n - 2, max_size=n - 2))])
    offset = np.array(draw(st.lists(st.floats(-3, 3), min_size=n, max_size=n)))
    return X, label, offset


@pytest.mark.parametrize(("n", "p"), [(60, 3), (200, 8), (30, 50)])
@pytest.mark.parametrize("penalty", [0.3, 5.0, 100.0])
def test_equals_scikit_learn(n, p, penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, label = simulate(n, p)
    theirs = linear_model.LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
    theirs.fit(X, label)
    ours = fit_logistic(X, label, penalty)
    np.testing.assert_allclose(ours.beta, theirs.coef_[0], atol=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)
    np.testing.assert_allclose(ours.probability(X), theirs.predict_proba(X)[:, 1], atol=1e-5)


@given(problem=problems(), penalty=st.sampled_from([0.1, 1.0, 30.0]))
def test_the_gradient_is_zero_at_the_fit(problem, penalty):
    X, label, offset = problem
    found = fit_logistic(X, label, penalty, offset=offset)
    left = label - expit(offset + found.log_odds(X))
    assert left.sum() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(X.T @ left, penalty * found.beta, atol=1e-4)


@given(problem=problems(), data=st.data())
def test_order_and_start_are_no_matter(problem, data):
    X, label, offset = problem
    rows = np.array(data.draw(st.permutations(range(len(label)))))
    first = fit_logistic(X, label, 1.0, offset=offset)
    second = fit_logistic(X[rows], label[rows], 1.0, offset=offset[rows])
    np.testing.assert_allclose(second.beta, first.beta, atol=1e-4)
    start = Logistic(2.0, np.full(X.shape[1], -1.5), 1.0)
    third = fit_logistic(X, label, 1.0, start, offset)
    np.testing.assert_allclose(third.beta, first.beta, atol=1e-4)


@given(problem=problems())
def test_a_stronger_penalty_never_makes_longer_coefficients(problem):
    X, label, _ = problem
    length = [np.linalg.norm(fit_logistic(X, label, q).beta) for q in (0.1, 1.0, 10.0, 1e6)]
    assert (np.diff(length) <= 1e-6).all()
    assert length[-1] < 1e-3


@given(problem=problems())
def test_other_labels_turn_the_signs(problem):
    X, label, offset = problem
    one = fit_logistic(X, label, 1.0, offset=offset)
    other = fit_logistic(X, ~label, 1.0, offset=-offset)
    np.testing.assert_allclose(other.beta, -one.beta, atol=1e-4)
    assert other.intercept == pytest.approx(-one.intercept, abs=1e-3)


def test_an_offset_that_is_the_model_leaves_nothing_to_learn():
    X, label = simulate(300, 3)
    whole = fit_logistic(X, label, 1e-9)
    again = fit_logistic(X, label, 1e-9, offset=whole.log_odds(X))
    np.testing.assert_allclose([again.intercept, *again.beta], 0, atol=1e-6)


@pytest.mark.parametrize("penalty", [1e-6, 0.01, 1.0])
def test_parted_labels_stay_finite(penalty):
    X = np.arange(-10.0, 10.0)[:, None] + 0.5
    found = fit_logistic(X, X[:, 0] > 0, penalty)
    assert np.isfinite(found.beta).all()
    assert found.beta[0] > 0.3
    assert np.isfinite(found.probability(1e6 * X)).all()


def test_more_columns_than_patients_give_what_all_columns_give():
    X, label = simulate(20, 60)
    found = fit_logistic(X, label, 2.0)
    left = label - found.probability(X)
    assert left.sum() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(X.T @ left, 2.0 * found.beta, atol=1e-5)


def test_without_columns_the_rate_is_left():
    label = np.array([True, False, False, False])
    found = choose_logistic(np.zeros((4, 0)), label)
    np.testing.assert_allclose(found.probability(np.zeros((4, 0))), 0.25)


class TestChoice:
    def test_noise_is_penalised_more_than_signal(self):
        rng = np.random.default_rng(1)
        X, label = simulate(300, 4, effect=1.5)
        signal = choose_logistic(X, label)
        noise = choose_logistic(rng.normal(size=(300, 20)), rng.permutation(label))
        assert noise.penalty > 3 * signal.penalty
        assert np.abs(noise.beta).max() < 0.2

    def test_it_predicts_about_as_well_as_the_best_penalty(self):
        X, label = simulate(150, 12, seed=2)
        fresh, then = simulate(4000, 12, seed=3)
        rarer = min(label.sum(), (~label).sum())

        def score(model):
            return log_likelihood(then, model.log_odds(fresh)).mean()

        best = max(score(fit_logistic(X, label, q * rarer)) for q in np.geomspace(10, 0.01, 10))
        assert score(choose_logistic(X, label)) > best - 0.02

    def test_repeats_with_its_seed(self):
        X, label = simulate(60, 5)
        first, second = (choose_logistic(X, label, seed=4) for _ in range(2))
        np.testing.assert_array_equal(first.beta, second.beta)

    @pytest.mark.parametrize("positive", [1, 2, 3])
    def test_one_to_three_of_a_label_still_give_something_finite(self, positive):
        X, _ = simulate(15, 4)
        found = choose_logistic(X, np.arange(15) < positive)
        assert np.isfinite([found.intercept, *found.beta]).all()


def test_json_round_trip():
    X, label = simulate(50, 3)
    found = fit_logistic(X, label, 1.0)
    again = Logistic.from_json(found.to_json())
    np.testing.assert_array_equal(again.log_odds(X), found.log_odds(X))
    assert again.penalty == found.penalty


@given(st.floats(-1e4, 1e4))
def test_probabilities_never_leave_their_range(value):
    chance = expit(np.array([value]))[0]
    assert 0 <= chance <= 1
    if abs(value) < 10:
        assert logit(np.array([chance]))[0] == pytest.approx(value, abs=1e-6)
    both = log_likelihood(np.array([True, False]), np.array([value, value]))
    assert (both <= 0).all()
    assert np.isfinite(both).all()
