"""Paired comparison: nothing between equals, certainty where there is truth, the same patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.errors import InputError
from accomplice.training.bundle import Bundle
from accomplice.training.config import unflat
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.kaplan_meier import censoring, judged_horizon
from accomplice.training.evaluation.comparison import compare, same_patients
from accomplice.training.evaluation.scores import judge_predicted
from accomplice.training.fitting.out_of_fold import from_fit, replay
from accomplice.training.metrics.table import deciding
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD, Predictions
from tests.fixtures.oracles import bootstrap_interval, uno_c

GRID = TimeGrid(np.linspace(0, 60, 13))


@pytest.fixture(scope="module")
def hazard():
    return 0.02 * np.exp(np.random.default_rng(8).normal(size=240))


@pytest.fixture(scope="module")
def cohort(small_cohort, hazard):
    """The small cohort with outcomes whose truth is known."""
    rng = np.random.default_rng(9)
    death, left = rng.exponential(1 / hazard), rng.uniform(5, 90, len(hazard))
    return replace(small_cohort, time=np.minimum(death, left), event=death <= left)


def predicted(cohort, cumulative, grid=GRID):
    return Predictions(
        cohort=cohort,
        protocol=OUT_OF_FOLD,
        group=np.zeros(len(cohort), dtype=int),
        grid=grid,
        curves={MODEL: cumulative},
        baselines={},
        served=cumulative,
        again=lambda values: values,
    )


@pytest.fixture(scope="module")
def truth(cohort, hazard):
    return predicted(cohort, hazard[:, None] * GRID.edges)


@pytest.fixture(scope="module")
def chance(cohort, hazard):
    """Curves that belong to other patients."""
    shuffled = np.random.default_rng(1).permutation(hazard)
    return predicted(cohort, shuffled[:, None] * GRID.edges)


@pytest.fixture(scope="module")
def compared(truth, chance):
    return compare(truth, chance, 200, 3)


class TestDifferences:
    def test_a_model_and_itself_are_exactly_level(self, truth):
        found = compare(truth, truth, 30)
        for gain in found.gains.values():
            assert (gain.low, gain.value, gain.high) == (0, 0, 0)
        assert found.first.to_json() == found.second.to_json()
        assert found.verdict() == "no certain difference between A and B"

    def test_the_truth_is_better_than_chance_for_certain(self, compared):
        for metric in deciding():
            assert 0 < compared.gains[metric].low < compared.gains[metric].high
        assert compared.verdict() == "A is better in Uno's C and integrated Brier score"

    def test_sides_changed_change_the_sign(self, truth, chance, compared):
        back = compare(chance, truth, 200, 3)
        for metric, gain in compared.gains.items():
            other = back.gains[metric]
            assert -other.value == pytest.approx(gain.value, rel=1e-12)
            assert (-other.high, -other.low) == pytest.approx((gain.low, gain.high), rel=1e-9)
        assert back.first.to_json() == compared.second.to_json()
        assert back.verdict("old", "new").startswith("new is better in")

    def test_is_the_bootstrap_of_the_difference(self, truth, chance, cohort, compared):
        time, event = truth.outcome
        weights, tau = censoring(time, event), judged_horizon(time, event, 60.0)
        risks = [log_risk(each.curves[MODEL]) for each in (truth, chance)]

        def difference(rows):
            a, b = (uno_c(event[rows], time[rows], r[rows], weights, tau) for r in risks)
            return a - b

        interval = bootstrap_interval(difference, len(time), 200, 3)
        gain = compared.gains["uno_c"]
        assert (gain.low, gain.high) == pytest.approx(tuple(interval), abs=1e-12)

    def test_is_plain_data(self, compared):
        raw = compared.to_json()
        assert raw["gains"]["ibs"]["low"] == compared.gains["ibs"].low
        assert raw["first"]["calibration_slope"]["value"] > 0


class TestCalibration:
    def test_of_the_truth_is_one_within_its_interval(self, compared):
        found = compared.first.calibration
        assert found.slope.low < 1 < found.slope.high
        assert found.observed_expected.low < 1 < found.observed_expected.high


class TestPatients:
    def test_are_matched_whatever_their_order(self, truth, chance, compared, cohort):
        order = np.random.default_rng(2).permutation(len(cohort))
        moved = replace(
            chance,
            cohort=cohort.take(order),
            curves={MODEL: chance.curves[MODEL][order]},
        )
        found = compare(truth, moved, 200, 3)
        assert found.gains == compared.gains

    def test_are_those_that_both_have(self, truth, cohort, hazard):
        part = predicted(cohort.take(np.arange(150)), hazard[:150, None] * GRID.edges)
        assert compare(truth, part, 5).patients == 150
        assert compare(part, truth, 5).patients == 150

    def test_of_the_same_number_but_another_outcome_are_others(self, cohort):
        other = replace(cohort, time=np.where(np.arange(240) < 40, cohort.time, cohort.time / 2))
        rows, _ = same_patients(cohort, other, 60.0)
        np.testing.assert_array_equal(rows, np.arange(40))
        with pytest.raises(InputError, match="share no patients: --study"):
            same_patients(cohort, replace(cohort, time=cohort.time / 2), 60.0)

    def test_too_few_events_are_refused(self, cohort, hazard, truth):
        part = cohort.take(np.flatnonzero(~cohort.event)[:30])
        few = predicted(part, np.ones((30, 1)) * GRID.edges)
        with pytest.raises(InputError, match="10 are needed"):
            compare(truth, few, 5)

    def test_are_judged_to_the_smaller_horizon(self, truth, cohort, hazard):
        grid = TimeGrid(np.linspace(0, 36, 7))
        short = predicted(cohort, hazard[:, None] * grid.edges, grid)
        for found in (compare(truth, short, 5), compare(short, truth, 5)):
            assert found.horizon <= 36
            assert found.events == int((cohort.event & (cohort.time <= 36)).sum())
            # Curves with one hazard are the same curves on either grid.
            assert found.gains["ibs"].value == pytest.approx(0, abs=1e-12)


def test_replayed_predictions_have_the_run_s_own_figures(small_cohort, quick_trained, tmp_path):
    made = quick_trained
    made.bundle.save(tmp_path / "bundle")
    bundle = Bundle.load(tmp_path / "bundle")
    config = unflat(bundle.config)
    again = from_fit(replay(bundle.primary, small_cohort, config), config)
    found = compare(again, again, config.evaluation.bootstraps, config.seed)
    scores = made.primary.evaluation.scores[MODEL]
    for metric in ("uno_c", "harrell_c", "ibs"):
        own, theirs = getattr(found.first, metric), getattr(scores, metric)
        assert (own.value, own.low, own.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high), rel=1e-4
        )
    judged = judge_predicted(again, config)
    assert found.first.calibration.slope.value == pytest.approx(judged.calibration_slope)
    assert found.month == judged.calibration_time
