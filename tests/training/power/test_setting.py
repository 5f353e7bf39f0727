"""What a cohort says of a power simulation, and what the options make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.errors import InputError
from accomplice.training.power.setting import (
    Setting,
    follow_up,
    scenario_of,
    setting_of,
    sizes_of,
    treated_of,
)
from accomplice.training.power.simulation import HALF_MEAN, Scenario, default_follow_up, observed


class TestCohort:
    def test_gives_size_and_shares_of_those_who_tell(self, small_cohort):
        names = list(small_cohort.study.features)
        marker = small_cohort.values[:, names.index("IL1R1")]
        treated = small_cohort.values[:, names.index("act")]
        known = ~np.isnan(marker) & ~np.isnan(treated)
        found = setting_of(small_cohort, "IL1R1")
        assert found.patients == 240
        assert 0.3 < found.known == known.mean() < 0.9
        assert found.events == small_cohort.event[known].mean()
        assert found.treated == treated[known].mean()

    def test_tells_treated_from_untreated(self, small_cohort):
        treated = treated_of(small_cohort)
        assert set(np.unique(treated[~np.isnan(treated)])) == {0.0, 1.0}

    def test_gives_its_follow_up_so_that_censoring_looks_alike(self):
        scenario = Scenario(follow_up=np.array([10.0, 40.0, 90.0]), events=0.3)
        rng = np.random.default_rng(0)
        left = scenario.follow_up[rng.integers(3, size=30_000)]
        death = rng.exponential(80, 30_000)
        found = follow_up(np.minimum(death, left), death <= left)
        values, counts = np.unique(found, return_counts=True)
        np.testing.assert_array_equal(values, [10.0, 40.0, 90.0])
        np.testing.assert_allclose(counts / len(found), 1 / 3, atol=0.02)

    def test_without_censoring_before_the_end_is_followed_to_it(self):
        time = np.array([3.0, 5.0, 8.0, 8.0])
        found = follow_up(time, np.array([True, True, True, False]))
        np.testing.assert_array_equal(found, 8.0)

    def test_refuses_what_cannot_be_asked_of_it(self, small_cohort):
        with pytest.raises(InputError, match="did you mean 'IL1R1'"):
            setting_of(small_cohort, "IL1R")
        with pytest.raises(InputError, match="'stage' is of kind ordinal: name a feature"):
            setting_of(small_cohort, "stage")
        no_treatment = small_cohort.study.model_copy(update={"treatment": None})
        with pytest.raises(InputError, match="has no treatment: add the key"):
            setting_of(replace(small_cohort, study=no_treatment), "IL1R1")
        with pytest.raises(InputError, match=r"at least 20 events .* leave STUDY out"):
            setting_of(small_cohort.take(np.arange(30)), "IL1R1")
        treated = np.flatnonzero(treated_of(small_cohort) == 1)
        with pytest.raises(InputError, match="treated, untreated"):
            setting_of(small_cohort.take(treated), "IL1R1")


class TestScenario:
    def test_options_win_over_the_cohort(self, small_cohort):
        read = setting_of(small_cohort, "IL1R1")
        changed = read.changed(None, 0.7, None, 1.0)
        assert (changed.patients, changed.events, changed.known) == (240, 0.7, 1.0)
        assert changed.treated == read.treated
        assert changed.follow_up is read.follow_up
        event = observed(scenario_of(changed), np.random.default_rng(0), 20, 2000)[1]
        assert event.mean() == pytest.approx(0.7, abs=0.015)

    def test_high_and_low_hazard_ratio_make_the_interaction(self):
        assert scenario_of(Setting(), hr_low=0.5, hr_high=0.8).ratio == pytest.approx(1.6)
        assert scenario_of(Setting(), hr_low=0.5, interaction=1.3).ratio == 1.3

    def test_per_sd_they_are_the_halves_means(self):
        scenario = scenario_of(Setting(), hr_low=0.5, hr_high=0.8, scale="sd")
        treatment, _, product, _ = scenario.effects
        assert np.exp(treatment - HALF_MEAN * product) == pytest.approx(0.5)
        assert np.exp(treatment + HALF_MEAN * product) == pytest.approx(0.8)

    def test_two_ways_to_say_the_interaction_are_one_too_many(self):
        with pytest.raises(InputError, match="--interaction and --hr-high"):
            scenario_of(Setting(), hr_high=0.9, interaction=1.5)

    def test_of_the_defaults_is_the_plain_one(self):
        made, plain = scenario_of(Setting()), Scenario()
        np.testing.assert_array_equal(made.follow_up, default_follow_up())
        assert made.describe() == plain.describe()


class TestSizes:
    def test_hold_the_one_asked_about(self):
        assert sizes_of(Scenario(), 409, [800, 300, 300]) == [300, 409, 800]

    def test_by_default_leave_out_neighbours_and_the_too_small(self):
        assert sizes_of(Scenario(), 409, None) == [200, 409, 800, 1600, 3200]
        assert sizes_of(Scenario(events=0.1, known=0.5), 900, None) == [400, 800, 900, 1600, 3200]

    def test_too_small_or_too_large_are_refused(self):
        with pytest.raises(InputError, match=r"--sizes: 44 patients .* ask for 45 or more"):
            sizes_of(Scenario(), 409, [44])
        with pytest.raises(InputError, match="--n: 30 patients"):
            sizes_of(Scenario(), 30, None)
        with pytest.raises(InputError, match="--n: 200000 patients: ask for 100000 or fewer"):
            sizes_of(Scenario(), 200_000, None)
        assert sizes_of(Scenario(), 409, [45]) == [45, 409]
