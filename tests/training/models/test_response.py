"""Response models: the synthetic truth, gaps, few labels, local rates, and no leak."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.data.study import parse_study
from accomplice.training.estimators.logistic import expit, logit
from accomplice.training.evaluation.response import auroc, calibration_slope
from accomplice.training.models import response
from accomplice.training.models.response import (
    ResponseModel,
    fit_response,
    out_of_fold,
    shift_to_rate,
    why_no_model,
)

FEW = ("x", "msi", "gene")
STUDY = parse_study(
    {
        "name": "made-up",
        "source": {"files": ["t.csv"]},
        "centre": "site",
        "endpoints": {
            "survival": {"os": {"time": "t", "event": "e"}},
            "binary": {"r": {"column": "r", "positive": ["1"], "negative": ["0"]}},
        },
        "treatment": {"column": "act", "treated": ["yes"], "untreated": ["no"]},
        "modalities": {
            "clinical": {
                "x": {"kind": "number"},
                "msi": {"kind": "category", "levels": ["MSS", "MSI-H"]},
                "lauren": {"kind": "category", "levels": ["a", "b", "c"]},
            },
            "rna": {"gene": {"kind": "expression"}, "other": {"kind": "expression"}},
            "ihc": {"density": {"kind": "density"}},
        },
        "baselines": {"clinical": ["x", "msi"]},
        "interactions": [["act", "gene"], ["x", "other"]],
    },
    "made-up",
)
NAMES = list(STUDY.features)


def simulate(n, labelled, seed=0, gaps=0.3, signal=1.0):
    """Patients whose response hangs on x, msi and gene; `density` follows gene."""
    rng = np.random.default_rng(seed)
    x, gene, other = rng.normal(size=(3, n))
    msi, lauren, act = rng.random(n) < 0.2, rng.integers(0, 3, n), rng.random(n) < 0.5
    density = np.exp(0.9 * gene + 0.4 * rng.normal(size=n))
    truth = expit(-1.2 + signal * (0.8 * x + 1.8 * (msi - 0.2) - 0.9 * gene))
    columns = {"x": x, "msi": msi, "lauren": lauren, "gene": gene, "other": other}
    columns |= {"density": density, "act": act}
    values = np.stack([columns[name] for name in NAMES], axis=1).astype(float)
    rna = [NAMES.index("gene"), NAMES.index("other")]
    values[np.ix_(rng.random(n) < gaps, rna)] = np.nan
    values[rng.random(n) < gaps, NAMES.index("msi")] = np.nan
    label = np.full(n, np.nan)
    rows = rng.permutation(n)[:labelled]
    label[rows] = rng.random(labelled) < truth[rows]
    centre = rng.choice(["A", "B"], n)
    return values, centre, label, truth


@pytest.fixture(scope="module")
def cohort():
    return simulate(1200, 200)


@pytest.fixture(scope="module")
def model(cohort):
    values, centre, label, _ = cohort
    return fit_response(STUDY, values, centre, label, FEW)


@pytest.fixture(scope="module")
def fresh():
    values, centre, _, truth = simulate(4000, 0, seed=1)
    return values, centre, truth


class TestFit:
    def test_fresh_patients_are_ranked_and_calibrated(self, model, fresh):
        values, centre, truth = fresh
        chance = model.probability(values, centre)
        happened = np.random.default_rng(0).random(len(truth)) < truth
        assert auroc(happened, chance) > auroc(happened, truth) - 0.08
        assert chance.mean() == pytest.approx(truth.mean(), abs=0.06)
        assert 0.7 < calibration_slope(happened, chance) < 1.4

    def test_it_learns_the_signs_of_the_inputs_it_was_given(self, model):
        weights = model.weights()
        assert set(weights) == {"x", "msi=MSI-H", "gene"}
        assert weights["x"] > 0.2
        assert weights["msi=MSI-H"] > 0.2
        assert weights["gene"] < -0.2
        assert (model.labelled, 0 < model.positive < 200) == (200, True)

    def test_a_gap_is_filled_from_what_goes_with_it(self, model, fresh):
        values, centre, truth = fresh
        lacking = np.isnan(values[:, NAMES.index("gene")])
        seen = values[lacking].copy()
        blind = seen.copy()
        blind[:, NAMES.index("density")] = np.nan
        target = logit(truth[lacking])
        told, untold = (
            np.corrcoef(model.log_odds(v, centre[lacking]), target)[0, 1] for v in (seen, blind)
        )
        assert told > untold + 0.05

    def test_patients_without_a_label_count_where_no_label_is_needed(self, cohort):
        values, centre, label, _ = cohort
        known = ~np.isnan(label)
        alone = fit_response(STUDY, values[known], centre[known], label[known], FEW)
        together = fit_response(STUDY, values, centre, label, FEW)
        assert alone.labelled == together.labelled
        assert not np.array_equal(alone.preprocessor.mean, together.preprocessor.mean)

    def test_the_treatment_is_no_input(self, cohort, fresh):
        values, centre, label, _ = cohort
        whole = fit_response(STUDY, values, centre, label)
        assert "act" not in whole.features
        assert not any("act" in name for name in whole.weights())
        other = fresh[0].copy()
        other[:, NAMES.index("act")] = 1 - other[:, NAMES.index("act")]
        np.testing.assert_array_equal(
            whole.probability(other, fresh[1]), whole.probability(fresh[0], fresh[1])
        )

    def test_all_features_are_the_inputs_where_none_are_named(self, cohort):
        values, centre, label, _ = cohort
        whole = fit_response(STUDY, values, centre, label)
        inputs = {name.split("=")[0] for name in whole.weights()}
        assert inputs == set(NAMES) - {"act"}

    def test_of_very_many_features_gaps_get_the_mean(self, cohort, monkeypatch):
        values, centre, label, _ = cohort
        monkeypatch.setattr(response, "JOINT", 4)
        few = fit_response(STUDY, values, centre, label, FEW)
        assert few.features == FEW
        monkeypatch.setattr(response, "JOINT", 2)
        found = fit_response(STUDY, values, centre, label, FEW)
        assert found.joint is None
        nothing = np.full((1, len(NAMES)), np.nan)
        assert found.log_odds(nothing)[0] == pytest.approx(
            found.calibration.apply(np.array([found.logistic.intercept]))[0]
        )

    def test_noise_is_not_taken_for_signal(self):
        values, centre, label, _ = simulate(600, 300, seed=5, signal=0)
        chance = fit_response(STUDY, values, centre, label, FEW).probability(values, centre)
        assert chance.std() < 0.06

    def test_order_of_the_features_and_missing_centres_are_no_matter(self, cohort):
        values, _, label, _ = cohort
        one = fit_response(STUDY, values, None, label, FEW).probability(values)
        other = fit_response(STUDY, values, None, label, FEW[::-1]).probability(values)
        np.testing.assert_array_equal(one, other)

    def test_repeats_with_its_seed(self, cohort, model):
        values, centre, label, _ = cohort
        again = fit_response(STUDY, values, centre, label, FEW)
        assert again.to_json() == model.to_json()


class TestFewLabels:
    @pytest.mark.parametrize(("positive", "negative"), [(3, 12), (0, 40), (12, 4), (0, 0)])
    def test_too_few_are_refused_with_their_counts(self, positive, negative):
        values, centre, label, _ = simulate(200, 0)
        label[:positive], label[positive : positive + negative] = 1, 0
        for fit in (fit_response, out_of_fold):
            with pytest.raises(InputError) as caught:
                fit(STUDY, values, centre, label, FEW)
            assert f"{positive} positive and {negative} negative" in str(caught.value)
            assert str(caught.value) == why_no_model(label)

    @pytest.mark.parametrize("n", [15, 200])
    @pytest.mark.parametrize("features", [FEW, None])
    def test_five_of_each_give_something_finite_and_modest(self, n, features):
        values, centre, label, _ = simulate(n, 0, seed=3)
        label[:5], label[5:15] = 1, 0
        found = fit_response(STUDY, values, centre, label, features)
        chance = found.probability(values, centre)
        assert ((chance > 0.02) & (chance < 0.98)).all()
        held = out_of_fold(STUDY, values, centre, label, features)
        np.testing.assert_array_equal(np.isnan(held), np.isnan(label))
        assert why_no_model(label) is None

    def test_parted_labels_stay_finite(self):
        values, centre, label, _ = simulate(100, 0, gaps=0)
        label[:] = values[:, NAMES.index("x")] > 0.5
        found = fit_response(STUDY, values, centre, label, FEW)
        assert np.isfinite(found.log_odds(1e6 * values, centre)).all()

    def test_an_input_nobody_has_is_no_input(self):
        values, centre, label, _ = simulate(200, 80)
        values[:, NAMES.index("gene")] = np.nan
        found = fit_response(STUDY, values, centre, label, FEW)
        assert found.weights()["gene"] == pytest.approx(0, abs=1e-9)


class TestLocalRate:
    @pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.8])
    def test_the_mean_prediction_for_the_training_cohort_is_the_rate(self, cohort, model, rate):
        values, centre, _, _ = cohort
        moved = model.probability(values, centre, local_rate=rate)
        assert moved.mean() == pytest.approx(rate, abs=0.01 * min(1, 10 * rate))

    def test_only_the_intercept_moves(self, cohort, model):
        values, centre, _, _ = cohort
        one, other = (logit(model.probability(values, centre, r)) for r in (0.1, 0.4))
        np.testing.assert_allclose(other - one, (other - one)[0], atol=1e-9)

    @given(
        st.lists(st.floats(-20, 20), min_size=1, max_size=50),
        st.floats(0.001, 0.999),
    )
    def test_the_shift_meets_any_rate(self, log_odds, rate):
        log_odds = np.array(log_odds)
        assert expit(log_odds + shift_to_rate(log_odds, rate)).mean() == pytest.approx(rate)


class TestOutOfFold:
    def test_it_is_honest(self, cohort):
        values, centre, label, _ = cohort
        held = out_of_fold(STUDY, values, centre, label, FEW)
        known = ~np.isnan(label)
        assert auroc(label[known] == 1, held[known]) > 0.65
        shuffled = label.copy()
        shuffled[known] = np.random.default_rng(3).permutation(label[known])
        chance = out_of_fold(STUDY, values, centre, shuffled, FEW)
        assert auroc(shuffled[known] == 1, chance[known]) < 0.6

    def test_held_out_patients_move_nothing_fitted(self, cohort, monkeypatch):
        values, centre, label, _ = cohort
        fitted = []
        whole = response._fit

        def fit(*arguments):
            fitted.append(whole(*arguments))
            return fitted[-1]

        monkeypatch.setattr(response, "_fit", fit)
        out_of_fold(STUDY, values, centre, label, FEW)
        first = [model.to_json() for model in fitted]
        known = np.flatnonzero(~np.isnan(label))
        fold = response._folds(label[known] == 1, 0)
        changed = values.copy()
        changed[known[fold == 0]] = np.where(np.isnan(changed[known[fold == 0]]), 1.0, np.nan)
        fitted.clear()
        out_of_fold(STUDY, changed, centre, label, FEW)
        second = [model.to_json() for model in fitted]
        assert second[0] == first[0], "the fold's own model has not seen its patients"
        assert second[1] != first[1]


class TestKept:
    def test_json_round_trip(self, model, fresh):
        raw = json.loads(json.dumps(model.to_json(), allow_nan=False))
        again = ResponseModel.from_json(STUDY, raw)
        values, centre, _ = fresh
        np.testing.assert_array_equal(
            again.probability(values, centre, 0.3), model.probability(values, centre, 0.3)
        )
        assert again.to_json() == model.to_json()

    def test_no_patient_s_value_is_kept(self, cohort, model):
        values, centre, _, _ = cohort
        numbers = set()

        def collect(part):
            if isinstance(part, dict):
                part = list(part.values())
            if isinstance(part, list):
                for each in part:
                    collect(each)
            elif isinstance(part, float):
                numbers.add(part)

        collect(model.to_json())
        own = values[:, [NAMES.index(n) for n in ("x", "gene", "other", "density")]]
        assert not numbers & set(own[~np.isnan(own)].tolist())
        assert not numbers & set(model.log_odds(values, centre).tolist())

    def test_groups_stand_for_the_cohort(self, cohort, model):
        values, centre, _, _ = cohort
        chance = model.probability(values, centre).mean()
        assert expit(model.cohort).mean() == pytest.approx(chance, abs=0.003)
        assert len(model.cohort) == response.GROUPS
        assert (np.diff(model.cohort) >= 0).all()

    def test_a_patient_is_answered_whatever_is_missing(self, model):
        nothing = np.full((1, len(NAMES)), np.nan)
        assert 0 < model.probability(nothing, np.array(["elsewhere"]))[0] < 1
        assert model.probability(np.zeros((0, len(NAMES)))).shape == (0,)

    def test_calibration_stretches_around_its_centre(self, model):
        calibration = model.calibration._replace(slope=2.0, level=0.5, centre=-1.0)
        np.testing.assert_allclose(calibration.apply(np.array([-1.0, 0.0])), [-0.5, 1.5])


def test_many_overfitted_inputs_are_drawn_together():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=4000)
    extreme = response._calibrate(2 * log_odds, rng.random(4000) < expit(log_odds))
    assert extreme.slope == pytest.approx(0.5, abs=0.1)
    few = response._calibrate(2 * log_odds[:40], rng.random(40) < expit(log_odds[:40]))
    assert abs(few.slope - 1) < 0.35
