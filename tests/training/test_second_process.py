"""The second process of a command: same bits, and no harm by signals or by its end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from accomplice.data.errors import InputError
from accomplice.training import second_process
from accomplice.training.cli.main import main
from accomplice.training.second_process import ALONE, PROCESSES, Task, processes
from tests.conftest import TINY_OPTIONS

#: Settings of a tiny run that leave a second process something of each kind to do.
OPTIONS = (
    *TINY_OPTIONS,
    *("--set", "evaluation.explanations=true", "--set", "evaluation.peers=true"),
)
#: Command that says at its end whether its own process has imported torch.
DRIVER = """
import runpy, sys
try:
    runpy.run_module("accomplice", run_name="__main__", alter_sys=True)
finally:
    print("torch here:", "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Study file of 150 patients with two survival endpoints."""
    folder = tmp_path_factory.mktemp("two")
    main(["data", "synth", "--out", str(folder / "data"), "--n", "150", "--seed", "3"])
    return folder / "data" / "study.yaml"


def begun(study: Path, out: Path) -> subprocess.Popen[str]:
    """Start the command ``train`` with two processes and a store of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "train", str(study), "--out", str(out), *OPTIONS],
        cwd=out.parent,
        env={**os.environ, PROCESSES: "2", "MLFLOW_TRACKING_URI": f"sqlite:///{out.parent}/m.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def second_of(command: subprocess.Popen[str]) -> psutil.Process:
    """Wait until the second process of a command has started."""
    while command.poll() is None:
        for child in psutil.Process(command.pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                return child
        time.sleep(0.02)
    raise AssertionError(command.communicate()[0])


def test_a_run_is_the_same_with_one_process_and_with_two(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/one.db")
    command = begun(study, tmp_path / "two")
    assert main(["train", str(study), "--out", "one", *OPTIONS]) == 0
    said = command.communicate()[0]
    assert command.returncode == 0, said
    assert "torch here: False" in said
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_command_whose_second_process_is_killed_does_its_work_alone(study, tmp_path):
    command = begun(study, tmp_path / "model")
    second_of(command).kill()
    said = command.communicate()[0]
    assert command.returncode == 0, said
    assert (tmp_path / "model" / "manifest.json").exists()
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_ends_its_second_process(study, tmp_path, number):
    command = begun(study, tmp_path / "model")
    second = second_of(command)
    second.send_signal(signal.SIGINT)  # as a terminal does, to all processes
    time.sleep(0.5)
    command.send_signal(number)
    said = command.communicate(timeout=60)[0]
    assert "accomplice: stopped" in said
    assert "Traceback" not in said
    assert not second.is_running() or second.status() == psutil.STATUS_ZOMBIE


def test_a_second_process_ends_with_a_command_that_is_killed(study, tmp_path):
    command = begun(study, tmp_path / "model")
    second = second_of(command)
    command.kill()
    command.communicate()
    psutil.wait_procs([second], timeout=60)
    assert not second.is_running() or second.status() == psutil.STATUS_ZOMBIE


def test_a_task_that_has_not_begun_is_done_here():
    waiting: Future[int] = Future()
    assert Task(lambda: 1, waiting).result() == 1
    assert waiting.cancelled()


def test_a_task_that_has_begun_is_waited_for_and_raises_its_own_error():
    running: Future[int] = Future()
    running.set_running_or_notify_cancel()
    running.set_result(2)
    assert Task(lambda: 1, running).result() == 2
    failed: Future[int] = Future()
    failed.set_running_or_notify_cancel()
    failed.set_exception(InputError("no such device"))
    with pytest.raises(InputError, match="no such device"):
        Task(lambda: 1, failed).result()


def test_a_task_that_stays_with_the_second_process_is_not_taken_back():
    kept: Future[int] = Future()
    kept.set_result(2)
    assert Task(lambda: 1, kept, keeps=True).result() == 2


def test_a_task_of_a_process_that_has_ended_is_done_here():
    broken: Future[int] = Future()
    broken.set_running_or_notify_cancel()
    broken.set_exception(BrokenProcessPool())
    assert Task(lambda: 1, broken, keeps=True).result() == 1


def test_without_a_second_process_work_is_done_when_it_is_asked_for():
    done = []
    task = ALONE.submit(done.append, 1)
    assert not done
    task.result()
    assert done == [1]


@pytest.mark.parametrize(
    ("given", "processors", "daemon", "expected"),
    [
        ("", 8, False, 2),
        ("", 1, False, 1),
        ("1", 8, False, 1),
        ("2", 1, False, 2),
        ("2", 8, True, 1),
        ("many", 1, False, 1),
    ],
)
def test_processes_follow_the_processors_the_variable_and_what_a_process_may(
    given, processors, daemon, expected, monkeypatch
):
    monkeypatch.setenv(PROCESSES, given)
    monkeypatch.setattr(second_process, "_processors", lambda: processors)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", daemon)
    assert processes() == expected


def test_another_program_that_calls_the_command_has_no_second_process(monkeypatch):
    monkeypatch.setenv(PROCESSES, "2")
    with second_process.second_process() as second:
        assert not second.runs
