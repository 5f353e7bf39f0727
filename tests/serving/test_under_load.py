"""A real server, asked without a pause: by too many, while its worker is killed, and at its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.processes import end, free_port
from tests.benchmarks.load import BROKEN, Load, load, worker
from tests.benchmarks.serving import answers

pytestmark = pytest.mark.slow

LIMIT, CLIENTS = 8, 6
LISTED = 400


@dataclass
class Server:
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    people: list[dict[str, Any]]
    risks: list[float]

    def right(self, place: int, status: int, body: bytes) -> bool:
        """Whether an answer to a single patient is that patient's."""
        if status != 200:
            return status == 429
        answer = json.loads(body)
        same = answer["patient_id"] == self.people[place]["patient"]
        return same and answer["risk"] == pytest.approx(self.risks[place], abs=1e-9)

    def right_list(self, _: int, status: int, body: bytes) -> bool:
        if status != 200:
            return status == 429
        found = [each["risk"] for each in json.loads(body)["patients"]]
        return found == pytest.approx((self.risks * LISTED)[:LISTED], abs=1e-9)

    def ask(self, clients: int, seconds: float, lists: bool = False) -> Load:
        bodies = [json.dumps({"patient": each}).encode() for each in self.people]
        if lists:
            bodies = [json.dumps({"patients": (self.people * LISTED)[:LISTED]}).encode()]
        path, check = ("/predict_batch", self.right_list) if lists else ("/predict", self.right)
        return load(self.port, path, bodies, clients, seconds, check=check)


@dataclass
class Asking:
    """Clients of single patients and of lists, in threads of their own."""

    server: Server
    seconds: float
    began: float = 0.0
    found: list[Load] = field(default_factory=list)

    def __enter__(self) -> Asking:
        def run(clients: int, lists: bool) -> None:
            self.found.append(self.server.ask(clients, self.seconds, lists))

        self.began = time.perf_counter()
        self.threads = [
            threading.Thread(target=run, args=each) for each in ((CLIENTS, False), (2, True))
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join()

    @property
    def passed(self) -> float:
        """Seconds since the asking began."""
        return time.perf_counter() - self.began


@pytest.fixture
def server(
    bundle: Bundle, bundle_path: Path, patient: dict[str, Any], tmp_path: Path
) -> Iterator[Server]:
    people = [{**patient, "patient": f"P{i}", "age_years": 30 + 2 * i} for i in range(30)]
    risks = [each["risk"] for each in Predictor(bundle, "").answers(CheckedRequest(people, None))]
    port, log = free_port(), tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "accomplice",
    ]
    command += ["serve", str(bundle_path), "--port", str(port), "--concurrency", str(LIMIT)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + 60
            while not answers(port, "/readyz") and time.monotonic() < until:
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield Server(port, process, log, people, risks)
        finally:
            end(process)


def test_twice_as_many_as_are_let_in_get_their_own_answer_or_none(server: Server) -> None:
    run = server.ask(2 * LIMIT, 8.0)
    assert run.statuses.keys() == {200, 429}
    assert run.wrong == 0
    assert run.answered > 500
    assert run.quantile(0.99) < 20 * run.quantile(0.5)


def test_a_killed_worker_comes_back_and_only_the_gap_is_missed(server: Server) -> None:
    with Asking(server, 6.0) as asking:
        time.sleep(2.0)
        killed, process = asking.passed, worker(server.process.pid)
        process.send_signal(signal.SIGKILL)
        time.sleep(0.1)
        while not answers(server.port, "/readyz"):
            time.sleep(0.02)
        back = asking.passed
    assert back - killed < 2
    for run in asking.found:
        assert run.statuses.keys() <= {200, 429, BROKEN}
        assert run.wrong == 0
        # What was under way when the worker was killed had been sent before.
        assert all(killed - 2 < at < back for at in run.broken_at), (killed, back, run.broken_at)
        assert run.answered > 10
    assert sum(run.statuses[BROKEN] for run in asking.found) >= 1
    assert worker(server.process.pid).pid != process.pid


def test_at_its_end_it_answers_what_was_asked_before(server: Server) -> None:
    with Asking(server, 6.0) as asking:
        time.sleep(2.0)
        ended = asking.passed
        server.process.terminate()
        assert server.process.wait(20) == 0
        over = asking.passed
    assert over - ended < 10
    for run in asking.found:
        assert run.answered > 10
        assert run.wrong == 0
        # From then on there is nobody to ask.
        assert run.broken_at
        assert min(run.broken_at) > ended
    assert "Traceback" not in server.log.read_text()
