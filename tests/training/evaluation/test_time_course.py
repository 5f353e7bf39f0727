"""Months, thirds of risk, and the metrics at each month."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.time_course import (
    MOST_MARKS,
    MOST_MONTHS,
    auc_over_time,
    brier_over_time,
    marks_to,
    months_to,
    risk_groups,
    thirds,
)
from tests.fixtures.oracles import brier_score, cumulative_dynamic_auc

GRID = TimeGrid(np.linspace(0, 60, 13))
MONTHS = np.array([12.0, 24.0, 48.0])


@pytest.fixture(scope="module")
def patients():
    """BootstrappedOutcome patients and their risk, of two folds."""
    rng = np.random.default_rng(1)
    risk = rng.normal(size=300)
    death, left = rng.exponential(50 / np.exp(risk)), rng.uniform(4, 80, 300)
    time = np.minimum(np.minimum(death, left), 60.0)
    event = (death <= left) & (death <= 60)
    return BootstrappedOutcome.of(time, event, 55.0, 60, 0), risk, np.arange(300) % 2


@given(st.floats(0.01, 800))
def test_months_are_round_and_reach_the_horizon(horizon):
    months = months_to(horizon)
    assert 1 <= len(months) <= MOST_MONTHS
    assert (np.diff(months) > 0).all()
    assert months[0] > 0
    assert months[-1] <= horizon * (1 + 1e-9)
    marks = marks_to(horizon)
    assert marks[0] == 0
    assert len(marks) <= MOST_MARKS + 1


def test_months_hold_a_horizon_that_all_were_followed_to():
    assert months_to(float(np.nextafter(60, 0)))[-1] == 60
    np.testing.assert_allclose(marks_to(60.0), np.arange(0, 61, 12))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 3))
def test_thirds_keep_equal_risks_together_and_follow_the_risk(drawn, groups):
    risk, group = np.array(drawn, dtype=float), np.arange(len(drawn)) % groups
    found = thirds(risk, group)
    for label in np.unique(group):
        own, place = risk[group == label], found[group == label]
        for i in range(len(own)):
            assert (place[own == own[i]] == place[i]).all()
            assert (place[own > own[i]] >= place[i]).all()


def test_thirds_of_distinct_risks_are_equally_large_in_each_group():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], [30, 60])
    # Levels of the groups differ: thirds are taken within each.
    found = thirds(rng.normal(size=90) + 10 * group, group)
    assert [np.bincount(found[group == g]).tolist() for g in (0, 1)] == [[10] * 3, [20] * 3]


def test_risk_groups_are_followed_by_kaplan_meier(patients):
    followed, risk, group = patients
    found = risk_groups(followed, risk, group, MONTHS, np.array([0.0, 24.0]))
    assert [each.name for each in found] == ["low risk", "middle risk", "high risk"]
    assert sum(each.patients for each in found) == 300
    assert sum(each.events for each in found) == followed.events
    third = thirds(risk, group)
    for place, each in enumerate(found):
        time, event = followed.time[third == place], followed.event[third == place]
        curve = KaplanMeier.fit(time, event)
        np.testing.assert_allclose(each.survival.value, curve.at(MONTHS))
        np.testing.assert_allclose(each.survival.low, curve.interval(MONTHS)[0])
        assert each.at_risk == (each.patients, (time >= 24).sum())
    assert found[0].survival.value[-1] > found[2].survival.value[-1]


def test_one_risk_is_one_group(patients):
    followed, risk, group = patients
    (found,) = risk_groups(followed, 0 * risk, group, MONTHS, MONTHS)
    assert (found.name, found.patients) == ("middle risk", 300)


def test_survival_is_unknown_where_follow_up_of_a_group_has_ended(patients):
    followed, risk, group = patients
    short = (risk > 1) & (followed.time > 20)
    early = BootstrappedOutcome.of(
        np.where(short, 20.0, followed.time), followed.event & ~short, 55.0, 5, 0
    )
    third = np.where(risk > 1, 1.0, -1.0)
    found = risk_groups(early, third, 0 * group, MONTHS, MONTHS)
    assert np.isnan(found[-1].survival.value).tolist() == [False, True, True]


class TestOverTime:
    def test_is_the_auc_and_the_brier_score_of_each_month(self, patients):
        followed, risk, _ = patients
        event, time, weights = followed.event, followed.time, followed.weights
        curves = {"model": 0.02 * np.exp(risk)[:, None] * GRID.edges}
        one = np.zeros(300, dtype=int)
        auc = auc_over_time(followed, GRID, curves, one, MONTHS)["model"]
        expected = cumulative_dynamic_auc(event, time, risk, MONTHS, weights)
        np.testing.assert_allclose(auc.value, expected, rtol=1e-12)
        brier = brier_over_time(followed, GRID, curves, MONTHS)["model"]
        alive = survival(GRID.at(curves["model"], MONTHS))
        np.testing.assert_allclose(
            brier.value, brier_score(event, time, alive, MONTHS, weights), rtol=1e-12
        )
        for curve in (auc, brier):
            assert (np.array(curve.low) < curve.value).all()
            assert (np.array(curve.value) < curve.high).all()

    def test_levels_of_folds_rank_nobody(self, patients):
        followed, _, group = patients
        curves = {"levels": (1 + group)[:, None] * 0.01 * GRID.edges}
        found = auc_over_time(followed, GRID, curves, group, MONTHS)["levels"]
        assert set(found.value) == set(found.low) == {0.5}

    def test_months_before_the_first_event_have_no_auc(self, patients):
        followed, risk, group = patients
        curves = {"model": 0.02 * np.exp(risk)[:, None] * GRID.edges}
        month = np.array([followed.time[followed.event].min() / 2, 12.0])
        found = auc_over_time(followed, GRID, curves, group, month)["model"]
        assert np.isnan(found.value).tolist() == [True, False]
