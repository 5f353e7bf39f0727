from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.example_patient import example_patient
from accomplice.data.study import Study
from accomplice.serving.requests import validation
from accomplice.serving.requests.patient_reader import PatientReader
from accomplice.serving.requests.problems import MOST_PROBLEMS, RequestError
from accomplice.serving.requests.validation import CheckedRequest, read_request

CANARY = "canary-71"
HORIZON = 60.0


@pytest.fixture(scope="module")
def reader(study: Study) -> PatientReader:
    return PatientReader(study)


def ask(reader: PatientReader, raw: Any, batch: bool = False) -> CheckedRequest:
    return read_request(json.dumps(raw).encode(), reader, HORIZON, batch)


def refusal(reader: PatientReader, raw: Any, batch: bool = False) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask(reader, raw, batch)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({}, "patient"),
        ({"patient": None}, "patient"),
        ({"patient": {}}, "patient"),
        ({"patient": {"foo": 1}}, "patient"),
        ({"patient": {"age": [CANARY]}}, "patient.age"),
        ({"patient": {"age": {CANARY: CANARY}}}, "patient.age"),
        ({"patient": {"age": 1, "age_years": 2}}, "patient.age_years"),
        ({"patient": {"age": 1}, "time": [1]}, "time"),
        ({"patient": {"age": 1}, "times": 12}, "times"),
        ({"patient": {"age": 1}, "times": [12, "36"]}, "times[1]"),
        ({"patient": {"age": 1}, "times": [True]}, "times[0]"),
        ({"patient": {"age": 1}, "times": [-1]}, "times[0]"),
        ({"patient": {"age": 1}, "times": [12, 12.0]}, "times"),
        ({"patient": {"age": 1, "note": "\ud800"}}, "patient"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(
    reader: PatientReader, raw: Any, where: str
) -> None:
    error = refusal(reader, raw)
    assert error.code == "invalid_request"
    assert where in [problem["where"] for problem in error.details]
    assert CANARY not in error.message + str(error.details)


@pytest.mark.parametrize("raw", [None, 3, "patient", [], True])
def test_a_body_must_be_an_object(reader: PatientReader, raw: Any) -> None:
    assert "send an object" in refusal(reader, raw).message


def test_a_batch_names_the_patient(reader: PatientReader) -> None:
    error = refusal(reader, {"patients": [{"age": 1}, {"age": []}, 3]}, batch=True)
    assert [p["where"] for p in error.details] == ["patients[1].age", "patients[2]"]
    assert refusal(reader, {"patients": []}, batch=True).details[0]["where"] == "patients"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (b'{"age": 1e999}', "patients[1].age"),
        (b'{"age": 1, "note": "\\udc00"}', "patients[1]"),
        (b'{"age": 1, "age_years": 1}', "patients[1].age_years"),
        (b'{"foo": 1}', "patients[1]"),
        (b'{"age": {}}', "patients[1].age"),
        (b"[]", "patients[1]"),
    ],
)
def test_one_wrong_patient_of_many_is_named(
    reader: PatientReader, wrong: bytes, where: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(b'{"patients": [{"age": 1}, %b, {"age": 2}]}' % wrong, reader, HORIZON, True)
    assert [problem["where"] for problem in caught.value.details] == [where]


def test_a_number_too_large_for_a_float_is_refused(reader: PatientReader) -> None:
    with pytest.raises(RequestError, match="too large"):
        read_request(b'{"patient": {"age": 1e999}}', reader, HORIZON, False)


@pytest.mark.parametrize("time", [60.5, 1e9, 10**400])
def test_times_beyond_the_horizon_have_a_code_of_their_own(
    reader: PatientReader, time: float
) -> None:
    error = refusal(reader, {"patient": {"age": 1}, "times": [12, time]})
    assert error.code == "time_beyond_horizon"
    assert error.details == [
        {"where": "times[1]", "problem": "beyond the model's horizon of 60 months"}
    ]


@pytest.mark.parametrize("times", [None, []])
def test_times_can_be_left_out(reader: PatientReader, times: Any) -> None:
    assert ask(reader, {"patient": {"age": 1}, "times": times}).times is None
    assert ask(reader, {"patient": {"age": 1}}).times is None


def test_what_is_odd_about_values_is_not_refused(reader: PatientReader) -> None:
    patient = {"age": "sixty", "stage": "IX", "CD8": -3, "sex": True, "foo": None}
    assert ask(reader, {"patient": patient, "times": [0, 60]}).patients == [patient]


def test_an_error_lists_no_more_than_can_be_read(reader: PatientReader) -> None:
    error = refusal(reader, {"patients": [3] * 1000}, batch=True)
    assert len(error.details) == 20


def test_names_are_looked_up_for_no_more_than_are_listed(
    reader: PatientReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    monkeypatch.setattr(validation, "nearest", lambda name, _: looked_up.append(name) or "")
    refusal(reader, {f"key{i}": 1 for i in range(5000)})
    assert len(looked_up) == MOST_PROBLEMS


leaves = st.none() | st.booleans() | st.just(86420.97531) | st.just(CANARY) | st.integers()
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["age", "stage", "foo", "patient", "patients", "times"]), inner
        )
    ),
    max_leaves=12,
)


@given(raw=trees, batch=st.booleans())
def test_any_json_is_read_or_refused_without_its_values(
    reader: PatientReader, raw: Any, batch: bool
) -> None:
    try:
        asked = ask(reader, raw, batch)
    except RequestError as error:
        text = error.message + json.dumps(error.details)
        assert CANARY not in text
        assert "86420" not in text
    else:
        assert asked.patients
        assert len(reader.read(asked.patients).flags) == len(asked.patients)


def test_the_example_is_one_the_service_answers(study: Study, reader: PatientReader) -> None:
    patient = example_patient(study)
    assert patient["age_years"] == 64
    flags = reader.read([patient]).flags[0]
    assert flags == []


@pytest.mark.parametrize("times", [[12, 12.000000000000002], [1e-320, 0], [0.3, 0.1 + 0.2]])
def test_months_that_differ_by_less_than_a_day_are_one(reader: PatientReader, times: Any) -> None:
    error = refusal(reader, {"patient": {"sex": "male"}, "times": times})
    assert error.details == [{"where": "times", "problem": "a time is asked for twice"}]


@pytest.mark.parametrize("month", [12.001, 3.2854, 1e-5, 59.999])
def test_months_have_two_decimals(reader: PatientReader, month: float) -> None:
    error = refusal(reader, {"patient": {"sex": "male"}, "times": [12, month]})
    assert error.details[0]["where"] == "times[1]"


def test_computed_months_are_rounded_and_the_horizon_is_not(reader: PatientReader) -> None:
    asked = ask(reader, {"patient": {"sex": "male"}, "times": [0.1 + 0.2, 60, 12.25]})
    assert asked.times == (0.3, 60.0, 12.25)
    body = json.dumps({"patient": {"sex": "male"}, "times": [47.12345]}).encode()
    assert read_request(body, reader, 47.12345).times == (47.12345,)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "-" + "9" * 310])
@pytest.mark.parametrize("batch", [False, True])
def test_a_number_beyond_floats_is_refused(reader: PatientReader, number: str, batch: bool) -> None:
    patient = f'{{"age_years": {number}}}'
    body = f'{{"patients": [{patient}]}}' if batch else f'{{"patient": {patient}}}'
    with pytest.raises(RequestError) as caught:
        read_request(body.encode(), reader, HORIZON, batch)
    assert caught.value.details[0]["problem"] == "a number too large to be read"


def test_patients_times_months_are_limited(reader: PatientReader) -> None:
    times = [round(k / 4, 2) for k in range(101)]
    with pytest.raises(RequestError) as caught:
        ask(reader, {"patients": [{"sex": "male"}] * 1000, "times": times}, batch=True)
    assert (caught.value.code, caught.value.status) == ("too_large", 413)
    asked = ask(reader, {"patients": [{"sex": "male"}] * 1000, "times": times[:100]}, batch=True)
    assert len(asked.patients) == 1000
