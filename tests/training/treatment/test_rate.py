"""Rankings: what they find, and how far chance alone takes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.splits import within
from accomplice.training.treatment.rate import Scored, chance_rates, cross_ranked, mean, ranked

numbers = st.lists(st.floats(-5, 5), min_size=2, max_size=40)


class TestRanked:
    def test_a_ranking_by_the_score_itself_finds_those_who_gain(self):
        score = np.random.default_rng(0).normal(size=300)
        up, down = ranked(score, score), ranked(-score, score)
        assert up.rate.low > 0
        assert down.rate.value == pytest.approx(-up.rate.value)

    @given(score=numbers)
    def test_one_order_for_all_finds_nothing(self, score):
        found = ranked(np.zeros(len(score)), np.array(score))
        assert found.rate.value == 0

    @given(score=numbers, seed=st.integers(0, 99))
    def test_only_the_order_counts_and_not_the_rows(self, score, seed):
        rng = np.random.default_rng(seed)
        score, order = np.array(score), rng.normal(size=len(score)).round(1)
        found = ranked(order, score).rate.value
        rows = rng.permutation(len(score))
        assert ranked(np.exp(order), score).rate.value == pytest.approx(found, abs=1e-12)
        assert ranked(order[rows], score[rows]).rate.value == pytest.approx(found, abs=1e-12)

    def test_rate_is_the_area_under_the_curve(self):
        rng = np.random.default_rng(1)
        order, score = rng.normal(size=5000), rng.normal(size=5000)
        score += 0.3 * order
        found = ranked(order, score)
        area = np.trapezoid(found.curve, np.linspace(0, 1, 101))
        assert found.rate.value == pytest.approx(area, abs=2e-3)
        assert found.curve[[0, -1]] == pytest.approx([0, 0], abs=1e-12)

    def test_interval_misses_nothing_one_time_in_twenty(self):
        rng = np.random.default_rng(2)
        rates = [ranked(rng.normal(size=200), rng.normal(size=200)).rate for _ in range(600)]
        missed = np.mean([r.low > 0 or r.high < 0 for r in rates])
        assert 0.025 < missed < 0.085

    def test_mean_has_the_normal_interval(self):
        found = mean(np.array([1.0, 2.0, 3.0, 4.0]))
        half = 1.959964 * np.std([1, 2, 3, 4], ddof=1) / 2
        assert vars(found) == pytest.approx({"value": 2.5, "low": 2.5 - half, "high": 2.5 + half})


def cohort(n, gain, seed, columns=4):
    """Scores of patients whose effect changes by ``gain`` a unit of the first column."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, columns))])
    score = rng.normal(size=n) + gain * X[:, 1]
    spreads = np.array([10.0, *[0.35] * columns])
    return Scored(X, score, np.ones(n), np.arange(n) % 5, spreads)


def cross_fitted(scored):
    """Rank each fold by what the other folds say, as the pipeline does."""
    order = np.empty(len(scored.score))
    for k in range(5):
        inside = scored.fold != k
        X = scored.design[inside]
        solved = X.T @ X + np.diag(scored.prior_sd**-2.0)
        theta = np.linalg.solve(solved, X.T @ scored.score[inside])
        order[~inside] = -scored.design[~inside] @ theta
    return within(order, scored.fold)


class TestCrossRanked:
    def test_claims_where_there_is_nothing_are_as_rare_as_said(self):
        claims = []
        for seed in range(60):
            scored = cohort(300, 0.0, seed)
            claims.append(cross_ranked(cross_fitted(scored), scored, seed).rate.low > 0)
        # 2.5 % are said; that 6 of 60 or more are has a chance of 0.4 %.
        assert np.mean(claims) < 0.1

    def test_an_effect_that_changes_is_found(self):
        scored = cohort(600, 0.5, 1)
        assert cross_ranked(cross_fitted(scored), scored, 1).rate.low > 0

    def test_chance_takes_it_further_than_a_ranking_given_beforehand(self):
        scored = cohort(400, 0.0, 2)
        given_ = ranked(np.random.default_rng(0).normal(size=400), scored.score).rate
        assert np.quantile(chance_rates(scored, 0), 0.975) > given_.high - given_.value

    def test_the_figure_itself_is_that_of_the_ranking(self):
        scored = cohort(200, 0.2, 3)
        order = cross_fitted(scored)
        found = cross_ranked(order, scored, 3)
        assert found.rate.value == pytest.approx(ranked(order, -scored.score).rate.value)
        assert found.rate.low < found.rate.value < found.rate.high
