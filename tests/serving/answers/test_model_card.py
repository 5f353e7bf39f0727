"""What ``GET /model`` says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from accomplice.serving.answers.model_card import describe
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.schemas import ModelCard
from accomplice.training.bundle import Bundle


@pytest.fixture
def said(client: Any) -> dict[str, Any]:
    response = client.request("GET", "/model")
    assert response.status_code == 200
    return dict(response.json())


def test_it_says_which_model_and_of_whom(
    said: dict[str, Any], client: Any, patient: dict[str, Any]
) -> None:
    answered = client.post("/predict", {"patient": patient}).json()["model"]
    assert {name: said[name] for name in answered} == answered
    assert said["endpoints"] == {"survival": ["os"], "binary": []}
    assert (said["run_id"], said["version"]) == (None, None)
    assert said["cohort"].keys() == {"fingerprint", "patients", "events"}
    assert "SYNTHETIC" in said["note"]
    assert "simulated" in said["card"]


def test_features_are_the_study_s_with_what_is_usual(
    said: dict[str, Any], table: pd.DataFrame
) -> None:
    by_name = {each["name"]: each for each in said["features"]}
    assert list(by_name) == ["age", "stage", "sex", "IL1R1", "CD163", "CD8", "act"]
    age, stage, act = by_name["age"], by_name["stage"], by_name["act"]
    assert (age["column"], age["modality"], age["kind"]) == ("age_years", "clinical", "number")
    assert age["range"] == [18, 110]
    quantiles = table["age_years"].quantile([0.005, 0.5, 0.995])
    assert [age["low"], age["typical"], age["high"]] == pytest.approx(quantiles, abs=4)
    assert stage["levels"] == ["I", "II", "III"]
    assert stage["typical"] in stage["levels"]
    assert (act["modality"], act["levels"], act["typical"]) == ("treatment", ["no", "yes"], "no")
    assert by_name["CD8"]["range"] == [0, None]
    assert said["treatment"]["column"] == "act"
    assert said["treatment"]["horizon"] == 60


def test_a_typical_patient_is_one_that_is_answered_without_flags(
    said: dict[str, Any], client: Any
) -> None:
    typical = {each["column"]: each["typical"] for each in said["features"]}
    answer = client.post("/predict", {"patient": {**typical, "hospital": "north"}}).json()
    assert answer["flags"] == []


def test_a_trained_bundle_s_figures_have_intervals(several_trained: Any) -> None:
    said = describe(Predictor(several_trained.bundle, "digest", {"run_id": "r", "version": "3"}))
    assert said["metrics"].keys() == {"uno_c", "harrell_c", "ibs"}
    for figure in (*said["metrics"].values(), said["responses"][0]["metrics"]["auroc"]):
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert (said["run_id"], said["version"]) == ("r", "3")
    counted = several_trained.bundle.provenance
    assert said["cohort"]["patients"] == counted["patients"]
    assert said["cohort"]["fingerprint"] == counted["cohort_fingerprint"]
    ModelCard.model_validate(said)
    json.dumps(said, allow_nan=False)


def test_a_model_of_labels_alone(labels_trained: Any) -> None:
    said = describe(Predictor(labels_trained.bundle, "digest"))
    ModelCard.model_validate(said)
    assert said["endpoints"] == {"survival": [], "binary": ["ici_response"]}
    assert said["metrics"] == {}


def test_a_short_card_leaves_out_undetermined_scores(bundle: Bundle) -> None:
    known = {"value": 0.7, "low": 0.6, "high": 0.8}
    metrics = {"models": {"model": {"uno_c": known, "ibs": dict.fromkeys(known)}}}
    said = describe(Predictor(replace(bundle, metrics=metrics), "digest"))
    assert "- uno_c: 0.700 (0.600 to 0.800)" in said["card"]
    assert "ibs" not in said["card"]
    assert said["metrics"]["ibs"] == dict.fromkeys(known)


def test_a_card_that_the_bundle_holds_is_shown(bundle: Bundle) -> None:
    held = replace(bundle, metrics={"card": "# Mine"})
    assert describe(Predictor(held, "digest"))["card"] == "# Mine"
