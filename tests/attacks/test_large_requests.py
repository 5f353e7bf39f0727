"""Requests that cost much: long lists, large answers, and odd numbers, while others ask."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accomplice.serving.requests.schemas import MOST_CELLS
from tests.attacks.wire import Server, prediction, served

#: MB of bodies and answers that the server may hold.
MEMORY = 64
BATCH = "POST /predict_batch"


@pytest.fixture(scope="module")
def server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("large")
    with served(bundle_path, folder, ACCOMPLICE_MEMORY_MB=str(MEMORY)) as server:
        yield server


def listed(n: int, size: int = 0, **more: Any) -> bytes:
    """Return a list of patients, each with unknown values of some bytes."""
    unknown = {f"unknown_{j}": j for j in range(size // 20)}
    patients = [{"patient": f"P{i}", "age_years": 30 + i % 60, **unknown} for i in range(n)]
    return json.dumps({"patients": patients, **more}).encode()


def test_long_lists_hold_up_nobody(server: Server) -> None:
    body, statuses = listed(1500, 3500), []
    assert len(body) > 4 * 2**20

    def seconds() -> float:
        began = time.perf_counter()
        assert server.ask(body=prediction()).status == 200
        return time.perf_counter() - began

    usual = max(seconds() for _ in range(20))
    lists = [
        threading.Thread(target=lambda: statuses.append(server.ask(BATCH, body, 60).status))
        for _ in range(2)
    ]
    for each in lists:
        each.start()
    during = []
    while any(each.is_alive() for each in lists):
        during.append(seconds())
    assert statuses == [200] * 2
    assert len(during) > 10
    # Two parsers that keep the interpreter's lock, one after the other, took many times as long.
    assert sorted(during)[len(during) * 9 // 10] < 5 * usual + 0.1


def test_long_lists_get_the_answers_of_short_ones(server: Server) -> None:
    long = json.loads(server.ask(BATCH, listed(500, 3000, times=[12, 24])).content)
    short = json.loads(server.ask(BATCH, listed(500, 300, times=[12, 24])).content)
    for a, b in zip(long["patients"], short["patients"], strict=True):
        assert a.pop("flags")[:4] == b.pop("flags")[:4]
        assert a == b


def test_bodies_beyond_the_memory_are_put_off_and_single_patients_are_not(server: Server) -> None:
    size = 15 * 2**20
    slow = [server.connect() for _ in range(MEMORY // 16 + 3)]
    for each in slow:
        each.sendall(server.head(BATCH, Content_Length=str(size)))
    time.sleep(0.2)
    found = server.ask(BATCH, listed(2000, 3500))
    assert (found.status, found.headers.get("retry-after")) == (429, "1")
    assert server.ask(body=prediction()).status == 200
    assert server.memory < 500
    for each in slow:
        each.close()
    time.sleep(0.2)
    assert server.ask(BATCH, listed(2000, 3500)).status == 200


def test_a_small_request_gets_no_huge_answer(server: Server) -> None:
    times = [round(0.1 + 0.29 * k, 2) for k in range(200)]
    body = json.dumps({"patients": [{"age_years": 1}] * 2000, "times": times}).encode()
    assert len(body) < 50_000
    found = server.ask(BATCH, body)
    assert (found.status, found.code) == (413, "too_large")
    body = json.dumps({"patients": [{"age_years": 1}] * (MOST_CELLS // 200), "times": times})
    assert server.ask(BATCH, body.encode()).status == 200


def test_one_patient_has_no_body_of_many_mb(server: Server) -> None:
    text = b'{"patient": {"age_years": 61, "sex": "%b"}}'
    assert server.ask(body=text % (b"x" * 2**20)).status == 200
    for path in ("/predict", "/explain", "/what_if"):
        found = server.ask(f"POST {path}", text % (b"x" * 3 * 2**20))
        assert (found.status, found.code) == (413, "too_large")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 400, "-" + "9" * 310])
def test_numbers_beyond_floats_are_refused_however_they_are_written(
    server: Server, number: str
) -> None:
    for body in (
        b'{"patient": {"age_years": %b}}' % number.encode(),
        b'{"patients": [{"age_years": %b}]}' % number.encode(),
    ):
        found = server.ask(BATCH if b"patients" in body else "POST /predict", body)
        assert (found.status, found.code) == (400, "invalid_request")
        assert b"too large to be read" in found.content


@pytest.mark.parametrize(
    "body",
    [
        b'{"patients": [' + b"[" * 2_000_000,
        b'{"patients": [' + b'{"a":' * 400_000,
        b'{"patients": [{"sex": "' + b"x" * 3_000_000 + b'"}]}',
        b'{"patients": [{"sex": "' + b"\\" * 2_000_001 + b'"}]}',
        b'{"other": [' + b"1," * 1_000_000 + b'1], "patients": [{"sex": "male"}]}',
        b'{"patients": [' + b" " * 2_000_000 + b"]}",
        b'{"patients": [' + b'{"sex": "male"},' * 100_000 + b"{}]}",
        b'{"patients": [' + b'{"sex": male},' * 100_000 + b"{}]}",
        b'{"patients": [' + b'{"sex": "male" },' * 4_000 + b"{}]" + b" " * 2_000_000 + b"}",
        b'{"patients": [{"sex": "male"}' + b" " * 2_000_000 + b"]}",
        b" " * 2_000_000,
    ],
)
def test_long_bodies_of_other_forms_are_refused_fast(server: Server, body: bytes) -> None:
    began = time.perf_counter()
    found = server.ask(BATCH, body)
    assert found.status == 400
    assert found.code in ("invalid_request", "not_json", "too_many_patients")
    assert time.perf_counter() - began < 2
