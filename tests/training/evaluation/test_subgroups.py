"""Which groups a study speaks for, and that each is judged by the metrics themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.estimators.hazard import log_risk, survival
from accomplice.training.evaluation import subgroups as module
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import expected_events
from accomplice.training.evaluation.subgroups import (
    OTHER,
    Scored,
    groups_of,
    patterns,
    subgroups,
)
from accomplice.training.metrics.calibration import observed_expected
from accomplice.training.models.predictions import MODEL
from tests.fixtures.known import GRID, known_predicted
from tests.fixtures.oracles import uno_c


@pytest.fixture(scope="module")
def predicted():
    return known_predicted(400)


@pytest.fixture(scope="module")
def scored(predicted):
    followed = BootstrappedOutcome.of(*predicted.outcome, 55.0, 40, 0)
    curve = predicted.curves[MODEL]
    brier = followed.brier_averages(GRID, curve)
    gain = followed.brier_averages(GRID, predicted.baselines["Kaplan-Meier"]) - brier
    alive = survival(GRID.at(curve, np.array([36.0])))[:, 0]
    events = expected_events(followed, GRID, curve)
    return Scored(followed, log_risk(curve), brier, gain, alive, 36.0, *events)


def test_groups_are_those_that_the_study_speaks_for(predicted):
    found = {}
    for feature, level, member in groups_of(predicted.cohort):
        found.setdefault(feature, {})[level] = member
    # A number beside the clinical ones and a category of many levels part nobody.
    assert list(found) == ["all", "signal", "sex", "stage", "msi", "centre"]
    assert list(found["stage"]) == ["I", "II", "III", "IV"]
    assert list(found["centre"]) == ["north", "south"]
    halves = list(found["signal"].values())
    assert (halves[0] ^ halves[1]).all()
    assert abs(halves[0].sum() - 200) < 40
    sums = found["msi"]["low"].astype(int) + found["msi"]["high"]
    np.testing.assert_array_equal(sums == 0, np.isnan(predicted.cohort.values[:, 4]))


def test_features_of_a_baseline_count_as_clinical(predicted):
    study = predicted.cohort.study.model_copy(update={"baselines": {"simple": ("noise",)}})
    cohort = replace(predicted.cohort, study=study)
    assert "noise" in {feature for feature, _, _ in groups_of(cohort)}


def test_small_and_single_centres_are_left_out(predicted, monkeypatch):
    one = replace(predicted.cohort, centre=np.full(400, "north"))
    assert "centre" not in {feature for feature, _, _ in groups_of(one)}
    monkeypatch.setattr(module, "MOST_CENTRES", 1)
    found = [level for feature, level, _ in groups_of(predicted.cohort) if feature == "centre"]
    assert len(found) == 1


def test_figures_are_the_metrics_of_the_group(scored, predicted):
    found = {(s.feature, s.level): s for s in subgroups(scored, predicted.cohort)}
    member = predicted.cohort.values[:, 1] == 1
    male, followed = found["sex", "m"], scored.followed
    event, time = followed.event[member], followed.time[member]
    expected = uno_c(event, time, scored.risk[member], followed.weights, 55.0)
    assert male.patients == member.sum()
    assert male.events == followed.events - found["sex", "f"].events
    assert male.uno_c.value == pytest.approx(expected, rel=1e-12)
    assert male.ibs.value == pytest.approx(scored.brier[member].mean())
    ratio = observed_expected(event, time, scored.alive[member], 36.0)
    assert male.observed_expected.value == pytest.approx(ratio)
    hazard = np.exp(scored.log_hz[member])
    first = hazard[:, None] / (hazard[:, None] + hazard) * -np.expm1(-(hazard[:, None] + hazard))
    np.fill_diagonal(first, 0)
    higher = scored.risk[member][:, None] > scored.risk[member]
    assert male.expected_c == pytest.approx((first * higher).sum() / first.sum(), abs=1e-6)
    assert male.ibs_gain.value == pytest.approx(scored.gain[member].mean())
    assert found["all", ""].ibs_gain.low > 0
    assert male.uno_c.low < male.uno_c.value < male.uno_c.high


def test_groups_of_few_events_are_not_judged(scored, predicted):
    cohort = predicted.cohort
    values = cohort.values.copy()
    values[:, 2] = 0
    values[np.flatnonzero(scored.followed.event)[:9], 2] = 3
    found = subgroups(scored, replace(cohort, values=values))
    assert [s.level for s in found if s.feature == "stage"] == ["I"]


def test_a_group_ranked_by_chance_is_found(scored, predicted):
    male = predicted.cohort.values[:, 1] == 1
    rng = np.random.default_rng(2)
    log_hz = scored.log_hz.copy()
    log_hz[male] = rng.permutation(log_hz[male])
    expected = scored.expected * np.exp(log_hz - scored.log_hz)
    found = subgroups(replace(scored, log_hz=log_hz, expected=expected), predicted.cohort)
    said = {(s.feature, s.level) for s in found if s.ranking_p < 0.05}
    assert ("sex", "m") in said
    assert ("sex", "f") not in said
    before = {(s.feature, s.level): s.ranking_p for s in subgroups(scored, predicted.cohort)}
    assert before["sex", "m"] >= 0.05


def test_a_group_of_other_risk_is_found(scored, predicted):
    male = predicted.cohort.values[:, 1] == 1
    expected = scored.expected * np.where(male, 2.0, 1.0)
    found = subgroups(replace(scored, expected=expected), predicted.cohort)
    assert ("sex", "m") in {(s.feature, s.level) for s in found if s.level_p < 0.05}


class TestPatterns:
    def test_are_those_who_miss_the_same(self, scored, predicted):
        found = patterns(scored, predicted.cohort)
        lacks = np.isnan(predicted.cohort.values[:, 3])
        assert [each.missing for each in found] == [(), ("molecular",)]
        assert [each.patients for each in found] == [(~lacks).sum(), lacks.sum()]
        assert sum(each.events for each in found) == scored.followed.events
        assert found[1].ibs.value == pytest.approx(scored.brier[lacks].mean())

    @pytest.mark.parametrize("events", [6, 4])
    def test_that_are_rare_are_pooled(self, scored, predicted, events):
        cohort = predicted.cohort
        values = np.nan_to_num(cohort.values)
        died = np.flatnonzero(scored.followed.event)
        values[died[:events], :3] = np.nan
        values[died[events : 2 * events], 3:] = np.nan
        found = patterns(scored, replace(cohort, values=values))
        pooled = [each.events for each in found if each.missing == (OTHER,)]
        assert pooled == ([12] if events == 6 else [])
        assert found[0].missing == ()
