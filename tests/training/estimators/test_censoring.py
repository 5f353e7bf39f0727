"""Which distribution of the censoring time is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.censoring import (
    choose_censoring,
    indicators,
    pooled,
    score_test,
)
from accomplice.training.estimators.cox import RiskSets
from accomplice.training.estimators.kaplan_meier import KaplanMeier, judged_horizon


def cohort(n=600, seed=0, *, sicker=1.0, shorter=True, by_age=0.0):
    """Time, event, centre and age, which is prognostic; a late centre, perhaps sicker."""
    rng = np.random.default_rng(seed)
    late, age = rng.random(n) < 0.5, rng.normal(size=n)
    death = rng.exponential(50 * np.exp(-0.5 * age - sicker * late))
    end = np.where(late & shorter, rng.uniform(5, 50, n), rng.uniform(40, 90, n))
    end = np.minimum(end, rng.exponential(100 * np.exp(-by_age * age)))
    centre = np.where(late, "late", "early")
    return np.minimum(death, end), death <= end, {"centre": centre}, {"age": age[:, None]}


def test_a_centre_with_other_follow_up_has_a_curve_of_its_own():
    found = choose_censoring(*cohort())
    assert found.by == ("centre",)
    assert found.decided_by == ("centre",)
    # Its patients are followed 5 to 50 months: some fifth of them to month 41.
    assert 25 < found.reach < 46
    time, event, *_ = cohort()
    assert judged_horizon(time, event, 60.0, found.reach) == found.reach


def test_a_centre_that_fares_as_the_others_needs_none():
    few = sum(not choose_censoring(*cohort(seed=s, sicker=0.0)).by for s in range(10))
    assert few >= 6
    assert choose_censoring(*cohort(seed=1, sicker=0.0)).decided_by == ("centre",)


def test_independent_censoring_has_one_curve():
    found = [choose_censoring(*cohort(300, seed=s, shorter=False)) for s in range(20)]
    assert sum(not each.by for each in found) >= 19
    alike = next(each for each in found if not each.by)
    assert isinstance(alike.weights, KaplanMeier)
    assert alike.reach == np.inf
    assert 0 < alike.least_p <= 1


def test_features_that_decide_it_make_curves():
    time, event, _, features = cohort(1000, shorter=False, by_age=1.0)
    found = choose_censoring(time, event, {}, features)
    assert found.by == ("features",)
    age = features["age"][:, 0]
    chance = np.exp(-24 / 100 * np.exp(age))
    assert np.abs(found.weights.at(24.0) - chance).mean() < 0.06


def test_the_order_of_patients_changes_nothing():
    time, event, strata, features = cohort(400, by_age=0.7)
    order = np.random.default_rng(2).permutation(400)
    one = choose_censoring(time, event, strata, features)
    shuffled = [{k: v[order] for k, v in each.items()} for each in (strata, features)]
    other = choose_censoring(time[order], event[order], *shuffled)
    assert one.by == other.by
    np.testing.assert_allclose(one.weights.at(24.0)[order], other.weights.at(24.0), rtol=1e-9)


def test_patients_at_the_end_of_follow_up_are_not_lost():
    time, event, strata, _ = cohort()
    everybody = np.full(len(time), 30.0)
    assert choose_censoring(everybody, event, strata, {}).p == {}


def test_few_patients_are_pooled():
    label = pooled(np.array(["a"] * 40 + ["b"] * 50 + ["c"] * 20 + ["d"] * 15))
    assert len(set(label[90:])) == 1
    assert len(set(label)) == 3
    assert pooled(np.array(["a"] * 10 + ["b"] * 12)).max() == 0


def test_the_score_test_is_the_log_rank_test():
    compare = pytest.importorskip("sksurv.compare")
    util = pytest.importorskip("sksurv.util")
    time, event, strata, _ = cohort(200, sicker=0.3)
    late = (strata["centre"] == "late").astype(int)
    theirs = compare.compare_survival(util.Surv.from_arrays(event, time), late)[1]
    assert score_test(RiskSets(time, event), indicators(late)) == pytest.approx(theirs, rel=1e-6)


def test_a_design_without_variation_decides_nothing():
    time, event, *_ = cohort(60)
    assert score_test(RiskSets(time, event), np.ones((60, 1))) == 1.0
