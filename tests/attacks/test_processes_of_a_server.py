"""A server's processes: the reach of other users, and the remains when one is killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from accomplice.serving.deployment.signatures import sign
from accomplice.training.models.manifest import MANIFEST, SIGNATURE
from accomplice.training.processes import HOST, end, free_port
from tests.attacks.test_changed_models import write_keys
from tests.benchmarks.serving import answers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="serving forks its worker")

#: Seconds in which a server is back or over, whichever of its processes is killed.
GAP = 2.0
#: Serves with less time for requests under way at the end.
HASTY = """
import sys
from accomplice.serving import __main__ as start
from accomplice.serving.deployment import worker
worker.DRAIN = 1.0
sys.exit(start.main(["--port", sys.argv[1]]))
"""


@dataclass
class Family:
    """A server's processes: the one that was started, the supervisor, and the worker."""

    port: int
    process: subprocess.Popen[bytes]

    def all(self) -> list[psutil.Process]:
        starter = psutil.Process(self.process.pid)
        return [starter, *starter.children(recursive=True)]

    def __getitem__(self, name: str) -> psutil.Process:
        return self.all()[("starter", "supervisor", "worker").index(name)]

    def predicts(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        with contextlib.closing(connection):
            body = json.dumps({"patient": {"age_years": 61}})
            connection.request("POST", "/predict", body, {"content-type": "application/json"})
            return connection.getresponse().status == 200


@contextlib.contextmanager
def serving(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[Family]:
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not answers(port, "/readyz"):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield Family(port, process)
    finally:
        end(process)


@contextlib.contextmanager
def served(path: Path) -> Iterator[Family]:
    port = free_port()
    command = [sys.executable, "-m", "accomplice", "serve", str(path), "--port", str(port)]
    with serving(command, port) as family:
        yield family


@pytest.fixture(scope="module")
def server(bundle_path: Path) -> Iterator[Family]:
    with served(bundle_path) as family:
        yield family


def over(processes: list[psutil.Process], within: float) -> bool:
    """Whether processes end in time; one that nobody waits for stays as a zombie."""
    until = time.monotonic() + within
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_only_the_asked_port_listens(server: Family) -> None:
    for process in server.all():
        listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.port for c in listening} <= {server.port}
        # A socket with a name, in a folder or not, could be opened by another process.
        assert not [c for c in process.net_connections("unix") if c.laddr]
    assert len(server.all()) == 3


def test_a_killed_worker_is_replaced_in_time(server: Family) -> None:
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
        killed = server["worker"]
        began = time.monotonic()
        killed.send_signal(number)
        assert over([killed], GAP)
        assert server.predicts()
        assert time.monotonic() - began < GAP
        assert server["worker"].pid != killed.pid


def test_connections_wait_for_the_next_worker(server: Family) -> None:
    server["worker"].kill()
    # Each would be refused if nobody listened.
    assert all(server.predicts() for _ in range(5))


@pytest.mark.parametrize(
    ("name", "number"),
    [("starter", signal.SIGKILL), ("supervisor", signal.SIGKILL), ("starter", signal.SIGHUP)],
)
def test_no_process_holds_the_port_after_another_is_killed(
    bundle_path: Path, name: str, number: signal.Signals
) -> None:
    with served(bundle_path) as family:
        target = family[name]
        others = [each for each in family.all() if each != target]
        target.send_signal(number)
        assert over(others, GAP)
        with socket.create_server((HOST, family.port)):
            pass


def test_a_killed_start_leaves_no_copy_of_a_signed_model(
    bundle_path: Path,
    tmp_path: Path,
) -> None:
    key, trusted = write_keys(tmp_path)
    signed = Path(shutil.copytree(bundle_path, tmp_path / "signed"))
    (signed / SIGNATURE).write_bytes(sign((signed / MANIFEST).read_bytes(), key))
    (tmp_path / "temporary").mkdir()
    port, env = free_port(), {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    words = ("serve", str(signed), "--port", str(port), "--trust", str(trusted))
    with serving([sys.executable, "-m", "accomplice", *words], port, env) as family:
        assert list((tmp_path / "temporary").rglob(MANIFEST))
        starter, *others = family.all()
        starter.kill()
        assert over(others, GAP)
        assert not list((tmp_path / "temporary").iterdir())


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(bundle_path: Path) -> None:
    port = free_port()
    env = {**os.environ, "ACCOMPLICE_BUNDLE": str(bundle_path)}
    body = json.dumps({"patients": [{"age_years": 61}] * 4000}).encode()
    head = f"POST /predict_batch HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    with (
        serving([sys.executable, "-c", HASTY, str(port)], port, env) as family,
        socket.socket() as deaf,
        socket.create_connection((HOST, port)) as slow,
        socket.create_connection((HOST, port)),
    ):
        slow.sendall(head.encode() + b"Content-Length: 10\r\n\r\n{")
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((HOST, port))
        deaf.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(1.0)
        processes, began = family.all(), time.monotonic()
        family.process.terminate()
        time.sleep(0.5)
        # The port is closed at once, while the two requests are under way.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        assert family.process.poll() is None
        assert over(processes, 5)
        assert time.monotonic() - began > 1
        assert family.process.wait() == 0


@pytest.mark.parametrize("command", [["accomplice.serving"], ["accomplice", "serve", "BUNDLE"]])
@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"ACCOMPLICE_CONCURRENCY": "-1"}, [], "ACCOMPLICE_CONCURRENCY: must be a whole number"),
        ({"ACCOMPLICE_TOKENS": "/none"}, [], "/none: no token file there"),
        ({}, ["--host", "0.0.0.0"], "--host 0.0.0.0: other machines can reach it"),
        ({}, ["--tls-cert", "/none", "--tls-key", "/none"], "/none: cannot be read"),
        ({}, ["--port", "TAKEN"], "is taken: name another one"),
    ],
)
def test_a_wrong_start_is_one_line(
    bundle_path: Path, variables: dict[str, str], options: list[str], said: str, command: list[str]
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        words = {"BUNDLE": str(bundle_path), "TAKEN": str(taken.getsockname()[1])}
        done = subprocess.run(
            [sys.executable, "-m", *(words.get(word, word) for word in (*command, *options))],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("accomplice: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_answers_under_load_are_right_while_the_worker_is_killed(server: Family) -> None:
    statuses: list[int] = []
    until = time.monotonic() + 3

    def ask() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                statuses.append(server.predicts())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server["worker"].kill()
    for thread in threads:
        thread.join()
    assert len(statuses) > 10
    assert all(statuses)
