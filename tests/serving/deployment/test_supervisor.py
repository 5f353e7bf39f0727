"""Supervision of workers that stand in for those that serve."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forks")

# Runs a supervisor whose n-th worker behaves as the n-th word says, the last as all later ones.
CODE = """
import os, pathlib, signal, socket, sys, time
from accomplice.serving.deployment import supervisor
from accomplice.serving.deployment.supervisor import Supervisor
folder, words = pathlib.Path(sys.argv[1]), sys.argv[2:]
supervisor.GRACE, supervisor.PAUSES = 0.5, (0.1, 0.2)
supervisor.STILL, supervisor.CHECK = 1.0, 0.2
def work(listener, channel, alive):
    number = len([*folder.iterdir()])
    (folder / f"{number}").write_text(str(os.getpid()))
    word = words[min(number, len(words) - 1)]
    if word == "unable":
        return 2
    if word == "broken":
        raise KeyError("mine")
    if word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(channel, b"+")
    if word == "ending":
        os.close(channel)
    if word == "orphan":
        os.read(alive, 1)
        (folder / "orphaned").touch()
        return 0
    if word in ("still", "ending"):
        time.sleep(60)
    for _ in range(600):
        time.sleep(0.1)
        os.write(channel, b"+")
fork = os.fork
def short_of_memory():
    if "starved" in words and len([*folder.iterdir()]) == 1:
        words.remove("starved")
        raise OSError(12, "no memory")
    return fork()
os.fork = short_of_memory
sys.exit(Supervisor(socket.socket(), work, 0).run())
"""


@contextmanager
def supervised(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a supervisor until the block ends; its standard input ties it to this process."""
    folder.mkdir()
    command = [sys.executable, "-c", CODE, str(folder), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def started(folder: Path, number: int) -> list[int]:
    """Return the process ids of a number of workers, once there are so many."""
    until = time.monotonic() + 30
    while not all((folder / str(k)).is_file() for k in range(number)):
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.1)
    return [int((folder / str(k)).read_text()) for k in range(number)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(("words", "code"), [(["unable"], 2), (["broken"], 1)])
def test_a_first_worker_that_cannot_serve_ends_the_server(
    tmp_path: Path, words: list[str], code: int
) -> None:
    with supervised(tmp_path / "w", *words) as process:
        assert process.wait(30) == code
        assert process.stderr is not None
        assert b"mine" not in process.stderr.read()


def test_a_worker_is_replaced_when_it_ends_or_takes_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    # Of the third only its end is told; the fourth was never ready.
    with supervised(folder, "well", "well", "ending", "broken", "well") as process:
        for k in (1, 2):
            os.kill(started(folder, k)[-1], signal.SIGKILL)
        pids = started(folder, 5)
        assert [alive(pid) for pid in pids] == [False, False, True, False, True]
        process.terminate()
        assert process.wait(30) == 0
        assert not any(map(alive, pids))


def test_a_worker_that_stands_still_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with supervised(folder, "still", "well") as process:
        first, second = started(folder, 2)
        assert not alive(first)
        # One that is stopped for longer than the supervisor waits, too.
        os.kill(second, signal.SIGSTOP)
        third = started(folder, 3)[-1]
        assert not alive(second)
        time.sleep(1.5)
        assert alive(third)
        # Both are stopped: time that the supervisor did not see does not count.
        process.send_signal(signal.SIGSTOP)
        os.kill(third, signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        os.kill(third, signal.SIGCONT)
        time.sleep(1.5)
        assert alive(third)
        process.terminate()
        assert process.wait(30) == 0


def test_a_worker_that_cannot_be_started_now_is_started_later(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with supervised(folder, "well", "starved") as process:
        os.kill(started(folder, 1)[-1], signal.SIGKILL)
        assert alive(started(folder, 2)[-1])
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_workers_that_do_not_hear_it(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "w"
    with supervised(folder, "deaf") as process:
        (pid,) = started(folder, 1)
        process.send_signal(number)
        assert process.wait(30) == 0
        assert not alive(pid)


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with supervised(folder, "well") as process:
        (pid,) = started(folder, 1)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        assert not alive(pid)


def test_a_worker_is_replaced_where_the_ends_of_children_are_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with supervised(tmp_path / "w", "well") as process:
            signal.signal(signal.SIGCHLD, before)
            os.kill(started(tmp_path / "w", 1)[-1], signal.SIGKILL)
            started(tmp_path / "w", 2)
            process.terminate()
            assert process.wait(30) == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_worker_sees_that_its_supervisor_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with supervised(folder, "orphan") as process:
        started(folder, 1)
        process.kill()
        until = time.monotonic() + 30
        while not (folder / "orphaned").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
