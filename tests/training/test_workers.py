"""Searches of several workers, and of those that were killed: as many trials as were asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from accomplice.training import tune as search
from accomplice.training.config import configure
from accomplice.training.databases import sqlite_uri
from accomplice.training.processes import has_ended, this_process
from accomplice.training.tune import DEFAULTS, PROCESS, open_study, tune

#: A worker whose fits take some time, of the defaults and of others.
WORKER = """
import sys, time, types
from accomplice.training import tune as search
from accomplice.training.config import configure
storage, trials, of_defaults, of_others = sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:])
calls = []
def fit(prepared, config, report):
    calls.append(config)
    time.sleep(of_defaults if config == configure() else of_others)
    return types.SimpleNamespace(ensemble=types.SimpleNamespace(
        stack=types.SimpleNamespace(weight=lambda learner: 0.25)))
search.fit = fit
search.quick_scores = lambda fitted: {"ibs": 0.1, "uno_c": 0.6}
study = search.open_study("s", storage, 0)
search.tune(None, configure(), study, trials, lambda trial, study: None)
"""
#: Processes that open one storage in the same moment, and print how they ended.
OPENERS = """
import multiprocessing, sys
from accomplice.training.tune import open_study
def work(barrier, storage):
    barrier.wait()
    open_study("s", storage, 0)
context = multiprocessing.get_context("fork")
barrier = context.Barrier(6)
processes = [context.Process(target=work, args=(barrier, sys.argv[1])) for _ in range(6)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print(*(process.exitcode for process in processes))
"""
HOUR = 3600


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return sqlite_uri(tmp_path / "optuna.db")


@contextmanager
def worker(
    storage: str, trials: int, of_defaults: float, of_others: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, which is killed at the end."""
    given = [storage, trials, of_defaults, of_others]
    process = subprocess.Popen([sys.executable, "-c", WORKER, *map(str, given)])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def states(storage: str) -> list[str]:
    return [trial.state.name for trial in open_study("s", storage, 0).get_trials()]


def wait_until(holds, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


def noted(storage: str, trials: int) -> bool:
    """Whether some trials have begun, and the last of them is known as its worker's."""
    found = open_study("s", storage, 0).get_trials()
    return len(found) == trials and PROCESS in found[-1].user_attrs


def search_here(storage: str, trials: int, monkeypatch: pytest.MonkeyPatch, **given) -> int:
    """Search in this process, with fits that take no time; return the trials that were judged."""
    stack = SimpleNamespace(weight=lambda learner: 0.25)
    fitted = SimpleNamespace(ensemble=SimpleNamespace(stack=stack))
    monkeypatch.setattr(search, "fit", lambda *_, **__: fitted)
    monkeypatch.setattr(search, "quick_scores", lambda _: {"ibs": 0.2, "uno_c": 0.6})
    monkeypatch.setattr(search, "POLL", 0.1)
    study = open_study("s", storage, 0)
    return tune(None, configure(), study, trials, lambda *_: None, **given).trials


class TestKilled:
    def test_in_the_trial_of_the_defaults(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        with worker(storage, 4, HOUR, HOUR) as process:
            wait_until(lambda: noted(storage, 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert states(storage) == ["RUNNING"]
        assert search_here(storage, 4, monkeypatch) == 4
        assert states(storage) == ["FAIL"] + ["COMPLETE"] * 4
        assert DEFAULTS in open_study("s", storage, 0).get_trials()[1].user_attrs

    def test_in_a_later_trial(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        with worker(storage, 4, 0, HOUR) as process:
            wait_until(lambda: noted(storage, 2))
            process.kill()
        assert search_here(storage, 4, monkeypatch) == 4
        assert states(storage) == ["COMPLETE", "FAIL"] + ["COMPLETE"] * 3

    def test_that_is_not_reaped_yet(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        with worker(storage, 2, HOUR, HOUR) as process:
            wait_until(lambda: noted(storage, 1))
            process.kill()
            assert search_here(storage, 2, monkeypatch) == 2

    @pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used")
    def test_before_it_gave_a_sign_of_life(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(search, "GRACE", 1)
        open_study("s", storage, 0).ask()
        assert search_here(storage, 2, monkeypatch) == 2
        assert "RUNNING" not in states(storage)

    @pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used")
    def test_on_another_machine(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(search, "HEARTBEAT", 1)
        monkeypatch.setattr(search, "GRACE", 6)
        study = open_study("s", storage, 0)
        lost = study.ask()
        lost.set_user_attr(PROCESS, [lost.number, "0123456789ab.1.1"])
        study._storage.record_heartbeat(lost._trial_id)
        seen = []
        assert search_here(storage, 2, monkeypatch, waiting=seen.append) == 2
        assert states(storage) == ["FAIL", "COMPLETE", "COMPLETE"]
        assert seen == [1]


class TestLive:
    def test_another_worker_s_trials_are_waited_for(
        self, storage: str, monkeypatch: pytest.MonkeyPatch
    ):
        with worker(storage, 3, 3, HOUR):
            wait_until(lambda: noted(storage, 1))
            began = time.monotonic()
            assert search_here(storage, 3, monkeypatch) == 3
            assert time.monotonic() - began > 1
        assert states(storage) == ["COMPLETE"] * 3
        first = open_study("s", storage, 0).get_trials()[0]
        assert first.value == 0.1

    @pytest.mark.parametrize("trial", range(3))
    def test_all_that_open_a_new_storage_in_one_moment_have_it(self, storage: str, trial: int):
        command = [sys.executable, "-c", OPENERS, storage]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        assert made.stdout.split() == ["0"] * 6, made.stderr

    def test_two_that_begin_together_run_as_many_as_one(self, storage: str):
        with worker(storage, 5, 0.5, 0.3) as one, worker(storage, 5, 0.5, 0.3) as other:
            assert (one.wait(120), other.wait(120)) == (0, 0)
        done = states(storage)
        assert done.count("COMPLETE") == 5
        assert {*done} <= {"COMPLETE", "FAIL"}

    def test_one_that_slept_and_was_taken_for_lost_goes_on(
        self, storage: str, monkeypatch: pytest.MonkeyPatch
    ):
        calls = 0

        def sleeps(*_: object, report: Callable[[int, float], None]) -> SimpleNamespace:
            nonlocal calls
            calls += 1
            if calls == 1:
                other = open_study("s", storage, 0)
                other.tell(0, state=optuna.trial.TrialState.FAIL)
                report(0, 1.0)
            stack = SimpleNamespace(weight=lambda learner: 0.25)
            return SimpleNamespace(ensemble=SimpleNamespace(stack=stack))

        monkeypatch.setattr(search, "quick_scores", lambda _: {"ibs": 0.2, "uno_c": 0.6})
        monkeypatch.setattr(search, "fit", sleeps)
        study = open_study("s", storage, 0)
        assert tune(None, configure(), study, 2, lambda *_: None).trials == 2
        assert states(storage) == ["FAIL", "COMPLETE", "COMPLETE"]


class TestProcess:
    def test_this_one_goes_on(self):
        assert not has_ended(this_process())

    def test_one_of_another_machine_is_unknown(self):
        assert not has_ended("0123456789ab.1.1")

    def test_a_number_that_was_given_anew(self):
        machine, number, began = this_process().split(".")
        assert has_ended(f"{machine}.{number}.{int(began) - 1}")

    @pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c"])
    def test_what_names_no_process(self, text: str):
        assert not has_ended(text)
        assert not has_ended(f"{this_process().split('.')[0]}.².1")

    def test_one_that_has_ended(self):
        code = "from accomplice.training.processes import this_process; print(this_process())"
        made = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert has_ended(made.stdout.strip())
        assert int(made.stdout.split(".")[1]) != os.getpid()
