from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from accomplice.data.cohort import build_cohort
from accomplice.data.study_parts import Feature
from accomplice.data.synthetic import draw
from accomplice.training.estimators.kaplan_meier import nelson_aalen
from accomplice.training.leakage.single_feature import group, single_features


@pytest.fixture(scope="module")
def cohort(small_cohort):
    return build_cohort(small_cohort.study, draw(400, seed=3).frame).prognostic()


def with_feature(cohort, values, levels=None):
    """Add a feature with a name that says nothing."""
    kind = "number" if levels is None else "category"
    clinical = {**cohort.study.modalities["clinical"], "x17": Feature(kind=kind, levels=levels)}
    # Put last, so that the values' order stays that of the study.
    modalities = {m: f for m, f in cohort.study.modalities.items() if m != "clinical"}
    names = [n for f in modalities.values() for n in f] + list(cohort.study.modalities["clinical"])
    place = [list(cohort.study.features).index(n) for n in names]
    study = cohort.study.model_copy(update={"modalities": modalities | {"clinical": clinical}})
    return replace(cohort, study=study, values=np.column_stack([cohort.values[:, place], values]))


def suspected(cohort, too_good=0.85):
    return {one.feature for one in single_features(cohort, 0) if one.leak_by(too_good)}


class TestLeaks:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_status_at_the_last_contact_is_named(self, cohort, seed):
        rng = np.random.default_rng(seed)
        wrong = rng.random(len(cohort)) < 0.2
        status = np.where(wrong, ~cohort.event, cohort.event).astype(float)
        status[rng.random(len(cohort)) < 0.1] = np.nan
        assert suspected(with_feature(cohort, status, ("free", "with"))) == {"x17"}

    @pytest.mark.parametrize("noise", [0.0, 0.3])
    def test_a_noisy_copy_of_the_time_is_named(self, cohort, noise):
        rng = np.random.default_rng(1)
        copied = cohort.time * np.exp(noise * rng.standard_normal(len(cohort)))
        assert suspected(with_feature(cohort, copied)) == {"x17"}

    def test_a_column_filled_for_the_dead_alone_is_named(self, cohort):
        rng = np.random.default_rng(2)
        filled = cohort.event & (rng.random(len(cohort)) < 0.7)
        values = np.where(filled, rng.standard_normal(len(cohort)), np.nan)
        assert suspected(with_feature(cohort, values)) == {"x17"}

    def test_a_column_filled_for_the_living_at_some_month_is_named(self, cohort):
        rng = np.random.default_rng(3)
        values = np.where(cohort.time > 20, rng.standard_normal(len(cohort)), np.nan)
        assert suspected(with_feature(cohort, values)) == {"x17"}

    def test_a_level_that_only_the_early_dead_have_is_named(self, cohort):
        early = (cohort.time < 12) & cohort.event
        assert suspected(with_feature(cohort, early.astype(float), ("no", "yes"))) == {"x17"}


class TestHonest:
    @pytest.mark.parametrize("seed", range(6))
    def test_synthetic_patients_raise_nothing(self, small_cohort, seed):
        made = build_cohort(small_cohort.study, draw(250, seed=100 + seed).frame).prognostic()
        assert suspected(made) == set()

    def test_a_strong_marker_raises_nothing(self, cohort):
        """Hazards rise e-fold a unit, and nothing else kills; censoring is independent."""
        rng = np.random.default_rng(4)
        marker = rng.standard_normal(len(cohort))
        death = rng.exponential(30 * np.exp(-marker))
        end = rng.uniform(12, 80, len(cohort))
        other = replace(cohort, time=np.minimum(death, end), event=death <= end)
        (one,) = (s for s in single_features(with_feature(other, marker), 0) if s.feature == "x17")
        assert one.c > 0.7
        assert one.leak_by() == ""
        assert "all other features together" in one.stands_out

    def test_levels_by_chance_predict_nothing_out_of_fold(self, cohort):
        """In sample, 80 levels of 400 patients would reach C of 0.7 or so."""
        rng = np.random.default_rng(5)
        level = rng.integers(0, 80, len(cohort)).astype(float)
        many = with_feature(cohort, level, tuple(f"L{k}" for k in range(80)))
        (one,) = (s for s in single_features(many, 0) if s.feature == "x17")
        assert one.c < 0.56

    def test_a_calendar_year_that_tells_the_censoring_alone_raises_nothing(self, cohort):
        year = np.where(cohort.event, np.random.default_rng(6).uniform(0, 90), cohort.time)
        year = np.where(cohort.event, np.random.default_rng(7).permutation(year), year)
        assert "x17" not in suspected(with_feature(cohort, -np.floor(year / 24)))


class TestParts:
    def test_missing_values_are_a_group(self):
        assert group(np.array([0.0, np.nan, 2.0]), True).tolist() == [0, 2, 1]

    @given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60))
    @examples(max_examples=50)
    def test_groups_keep_the_order_of_numbers(self, numbers):
        values = np.array(numbers)
        found = group(values, False)
        assert found.max() <= 9
        order = np.argsort(values)
        assert (np.diff(found[order]) >= 0).all()

    @given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=50))
    @examples(max_examples=50)
    def test_as_many_events_are_expected_as_were_seen(self, outcomes):
        time = np.array([t for t, _ in outcomes], dtype=float)
        event = np.array([e for _, e in outcomes])
        assert nelson_aalen(time, event).sum() == pytest.approx(event.sum())
