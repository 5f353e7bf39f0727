"""The documentation is valid, complete and true: what it shows is answered, as it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.api.openapi import document
from accomplice.training.bundle import Bundle


@pytest.fixture(scope="module")
def documented(client: Any) -> dict[str, Any]:
    response = client.request("GET", "/docs.json")
    assert response.status_code == 200
    return dict(response.json())


def validator(documented: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": documented["components"]})


def problems(documented: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """Where a value is not as its schema says, and how."""
    found = validator(documented, schema).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def posts(documented: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, item["post"]) for path, item in documented["paths"].items() if "post" in item]


def test_it_is_valid_and_names_every_route(documented: dict[str, Any]) -> None:
    validate(documented)
    assert documented["openapi"] == "3.1.0"
    assert [path for path, _ in posts(documented)] == [
        *("/predict", "/predict_batch", "/what_if", "/explain")
    ]
    assert "get" in documented["paths"]["/model"]
    assert documented["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for _, post in posts(documented):
        assert {"200", "400", "401", "403", "408", "413", "429", "500"} <= post["responses"].keys()


def test_every_example_is_answered_as_is_said(client: Any, documented: dict[str, Any]) -> None:
    for path, post in posts(documented):
        content = post["requestBody"]["content"]["application/json"]
        answer = post["responses"]["200"]["content"]["application/json"]["schema"]
        assert content["examples"]
        for title, example in content["examples"].items():
            assert problems(documented, content["schema"], example["value"]) == []
            response = client.post(path, example["value"])
            assert response.status_code == 200, (path, title, response.text)
            assert problems(documented, answer, response.json()) == []


def test_the_card_is_as_is_said(client: Any, documented: dict[str, Any]) -> None:
    answer = documented["paths"]["/model"]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    card = client.request("GET", "/model").json()
    assert card
    assert problems(documented, schema, card) == []


def test_errors_are_as_is_said(client: Any, documented: dict[str, Any]) -> None:
    schema = documented["components"]["schemas"]["Error"]
    for path, _ in posts(documented):
        for body in ({}, [], {"patient": 3, "patients": 3, "feature": {}}):
            response = client.post(path, body)
            assert response.status_code == 400
            assert problems(documented, schema, response.json()) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"patient": {}}),
        ("/predict", {"patient": {"nobody": 1}}),
        ("/predict", {"patient": {"age": 61}, "times": [61]}),
        ("/predict", {"patient": {"age": 61}, "times": [12, 12]}),
        ("/predict", {"patient": {"age": [61]}}),
        ("/predict", {"patient": {"age": 61}, "further": 1}),
        ("/predict_batch", {"patients": []}),
        ("/what_if", {"patient": {"age": 61}, "feature": "age", "values": []}),
        ("/what_if", {"patient": {"age": 61}, "feature": "age", "values": [1] * 51}),
        ("/explain", {"patient": {"age": 61}, "times": [12]}),
    ],
)
def test_what_the_schema_refuses_is_refused(
    client: Any, documented: dict[str, Any], path: str, body: Any
) -> None:
    content = documented["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert not validator(documented, content["schema"]).is_valid(body)
    assert client.post(path, body).status_code == 400


def test_an_answer_s_names_are_the_model_s(documented: dict[str, Any], bundle: Bundle) -> None:
    named = documented["components"]["schemas"]["PredictAnswer"]["properties"]
    assert {"rmst@60", "risk_group", "risk_centile", "benefit@60", "advice"} <= named.keys()
    assert not any(name.startswith("survival") for name in named), "they depend on the request"
    assert all(named[name]["description"] for name in ("rmst@60", "benefit_low@60", "risk"))


def test_models_of_several_endpoints_and_of_labels_alone(
    several_trained: Any, labels_trained: Any
) -> None:
    for trained in (several_trained, labels_trained):
        made = document(Predictor(trained.bundle, "digest"))
        validate(json.loads(json.dumps(made)))
        named = made["components"]["schemas"]["PredictAnswer"]["properties"]
        assert "response.ici_response" in named
        assert ("dfs.risk_centile" in named) == (trained is several_trained)
        assert ("/explain" in made["paths"]) == (trained is several_trained)
