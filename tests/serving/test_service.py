"""The endpoint, asked in this process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.api.errors import CACHE, HEADERS
from accomplice.training.bundle import Bundle

pytestmark = [
    # BentoML 1.4 makes its path patterns by a name that pathspec 1 deprecates.
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern .'gitwildmatch'.:DeprecationWarning"),
    # BentoML 1.4 overrides a method of its models that pydantic 2.11 deprecates.
    pytest.mark.filterwarnings(
        "ignore:The `__get_pydantic_core_schema__` method:pydantic.PydanticDeprecatedSince211"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-71"
JSON = {"content-type": "application/json"}
FRACTION = 86420.97531


def error_of(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "details"}
    return dict(body["error"])


def test_one_patient(client: Any, bundle: Bundle, patient: dict[str, Any]) -> None:
    response = client.post("/predict", {"patient": patient, "times": [12, 48]})
    assert response.status_code == 200
    answer = response.json()
    expected = bundle.predict(pd.DataFrame([patient]), [12, 48]).iloc[0]
    assert answer["risk"] == pytest.approx(expected["risk"], abs=1e-9)
    assert answer["survival@48"] == pytest.approx(expected["survival@48"], abs=1e-9)
    assert {"curve", "interval", "flags", "model", "note", "patient_id"} <= answer.keys()


def test_a_batch(client: Any, bundle: Bundle, patient: dict[str, Any]) -> None:
    patients = [patient, {**patient, "patient": "X2", "IL1R1": None, "age_years": "old"}]
    answer = client.post("/predict_batch", {"patients": patients}).json()
    assert answer.keys() == {"patients", "model", "note"}
    assert [p["patient_id"] for p in answer["patients"]] == ["X1", "X2"]
    assert answer["patients"][1]["flags"] == ["missing:age", "missing:IL1R1", "not_a_number:age"]
    expected = bundle.predict(pd.DataFrame(patients))
    assert [p["risk"] for p in answer["patients"]] == pytest.approx(
        expected["risk"].tolist(), abs=1e-9
    )
    for name in ("benefit@60", "benefit_low@60", "benefit_high@60", "rmst_gain@60", "p_benefit"):
        assert [p[name] for p in answer["patients"]] == pytest.approx(
            expected[name].tolist(), abs=1e-9
        )
    assert [p["advice"] for p in answer["patients"]] == expected["advice"].tolist()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/predict_batch", 405, "method_not_allowed"),
        ("POST", "/nowhere", 404, "not_found"),
        ("GET", f"/predict/{CANARY}", 404, "not_found"),
    ],
)
def test_other_paths_and_methods(
    client: Any, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert CANARY not in response.text
    for name, value in (*HEADERS, CACHE):
        assert response.headers[name.decode()] == value.decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"patient": {"age": NaN}}', "not_json"),
        (b'{"patient": {"age": Infinity}}', "not_json"),
        (b"\xff", "not_json"),
        (b"[1]", "invalid_request"),
        (b'{"patient": {"age": {"x": 1}}}', "invalid_request"),
        (b'{"patient": {"age": 61}, "times": [61]}', "time_beyond_horizon"),
    ],
)
def test_wrong_bodies(client: Any, body: bytes, code: str) -> None:
    response = client.request("POST", "/predict", content=body, headers=JSON)
    assert response.status_code == 400
    assert error_of(response)["code"] == code


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("", 415),
        ("text/plain", 415),
        ("multipart/form-data", 415),
        ("application/vnd.bentoml+pickle", 415),
    ],
)
def test_nothing_but_json_is_read(
    client: Any, patient: dict[str, Any], kind: str, status: int
) -> None:
    body = json.dumps({"patient": patient}).encode()
    response = client.request("POST", "/predict", content=body, headers={"content-type": kind})
    assert response.status_code == status
    if status != 200:
        assert error_of(response)["code"] == "unsupported_media_type"


def test_half_a_character_in_a_name_is_refused(client: Any) -> None:
    body = b'{"patient": {"age": 61, "\\ud800": 1}}'
    assert client.request("POST", "/predict", content=body, headers=JSON).status_code == 400


leaves = st.none() | st.booleans() | st.just(FRACTION) | st.just(CANARY) | st.integers()
trees = st.deferred(
    lambda: (
        leaves
        | st.lists(trees, max_size=2)
        | st.dictionaries(st.text(max_size=3), trees, max_size=2)
    )
)
patients = st.dictionaries(
    st.sampled_from(["age", "stage", "sex", "IL1R1", "foo", "hospital"]), leaves | trees
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "patient": patients | trees,
        "patients": st.lists(patients, max_size=3) | trees,
        "times": st.lists(st.integers(-1, 61) | leaves, max_size=3) | trees,
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/predict", "/predict_batch"]), body=bodies | trees)
def test_any_json_is_answered_or_refused_and_nothing_is_repeated(
    client: Any, logged: list[str], path: str, body: Any
) -> None:
    response = client.post(path, body)
    assert response.status_code in (200, 400)
    assert CANARY not in response.text
    assert str(FRACTION) not in response.text
    if response.status_code == 400:
        error_of(response)
    assert CANARY not in "".join(logged)
    assert str(FRACTION) not in "".join(logged)


def test_an_error_of_ours_is_logged_without_its_text(
    client: Any, patient: dict[str, Any], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(f"could not convert {CANARY}")

    monkeypatch.setattr(Predictor, "answers_json", fail)
    response = client.post("/predict", {"patient": patient})
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal"
    log = "\n".join(logged)
    assert "ValueError in fail (" in log
    assert CANARY not in response.text + log


def test_requests_are_logged_by_route_alone(
    client: Any, patient: dict[str, Any], logged: list[str]
) -> None:
    client.post("/predict", {"patient": patient})
    client.request("GET", f"/{CANARY}", params={"age": CANARY})
    client.request(CANARY.upper(), "/predict")
    client.request("GET", "/readyz")
    lines = [re.sub(r" [0-9.]+ ms", "", text) for text in logged]
    assert lines == [
        "POST /predict 200",
        "GET (another path) 404 from=127.0.0.1",
        "(another method) /predict 405 from=127.0.0.1",
    ]


def test_bentoml_s_own_routes_answer(client: Any) -> None:
    assert client.request("GET", "/schema.json").status_code == 200
    assert client.request("GET", "/readyz").status_code == 200


def in_a_fresh_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_serving_imports_no_training_tools() -> None:
    heavy = "torch pytorch_lightning lightning mlflow optuna matplotlib sksurv pyarrow.parquet"
    found = in_a_fresh_process(
        "import sys, serving.service, serving.endpoint\n"
        f"print([m for m in {heavy.split()} if m in sys.modules])"
    )
    assert found.strip() == "[]"
