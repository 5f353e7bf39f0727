"""Searches of several workers, and of those that were killed: as many trials as were asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest

from accomplice.training.config import Config, configure
from accomplice.training.databases import sqlite_uri
from accomplice.training.search import search
from accomplice.training.search import study as studies
from accomplice.training.search.scores import TrialScores
from accomplice.training.search.search import tune
from accomplice.training.search.study import DEFAULTS, PROCESS, open_study
from tests.training.search.made import MadeJudge, made_scores

#: A worker whose fits take some time, of the defaults and of others.
WORKER = """
import sys, time
from accomplice.training.config import configure
from accomplice.training.search.search import tune
from accomplice.training.search.study import open_study
from tests.training.search.made import MadeJudge, made_scores
storage, trials, of_defaults, of_others = sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:])
def score(config):
    time.sleep(of_defaults if config == configure() else of_others)
    return made_scores(ibs=0.1)
study = open_study("s", storage)
tune(MadeJudge(score), configure(), study, trials, lambda trial, study: None)
"""
#: Processes that open one storage in the same moment, and print how they ended.
OPENERS = """
import multiprocessing, sys
from accomplice.training.search.study import open_study
def work(barrier, storage):
    barrier.wait()
    open_study("s", storage)
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
    root = Path(__file__).parents[3]  # where the tests are imported from
    process = subprocess.Popen([sys.executable, "-c", WORKER, *map(str, given)], cwd=root)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def states(storage: str) -> list[str]:
    return [trial.state.name for trial in open_study("s", storage).get_trials()]


def wait_until(holds, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


def noted(storage: str, trials: int) -> bool:
    """Whether some trials have begun, and the last of them is known as its worker's."""
    found = open_study("s", storage).get_trials()
    return len(found) == trials and PROCESS in found[-1].user_attrs


def search_here(storage: str, trials: int, monkeypatch: pytest.MonkeyPatch, **given) -> int:
    """Search in this process, with fits that take no time; return the trials that were judged."""
    monkeypatch.setattr(search, "POLL", 0.1)
    return tune(MadeJudge(), configure(), open_study("s", storage), trials, ignore, **given).trials


def ignore(*_: object) -> None:
    """Take a report and say nothing."""


class TestKilled:
    def test_in_the_trial_of_the_defaults(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        with worker(storage, 4, HOUR, HOUR) as process:
            wait_until(lambda: noted(storage, 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert states(storage) == ["RUNNING"]
        assert search_here(storage, 4, monkeypatch) == 4
        assert states(storage) == ["FAIL"] + ["COMPLETE"] * 4
        assert DEFAULTS in open_study("s", storage).get_trials()[1].user_attrs

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
        monkeypatch.setattr(studies, "GRACE", 1)
        open_study("s", storage).ask()
        assert search_here(storage, 2, monkeypatch) == 2
        assert "RUNNING" not in states(storage)

    @pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used")
    def test_on_another_machine(self, storage: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(studies, "HEARTBEAT", 1)
        monkeypatch.setattr(studies, "GRACE", 6)
        study = open_study("s", storage)
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
        first = open_study("s", storage).get_trials()[0]
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

    def test_one_that_slept_and_was_taken_for_lost_goes_on(self, storage: str):
        judge = MadeJudge()

        def sleeps(config: Config) -> TrialScores:
            if len(judge.judged) == 1:
                open_study("s", storage).tell(0, state=optuna.trial.TrialState.FAIL)
            return made_scores()

        judge.score = sleeps
        assert tune(judge, configure(), open_study("s", storage), 2, ignore).trials == 2
        assert states(storage) == ["FAIL", "COMPLETE", "COMPLETE"]
