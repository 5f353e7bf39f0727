"""Several endpoints in one bundle: their columns, their own answers, kept exactly."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save

from accomplice.data.coding import code
from accomplice.data.errors import InputError
from accomplice.training.bundle import WEIGHTS, Bundle
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.models.risk_centiles import centile, group
from accomplice.training.models.survival import CURVE, SurvivalModel, below
from tests.training.test_bundle import rewrite

EFFECT = ("benefit", "benefit_low", "benefit_high", "rmst_gain")


def curve_at(months: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{name}@{months}" for name in CURVE]


def effect_at(months: int, prefix: str = "") -> list[str]:
    """Names of the columns on the treatment."""
    at = [f"{prefix}{name}@{months}" for name in EFFECT]
    return [*at, f"{prefix}p_benefit", f"{prefix}advice"]


@pytest.fixture(scope="module")
def path(several_trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "b"
    several_trained.bundle.save(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(path):
    return Bundle.load(path)


@pytest.fixture(scope="module")
def alone(labels_trained, tmp_path_factory):
    """A bundle of a response alone."""
    folder = tmp_path_factory.mktemp("labels") / "b"
    labels_trained.bundle.save(folder)
    return Bundle.load(folder)


class TestColumns:
    def test_a_further_endpoint_s_have_its_name_and_follow_the_primary_s(
        self, bundle, several_frame
    ):
        found = bundle.predict(several_frame.head(9), [12, 36, 60])
        assert list(found.columns) == [
            "patient_id",
            *("risk", *curve_at(12), *curve_at(36), *curve_at(60)),
            *effect_at(60),
            *("dfs.risk", *curve_at(12, "dfs."), *curve_at(36, "dfs.")),  # answered to month 36
            *effect_at(36, "dfs."),
            "response.ici_response",
            *("rmst@60", "rmst_low@60", "rmst_high@60", "risk_group", "risk_centile"),
            *("dfs.rmst@36", "dfs.rmst_low@36", "dfs.rmst_high@36"),
            *("dfs.risk_group", "dfs.risk_centile"),
            "flags",
        ]
        assert not found.drop(columns="flags").isna().any().any()

    def test_times_beyond_all_of_a_further_endpoint_leave_its_risk(self, bundle, several_frame):
        found = bundle.predict(several_frame.head(2), [48])
        assert [c for c in found if c.startswith("dfs.")][:2] == ["dfs.risk", "dfs.benefit@36"]

    def test_times_beyond_the_primary_endpoint_are_refused(self, several_trained, several_frame):
        models = several_trained.bundle.survival
        swapped = replace(
            several_trained.bundle, survival={"dfs": models["dfs"], "os": models["os"]}
        )
        with pytest.raises(InputError, match="beyond the model's horizon of 36"):
            swapped.predict(several_frame.head(2), [12, 60])
        found = swapped.predict(several_frame.head(2), [12])
        assert list(found.columns[1:3]) == ["risk", "survival@12"]
        assert "os.benefit@60" in found

    def test_each_endpoint_s_are_its_own_model_s(self, bundle, several_frame):
        frame = several_frame.head(40)
        found = bundle.predict(frame, [12, 36])
        values = code(bundle.study, frame).values
        centre = frame["centre"].to_numpy(dtype=str)
        for prefix, name in (("", "os"), ("dfs.", "dfs")):
            answer = bundle.survival[name].answer(values, centre)
            np.testing.assert_array_equal(found[f"{prefix}risk"], answer.risk)
            np.testing.assert_array_equal(
                found[f"{prefix}survival@36"], answer.survival([36])[:, 0]
            )
            assert found[f"{prefix}advice"].tolist() == answer.advice.tolist()
        # DFS ends no later than OS; two models need not agree to the last digit.
        assert found["dfs.survival@36"].mean() < found["survival@36"].mean()
        assert (found["dfs.risk"] != found["risk"]).all()

    def test_average_training_patient_of_each_has_risk_zero(self, several_trained):
        for name, each in several_trained.survival.items():
            cohort = each.fitted.prepared.cohort
            model = several_trained.bundle.survival[name]
            answer = model.answer(cohort.values, cohort.centre)
            assert answer.risk.mean() == pytest.approx(0, abs=0.15)

    def test_the_restricted_mean_is_the_curve_s_area(self, bundle, several_frame):
        frame, months = several_frame.head(20), np.linspace(0, 36, 3601)
        answer = bundle.survival["dfs"].answer(code(bundle.study, frame).values, None)
        area = np.trapezoid(answer.survival(months), months, axis=1)
        np.testing.assert_allclose(answer.summaries()["rmst@36"], area, rtol=1e-4)

    def test_training_patients_stand_among_themselves_in_thirds(self, several_trained):
        for name, each in several_trained.survival.items():
            model = several_trained.bundle.survival[name]
            risk = log_risk(each.fitted.cumulative) - model.risk_centre
            names, sizes = np.unique(group(centile(risk, model.risk_reference)), return_counts=True)
            assert set(names) == {"low", "middle", "high"}
            np.testing.assert_allclose(sizes / len(risk), 1 / 3, atol=0.03)


class TestKeeping:
    def test_loaded_bundle_predicts_exactly_the_same(self, several_trained, bundle, several_frame):
        pd.testing.assert_frame_equal(
            bundle.predict(several_frame, [1.0, 36.0]),
            several_trained.bundle.predict(several_frame, [1.0, 36.0]),
            check_exact=True,
        )

    def test_saving_what_was_loaded_gives_the_same_bytes(self, bundle, path, tmp_path):
        bundle.save(tmp_path / "again")
        for file in path.iterdir():
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name

    def test_a_model_is_rebuilt_from_its_parts(self, several_trained, several_frame):
        model = several_trained.bundle.survival["dfs"]
        raw = json.loads(json.dumps(model.to_json()))
        prepared = json.loads(json.dumps([each.to_json() for each in model.preprocessors]))
        again = SurvivalModel.from_json(model.study, "dfs", raw, prepared, model.arrays())
        values = code(model.study, several_frame.head(20)).values
        assert (again.endpoint, again.horizon, again.benefit_horizon) == ("dfs", 36.0, 36.0)
        np.testing.assert_array_equal(
            again.answer(values, None).cumulative, model.answer(values, None).cumulative
        )

    @pytest.mark.parametrize("name", ["dfs/forest/0/survival", "dfs/boosting/0/baseline"])
    def test_altered_weights_of_a_further_endpoint_fail_its_replay(self, bundle, tmp_path, name):
        model = bundle.survival["dfs"]
        equal = np.full(len(model.ensemble.stack.weights), 0.25)
        ensemble = replace(model.ensemble, stack=replace(model.ensemble.stack, weights=equal))
        survival = {**bundle.survival, "dfs": replace(model, ensemble=ensemble)}
        replace(bundle, survival=survival).save(tmp_path / "b")
        Bundle.load(tmp_path / "b")
        weights = load((tmp_path / "b" / WEIGHTS).read_bytes())
        weights[name] = weights[name] * 0.9 + np.float32(0.1)
        rewrite(tmp_path / "b", WEIGHTS, save(weights))
        with pytest.raises(
            InputError, match="model of 'dfs' answers its own test rows differently"
        ):
            Bundle.load(tmp_path / "b")

    def test_altered_response_fails_its_replay(self, path, tmp_path):
        shutil.copytree(path, tmp_path / "b")
        model = json.loads((path / "model.json").read_text())
        model["responses"]["ici_response"]["calibration"]["level"] += 0.1
        rewrite(tmp_path / "b", "model.json", (json.dumps(model, indent=1) + "\n").encode())
        with pytest.raises(InputError, match="model of 'ici_response' answers its own test rows"):
            Bundle.load(tmp_path / "b")


class TestLabelsAlone:
    def test_columns_are_the_responses(self, alone, labels_trained, several_frame):
        found = alone.predict(several_frame.head(30))
        assert list(found.columns) == ["patient_id", "response.ici_response", "flags"]
        assert found["response.ici_response"].between(0, 1).all()
        pd.testing.assert_frame_equal(
            found, labels_trained.bundle.predict(several_frame.head(30)), check_exact=True
        )
        assert (alone.primary, alone.horizon, alone.target) == (None, None, "ici_response")

    def test_a_local_rate_moves_them(self, alone, several_frame):
        low, high = (
            alone.predict(several_frame, rates={"ici_response": rate})["response.ici_response"]
            for rate in (0.1, 0.4)
        )
        assert (low < high).all()
        assert low.mean() == pytest.approx(0.1, abs=0.03)

    @pytest.mark.parametrize("times", [[12.0], (0.0, 6.0), np.array([12.0])])
    def test_times_are_refused(self, alone, several_frame, times):
        with pytest.raises(InputError, match=r"has no survival endpoint.*leave them out"):
            alone.predict(several_frame, times)
        assert alone.times(None) == alone.times([]) == ()

    def test_expression_of_an_unknown_centre_is_flagged(self, labelled, quick_config):
        from accomplice.training.run import train

        centre = np.where(np.arange(len(labelled)) % 2, "north", "south")
        two = train(replace(labelled, centre=centre), quick_config).bundle
        scales = two.responses["ici_response"].preprocessor.reference
        known = sorted(scales.keys() - {""})
        assert known, "a centre of 110 patients has a scale of its own"
        frame = pd.DataFrame({"IL1R1": [7.0, 7.0, np.nan], "msi": "MSS"})
        frame["centre"] = [known[0], "west", "west"]
        flagged = two.predict(frame)["flags"].str.contains("unknown_assay")
        assert flagged.tolist() == [False, True, False]


def test_below_takes_the_prefix_off():
    arrays = {"os/a": np.zeros(1), "os/b/c": np.ones(2), "dfs/a": np.ones(1)}
    assert list(below("os/", arrays)) == ["a", "b/c"]
