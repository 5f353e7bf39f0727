"""Hazard ratios against R's survival and metafor (reference/effects.R)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from accomplice.training.estimators.hazard_ratios import (
    HazardRatio,
    fit_effects,
    judge_design,
    pool,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "effects.json").read_text())
CASES = ("distinct", "tied")


def case(name):
    found = REFERENCE[name]
    time = np.array(found["time"], dtype=float)
    return found, np.array(found["x"]), time, np.array(found["event"])


def assert_equals(ratio, expected):
    assert ratio.log == pytest.approx(expected["log"], abs=2e-6)
    assert ratio.se == pytest.approx(expected["se"], rel=1e-6)


class TestFit:
    @pytest.mark.parametrize("name", CASES)
    def test_without_adjustment_equals_coxph(self, name):
        found, X, time, event = case(name)
        fit = fit_effects(X, time, event)
        for weights, expected in zip(np.eye(3), found["plain"], strict=True):
            assert_equals(fit.ratio(*weights), expected)

    @pytest.mark.parametrize("name", CASES)
    def test_contrast_takes_the_covariance_into_account(self, name):
        found, X, time, event = case(name)
        assert_equals(fit_effects(X, time, event).ratio(1, -1), found["contrast"])

    @pytest.mark.parametrize("name", CASES)
    def test_adjustment_equals_coxph_with_a_ridge_of_one_on_the_others(self, name):
        found, X, time, event = case(name)
        assert_equals(fit_effects(X[:, 0], time, event, X[:, 1:]).ratio(1), found["weak"])

    def test_constant_covariates_change_nothing(self):
        _, X, time, event = case("distinct")
        alone = fit_effects(X[:, 0], time, event).ratio(1)
        beside = fit_effects(X[:, 0], time, event, np.full((len(X), 2), 3.0)).ratio(1)
        assert beside == alone

    def test_more_adjusters_than_events_still_give_an_interval(self):
        _, X, time, event = case("distinct")
        others = np.random.default_rng(0).normal(size=(len(X), 100))
        assert fit_effects(X[:, 0], time, event, others).ratio(1).known

    def test_a_group_without_events_is_not_determined(self):
        time = np.arange(1.0, 41.0)
        group = (np.arange(40) % 2).astype(float)
        ratio = fit_effects(group, time, group == 0).ratio(1)
        assert not ratio.known
        assert not ratio.certain
        assert str(ratio) == "not determined"


@given(log=st.floats(-3, 3), se=st.floats(0.01, 3))
def test_interval_excludes_one_just_where_p_is_below_five_percent(log, se):
    ratio = HazardRatio.of(log, se, 100, 50)
    assert ratio.low <= ratio.value <= ratio.high
    if abs(ratio.p - 0.05) > 1e-9:
        assert ratio.certain == (ratio.p < 0.05)


class TestPool:
    @pytest.mark.parametrize("found", REFERENCE["pools"])
    def test_equals_metafor(self, found):
        each = zip(found["log"], found["se"], strict=True)
        pooled = pool([HazardRatio.of(log, se, 20, 10) for log, se in each])
        assert pooled.ratio.log == pytest.approx(found["pooled"], rel=1e-9)
        # metafor's standard error is the normal one, of the same weights.
        normal = found["pooled_se"]
        weight = 1 / (np.array(found["se"]) ** 2 + pooled.between**2)
        scatter = weight @ (np.array(found["log"]) - pooled.ratio.log) ** 2 / (len(weight) - 1)
        assert pooled.ratio.se == pytest.approx(normal * max(1, scatter) ** 0.5, rel=1e-9)
        reach = stats.t.ppf(0.975, len(weight) - 1) * pooled.ratio.se
        assert pooled.ratio.high == pytest.approx(np.exp(pooled.ratio.log + reach), rel=1e-9)
        assert pooled.further.low < pooled.ratio.low
        assert pooled.between == pytest.approx(found["between"], abs=1e-9)
        assert pooled.inconsistency == pytest.approx(found["inconsistency"], abs=1e-9)
        assert pooled.p == pytest.approx(found["p"], rel=1e-9)
        assert pooled.ratio.events == 10 * len(found["log"])

    @pytest.mark.parametrize("centres", [2, 3, 5])
    def test_the_interval_covers_where_centres_differ(self, centres):
        rng = np.random.default_rng(centres)
        covered = further = 0
        for _ in range(400):
            se = rng.uniform(0.15, 0.35, centres)
            log = rng.normal(0.2, 0.3, centres) + rng.normal(0, se)
            pooled = pool([HazardRatio.of(*each, 100, 50) for each in zip(log, se, strict=True)])
            covered += pooled.ratio.low <= np.exp(0.2) <= pooled.ratio.high
            further += pooled.further.low <= np.exp(rng.normal(0.2, 0.3)) <= pooled.further.high
        assert covered / 400 > 0.91
        assert np.isnan(pooled.further.low) if centres == 2 else further / 400 > 0.88

    def test_few_centres_that_agree_are_as_uncertain_as_their_number(self):
        two = pool([HazardRatio.of(0.3, 0.2, 100, 50)] * 2).ratio
        many = pool([HazardRatio.of(0.3, 0.2 * 10**0.5, 100, 50)] * 20).ratio
        assert two.se == pytest.approx(many.se)
        assert two.high > many.high


class TestDesign:
    @pytest.mark.parametrize("found", REFERENCE["designs"])
    def test_equals_gelman_and_carlin_by_integration(self, found):
        design = judge_design(found["plausible"], HazardRatio.of(0.0, found["se"], 200, 100))
        for name in ("power", "type_s", "type_m"):
            assert getattr(design, name) == pytest.approx(found[name], rel=1e-3, abs=1e-12)

    def test_an_effect_below_one_is_as_hard_to_see_as_its_inverse(self):
        ratio = HazardRatio.of(0.0, 0.4, 200, 100)
        assert judge_design(1 / 1.5, ratio).power == pytest.approx(judge_design(1.5, ratio).power)

    def test_the_events_needed_give_the_power(self):
        ratio = HazardRatio.of(0.0, 0.4, 200, 100)
        needed = judge_design(1.5, ratio).events_needed
        larger = HazardRatio.of(0.0, 0.4 * math.sqrt(100 / needed), 0, needed)
        assert judge_design(1.5, larger).power == pytest.approx(0.8, abs=0.005)
