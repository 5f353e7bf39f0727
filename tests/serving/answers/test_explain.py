"""One patient's risk, taken apart."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from accomplice.serving.answers import explain as explaining
from accomplice.serving.answers.explain import explain
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.problems import RequestError
from accomplice.serving.requests.schemas import ExplainAnswer
from accomplice.serving.requests.validation import read_request
from accomplice.training.bundle import Bundle


@pytest.mark.parametrize("change", [{}, {"IL1R1": None, "act": "no"}, {"age_years": "old"}])
def test_the_parts_are_the_bundle_s_and_add_up(
    client: Any, bundle: Bundle, patient: dict[str, Any], change: dict[str, Any]
) -> None:
    asked = {**patient, **change}
    response = client.post("/explain", {"patient": asked})
    assert response.status_code == 200
    answer = response.json()
    ExplainAnswer.model_validate(answer)
    expected = bundle.explain(pd.DataFrame([asked])).iloc[0]
    predicted = client.post("/predict", {"patient": asked}).json()
    assert answer["risk"] == pytest.approx(predicted["risk"], abs=1e-7)
    assert answer["base"] + sum(answer["features"].values()) == pytest.approx(answer["risk"])
    assert sum(answer["modalities"].values()) == pytest.approx(sum(answer["features"].values()))
    for kind in ("features", "modalities"):
        for name, part in answer[kind].items():
            column = f"{'feature' if kind == 'features' else 'modality'}.{name}"
            assert part == pytest.approx(expected[column], abs=1e-9)
    assert answer["flags"] == predicted["flags"]
    assert (answer["patient_id"], answer["model"]) == ("X1", predicted["model"])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "patient"),
        ({"patient": []}, "patient"),
        ({"patient": {"age": 61}, "times": [12]}, "times"),
        ({"patient": {"age": [61]}}, "patient.age"),
    ],
)
def test_what_is_wrong_is_named(client: Any, body: Any, where: str) -> None:
    response = client.post("/explain", body)
    assert response.status_code == 400
    assert response.json()["error"]["details"][0]["where"] == where


def test_a_model_without_a_risk_says_so(labels_trained: Any) -> None:
    predictor = Predictor(labels_trained.bundle, "digest")
    body = json.dumps({"patient": {"age": 61}}).encode()
    asked = read_request(body, predictor.reader, None, timed=False)
    with pytest.raises(RequestError) as error:
        explain(predictor, asked)
    assert (error.value.code, error.value.status) == ("no_survival_endpoint", 400)


def test_a_model_of_too_many_features_is_not_explained(
    client: Any, patient: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_FEATURES", 5)
    response = client.post("/explain", {"patient": patient})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "too_many_features"
