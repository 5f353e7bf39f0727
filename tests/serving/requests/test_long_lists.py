"""Lists that are cut into pieces: the same patients and refusals as of a list read at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.study import Study
from accomplice.serving.requests import long_lists
from accomplice.serving.requests.long_lists import read_long_list, split
from accomplice.serving.requests.patient_reader import PatientReader
from accomplice.serving.requests.problems import RequestError
from accomplice.serving.requests.validation import read_request

HORIZON = 60.0

leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just('},{"]\\')
#: Patients that may be given, and values that none may have.
patients = st.dictionaries(
    st.sampled_from(["age_years", "sex", "IL1R1", "patient", 'o"{}[]\\']), leaves, max_size=4
)
wrong = st.lists(leaves, max_size=2) | st.dictionaries(st.text(max_size=2), leaves, max_size=2)


@pytest.fixture
def reader(study: Study) -> PatientReader:
    return PatientReader(study)


def found(read: Any) -> Any:
    """Return the patients and times of a request, or the code and places of its error."""
    try:
        request = read()
        return list(request.patients[:]), request.times
    except RequestError as error:
        return error.code, [each["where"] for each in error.details]


@given(
    listed=st.lists(patients, max_size=6),
    times=st.none() | st.lists(st.integers(-1, 70) | st.text(max_size=2), max_size=3),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    first=st.booleans(),
)
def test_a_list_in_pieces_is_the_list(
    study: Study, listed: list[Any], times: Any, indent: int | None, ascii_only: bool, first: bool
) -> None:
    reader = PatientReader(study)
    asked: dict[str, Any] = {"times": times, "patients": listed}
    if not first:
        asked = dict(reversed(asked.items()))
    if times is None and indent is None:
        del asked["times"]
    elif any(isinstance(each, str) for each in times or ()) and first:
        asked = dict(reversed(asked.items()))
    body = json.dumps(asked, indent=indent, ensure_ascii=ascii_only)
    try:
        sent = body.encode()
    except UnicodeEncodeError:
        return
    at_once = found(lambda: read_request(sent, reader, HORIZON, batch=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_lists, "PIECE", 30)
        assert found(lambda: read_long_list(sent, reader, HORIZON)) == at_once


@given(st.lists(patients | wrong, min_size=1, max_size=4))
def test_what_is_no_patient_is_refused(study: Study, listed: list[Any]) -> None:
    reader = PatientReader(study)
    body = json.dumps({"patients": listed}).encode()
    at_once = found(lambda: read_request(body, reader, HORIZON, batch=True))
    in_pieces = found(lambda: read_long_list(body, reader, HORIZON))
    if isinstance(at_once[0], list):
        assert in_pieces == at_once
    else:
        assert in_pieces[0] == at_once[0]


def test_places_are_those_of_the_list(reader: PatientReader, monkeypatch) -> None:
    monkeypatch.setattr(long_lists, "PIECE", 10)
    listed = [{"age_years": 61}] * 50 + [{"unknown": 1}, {"age_years": 1, "age": 2}]
    with pytest.raises(RequestError) as error:
        read_long_list(json.dumps({"patients": listed}).encode(), reader, HORIZON)
    assert [each["where"] for each in error.value.details] == ["patients[50]", "patients[51].age"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"patients": [{"sex": 1,}]}', "not_json"),
        (b'{"patients": [{"sex": 1}] x', "not_json"),
        (b'{"patients": [{"sex": 1}]}, {}', "not_json"),
        (b'{"patients": [{"sex": "\xff"}]}', "not_json"),
        (b'{"patients": [{"sex": NaN}]}', "not_json"),
        (b'{"patients": [{"sex": 1, "sex": 2}]}', "invalid_request"),
        (b'{"patients": [{"sex": 1}], "patients": []}', "invalid_request"),
        (b'{"patients": [{"sex": 1}], "other": 1}', "invalid_request"),
        (b'{"patients": [{"sex": 1} {"sex": 1}]}', "invalid_request"),
        (b'{"patients": [{"sex": 1}, ]}', "invalid_request"),
        (b'{"pati\\u0065nts": []}', "invalid_request"),
        (b"[]", "invalid_request"),
    ],
)
def test_other_bodies_are_refused(reader: PatientReader, body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as error:
        read_long_list(body, reader, HORIZON)
    assert error.value.code == code


def test_the_rest_of_a_body_is_all_but_the_patients() -> None:
    body = b'{"times": [1] , "patients" : [ {"a": "}"} ,{} ], "x": 1}'
    places, rest = split(body)
    assert [body[a:b] for a, b in places] == [b'{"a": "}"}', b"{}"]
    assert json.loads(rest) == {"times": [1], "patients": [], "x": 1}
