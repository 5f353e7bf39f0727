"""Judging: the truth wins, chance does not, and every figure is the metric it says it is."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.estimators.hazard import TimeGrid, accumulate, log_risk, survival
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.kaplan_meier import censoring, judged_horizon
from accomplice.training.evaluation import bootstrap
from accomplice.training.evaluation.scores import MODEL, judge, judge_predicted
from accomplice.training.fitting.baselines import out_of_fold_curves
from accomplice.training.fitting.out_of_fold import from_fit
from accomplice.training.learners.registry import stack_order
from accomplice.training.metrics import brier
from accomplice.training.metrics.concordance import harrell_c
from accomplice.training.models.baselines import KAPLAN_MEIER
from tests.fixtures.oracles import bootstrap_interval, brier_score, integrated_brier_score, uno_c

GRID = TimeGrid(np.linspace(0, 60, 13))
RATE = 0.02


def one_fold(patients):
    return np.zeros(len(patients), dtype=int)


@pytest.fixture(scope="module")
def simulated():
    """Time, event and the true cumulative hazards of exponential survival."""
    rng = np.random.default_rng(4)
    n = 500
    hazard = RATE * np.exp(rng.normal(size=n))
    death, left = rng.exponential(1 / hazard), rng.uniform(5, 90, n)
    time = np.minimum(np.minimum(death, left), 60.0)
    return time, (death <= left) & (death <= 60), hazard[:, None] * GRID.edges


@pytest.fixture(scope="module")
def flat(simulated):
    """One curve for everybody, fitted to all: what Kaplan and Meier would say."""
    time, event, _ = simulated
    risk = GRID.exposure(time).sum(axis=0)
    hazard = GRID.events(time, event).sum(axis=0) / risk
    return np.tile(accumulate(hazard), (len(time), 1))


@pytest.fixture(scope="module")
def judged(simulated, flat):
    time, event, truth = simulated
    # Curves that belong to other patients: well calibrated on the whole, of no use for any one.
    shuffled = truth[np.random.default_rng(0).permutation(len(truth))]
    curves = {MODEL: truth, "chance": shuffled}
    return judge(
        time,
        event,
        one_fold(time),
        GRID,
        curves,
        {KAPLAN_MEIER: flat, "itself": truth},
        100,
        0,
    )


class TestTruth:
    def test_beats_one_curve_for_all_for_certain(self, judged):
        for estimate in judged.gains[KAPLAN_MEIER].values():
            assert 0 < estimate.low < estimate.value < estimate.high

    def test_does_not_beat_itself(self, judged):
        for estimate in judged.gains["itself"].values():
            assert (estimate.low, estimate.value, estimate.high) == (0, 0, 0)

    def test_is_calibrated(self, judged):
        assert judged.calibration_slope == pytest.approx(1.0, abs=0.2)
        assert judged.d_calibration_p > 0.01

    def test_is_found_too_loud_when_it_is(self, simulated, flat):
        time, event, truth = simulated
        loud = np.exp(np.log(RATE * 60) + 2 * np.log(truth / (RATE * 60) + 1e-12))
        loud[:, 0] = 0.0
        found = judge(
            time,
            event,
            one_fold(time),
            GRID,
            {MODEL: np.maximum.accumulate(loud, 1)},
            {},
            5,
            0,
        )
        assert found.calibration_slope < 0.75

    def test_chance_has_half_of_the_pairs_right(self, judged):
        for name in ("uno_c", "harrell_c"):
            estimate = getattr(judged.scores["chance"], name)
            assert estimate.low < 0.5 < estimate.high
        flat = judged.scores[KAPLAN_MEIER].uno_c
        assert (flat.low, flat.value, flat.high) == (0.5, 0.5, 0.5)

    def test_chance_has_a_worse_brier_score_than_one_curve_for_all(self, judged):
        assert judged.scores["chance"].ibs.value > judged.scores[KAPLAN_MEIER].ibs.value


def test_the_treatment_s_part_stands_apart(simulated, flat):
    time, event, truth = simulated
    calm = truth**0.5
    args = (time, event, one_fold(time), GRID, {MODEL: calm}, {"same": calm}, 40, 0)
    blind, told = judge(*args), judge(*args, served=truth)
    assert blind.treatment == {}
    assert set(told.treatment) == set(told.gains["same"])
    # Baselines are compared with what is known without the treatment.
    assert told.scores[MODEL].figures == blind.scores[MODEL].figures
    assert told.gains["same"]["ibs"].value == 0
    assert told.treatment["ibs"].low > 0
    whole = judge(time, event, one_fold(time), GRID, {MODEL: truth}, {"calm": calm}, 40, 0)
    assert told.treatment == whole.gains["calm"]
    assert told.calibration_slope == whole.calibration_slope


class TestFigures:
    def test_equal_the_metrics(self, simulated, judged):
        time, event, truth = simulated
        weights, risk = censoring(time, event), truth[:, 1]
        scores = judged.scores[MODEL]
        assert scores.uno_c.value == uno_c(event, time, risk, weights, judged.horizon)
        assert scores.harrell_c.value == harrell_c(event, time, risk)
        curve = survival(GRID.at(truth, judged.times))
        ibs = integrated_brier_score(event, time, curve, judged.times, weights)
        assert scores.ibs.value == pytest.approx(ibs, rel=1e-12)
        by_time = brier_score(event, time, curve, judged.times, weights)
        np.testing.assert_allclose(scores.brier, by_time, rtol=1e-12)
        middle = survival(GRID.at(truth, np.array([judged.calibration_time])))[:, 0]
        np.testing.assert_array_equal(judged.survival, middle)
        np.testing.assert_array_equal(judged.risk, log_risk(truth))

    def test_intervals_are_bootstraps_of_the_same_draws(self, simulated, judged, flat):
        time, event, truth = simulated
        risk = log_risk(truth)
        low, high = bootstrap_interval(
            lambda rows: harrell_c(event[rows], time[rows], risk[rows]), len(time), 100, 0
        )
        found = judged.scores[MODEL].harrell_c
        assert (found.low, found.high) == (low, high)

    def test_gains_are_paired(self, judged):
        # Both models rise and fall with the patients drawn, so their difference varies less.
        gain, score = judged.gains[KAPLAN_MEIER]["ibs"], judged.scores
        width = sum(score[m].ibs.high - score[m].ibs.low for m in (MODEL, KAPLAN_MEIER))
        assert gain.high - gain.low < 0.7 * width
        assert gain.value == pytest.approx(score[KAPLAN_MEIER].ibs.value - score[MODEL].ibs.value)

    def test_counts(self, simulated, judged):
        time, event, _ = simulated
        counted = event & (time <= judged.horizon)
        assert (judged.patients, judged.events) == (len(time), counted.sum())
        assert judged.times[-1] == judged.horizon
        assert judged.calibration_time == judged.horizon / 2

    def test_same_seed_gives_the_same_figures(self, simulated, flat):
        time, event, truth = simulated
        args = (time, event, one_fold(time), GRID, {MODEL: truth}, {KAPLAN_MEIER: flat})
        first, again, other = (judge(*args, 20, seed).to_json() for seed in (1, 1, 2))
        assert first == again
        assert first != other

    def test_figures_are_plain_json_even_where_undefined(self, simulated, judged):
        time, event, truth = simulated
        json.dumps(judged.to_json(), allow_nan=False)
        rows = np.flatnonzero(event)[:1]
        one = np.append(rows, np.flatnonzero(~event)[:3])
        few = judge(
            time[one],
            event[one],
            one_fold(one),
            GRID,
            {MODEL: truth[one]},
            {"same": truth[one]},
            20,
            0,
        )
        text = json.dumps(few.to_json(), allow_nan=False)
        assert "null" in text


class TestManyPatients:
    """Above `PAIRS` draws take means of contributions, and nothing is kept of all times."""

    def cohort(self, n, tied=False):
        rng = np.random.default_rng(6)
        risk = rng.normal(size=n)
        death, left = rng.exponential(1 / (RATE * np.exp(risk))), rng.uniform(5, 90, n)
        time = np.minimum(np.minimum(death, left), 60.0)
        event = (death <= left) & (death <= 60)
        if tied:
            time, risk = np.ceil(time), np.round(risk, 1)
        curves = {
            name: RATE * np.exp(r)[:, None] * GRID.edges
            for name, r in (("truth", risk), ("worse", np.round(risk)), ("flat", 0 * risk))
        }
        # Fold models whose levels differ: only ranks within a fold may count.
        fold = np.arange(n) % 3
        curves["truth"] = curves["truth"] * np.array([0.8, 1.0, 1.3])[fold][:, None]
        outcome = time, event, fold
        return outcome, {MODEL: curves["truth"]}, {k: curves[k] for k in ("worse", "flat")}

    @pytest.mark.parametrize("tied", [False, True])
    def test_are_judged_as_few_are(self, monkeypatch, tied):
        (time, event, fold), curves, baselines = self.cohort(1500, tied)
        args = (time, event, fold, GRID, curves, baselines, 400, 3)
        few = judge(*args)
        monkeypatch.setattr(bootstrap, "PAIRS", 1000)
        monkeypatch.setattr(brier, "CHUNK", 400)
        many = judge(*args)
        for name, expected in few.scores.items():
            found = many.scores[name]
            np.testing.assert_allclose(found.brier, expected.brier, rtol=1e-12)
            for metric in ("uno_c", "harrell_c", "ibs"):
                self.agree(getattr(found, metric), getattr(expected, metric))
        for name, gain in few.gains.items():
            for metric, expected in gain.items():
                self.agree(many.gains[name][metric], expected)

    def agree(self, found, expected):
        assert found.value == pytest.approx(expected.value, abs=1e-12)
        width = expected.high - expected.low
        assert found.high - found.low == pytest.approx(width, rel=0.05, abs=1e-12)
        assert found.low == pytest.approx(expected.low, abs=0.05 * width + 1e-12)

    def test_one_that_patients_do_not_determine_stays_unknown(self, monkeypatch):
        (time, event, fold), curves, baselines = self.cohort(200)
        event[:] = time == time.max()
        monkeypatch.setattr(bootstrap, "PAIRS", 100)
        found = judge(time, event, fold, GRID, curves, baselines, 20, 0)
        assert math.isnan(found.scores[MODEL].uno_c.value)
        assert math.isnan(found.gains["flat"]["uno_c"].value)
        assert not math.isnan(found.scores[MODEL].ibs.value)

    def test_take_memory_of_a_few_figures_each(self, monkeypatch):
        monkeypatch.setattr(brier, "CHUNK", 500)
        (time, event, fold), curves, baselines = self.cohort(30_000)
        judge(time, event, fold, GRID, curves, baselines, 2, 0)
        tracemalloc.start()
        judge(time, event, fold, GRID, curves, baselines, 2, 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Survival of one model at the 50 times of the Brier score alone would be 50.
        assert peak < 50 * 8 * len(time), peak / len(time) / 8


class TestHorizon:
    def test_is_where_a_tenth_is_still_followed(self):
        time, event = np.arange(1.0, 101.0), np.arange(100) % 2 == 0
        assert judged_horizon(time, event, 1000.0) == pytest.approx(90, abs=1)
        assert judged_horizon(time, event, 60.0) == 60.0

    def test_lies_before_the_last_follow_up(self):
        time = np.full(50, 36.0)
        time[:5] = 12.0
        found = judged_horizon(time, np.arange(50) < 5, 36.0)
        assert 35.9 < found < 36.0

    def test_holds_at_least_one_event(self):
        time, event = np.arange(1.0, 21.0), np.arange(20) == 19
        assert judged_horizon(time, event, 20.0) == np.nextafter(20.0, 0)


class TestVerdict:
    @pytest.mark.parametrize(
        ("uno", "ibs", "words"),
        [
            ((0.01, 0.05), (-0.01, 0.01), "adds value over stage (Uno's C)"),
            ((-0.01, 0.05), (0.001, 0.01), "adds value over stage (integrated Brier score)"),
            (
                (0.01, 0.05),
                (0.001, 0.01),
                "adds value over stage (Uno's C and integrated Brier score)",
            ),
            ((-0.01, 0.05), (-0.01, 0.01), "adds nothing certain over stage"),
            ((0.0, 0.05), (0.0, 0.0), "adds nothing certain over stage"),
            ((math.nan, math.nan), (-0.01, 0.01), "adds nothing certain over stage"),
            ((-0.05, -0.01), (-0.01, 0.01), "is worse than stage (Uno's C)"),
            ((0.01, 0.05), (-0.02, -0.01), "is worse than stage (integrated Brier score)"),
        ],
    )
    def test_says_only_what_the_intervals_hold(self, judged, uno, ibs, words):
        gains = {
            name: Estimate(sum(bounds) / 2, *bounds)
            for name, bounds in {"uno_c": uno, "ibs": ibs}.items()
        }
        assert replace(judged, gains={"stage": gains}).verdict("stage") == words

    def test_of_the_truth_and_of_itself(self, judged):
        assert judged.verdict(KAPLAN_MEIER).startswith("adds value over Kaplan-Meier")
        assert judged.verdict("itself") == "adds nothing certain over itself"


class TestRun:
    """The evaluation of a fit: out-of-fold curves, learners and baselines together."""

    def test_judges_the_model_its_learners_and_the_study_s_baselines(self, tiny_trained):
        found = tiny_trained.primary.evaluation
        assert list(found.scores) == [
            MODEL,
            *stack_order(),
            KAPLAN_MEIER,
            "stage",
            "clinical",
        ]
        assert list(found.gains) == [KAPLAN_MEIER, "stage", "clinical"]
        assert found.horizon <= 60

    def test_same_fit_is_judged_the_same(self, tiny_trained, tiny_config):
        again = judge_predicted(from_fit(tiny_trained.primary.fitted, tiny_config), tiny_config)
        assert again.to_json() == tiny_trained.primary.evaluation.to_json()

    def test_baselines_are_out_of_fold(self, tiny_trained):
        prepared = tiny_trained.primary.fitted.prepared
        time, event = prepared.cohort.outcome
        curves = out_of_fold_curves(tiny_trained.primary.model.baselines, prepared)
        # One curve for all: each fold's own events over its time at risk, the fold left out.
        for model, out in zip(prepared.models, prepared.held_out, strict=True):
            risk = model.grid.exposure(time[~out]).sum(axis=0)
            hazard = model.grid.events(time[~out], event[~out]).sum(axis=0) / risk
            expected = model.grid.at(accumulate(hazard), prepared.grid.edges)
            np.testing.assert_allclose(
                curves[KAPLAN_MEIER][out], np.tile(expected, (out.sum(), 1)), rtol=1e-9
            )
        stage = prepared.cohort.values[:, list(prepared.cohort.study.features).index("stage")]
        for out in prepared.held_out:
            for level in np.unique(stage[out]):
                same = curves["stage"][out & (stage == level)]
                np.testing.assert_allclose(same, np.broadcast_to(same[0], same.shape))
        assert uno_c(
            event, time, log_risk(curves["stage"]), censoring(time, event), 50.0
        ) == pytest.approx(0.65, abs=0.1)


def test_one_risk_for_a_whole_fold_ranks_nobody(simulated, flat):
    # Fold models of a constant differ in level alone; pooled, their levels must not pass for ranks.
    time, event, _ = simulated
    fold = np.arange(len(time)) % 5
    levels = flat * np.linspace(0.5, 2.0, 5)[fold][:, None]
    found = judge(time, event, fold, GRID, {MODEL: levels}, {}, 5, 0)
    assert found.scores[MODEL].uno_c.value == 0.5
    assert found.scores[MODEL].harrell_c.value == 0.5
