"""Which distribution of the censoring time is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.estimators.censoring import (
    choose_censoring,
    indicators,
    on_follow_up,
    pooled,
    score_test,
)
from accomplice.training.estimators.cox import RiskSets
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring, judged_horizon


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


LANDMARK = 3.0


def treated_later(n, seed, shorter):
    """Time, event and treatment, which begins in months 0.5 to 3 if the patient is followed so far.

    With ``shorter`` the untreated are followed less from month 3 on.
    """
    rng = np.random.default_rng(seed)
    wants, begins = rng.random(n) < 0.6, rng.uniform(0.5, LANDMARK, n)
    death, end = rng.exponential(40, n), np.minimum(rng.exponential(30, n), rng.uniform(30, 90, n))
    treated = wants & (np.minimum(death, end) > begins)
    if shorter:
        end = np.where(treated, end, np.minimum(end, LANDMARK + rng.exponential(12, n)))
    return np.minimum(death, end), death <= end, {"treatment": treated.astype(float)}


def test_the_time_until_treatment_begins_decides_nothing():
    rows = [treated_later(800, seed, shorter=False) for seed in range(10)]
    found = [choose_censoring(*each, {}, LANDMARK) for each in rows]
    assert sum(not each.by for each in found) >= 9
    assert sum(each.p["treatment"] < 0.05 for each in found) <= 2
    # Those who begin later cannot be censored before: from time 0 on the arms seem to differ.
    assert sum(choose_censoring(*each, {}).p["treatment"] < 0.05 for each in rows) >= 9


def test_arms_differ_from_the_landmark_on():
    time, event, strata = treated_later(4000, 1, shorter=True)
    found = choose_censoring(time, event, strata, {}, LANDMARK)
    assert found.by == ("treatment",)
    treated, later = strata["treatment"] == 1, time > LANDMARK
    early = found.weights.at(LANDMARK)
    assert np.ptp(early) < 1e-12
    assert early[0] == pytest.approx(np.exp(-LANDMARK / 30), abs=0.015)
    ratio = found.weights.at(15.0) / early
    for arm, rate in ((True, 1 / 30), (False, 1 / 30 + 1 / 12)):
        assert ratio[later & (treated == arm)] == pytest.approx(np.exp(-12 * rate), abs=0.04)
    # Among those followed to the landmark the weights are those of each arm's own curve.
    own = censoring(time[later & treated], event[later & treated])
    np.testing.assert_allclose(ratio[later & treated], own.at(15.0), rtol=1e-12)


def test_a_cohort_followed_by_centre_is_told(small_cohort):
    cohort = small_cohort
    assert on_follow_up(cohort) == ()
    late = small_cohort.centre == small_cohort.centre[0]
    end = np.random.default_rng(0).uniform(4, 14, len(late))
    cut = late & (cohort.time > end)
    time, event = np.where(cut, end, cohort.time), cohort.event & ~cut
    (said,) = on_follow_up(replace(cohort, time=time, event=event))
    assert said.startswith("follow-up (os) depends on centre")
