"""The bundle that answers now, with all that belongs to it, and the move to another one.

Whoever answers a request takes it once, at the beginning: what is read, predicted and said in one
answer comes from one bundle, also where another takes its place meanwhile. The old one's threads
end with the last answer that it gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from accomplice.serving.answers.batching import Desk
from accomplice.serving.answers.predictor import Predictor


@dataclass(frozen=True)
class Answering:
    """A bundle, and what is made of it once for all requests."""

    predictor: Predictor
    desk: Desk
    form: str
    """The page's form."""
    model: bytes
    """What ``GET /model`` says."""
    document: bytes
    """What ``GET /docs.json`` says."""


class Live:
    """What answers now."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users: dict[int, int] = {}
        self._current: Answering | None = None

    @property
    def current(self) -> Answering | None:
        """What answers now, to look at; None before there is any."""
        return self._current

    @contextmanager
    def taken(self) -> Iterator[Answering]:
        """Keep what answers now for as long as the block lasts."""
        with self._lock:
            taken = self._current
            if taken is None:
                raise RuntimeError("there is no bundle yet")
            self._users[id(taken)] += 1
        try:
            yield taken
        finally:
            with self._lock:
                self._users[id(taken)] -= 1
                self._part_with(taken)

    def put(self, new: Answering | None) -> None:
        """Let another one answer from now on."""
        with self._lock:
            old, self._current = self._current, new
            if new is not None:
                self._users[id(new)] = 0
            if old is not None:
                self._part_with(old)

    def _part_with(self, one: Answering) -> None:
        """End the threads of one that answers no more and that nobody waits for."""
        if one is not self._current and self._users[id(one)] == 0:
            del self._users[id(one)]
            one.desk.close()
