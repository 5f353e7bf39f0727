"""What a worker is told to answer with, and what it does where that fails."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from accomplice.data.errors import InputError
from accomplice.serving.deployment import handover as module
from accomplice.serving.deployment.handover import SERVED, WANTED, Follower, Handover, Version

A, B, C = (Version(f"/{name}", name * 3, "run", name) for name in "abc")


class Worker:
    """Loads all but what is bad."""

    def __init__(self, handover: Handover, *bad: Version) -> None:
        self.bad = {*bad}
        self.loaded: list[Version] = []
        self.told: list[tuple[str | None, str]] = []
        self.follower = Follower(handover, self._load, self._tell)

    def _load(self, version: Version) -> None:
        if version in self.bad:
            raise ValueError("golden rows")
        self.loaded.append(version)

    def _tell(self, version: Version, error: Exception | None) -> None:
        self.told.append((version.version, "" if error is None else str(error)))


@pytest.fixture
def handover(tmp_path: Path) -> Handover:
    made = Handover(tmp_path)
    made.wanted = A
    return made


def test_a_move_is_made_once_and_put_on_record(handover: Handover) -> None:
    worker = Worker(handover)
    worker.follower.begin()
    worker.follower.refresh()
    assert (worker.loaded, worker.told, handover.served) == ([A], [], A)
    handover.wanted = B
    worker.follower.refresh()
    worker.follower.refresh()
    assert (worker.loaded, worker.told, handover.served) == ([A, B], [("b", "")], B)


def test_a_version_is_served_also_where_that_cannot_be_written_down(handover: Handover) -> None:
    worker = Worker(handover)
    worker.follower.begin()
    (handover.folder / "served.part").mkdir()
    handover.wanted = B
    worker.follower.refresh()
    assert (worker.loaded, worker.told, handover.served) == ([A, B], [("b", "")], A)


def test_a_refused_version_leaves_all_as_it_was_and_is_not_tried_again(
    handover: Handover,
) -> None:
    worker = Worker(handover, B)
    worker.follower.begin()
    handover.wanted = B
    for _ in range(3):
        worker.follower.refresh()
    assert (worker.loaded, worker.told, handover.served) == ([A], [("b", "golden rows")], A)
    # Back to what is served: nothing to do.
    handover.wanted = A
    worker.follower.refresh()
    assert worker.loaded == [A]
    handover.wanted = C
    worker.follower.refresh()
    assert worker.loaded == [A, C]


def test_a_version_that_could_not_be_fetched_is_refused_until_it_can(handover: Handover) -> None:
    worker = Worker(handover)
    worker.follower.begin()
    handover.wanted = Version(None, "bbb", "run", "b")
    worker.follower.refresh()
    assert worker.told == [("b", "it could not be fetched")]
    handover.wanted = B
    worker.follower.refresh()
    assert worker.loaded == [A, B]


def test_a_new_worker_begins_with_what_is_wanted_or_was_served(handover: Handover) -> None:
    Worker(handover).follower.begin()
    handover.wanted = B
    restarted = Worker(handover)
    restarted.follower.begin()
    assert restarted.loaded == [B]
    handover.wanted = C
    restarted = Worker(handover, C)
    restarted.follower.begin()
    assert (restarted.loaded, restarted.told) == ([B], [("c", "golden rows")])
    restarted.follower.refresh()
    assert restarted.loaded == [B]


def test_a_server_that_is_there_first_waits_for_its_bundle(tmp_path: Path) -> None:
    handover, (alive, held) = Handover(tmp_path), os.pipe()
    later = threading.Timer(0.2, lambda: setattr(handover, "wanted", A))
    later.start()
    assert handover.wait([alive])
    assert handover.wanted == A
    later.join()
    (tmp_path / WANTED).unlink()
    # Nobody is left who would hand one over.
    threading.Timer(0.2, lambda: os.close(held)).start()
    assert not handover.wait([alive])
    os.close(alive)


def test_nothing_that_can_be_served_is_said_so(handover: Handover, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no bundle"):
        Worker(handover, A).follower.begin()
    with pytest.raises(InputError, match="names no bundle"):
        Worker(Handover(tmp_path / "none")).follower.begin()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"other": 1}'])
def test_half_a_file_changes_nothing(handover: Handover, text: str) -> None:
    worker = Worker(handover)
    worker.follower.begin()
    for name in (WANTED, SERVED):
        (handover.folder / name).write_text(text)
    worker.follower.refresh()
    assert worker.loaded == [A]
    assert (handover.wanted, handover.served) == (None, None)


def test_the_thread_looks_until_it_is_stopped(
    handover: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    worker = Worker(handover)
    worker.follower.begin()
    worker.follower.start()
    handover.wanted = B
    until = time.monotonic() + 10
    while handover.served != B and time.monotonic() < until:
        time.sleep(0.01)
    assert worker.loaded == [A, B]
    worker.follower.stop()
    time.sleep(0.1)
    handover.wanted = C
    time.sleep(0.1)
    assert worker.loaded == [A, B]
