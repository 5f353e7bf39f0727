"""Power by simulation against theory, the closed form and the published arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.policy import ENOUGH_POWER
from accomplice.training.metrics.concordance import harrell_c
from accomplice.training.power.simulation import (
    MOST,
    Scenario,
    approximate,
    curve,
    needed,
    observed,
    simulate,
)

# Of the cohorts for which the design notes found 25 to 42 %.
PAPER = Scenario(ratio=1.55)
#: A difference between shares this many standard errors wide has one chance in some 16 000.
SURE = 4.0


def near(share, expected, draws):
    return abs(share - expected) < SURE * math.sqrt(expected * (1 - expected) / draws)


class TestSimulatedCohorts:
    @pytest.mark.parametrize(
        "scenario",
        [
            PAPER,
            Scenario(events=0.15, treated=0.3, hr_marker=1.8),
            Scenario(events=0.9, scale="sd", ratio=1.7, hr_low=1.2),
            Scenario(events=0.6, follow_up=np.array([0.01, 500.0])),
        ],
    )
    def test_have_the_shares_that_were_asked_for(self, scenario):
        X, event = observed(scenario, np.random.default_rng(1), 20, 2000)
        assert event.mean() == pytest.approx(scenario.events, abs=0.01)
        assert X[:, 0].mean() == pytest.approx(scenario.treated, abs=0.01)
        np.testing.assert_array_equal(X[:, 2], X[:, 0] * X[:, 1])

    def test_have_halves_of_one_size(self):
        X, _ = observed(PAPER, np.random.default_rng(1), 5, 301)
        np.testing.assert_array_equal(X[:, 1].sum(axis=1), 150)

    def test_have_a_clinical_index_with_a_c_of_70(self):
        X, event = observed(PAPER, np.random.default_rng(2), 1, 20_000)
        c = harrell_c(event[0], -np.arange(20_000.0), X[0, 3])
        assert c == pytest.approx(0.70, abs=0.01)

    @pytest.mark.parametrize("scale", ["half", "sd"])
    def test_hold_the_effects_that_were_put_in(self, scale):
        scenario = Scenario(scale=scale, ratio=1.5, hr_marker=1.3)
        X, event = observed(scenario, np.random.default_rng(3), 1, 40_000)
        risk_sets = RiskSets(-np.arange(40_000.0), event[0])
        found = fit_cox(X[0].T, risk_sets, np.zeros(4))
        np.testing.assert_allclose(found[:3], scenario.effects[:3], atol=0.08)

    def test_have_the_hazard_ratio_of_the_low_half_on_both_scales(self):
        scenario = Scenario(scale="sd", hr_low=0.5, ratio=1.4)
        marker = np.random.default_rng(0).standard_normal(400_000)
        low = marker[marker < 0]
        treatment, _, product, _ = scenario.effects
        assert np.exp((treatment + product * low).mean()) == pytest.approx(0.5, abs=0.002)


class TestPower:
    @pytest.mark.parametrize("scale", ["half", "sd"])
    @pytest.mark.parametrize("alpha", [0.05, 0.2])
    def test_is_alpha_without_an_interaction(self, scale, alpha):
        found = simulate(Scenario(ratio=1.0, scale=scale, alpha=alpha), 300, 2000, seed=1)
        assert near(found.power, alpha, 2000)
        assert found.ratio == pytest.approx(1, abs=0.05)
        assert math.isnan(found.exaggeration)
        assert math.isnan(found.wrong_sign)

    def test_rises_with_patients_and_events_and_measured_markers(self):
        few, some, many = (p.power for p in curve(PAPER, [3000, 300, 1000], 400, seed=0))
        assert few < some < many
        at = simulate(PAPER, 700, 400, seed=0).power
        assert simulate(replace(PAPER, events=0.9), 700, 400, seed=0).power > at + 0.1
        assert simulate(replace(PAPER, known=0.4), 700, 400, seed=0).power < at - 0.1

    @pytest.mark.parametrize(
        "scenario",
        [
            PAPER,
            Scenario(ratio=1.55, treated=0.5, events=0.6),
            Scenario(ratio=1 / 1.8, hr_low=0.9, hr_marker=1.4),
            Scenario(ratio=1.35, scale="sd", known=0.7),
        ],
    )
    @pytest.mark.parametrize("patients", [409, 1000])
    def test_agrees_with_the_closed_form(self, scenario, patients):
        found = simulate(scenario, patients, 1500, seed=5)
        assert found.power == pytest.approx(approximate(scenario, patients), abs=0.06)

    def test_is_what_was_found_for_cohorts_like_the_published_one(self):
        assert 0.25 < simulate(PAPER, 409, 1500, seed=0).power < 0.42
        strong = Scenario(scale="sd", ratio=math.exp(0.55), known=0.6)
        assert simulate(strong, 1500, 500, seed=0).power > 0.96

    def test_counts_wald_tests_of_single_fits(self):
        draws, n = 40, 250
        X, event = observed(PAPER, np.random.default_rng([9, n]), draws, n)
        significant, estimates = 0, []
        for one in range(draws):
            risk_sets = RiskSets(-np.arange(float(n)), event[one])
            beta = fit_cox(X[one].T, risk_sets, np.zeros(4))
            information = risk_sets.evaluate(X[one].T, X[one].T @ beta)[2]
            error = math.sqrt(np.linalg.inv(information)[2, 2])
            significant += abs(beta[2]) > 1.959964 * error
            estimates.append(beta[2])
        found = simulate(PAPER, n, draws, seed=9)
        assert found.significant == significant
        assert found.ratio == pytest.approx(math.exp(np.median(estimates)), rel=1e-4)
        assert found.events == pytest.approx(event.sum() / draws)

    def test_overstates_more_where_it_is_smaller(self):
        small, large = curve(PAPER, [200, 3000], 500, seed=0)
        assert small.exaggeration > 1.8
        assert large.exaggeration == pytest.approx(1, abs=0.1)
        assert large.wrong_sign == 0
        faint = simulate(Scenario(ratio=1.02), 200, 2000, seed=0)
        assert 0.25 < faint.wrong_sign < 0.6

    def test_of_a_size_is_the_same_whatever_else_is_asked(self):
        assert curve(PAPER, [200, 500], 60, seed=4)[1] == simulate(PAPER, 500, 60, seed=4)
        assert simulate(PAPER, 500, 60, seed=4) != simulate(PAPER, 500, 60, seed=5)

    def test_tells_of_the_cohorts_done(self):
        told = []
        simulate(PAPER, 5000, 25, 0, lambda *words: told.append(words))
        assert told[0] == ("5000 patients", 0, 25)
        assert told[-1] == ("5000 patients", 25, 25)
        assert len(told) > 2


class TestClosedForm:
    def test_is_the_sum_over_four_cells_for_halves(self):
        X, event = observed(PAPER, np.random.default_rng(0), 1, 200_000)
        cells = [
            event[0][(X[0, 0] == arm) & (X[0, 1] == half)].sum() / 200_000
            for arm in (0, 1)
            for half in (0, 1)
        ]
        assert PAPER.unit_variance == pytest.approx(sum(1 / c for c in cells), rel=0.03)

    def test_has_the_power_at_the_size_that_it_implies(self):
        wanted = NormalDist().inv_cdf(ENOUGH_POWER) + PAPER.critical
        size = wanted**2 * PAPER.unit_variance / PAPER.interaction**2
        assert approximate(PAPER, size) == pytest.approx(ENOUGH_POWER, abs=1e-4)


class TestNeeded:
    def test_gives_the_size_that_has_the_power(self):
        found = needed(PAPER, 600, seed=1)
        assert found is not None
        assert found.bound == "about"
        assert found.low < found.patients < found.high
        at = simulate(PAPER, found.patients, 1500, seed=8)
        assert at.power == pytest.approx(ENOUGH_POWER, abs=0.06)
        assert found.events == pytest.approx(at.events, rel=0.03)

    def test_wants_more_patients_where_fewer_have_the_marker(self):
        all_known, half = needed(PAPER, 400, 0), needed(replace(PAPER, known=0.5), 400, 0)
        assert all_known is not None
        assert half is not None
        assert half.patients == pytest.approx(2 * all_known.patients, rel=0.15)

    def test_ends_at_its_bounds(self):
        more = needed(Scenario(ratio=1.02), 20, 0)
        assert more is not None
        assert (more.bound, more.patients) == ("more than", MOST)
        fewer = needed(Scenario(scale="sd", ratio=20.0, hr_low=0.1), 100, 0)
        assert fewer is not None
        assert fewer.bound == "fewer than"
        assert fewer.patients == 45

    def test_is_nothing_without_an_interaction(self):
        assert needed(Scenario(ratio=1.0), 20, 0) is None
