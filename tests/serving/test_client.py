"""The Python client, against the service in this process and against a server that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from accomplice.serving import client as module
from accomplice.serving.client import Client, EndpointError
from accomplice.training.bundle import Bundle


class Bridge(httpx.BaseTransport):
    """Takes a client's requests to the service in this process."""

    def __init__(self, within: Any) -> None:
        self.within = within

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.within.request(
            request.method, request.url.path, content=request.read(), headers=request.headers
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def endpoint(client: Any) -> Client:
    return Client("http://127.0.0.1", transport=Bridge(client))


def scripted(handle: Callable[[httpx.Request], httpx.Response], **more: Any) -> Client:
    return Client("http://test", transport=httpx.MockTransport(handle), **more)


def test_one_patient(endpoint: Client, bundle: Bundle, patient: dict[str, Any]) -> None:
    found = endpoint.predict(patient, times=[12, 48])
    expected = bundle.predict(pd.DataFrame([patient]), [12, 48]).iloc[0]
    assert found["survival@48"] == pytest.approx(expected["survival@48"], abs=1e-9)
    assert found["risk_group"] == expected["risk_group"]
    assert (found.patient_id, found.flags, found.interval) == ("X1", (), 0.8)
    curve = found.frame()
    assert list(curve.columns) == ["time", "survival", "low", "high"]
    assert curve["survival"].is_monotonic_decreasing


def test_a_table_comes_back_as_predict_writes_it(
    endpoint: Client, bundle: Bundle, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 7)
    people = table.head(20).drop(columns=["months", "dead"])
    people.loc[people.index[::3], "IL1R1"] = np.nan
    people["age_years"] = people["age_years"].astype("Int64").mask(people.index < 2)
    found = endpoint.predict_batch(people, times=[12, 48])
    assert len(found) == 20
    assert found.model["name"] == "made-up"
    assert "research use" in found.note
    expected = bundle.predict(people, [12, 48])
    pd.testing.assert_frame_equal(
        found.frame(), expected, check_dtype=False, check_column_type=False, rtol=0, atol=1e-6
    )
    assert [each.patient_id for each in found[:2]] == people["patient"].head(2).tolist()


def test_a_list_that_is_too_large_goes_in_smaller_requests() -> None:
    sizes = []

    def handle(request: httpx.Request) -> httpx.Response:
        ages = [each["age"] for each in json.loads(request.content)["patients"]]
        sizes.append(len(ages))
        if len(ages) > 3 or ages == [99]:
            error = {"code": "too_large", "message": "the body is too large", "details": []}
            return httpx.Response(413, json={"error": error})
        patients = [{"risk": age, "flags": []} for age in ages]
        return httpx.Response(200, json={"patients": patients, "model": {}, "note": ""})

    found = scripted(handle).predict_batch([{"age": age} for age in range(10)])
    assert [each["risk"] for each in found] == list(range(10))
    assert sizes == [10, 5, 2, 2, 2, 2, 2]
    with pytest.raises(EndpointError, match="too_large"):
        scripted(handle).predict_batch([{"age": 99}])


@pytest.mark.parametrize("answered", [0, 3])
def test_an_answer_of_another_length_is_an_error(answered: int) -> None:
    patients = [{"risk": 1.0, "flags": []}] * answered
    content = {"patients": patients, "model": {}, "note": ""}
    endpoint = scripted(lambda _: httpx.Response(200, json=content))
    with pytest.raises(EndpointError, match="not as long as the list"):
        endpoint.predict_batch([{"age": 1}, {"age": 2}])
    if not answered:
        assert len(endpoint.predict_batch([])) == 0


def test_a_list_of_dictionaries_with_missing_values(
    endpoint: Client, patient: dict[str, Any]
) -> None:
    gaps = {**patient, "IL1R1": float("nan"), "CD8": pd.NA, "age_years": np.int64(61)}
    one, other = endpoint.predict_batch([gaps, {**patient, "IL1R1": None, "CD8": None}])
    assert one == other
    assert one.flags == ("missing:IL1R1", "missing_modality:density")


class Sex(StrEnum):
    FEMALE = "female"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (pd.Timestamp("2020-01-02"), "2020-01-02 00:00:00"),
        (date(2020, 1, 2), "2020-01-02"),
        (np.datetime64("2020-01-02"), "2020-01-02"),
        (np.datetime64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timedelta(days=1), "1 days 00:00:00"),
        (Decimal("61.5"), 61.5),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(7.5), 7.5),
        (np.str_("II"), "II"),
        (Sex.FEMALE, "female"),
        (float("inf"), None),
        (-np.inf, None),
        (np.nan, None),
    ],
)
def test_cells_of_tables(value: object, sent: object) -> None:
    bodies = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"risk": 1.0, "flags": []})

    endpoint = scripted(handle)
    endpoint.predict({"x": value})
    assert bodies == [{"patient": {"x": sent}}]
    assert type(bodies[0]["patient"]["x"]) is type(sent)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, np.array([1, 2]), b"x", 1j, object()])
def test_what_is_no_cell_is_named_and_not_sent(value: object) -> None:
    endpoint = scripted(lambda _: httpx.Response(500))
    for ask in (
        lambda: endpoint.predict({"visits": value}),
        lambda: endpoint.predict_batch([{"visits": value}]),
        lambda: endpoint.explain({"visits": value}),
        lambda: endpoint.what_if({"age": 1}, "visits", [value]),
    ):
        with pytest.raises(EndpointError, match="'visits' is of type") as error:
            ask()
        assert error.value.status == 0


@pytest.mark.parametrize("patients", [pd.Series({"age": 61, "sex": "male"}), ["age"], [[61]]])
def test_what_is_no_patient_is_named(patients: Any) -> None:
    with pytest.raises(EndpointError, match="a patient is of type") as error:
        scripted(lambda _: httpx.Response(500)).predict_batch(patients)
    assert error.value.status == 0


def test_a_table_with_a_column_twice_is_refused() -> None:
    table = pd.DataFrame([[61, 20]], columns=["age", "age"])
    with pytest.raises(EndpointError, match="column 'age' stands twice"):
        scripted(lambda _: httpx.Response(500)).predict_batch(table)


def test_a_table_with_columns_that_the_model_does_not_use(
    endpoint: Client, patient: dict[str, Any]
) -> None:
    table = pd.DataFrame([patient] * 2)
    table["visit"] = pd.Timestamp("2020-01-01")
    table["IL1R1"] = [np.inf, table["IL1R1"][1]]
    table["age_years"] = [Decimal(61)] * 2
    first, second = endpoint.predict_batch(table)
    assert "unknown_column:visit" in first.flags
    assert "missing:IL1R1" in first.flags
    assert "unknown_column:visit" in second.flags


def test_an_explanation(endpoint: Client, patient: dict[str, Any]) -> None:
    found = endpoint.explain(patient)
    assert found.base + sum(found.features.values()) == pytest.approx(found.risk)
    table = found.frame()
    assert table["part"].abs().is_monotonic_decreasing
    assert set(table["feature"]) == set(found.features)


def test_a_what_if(endpoint: Client, patient: dict[str, Any]) -> None:
    found = endpoint.what_if(patient, "act", times=[60])
    assert found.values == ("no", "yes")
    table = found.frame()
    assert table["act"].tolist() == ["no", "yes"]
    gain = table["survival@60"].diff().iloc[1]
    assert gain == pytest.approx(table["benefit@60"].iloc[0], abs=1e-9)
    some = endpoint.what_if(patient, "IL1R1", values=[5.0, np.float64(9.0), None])
    assert some.values == (5.0, 9.0, None)


def test_the_model_and_whether_it_is_ready(endpoint: Client) -> None:
    assert endpoint.ready()
    assert endpoint.model()["name"] == "made-up"


def test_a_refusal_is_an_error_with_its_code(endpoint: Client, patient: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match="time_beyond_horizon") as error:
        endpoint.predict(patient, times=[61])
    assert (error.value.code, error.value.status) == ("time_beyond_horizon", 400)
    assert error.value.details[0]["where"] == "times[0]"
    with pytest.raises(EndpointError, match="at least one patient"):
        endpoint.predict_batch([])


def test_a_token_is_sent() -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"name": "m"})

    scripted(handle, token="secret").model()
    scripted(handle).model()
    assert seen == ["Bearer secret", None]


def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    answers = [
        httpx.Response(429, headers={"Retry-After": "2"}),
        httpx.Response(503),
        httpx.Response(429, headers={b"Retry-After": "²".encode()}),
        httpx.Response(200, json={"name": "m"}),
    ]
    assert scripted(lambda _: answers.pop(0)).model() == {"name": "m"}
    assert waited == [2.0, 1.0, 1.0]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    error = {"error": {"code": "too_many_requests", "message": "later", "details": []}}
    busy = scripted(
        lambda _: httpx.Response(429, headers={"Retry-After": "60"}, json=error), patience=5
    )
    with pytest.raises(EndpointError) as refused:
        busy.model()
    assert (refused.value.code, refused.value.status, waited) == ("too_many_requests", 429, [])


def test_other_answers_and_no_answer() -> None:
    for answer in (httpx.Response(502, text="<html>"), httpx.Response(200, json=[1])):
        with pytest.raises(EndpointError, match="unexpected"):
            scripted(lambda _, answer=answer: answer).model()  # type: ignore[misc]

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("canary-71")

    gone = scripted(refuse)
    assert not gone.ready()
    with pytest.raises(EndpointError, match="unreachable") as error:
        gone.predict({"age": 61})
    assert error.value.status == 0
    assert "canary" not in str(error.value)


def test_a_list_is_not_pieced_together_from_two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    digests = iter("ab")

    def handle(_: httpx.Request) -> httpx.Response:
        answer = {"patients": [{"flags": []}], "model": {"digest": next(digests)}, "note": ""}
        return httpx.Response(200, json=answer)

    with pytest.raises(EndpointError, match="model_changed"):
        scripted(handle).predict_batch([{"age": 61}, {"age": 62}])
