"""Scores of a trial: those of the evaluation, on all patients and without each group."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accomplice.data.splits import within
from accomplice.training.estimators.censoring import ChosenCensoring
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import calibrated
from accomplice.training.evaluation.scores import MODEL
from accomplice.training.metrics.brier import brier_by_patient
from accomplice.training.metrics.smooth_calibration import LEAST_EVENTS, smooth_calibration
from accomplice.training.search.scores import GROUPS, LEAST, OBJECTIVES, OPTIMISED, Scores
from tests.fixtures.oracles import uno_c

GRID = TimeGrid(np.linspace(0, 60, 13))


@pytest.fixture(scope="module")
def simulated():
    """Time, event and the true cumulative hazards of exponential survival, and folds."""
    rng = np.random.default_rng(4)
    n = 300
    hazard = 0.02 * np.exp(rng.normal(size=n))
    death, left = rng.exponential(1 / hazard), rng.uniform(5, 90, n)
    time = np.minimum(np.minimum(death, left), 60.0)
    curves = hazard[:, None] * GRID.edges
    return time, (death <= left) & (death <= 60), curves, np.arange(n) % 3


@pytest.fixture(scope="module")
def scores(simulated):
    time, event, _, _ = simulated
    return Scores((time, event), GRID.horizon, ChosenCensoring(censoring(time, event)))


def of_first(scores, rows):
    """The same scores of the first patients alone."""
    time, event = (values[:rows] for values in scores.observed)
    return Scores((time, event), scores.last, ChosenCensoring(censoring(time, event)))


def test_are_those_of_the_evaluation(tiny_trained):
    fitted, evaluation = tiny_trained.primary.fitted, tiny_trained.primary.evaluation
    prepared = fitted.prepared
    scores = Scores(prepared.cohort.outcome, prepared.grid.horizon, prepared.censoring)
    found = scores.of(prepared.grid, fitted.blind, prepared.group, 0.3, "several")
    assert found.net_share == 0.3
    judged = evaluation.scores[MODEL]
    assert found.scores["ibs"][0] == pytest.approx(judged.ibs.value, rel=1e-12)
    assert found.scores["uno_c"][0] == pytest.approx(judged.uno_c.value, rel=1e-12)
    time, event = prepared.cohort.outcome
    followed = BootstrappedOutcome.of(
        time, event, evaluation.horizon, 0, 0, prepared.censoring.weights
    )
    (half,) = calibrated(followed, prepared.grid, fitted.blind, [evaluation.horizon / 2])
    assert found.scores["ici"][0] == pytest.approx(half.smooth.ici, rel=1e-12)


def test_without_a_group_are_those_of_the_others_with_the_weights_of_all(simulated, scores):
    time, event, curves, fold = simulated
    found = scores.of(GRID, curves, fold, 0.0, "several").scores
    outcome, middle = scores.outcome, scores.outcome.horizon / 2
    averages, _ = brier_by_patient(outcome, GRID, curves)
    risk = within(log_risk(curves), fold)
    assert {len(values) for values in found.values()} == {1 + GROUPS}
    for k, rows in enumerate([np.arange(len(time)), *scores.left_out]):
        assert found["ibs"][k] == pytest.approx(averages[rows].mean(), rel=1e-12)
        expected = uno_c(event[rows], time[rows], risk[rows], outcome.weights, outcome.horizon)
        assert found["uno_c"][k] == pytest.approx(expected, rel=1e-12)
        smooth = smooth_calibration(
            event[rows] & (time[rows] <= middle),
            GRID.at_own(curves, np.minimum(time, middle))[rows],
            GRID.at(curves, np.array([middle]))[rows, 0],
        )
        assert found["ici"][k] == smooth.ici


@pytest.mark.parametrize("objective", OPTIMISED)
def test_only_those_of_the_objective_are_computed_without_groups(simulated, scores, objective):
    _, _, curves, fold = simulated
    found = scores.of(GRID, curves, fold, 0.0, objective).scores
    assert found.keys() == OBJECTIVES.keys()
    for name, values in found.items():
        assert len(values) == (1 + GROUPS if name in OPTIMISED[objective] else 1)
        assert np.isfinite(values).all()


def test_the_truth_is_better_than_chance_in_every_objective(simulated, scores):
    _, _, curves, fold = simulated
    shuffled = curves[np.random.default_rng(0).permutation(len(curves))]
    truth, chance = (scores.of(GRID, each, fold, 0.0, "ibs").scores for each in (curves, shuffled))
    for name, objective in OBJECTIVES.items():
        gain = objective.gain(np.array(chance[name][:1]), np.array(truth[name][:1]))[0]
        assert gain > objective.scale(chance[name][0]), name


class TestGroups:
    def test_each_patient_is_left_out_once(self, scores):
        n = len(scores.observed[0])
        counts = np.zeros(n, dtype=int)
        for rows in scores.left_out:
            counts[rows] += 1
        assert len(scores.left_out) == GROUPS
        assert (counts == GROUPS - 1).all()

    def test_have_as_many_events_and_patients(self, scores):
        time, event = scores.observed
        for values in (event, np.ones(len(time))):
            left = [values.sum() - values[rows].sum() for rows in scores.left_out]
            assert max(left) - min(left) <= 1

    @pytest.mark.parametrize(
        ("patients", "groups"),
        [(GROUPS * LEAST, GROUPS), (GROUPS * LEAST - 1, GROUPS - 1), (10, 2), (9, 0), (2, 0)],
    )
    def test_are_fewer_where_patients_are(self, scores, patients, groups):
        assert len(of_first(scores, patients).left_out) == groups


class TestUndefined:
    def test_calibration_needs_events(self, simulated, scores):
        _, _, curves, fold = simulated
        few = of_first(scores, 30)
        assert few.observed[1].sum() < LEAST_EVENTS
        found = few.of(GRID, curves[:30], fold[:30], 0.0, "several").scores
        assert all(math.isnan(value) for value in found["ici"])
        assert np.isfinite(found["ibs"]).all()

    def test_concordance_needs_a_pair(self, simulated, scores):
        time, event, curves, fold = simulated
        late = np.flatnonzero(event)[time[event].argmax()]
        rows = np.r_[np.flatnonzero(~event & (time < time[late]))[:11], late]
        alone = ChosenCensoring(censoring(time[rows], event[rows]))
        one = Scores((time[rows], event[rows]), GRID.horizon, alone)
        found = one.of(GRID, curves[rows], fold[rows], 0.0, "uno_c")
        assert all(math.isnan(value) for value in found.scores["uno_c"])


@pytest.mark.parametrize(("score", "expected"), [("ibs", 0.0004), ("uno_c", 0.002), ("ici", 0.01)])
def test_scale_of_gains_is_relative_except_of_c(score, expected):
    assert OBJECTIVES[score].scale(0.2) == pytest.approx(expected)
