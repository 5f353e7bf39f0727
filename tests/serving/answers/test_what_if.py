"""One patient over several values of one feature."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.what_if import MOST_VALUES, NOTE, read_what_if, what_if
from accomplice.serving.requests.problems import RequestError
from accomplice.serving.requests.schemas import WhatIfAnswer
from accomplice.training.bundle import Bundle

CANARY = "canary-71"
FRACTION = 86420.97531


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle, "digest")


def asked(predictor: Predictor, **body: Any) -> dict[str, Any]:
    """The answer to a request."""
    read = read_what_if(json.dumps(body).encode(), predictor.reader, predictor.bundle.horizon)
    return what_if(predictor, read)


def refused(predictor: Predictor, **body: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        asked(predictor, **body)
    return error.value


@pytest.mark.parametrize(
    ("feature", "column", "values"),
    [
        ("IL1R1", "IL1R1", [5.0, 7.2, 9, None]),
        ("age", "age_years", [40, 80.5, 61]),
        ("age_years", "age_years", [40]),
        ("stage", "stage", ["I", "III", 2, None, "unstaged", " II", "iii", "NA", "Stage II"]),
        ("act", "act", ["no", "yes", None]),
    ],
)
def test_answers_are_those_of_predict_with_the_value(
    predictor: Predictor, patient: dict[str, Any], feature: str, column: str, values: list[Any]
) -> None:
    answer = asked(predictor, patient=patient, feature=feature, values=values, times=[12, 48])
    assert answer["values"] == values
    assert predictor.bundle.study.features[answer["feature"]].column in (None, column)
    WhatIfAnswer.model_validate(answer)
    frame = pd.DataFrame([{**patient, column: value} for value in values], dtype=object)
    expected = predictor.bundle.predict(frame, [12, 48])
    for own, (_, row) in zip(answer["answers"], expected.iterrows(), strict=True):
        for name in ("risk", "survival@48", "benefit@60", "rmst@60", "risk_centile"):
            assert own[name] == pytest.approx(row[name], abs=1e-9)
        assert (own["advice"], own["risk_group"]) == (row["advice"], row["risk_group"])
        assert ("; ".join(own["flags"]) or "ok") == row["flags"]
        assert own["curve"]


def test_a_name_and_its_column_are_one_feature(
    predictor: Predictor, patient: dict[str, Any]
) -> None:
    by_name = {("age" if k == "age_years" else k): v for k, v in patient.items()}
    first = asked(predictor, patient=patient, feature="age", values=[50])
    assert asked(predictor, patient=by_name, feature="age_years", values=[50]) == first


def test_usual_values_are_quantiles_levels_and_the_treatment_s_sides(
    predictor: Predictor, patient: dict[str, Any], table: pd.DataFrame
) -> None:
    found = asked(predictor, patient={**patient, "hospital": None}, feature="IL1R1")["values"]
    assert found == sorted(set(found))
    expected = table["IL1R1"].quantile([0.05, 0.5, 0.95])
    assert [found[0], found[len(found) // 2], found[-1]] == pytest.approx(expected, abs=0.4)
    assert asked(predictor, patient=patient, feature="stage")["values"] == ["I", "II", "III"]
    assert asked(predictor, patient=patient, feature="act")["values"] == ["no", "yes"]
    assert not set(found) & set(table["IL1R1"])


def test_usual_values_are_on_the_hospital_s_scale(
    predictor: Predictor, patient: dict[str, Any]
) -> None:
    north, south, nowhere, unknown = (
        asked(predictor, patient={**patient, "hospital": where}, feature="IL1R1")["values"]
        for where in ("north", "south", "elsewhere", None)
    )
    assert north != south
    assert nowhere == unknown


def test_treating_a_patient_moves_survival_by_the_benefit(
    predictor: Predictor, patient: dict[str, Any]
) -> None:
    answer = asked(predictor, patient=patient, feature="act", times=[60])
    without, treated = answer["answers"]
    gain = treated["survival@60"] - without["survival@60"]
    assert gain == pytest.approx(treated["benefit@60"], abs=1e-9)
    assert NOTE in answer["note"]
    assert "SYNTHETIC" in answer["note"]


@pytest.mark.parametrize(
    ("body", "where", "problem"),
    [
        ({"feature": "IL1R2"}, "feature", "no such feature; did you mean 'IL1R1'?"),
        ({"feature": CANARY}, "feature", "the model has no such feature"),
        ({"feature": 3}, "feature", "a number: send the name"),
        ({}, "feature", "this key is needed"),
        ({"feature": "age", "values": [61, CANARY]}, "values[1]", "a text: send a number"),
        ({"feature": "age", "values": [True]}, "values[0]", "true or false: send a number"),
        ({"feature": "age", "values": ["61"]}, "values[0]", "a text: send a number"),
        ({"feature": "age", "values": [[1]]}, "values[0]", "a list: send a single value"),
        ({"feature": "age", "values": [10**400]}, "values[0]", "too large"),
        ({"feature": "age", "values": ["\ud800"]}, "values[0]", "not valid Unicode"),
        ({"feature": "stage", "values": [CANARY]}, "values[0]", "none of the levels: 'I', 'II'"),
        ({"feature": "act", "values": [1]}, "values[0]", "none of the levels: 'no', 'yes'"),
        ({"feature": "age", "values": []}, "values", "at least one value"),
        ({"feature": "age", "values": 61}, "values", "a number: send a list"),
        ({"feature": "age", "values": [61] * (MOST_VALUES + 1)}, "values", "more than 50"),
        ({"feature": "age", "value": [61]}, "value", "did you mean 'values'?"),
        ({"feature": "age", "times": [-1]}, "times[0]", "0 or more"),
        ({"feature": "age", "patient": {}}, "patient", "none of the model's features"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(
    predictor: Predictor, patient: dict[str, Any], body: dict[str, Any], where: str, problem: str
) -> None:
    error = refused(predictor, **{"patient": patient, **body})
    assert error.status == 400
    assert error.code == "invalid_request"
    assert [d["where"] for d in error.details] == [where]
    assert problem in error.details[0]["problem"]
    assert CANARY not in error.message + json.dumps(error.details)


def test_times_beyond_the_horizon(predictor: Predictor, patient: dict[str, Any]) -> None:
    error = refused(predictor, patient=patient, feature="age", times=[61])
    assert error.code == "time_beyond_horizon"


def test_a_model_of_labels_alone_answers_too(labels_trained: Any) -> None:
    predictor = Predictor(labels_trained.bundle, "digest")
    name = next(iter(predictor.bundle.study.features))
    answer = asked(predictor, patient={name: None}, feature=name)
    assert len(answer["answers"]) == len(answer["values"]) > 0
    assert all("response.ici_response" in each for each in answer["answers"])


def test_over_http(client: Any, patient: dict[str, Any]) -> None:
    response = client.post("/what_if", {"patient": patient, "feature": "IL1R1"})
    assert response.status_code == 200
    risks = [answer["risk"] for answer in response.json()["answers"]]
    assert len(set(risks)) == len(risks)
    assert client.post("/what_if", {"patient": patient}).status_code == 400
    assert client.request("GET", "/what_if").status_code == 405


leaves = st.none() | st.booleans() | st.just(FRACTION) | st.just(CANARY) | st.integers()
values = st.lists(leaves | st.lists(leaves, max_size=1), max_size=3)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "patient": st.dictionaries(st.sampled_from(["age", "stage", "foo"]), leaves) | leaves,
        "feature": st.sampled_from(["age", "IL1R1", "stage", "act", "foo"]) | leaves,
        "values": values | leaves,
        "times": st.lists(leaves, max_size=2) | leaves,
    },
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(["/what_if", "/explain"]), body=bodies)
def test_any_json_is_answered_or_refused_and_nothing_of_a_patient_is_logged(
    client: Any, logged: list[str], path: str, body: Any
) -> None:
    response = client.post(path, body)
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert response.json().keys() == {"error"}
        assert CANARY not in response.text
        assert str(FRACTION) not in response.text
    assert CANARY not in "".join(logged)
    assert str(FRACTION) not in "".join(logged)


def test_many_names_are_not_answered_fifty_times(predictor: Predictor) -> None:
    patient = {"age_years": 61, **{f"unknown_{i}": i for i in range(999)}}
    assert asked(predictor, patient=patient, feature="age", values=[40, 50])["values"] == [40, 50]
    error = refused(predictor, patient={**patient, "more": 1}, feature="age", values=[40, 50])
    assert error.details[0]["where"] == "patient"
