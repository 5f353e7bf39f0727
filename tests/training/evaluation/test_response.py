"""Metrics of a binary endpoint against scikit-learn, their definitions and what is undefined."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.logistic import expit, logit
from accomplice.training.evaluation.response import (
    METRICS,
    auprc,
    auroc,
    brier,
    calibration_groups,
    calibration_intercept,
    calibration_slope,
    calls_at,
    judge_response,
    scaled_brier,
)
from accomplice.training.reports.figures.responses import response_figure


@st.composite
def predictions(draw, both=True):
    """Labels and probabilities with many ties."""
    n = draw(st.integers(2, 30))
    label = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    if both:
        label[:2] = [True, False]
    tied = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
    chance = draw(st.lists(tied | st.floats(0, 1), min_size=n, max_size=n))
    return np.array(label), np.array(chance)


def simulate(n, seed=0, slope=1.0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1, 1, n)
    return rng.random(n) < expit(log_odds), expit(slope * log_odds)


class TestAgainstScikitLearn:
    @given(predictions())
    def test_areas_and_brier(self, made):
        metrics = pytest.importorskip("sklearn.metrics")
        positive, chance = made
        assert auroc(positive, chance) == pytest.approx(
            metrics.roc_auc_score(positive, chance), abs=1e-9
        )
        assert auprc(positive, chance) == pytest.approx(
            metrics.average_precision_score(positive, chance), abs=1e-9
        )
        assert brier(positive, chance) == pytest.approx(
            metrics.brier_score_loss(positive, chance), abs=1e-9
        )

    @given(predictions(), st.sampled_from([0.1, 0.5, 0.7]))
    def test_calls(self, made, threshold):
        metrics = pytest.importorskip("sklearn.metrics")
        positive, chance = made
        called = chance >= threshold
        found = calls_at(positive, chance, threshold)
        assert found.sensitivity == pytest.approx(metrics.recall_score(positive, called))
        assert found.specificity == pytest.approx(metrics.recall_score(~positive, ~called))
        if called.any():
            assert found.ppv == pytest.approx(metrics.precision_score(positive, called))
        if not called.all():
            assert found.npv == pytest.approx(metrics.precision_score(~positive, ~called))

    @pytest.mark.parametrize("seed", range(3))
    def test_calibration_slope(self, seed):
        linear_model = pytest.importorskip("sklearn.linear_model")
        positive, chance = simulate(200, seed, slope=1.7)
        theirs = linear_model.LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000)
        theirs.fit(logit(chance)[:, None], positive)
        assert calibration_slope(positive, chance) == pytest.approx(theirs.coef_[0, 0], abs=1e-6)


class TestMetrics:
    @given(predictions())
    def test_auroc_is_the_part_of_pairs_in_order(self, made):
        positive, chance = made
        one, other = chance[positive][:, None], chance[~positive]
        pairs = (one > other) + 0.5 * (one == other)
        assert auroc(positive, chance) == pytest.approx(pairs.mean())
        assert auroc(~positive, chance) == pytest.approx(1 - auroc(positive, chance))

    @given(predictions())
    def test_only_ranks_count(self, made):
        positive, chance = made
        other = np.unique(chance, return_inverse=True)[1].astype(float)
        assert auroc(positive, other) == auroc(positive, chance)
        assert auprc(positive, other) == auprc(positive, chance)

    def test_a_score_without_worth(self):
        positive = np.arange(20) < 6
        flat = np.full(20, 0.3)
        assert auroc(positive, flat) == 0.5
        assert auprc(positive, flat) == pytest.approx(0.3)
        assert scaled_brier(positive, flat) == pytest.approx(0)
        assert calibration_intercept(positive, flat) == pytest.approx(0, abs=1e-6)
        assert math.isnan(calibration_slope(positive, flat))

    def test_the_truth_is_calibrated_and_an_extreme_is_not(self):
        positive, chance = simulate(20_000)
        assert calibration_slope(positive, chance) == pytest.approx(1, abs=0.06)
        assert calibration_intercept(positive, chance) == pytest.approx(0, abs=0.05)
        extreme = expit(2 * logit(chance))
        assert calibration_slope(positive, extreme) == pytest.approx(0.5, abs=0.03)
        moved = expit(logit(chance) - 0.7)
        assert calibration_intercept(positive, moved) == pytest.approx(0.7, abs=0.05)
        assert scaled_brier(positive, chance) > scaled_brier(positive, extreme)

    @given(predictions(), st.floats(-2, 2))
    def test_the_intercept_meets_the_observed_rate(self, made, shift):
        positive, chance = made
        log_odds = logit(np.clip(chance, 0.01, 0.99)) + shift
        level = calibration_intercept(positive, expit(log_odds))
        assert expit(log_odds + level).mean() == pytest.approx(positive.mean(), abs=1e-4)

    @pytest.mark.parametrize("label", [True, False])
    def test_one_label_determines_little(self, label):
        positive, chance = np.full(5, label), np.linspace(0.1, 0.9, 5)
        for metric in (auroc, scaled_brier, calibration_slope, calibration_intercept):
            assert math.isnan(metric(positive, chance))
        assert math.isnan(auprc(positive, chance)) == (not label)
        assert brier(positive, chance) > 0

    def test_parted_labels_have_no_slope(self):
        chance = np.array([0.1, 0.2, 0.3, 0.8])
        assert math.isnan(calibration_slope(chance > 0.25, chance))
        assert math.isnan(calibration_slope(chance < 0.25, chance))

    def test_certain_predictions_stay_finite(self):
        positive = np.array([True, False, True, False])
        chance = np.array([1.0, 0.0, 0.0, 1.0])
        assert math.isfinite(calibration_slope(positive, chance))
        assert math.isfinite(calibration_intercept(positive, chance))

    @given(predictions(), st.sampled_from([0.1, 0.5]))
    def test_at_the_patients_own_rate_bayes_says_what_counting_says(self, made, threshold):
        positive, chance = made
        counted = calls_at(positive, chance, threshold)
        bayes = calls_at(positive, chance, threshold, float(positive.mean()))
        np.testing.assert_allclose(bayes, counted, atol=1e-12)

    def test_a_rarer_positive_makes_calls_worth_less(self):
        positive, chance = simulate(500)
        rare, common = (calls_at(positive, chance, 0.3, r) for r in (0.05, 0.5))
        assert rare.ppv < common.ppv
        assert rare.npv > common.npv
        assert rare.sensitivity == common.sensitivity

    def test_groups_hold_everybody_once(self):
        positive, chance = simulate(203)
        groups = calibration_groups(positive, chance, 5)
        assert groups.size.sum() == 203
        assert groups.size.max() - groups.size.min() <= 1
        assert (np.diff(groups.predicted) > 0).all()
        assert groups.size @ groups.observed == pytest.approx(positive.sum())
        assert ((groups.low <= groups.observed) & (groups.observed <= groups.high)).all()
        assert len(calibration_groups(positive, np.full(203, 0.2), 5).size) == 1


class TestJudge:
    def test_every_figure_is_its_metric(self):
        positive, chance = simulate(150)
        label = np.append(positive.astype(float), [np.nan] * 10)
        judged = judge_response(label, np.append(chance, [np.nan] * 10), bootstraps=100)
        found = {name: e.value for name, e in judged.estimates.items()}
        calls = calls_at(positive, chance, float(positive.mean()))
        assert found == {
            "auroc": auroc(positive, chance),
            "auprc": auprc(positive, chance),
            "brier": brier(positive, chance),
            "scaled_brier": scaled_brier(positive, chance),
            "calibration_slope": calibration_slope(positive, chance),
            "calibration_intercept": calibration_intercept(positive, chance),
            **calls._asdict(),
        }
        assert list(found) == list(METRICS)
        assert all(e.low < e.value < e.high for e in judged.estimates.values())
        assert (judged.labelled, judged.positive) == (150, int(positive.sum()))
        assert (judged.threshold, judged.threshold_is) == (positive.mean(), "observed rate")

    def test_a_local_rate_moves_the_calls_alone(self):
        positive, chance = simulate(400)
        label = positive.astype(float)
        here = judge_response(label, chance, bootstraps=50)
        there = judge_response(label, chance, local_rate=0.1, bootstraps=50)
        assert (there.threshold, there.threshold_is) == (0.1, "local rate")
        for name in ("auroc", "brier", "calibration_slope"):
            assert there.estimates[name] == here.estimates[name]
        assert there.estimates["ppv"].value < here.estimates["ppv"].value
        assert there.estimates["npv"].value > here.estimates["npv"].value

    def test_the_interval_covers_about_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        truth = auroc(*simulate(100_000))
        covered = 0
        for seed in rng.integers(0, 10_000, 30):
            positive, chance = simulate(120, int(seed))
            found = judge_response(positive.astype(float), chance, bootstraps=150).estimates
            covered += found["auroc"].low <= truth <= found["auroc"].high
        assert covered >= 25

    @pytest.mark.parametrize(
        ("chance", "said"),
        [
            (
                lambda p, rng: np.clip(0.3 * p + 0.6 * rng.random(p.size), 0, 1),
                "better than chance",
            ),
            (lambda p, rng: rng.random(p.size), "exploratory; not better than chance"),
            (lambda p, rng: 0.9 - 0.8 * p, "exploratory; not better than chance"),
        ],
    )
    def test_verdicts(self, chance, said):
        positive = np.arange(148) < 31
        label = positive.astype(float)
        judged = judge_response(label, chance(positive, np.random.default_rng(0)), bootstraps=200)
        assert judged.verdict.endswith(said)
        assert "on 148 labelled patients (31 positive): exploratory" in judged.verdict
        assert f"AUROC {judged.estimates['auroc'].value:.2f}" in judged.verdict

    def test_what_is_undefined_is_null(self):
        judged = judge_response(np.array([1.0, 0.0]), np.array([0.7, 0.2]), bootstraps=50)
        assert "too few to judge" in judged.verdict
        raw = json.loads(json.dumps(judged.to_json(), allow_nan=False))
        assert raw["metrics"]["calibration_slope"] == {"value": None, "low": None, "high": None}
        assert raw["metrics"]["auroc"] == {"value": 1.0, "low": None, "high": None}
        assert raw["threshold"] == {"value": 0.5, "is": "observed rate"}
        assert judged.verdict == raw["verdict"]

    def test_refuses_what_it_cannot_judge(self):
        with pytest.raises(ValueError, match="no patient has a label"):
            judge_response(np.full(3, np.nan), np.full(3, 0.2))
        with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\]"):
            judge_response(np.array([1.0, 0.0]), np.array([1.2, 0.1]))
        with pytest.raises(ValueError, match="probability must be finite"):
            judge_response(np.array([1.0, 0.0]), np.array([np.nan, 0.1]))

    def test_repeats_with_its_seed(self):
        positive, chance = simulate(80)
        one, other, third = (
            judge_response(positive.astype(float), chance, bootstraps=30, seed=s) for s in (1, 1, 2)
        )
        assert one == other
        assert one.estimates["auroc"] != third.estimates["auroc"]
        assert isinstance(one.estimates["auroc"], Estimate)


class TestFigure:
    @pytest.mark.parametrize("n", [150, 12])
    def test_says_how_many_and_draws_what_was_judged(self, n, tmp_path):
        positive, chance = simulate(n, seed=2)
        label = np.append(positive.astype(float), np.nan)
        chance = np.append(chance, np.nan)
        judged = judge_response(label, chance, bootstraps=40)
        figure = response_figure(judged, label, chance, "ici", synthetic=True)
        title = figure.get_suptitle()
        assert f"{n} synthetic labelled patients, {positive.sum()} positive" in title
        roc = figure.axes[0].lines[1].get_xydata()
        assert np.trapezoid(roc[:, 1], roc[:, 0]) == pytest.approx(judged.estimates["auroc"].value)
        figure.savefig(tmp_path / "response.png")
        assert (tmp_path / "response.png").stat().st_size > 10_000

    def test_real_patients_are_not_called_synthetic(self):
        positive, chance = simulate(60)
        label = positive.astype(float)
        judged = judge_response(label, chance, bootstraps=20)
        title = response_figure(judged, label, chance, "r", synthetic=False).get_suptitle()
        assert "synthetic" not in title
        assert title.startswith("r: 60 labelled patients")

    def test_predictive_values_are_those_of_the_calls(self):
        positive, chance = simulate(100)
        label = positive.astype(float)
        judged = judge_response(label, chance, bootstraps=20)
        axes = response_figure(judged, label, chance, "r", synthetic=False).axes[2]
        for line, name in zip(axes.lines[:2], ("ppv", "npv"), strict=True):
            for cut, value in line.get_xydata():
                assert value == pytest.approx(getattr(calls_at(positive, chance, cut), name))
