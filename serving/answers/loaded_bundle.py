"""The loaded bundle, with the texts made from it, and its replacement while serving.

A request takes the bundle once, at its beginning, so that reading, prediction and answer are of one
bundle even if another replaces it meanwhile. The threads of a replaced bundle end with its last
answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from accomplice.serving.answers.batching import RequestScheduler
from accomplice.serving.answers.predictor import Predictor


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle's predictor and scheduler, and the texts made once for all requests."""

    predictor: Predictor
    scheduler: RequestScheduler
    form: str
    """The page's form."""
    model: bytes
    """The answer of ``GET /model``."""
    document: bytes
    """The answer of ``GET /docs.json``."""


class BundleSlot:
    """Holds the bundle in service."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users: dict[int, int] = {}
        self._current: LoadedBundle | None = None

    @property
    def current(self) -> LoadedBundle | None:
        """The bundle in service; None before there is one."""
        return self._current

    @contextmanager
    def taken(self) -> Iterator[LoadedBundle]:
        """Keep the current bundle's threads for as long as the block lasts."""
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
                self._close_unused(taken)

    def put(self, new: LoadedBundle | None) -> None:
        """Replace the bundle; None for none."""
        with self._lock:
            old, self._current = self._current, new
            if new is not None:
                self._users[id(new)] = 0
            if old is not None:
                self._close_unused(old)

    def _close_unused(self, one: LoadedBundle) -> None:
        """End the threads of a replaced bundle that no request uses."""
        if one is not self._current and self._users[id(one)] == 0:
            del self._users[id(one)]
            one.scheduler.close()
