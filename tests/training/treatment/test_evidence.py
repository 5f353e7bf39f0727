"""Is the effect to be believed: scores, rankings, alarms and their words."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from accomplice.training.config import configure
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.hazard_ratios import HazardRatio
from accomplice.training.estimators.kaplan_meier import censoring, power_curves
from accomplice.training.estimators.logistic import logit
from accomplice.training.estimators.policy import RARE
from accomplice.training.estimators.proportional_hazards import zph_test
from accomplice.training.treatment.arm_scores import arm_scores
from accomplice.training.treatment.compared import compared
from accomplice.training.treatment.evidence import sentences
from accomplice.training.treatment.expected_events import fitted_rates
from accomplice.training.treatment.immortal_time import Early, EarlyEvents
from accomplice.training.treatment.judging import (
    Estimate,
    _halves,
    evidence,
    permuted,
)
from accomplice.training.treatment.missing_confounders import MissingConfounders
from accomplice.training.treatment.sensitivity import Unrecorded
from accomplice.training.treatment.trial_range import TrialRange
from tests.benchmarks.characteristics.positivity import confounded, quick

untimed = settings(deadline=None)
CONFIG = configure(["net.members=2"])
numbers = st.lists(st.floats(-5, 5), min_size=2, max_size=40)


@pytest.fixture(scope="module")
def found(tiny_trained):
    return tiny_trained.primary.evidence


def with_treatment(crossed, **changed):
    """The same effect, its study's treatment described otherwise."""
    cohort = crossed.cohort
    update = {"treatment": cohort.study.treatment.model_copy(update=changed)}
    return replace(crossed, cohort=replace(cohort, study=cohort.study.model_copy(update=update)))


def test_a_centre_without_an_arm_is_named():
    rng = np.random.default_rng(3)
    cohort = confounded(500, "none", 0.8, rng)
    centre = np.array(["Centre E", "north", "south"])[rng.integers(0, 3, 500)]
    values, column = cohort.values.copy(), cohort.study.treatment_position
    fair = evidence(quick(replace(cohort, centre=centre), 0).crossed, CONFIG)
    assert fair.one_armed == ()
    values[centre != "Centre E", column] = values[:, column].min()
    one = replace(cohort, centre=centre, values=values)
    crossed = quick(one, 0).crossed
    some = evidence(crossed, CONFIG)
    assert set(some.one_armed) == {"north", "south"}
    assert some.overlap < 0.5
    assert {"Centre E", "centre north", "centre south"} < set(some.balance.names)
    # Nobody of these centres is like a treated patient, so that advice abstains.
    assert crossed.patients.propensity[crossed.rows & (centre != "Centre E")].max() < RARE
    blind = one.prognostic()
    served = {
        name: crossed.effect.of(blind.values, np.full(500, name)) for name in ("Centre E", "north")
    }
    assert served["north"].propensity.max() < RARE
    assert np.median(served["Centre E"].propensity) > 0.3
    said = sentences(some)
    assert "'north', 'south'" in said["overlap"]
    assert "In some centres" not in sentences(fair)["overlap"]


class TestScores:
    """One model wrong at a time: the mean stays right."""

    GRID = TimeGrid(np.linspace(0.0, 2.0, 9))

    def simulate(self, n=40_000, lost=1.0):
        """Patients of whom the untreated are lost, and their hazards with and without treatment."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=n)
        chance = 1 / (1 + np.exp(-0.6 * x))
        treated = (rng.random(n) < chance).astype(float)
        hazard = np.exp(0.7 * x) * np.array([[0.4], [0.6]])
        death = rng.exponential(1 / np.where(treated == 1, *hazard))
        left = rng.exponential(1 / np.where(treated == 1, 0.05, 0.05 + lost))
        time, event = np.minimum(np.minimum(death, left), 2.0), death <= np.minimum(left, 2.0)
        return treated, chance, time, event, hazard

    def error(self, treated, chance, time, event, hazard, predicted, weights=None):
        if weights is None:
            weights = power_curves(time, event, treated.astype(int), np.ones(len(time)))
        curves = [h[:, None] * self.GRID.edges for h in predicted]
        inputs = treated, chance, time, event, weights, self.GRID, curves
        scores = arm_scores(*inputs, 0.0, np.array([1.0]))[0]
        return np.abs(scores.mean(axis=1) - np.exp(-hazard).mean(axis=1)).max()

    def test_a_wrong_outcome_model_does_no_harm(self):
        treated, chance, time, event, hazard = self.simulate()
        flat = np.full_like(hazard, 0.5)
        assert self.error(treated, chance, time, event, hazard, flat) < 0.012

    def test_a_wrong_propensity_does_no_harm(self):
        treated, chance, time, event, hazard = self.simulate()
        half = np.full_like(chance, 0.5)
        assert self.error(treated, half, time, event, hazard, hazard) < 0.012

    def test_wrong_weights_for_censoring_do_no_harm_if_predictions_are_right(self):
        treated, chance, time, event, hazard = self.simulate()
        alike = censoring(time, event)
        assert self.error(treated, chance, time, event, hazard, hazard, alike) < 0.012

    def test_both_wrong_do(self):
        treated, chance, time, event, hazard = self.simulate()
        half, flat = np.full_like(chance, 0.5), np.full_like(hazard, 0.1)
        assert self.error(treated, half, time, event, hazard, flat) > 0.03
        alike = censoring(time, event)
        assert self.error(treated, chance, time, event, hazard, flat, alike) > 0.03

    def test_without_censoring_they_are_those_of_survival_at_the_horizon(self):
        treated, chance, time, event, hazard = self.simulate(200, lost=-0.0499)
        event |= time < 2
        alone = censoring(time, event)
        curves = [h[:, None] * self.GRID.edges for h in hazard]
        inputs = treated, chance, time, event, alone, self.GRID, curves
        early, scores = arm_scores(*inputs, 0.0, np.array([0.5, 1.0]))
        np.testing.assert_allclose(arm_scores(*inputs, 0.0, np.array([0.5]))[0], early, atol=1e-12)
        survival, alive = np.exp(-hazard), time > 1
        had, e = np.stack([treated, 1 - treated]), np.stack([chance, 1 - chance])
        np.testing.assert_allclose(scores, survival + had / e * (alive - survival), atol=1e-12)

    def test_those_lost_at_once_say_what_is_predicted(self):
        one, curves = np.ones(1), [np.full((1, 9), h) * self.GRID.edges for h in (0.3, 0.9)]
        lost = one * 1e-9, np.array([False])
        alone = censoring(*lost)
        inputs = one, one / 2, *lost, alone, self.GRID, curves
        scores = arm_scores(*inputs, 0.0, np.array([1.0]))[0]
        np.testing.assert_allclose(scores[:, 0], np.exp([-0.3, -0.9]), rtol=1e-7)


class TestEvidence:
    def test_arms_are_counted_whole(self, tiny_trained, found):
        cohort = tiny_trained.primary.fitted.prepared.cohort
        arms = found.arms
        assert arms.treated + arms.untreated == compared(cohort).sum()
        counted = arms.treated + arms.untreated + arms.early + arms.no_option + arms.unknown
        assert counted == len(cohort)
        assert arms.treated == (found.treated == 1).sum()

    def test_crude_ratio_equals_a_cox_model_of_the_treatment_alone(self, tiny_trained, found):
        linear_model = pytest.importorskip("sksurv.linear_model")
        util = pytest.importorskip("sksurv.util")
        cohort = tiny_trained.primary.fitted.prepared.cohort
        names = list(cohort.study.features)
        stage = cohort.values[:, names.index("stage")]
        rows = ~np.isnan(cohort.treated) & np.isin(stage, [1, 2])
        time, event = cohort.outcome
        theirs = linear_model.CoxPHSurvivalAnalysis(ties="efron", tol=1e-12)
        theirs.fit(
            cohort.treated[rows][:, None],
            util.Surv.from_arrays(event[rows], time[rows]),
        )
        assert found.hr["crude"].value == pytest.approx(np.exp(theirs.coef_[0]), rel=1e-5)

    def test_a_ratio_outside_the_expected_raises_the_alarm(self, tiny_trained, found):
        hrs = [found.hr[name] for name in ("adjusted", "landmark")]
        low, high = min(hr.low for hr in hrs), max(hr.high for hr in hrs)
        for band, alarmed in (
            ((high + 0.01, high + 1), True),
            ((low / 9, low - 0.001), True),
            ((low + 0.001, high - 0.001), False),
            (None, False),
        ):
            judged = evidence(
                with_treatment(tiny_trained.primary.fitted.effect, expected_hr=band), CONFIG
            )
            assert bool(judged.alarms) is alarmed
            said = sentences(judged)["alarm"]
            assert said.startswith("ALARM") is alarmed
            assert ("gives no range" in said) is (band is None)

    def test_deaths_before_treatment_could_begin_raise_the_alarm(self, tiny_trained):
        fitted = tiny_trained.primary.fitted
        cohort = fitted.prepared.cohort
        untreated = np.flatnonzero((cohort.treated == 0) & (cohort.time > 2))[:14]
        time, event = cohort.time.copy(), cohort.event.copy()
        time[untreated], event[untreated] = 1.0, True
        early = replace(cohort, time=time, event=event)
        judged = evidence(replace(fitted.effect, cohort=early), CONFIG)
        assert "immortal" in sentences(judged)["alarm"]

    def test_proportionality_is_tested_beside_prognosis_and_propensity(self, tiny_trained, found):
        fitted = tiny_trained.primary.fitted
        crossed, cohort = fitted.effect, fitted.prepared.cohort
        rows = crossed.rows
        beside = [np.log(crossed.cumulative[rows, -1]), logit(crossed.patients.propensity[rows])]
        X = np.column_stack([crossed.treated[rows], *beside])
        time, event = cohort.outcome
        expected = zph_test(X, time[rows], event[rows])[0]
        assert found.over_time.p == pytest.approx(expected.p_value)

    def test_later_landmarks_start_with_the_studys(self, found):
        (month, hr), *later = found.over_time.ratios
        assert month == found.landmark
        assert hr == found.hr["landmark"]
        assert all(b.events < a.events for (_, a), (_, b) in pairwise(found.over_time.ratios))
        assert [m for m, _ in later] == sorted(m for m, _ in later)

    def test_months_gained_agree_with_the_gain_of_survival(self, found):
        longest = (found.horizon - found.landmark) * max(abs(found.ate.low), abs(found.ate.high))
        assert found.rmst.low < found.rmst.value < found.rmst.high
        assert abs(found.rmst.value) < 2 * longest
        said = sentences(found)
        assert f"{found.rmst:.1f} months" in said["over_time"]
        assert "(E-value" in said["unrecorded"]

    def test_a_ratio_that_is_certain_needs_a_confounder(self, found):
        hr = found.hr | {"landmark": HazardRatio.of(np.log(0.5), 0.1, 100, 50)}
        sure = replace(found, hr=hr, unrecorded=Unrecorded.of(hr["landmark"]))
        assert "to move its interval there, 2." in sentences(sure)["unrecorded"]
        assert sure.to_json()["unrecorded_confounder"]["e_value_limit"] > 1.9

    def test_json_has_no_patient_and_no_nan(self, found):
        plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert set(plain["sentences"]) >= {
            "overlap",
            "hr",
            "alarm",
            "ate",
            "heterogeneity",
            "policy",
        }
        assert "propensity" not in plain

    def test_every_figure_lies_in_its_interval(self, found):
        every = [found.ate, found.relative.rate, found.absolute.rate, *found.halves]
        every += [*found.hr.values(), *found.policy.values(), *found.policy_gain.values()]
        assert all(e.low <= e.value <= e.high for e in every)
        assert 0 < found.policy["none"].value < 1

    def test_policy_of_treating_all_differs_from_none_by_the_mean_gain(self, found):
        gained = found.policy["all"].value - found.policy["none"].value
        assert gained == pytest.approx(found.ate.value)

    def test_without_a_treatment_there_is_none(self):
        assert evidence(None, CONFIG) is None

    def test_words_follow_the_claim(self, found):
        claimed = replace(found.relative, rate=Estimate(0.1, 0.01, 0.2))
        said = sentences(replace(found, relative=claimed))["heterogeneity"]
        assert said.startswith("Patients differ")
        absent = replace(found.relative, rate=Estimate(0.1, -0.01, 0.2))
        assert "not shown" in sentences(replace(found, relative=absent))["heterogeneity"]
        silent = sentences(replace(found, permuted=Estimate(0.1, -0.01, 0.2)))["permuted"]
        assert "claims no difference" in silent
        both = replace(found, relative=claimed, permuted=Estimate(0.1, 0.01, 0.2))
        assert "may be chance too" in sentences(both)["permuted"]

    def test_advice_is_withheld_only_where_chance_is_no_reason(self, found):
        low, high = found.hr["landmark"].low, found.hr["landmark"].high
        beyond = replace(found, trials=TrialRange(high + 0.1, high + 1, "Trial 1"))
        assert beyond.distrust
        assert "Trial 1" in sentences(beyond)["alarm"]
        assert "favours the treatment for no patient" in sentences(beyond)["alarm"]
        by_chance = replace(found, trials=TrialRange(high - 0.001, high + 1))
        assert not by_chance.distrust
        sicker = replace(found, trials=TrialRange(low / 9, low / 3))
        assert (
            "confounding by indication (sicker patients were treated), or harm"
            in (sentences(sicker)["alarm"])
        )
        assert replace(found, trials=None).distrust == ""

    def test_without_trials_immortal_time_is_judged_by_the_effect_after_the_landmark(self, found):
        early = EarlyEvents(((Early(0, 200), Early(12, 200)),))
        strong = found.hr | {"landmark": Estimate(0.1, 0.05, 0.2)}
        weak = found.hr | {"landmark": Estimate(0.8, 0.7, 0.9)}
        p = [replace(found, trials=None, early=early, hr=hr).immortal_p for hr in (strong, weak)]
        assert p[0] > 0.25
        assert p[1] < 0.01

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
    def test_two_effects_are_two_groups_however_many_have_each(self, tiny_trained, share):
        fitted, chance = (
            tiny_trained.primary.fitted,
            tiny_trained.primary.fitted.effect.patients.propensity,
        )
        cohort, grid = fitted.prepared.cohort, fitted.prepared.grid
        rows = compared(cohort)
        strong = np.arange(len(cohort)) % 10 < 10 * share
        draws = np.zeros((1, len(cohort), 0))
        gaps, place = np.zeros(len(cohort), dtype=bool), np.array([], dtype=int)
        none = MissingConfounders((), gaps, draws[0], place, draws)
        halves = _halves(fitted.effect, np.where(strong[rows], 0.2, -0.1), none)
        for half, part in zip(halves, (strong, ~strong), strict=True):
            terms = fitted.effect.terms
            expected = fitted_rates(cohort, fitted.blind, grid, chance, rows & part, terms)
            assert half.value == pytest.approx(np.exp(expected.log_hr))

    def test_one_effect_for_everybody_is_said_to_be_one(self, tiny_trained):
        fitted = tiny_trained.primary.fitted
        patients = fitted.effect.patients._replace(log_hr=np.full(len(fitted.blind), -0.4))
        found = evidence(replace(fitted.effect, patients=patients), CONFIG)
        assert all(np.isnan(half.value) for half in found.halves)
        assert not found.differs
        said = sentences(found)["heterogeneity"]
        assert said == "The model has one hazard ratio of chemotherapy for everybody."
        json.dumps(found.to_json(), allow_nan=False)


class TestControl:
    def test_a_treatment_dealt_at_random_keeps_its_share_and_its_gaps(self, tiny_trained):
        first = permuted(tiny_trained.primary.fitted.effect, CONFIG, 0)
        assert vars(first) == vars(permuted(tiny_trained.primary.fitted.effect, CONFIG, 0))
        assert vars(first) != vars(permuted(tiny_trained.primary.fitted.effect, CONFIG, 1))

    def test_common_effect_is_recovered_from_outcomes_that_have_one(self, tiny_trained):
        # Outcomes drawn anew from the learners' own curves, each hazard halved by the treatment.
        fitted = tiny_trained.primary.fitted
        cohort, grid = fitted.prepared.cohort, fitted.prepared.grid
        rng = np.random.default_rng(0)
        many = np.tile(np.arange(len(cohort)), 40)
        blind = fitted.blind[many]
        chance = np.full(len(many), 0.5)
        treated = (rng.random(len(many)) < chance).astype(float)
        ratio = np.where(treated == 1, 0.5, 1.0) / 0.75
        wanted = rng.exponential(size=len(many)) / ratio
        time = np.array([np.interp(w, h, grid.edges) for w, h in zip(wanted, blind, strict=True)])
        event = wanted < blind[:, -1]
        values = cohort.values[many].copy()
        values[:, -1] = treated
        drawn = replace(cohort.take(many), values=values, time=np.maximum(time, 1e-3), event=event)
        found = fitted_rates(drawn, blind, grid, chance, compared(drawn), np.zeros((len(drawn), 0)))
        assert found.log_hr == pytest.approx(np.log(0.5), abs=4 * found.error)
        assert found.error < 0.06
