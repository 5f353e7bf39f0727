"""A real server moves from champion to champion while it is asked without a pause."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.processes import end, free_port
from accomplice.training.tracking.registry import register_bundle
from accomplice.training.tracking.store import open_store
from tests.benchmarks.load import worker

ROOT = Path(__file__).resolve().parents[2]
NAME = "accomplice-made-up"
CANARY = "canary-71"

pytestmark = pytest.mark.slow


def ask(port: int, path: str, body: Any = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for(true: Callable[[], bool], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if true():
                return True
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    return False


@dataclass
class Server:
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    registry: mlflow.MlflowClient
    risks: dict[str, list[float]]
    """Version -> what its bundle says of each patient."""
    people: list[dict[str, Any]]

    @property
    def version(self) -> str:
        return str(json.loads(ask(self.port, "/model")[1])["version"])

    def promote(self, version: str) -> None:
        self.registry.set_registered_model_alias(NAME, "champion", version)

    def kill_worker(self) -> None:
        killed = worker(self.process.pid)
        killed.kill()
        killed.wait(10)


@dataclass
class Asking:
    """Clients that ask without a pause and look at every answer."""

    server: Server
    clients: int
    statuses: Counter[Any] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Asking:
        self.threads = [threading.Thread(target=self._run, args=(k,)) for k in range(self.clients)]
        self.threads.append(threading.Thread(target=self._watch))
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(60)

    def _run(self, k: int) -> None:
        server = self.server
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        everybody = range(len(server.people))
        while not self.over.is_set():
            k += 1
            rows = everybody if k % 5 == 0 else [k % len(everybody)]
            people = [server.people[i] for i in rows]
            path, body = "/predict", {"patient": people[0]}
            if len(people) > 1:
                path, body = "/predict_batch", {"patients": people}
            try:
                kind = {"Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(body), kind)
                response = connection.getresponse()
                raw = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
                connection.close()
                continue
            self.statuses[response.status] += 1
            if response.status == 200:
                self._look(json.loads(raw), list(rows))
        connection.close()

    def _look(self, answer: dict[str, Any], rows: list[int]) -> None:
        version = answer["model"]["version"]
        self.versions[version] += 1
        expected = [self.server.risks[version][i] for i in rows]
        risks = [each["risk"] for each in answer.get("patients", [answer])]
        if risks != pytest.approx(expected, abs=1e-6):
            self.wrong.append(version)

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            self.statuses[f"ready {ask(self.server.port, '/readyz')[0]}"] += 1


@pytest.fixture
def server(
    bundle: Bundle,
    other_path: Path,
    drifted_path: Path,
    patient: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    people = [{**patient, "age_years": 30 + 2 * i, "patient": CANARY} for i in range(30)]
    store, registry, risks = open_store(), mlflow.MlflowClient(), {}
    other = Bundle.load(other_path)
    for version, one in (("1", bundle), ("2", other)):
        known = replace(one, provenance={**one.provenance, "cohort_fingerprint": "f"})
        known.save(tmp_path / version)
        assert register_bundle(store, NAME, known, tmp_path / version) == version
        answers = Predictor(one, "").answers(CheckedRequest(people, None))
        risks[version] = [answer["risk"] for answer in answers]
    known = replace(other, provenance={"fit_id": "fit-3", "cohort_fingerprint": "f"})
    assert register_bundle(store, NAME, known, drifted_path) == "3"
    registry.set_registered_model_alias(NAME, "champion", "1")
    port, log = free_port(), tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "accomplice",
    ]
    command += ["serve", f"models:/{NAME}@champion", "--reload-champion", "--every", "0.3"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=out, stderr=subprocess.STDOUT, env=None
        )
        try:
            assert wait_for(lambda: ask(port, "/readyz")[0] == 200, 60), log.read_text()
            yield Server(port, process, log, registry, risks, people)
        finally:
            process.terminate()
            try:
                assert process.wait(30) == 0
            finally:
                end(process)


def test_no_request_fails_and_no_answer_mixes_two(server: Server) -> None:
    assert server.version == "1"
    with Asking(server, 4) as asking:
        for version in ("2", "1", "2"):
            time.sleep(0.5)
            server.promote(version)
            assert wait_for(lambda v=version: server.version == v, 10)  # type: ignore[misc]
        time.sleep(0.5)
        # Its golden rows drift: refused, and what there was goes on.
        server.promote("3")
        assert wait_for(lambda: "version 3 (digest" in server.log.read_text(), 10)
        time.sleep(1)
        assert server.version == "2"
    assert asking.statuses.keys() == {200, "ready 200"}, asking.statuses
    assert asking.versions.keys() == {"1", "2"}
    assert min(asking.versions.values()) > 20
    assert not asking.wrong
    refusals = [line for line in server.log.read_text().splitlines() if "is refused" in line]
    assert len(refusals) == 1
    assert "answers its own test rows differently" in refusals[0]
    monitored = ask(server.port, "/metrics")[1].decode()
    assert 'accomplice_reloads_total{outcome="moved"} 3.0' in monitored
    assert 'accomplice_reloads_total{outcome="refused"} 1.0' in monitored
    about = [line for line in monitored.splitlines() if line.startswith("accomplice_model{")]
    assert len(about) == 1
    assert 'version="2"' in about[0]

    # A worker that is killed comes back with what was served, not with what was refused.
    server.kill_worker()
    assert wait_for(lambda: server.version == "2")
    server.promote("1")
    assert wait_for(lambda: server.version == "1", 10)
    server.kill_worker()
    assert wait_for(lambda: server.version == "1")
    body = {"patient": server.people[7]}
    risk = json.loads(ask(server.port, "/predict", body)[1])["risk"]
    assert risk == pytest.approx(server.risks["1"][7], abs=1e-6)
    assert CANARY not in server.log.read_text()
