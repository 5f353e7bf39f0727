"""The bundle in service, the texts made from it, and its replacement while serving.

A request uses one bundle from its reading to its answer, even if another bundle replaces it
meanwhile. The threads of a replaced bundle end with its last answer, or at once if no request uses
the bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from accomplice.serving.answers.batching import RequestScheduler
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.deployment.handover import Version


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle's predictor and scheduler, and the texts made once for all requests."""

    predictor: Predictor
    scheduler: RequestScheduler
    form: str
    """HTML of the page's form."""
    model: bytes
    """JSON answer of ``GET /model``."""
    document: bytes
    """JSON answer of ``GET /docs.json``."""
    version: Version | None = None
    """The bundle as it was handed over; None if unknown."""


class BundleSlot:
    """Holder of the bundle in service."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users: dict[int, int] = {}
        self._current: LoadedBundle | None = None

    @property
    def current(self) -> LoadedBundle | None:
        """The bundle in service; None before there is one."""
        return self._current

    @contextmanager
    def use(self) -> Iterator[LoadedBundle]:
        """Yield the bundle in service, and keep its threads until the block ends.

        Raises:
            RuntimeError: there is no bundle.
        """
        with self._lock:
            bundle = self._current
            if bundle is None:
                raise RuntimeError("there is no bundle yet")
            self._users[id(bundle)] += 1
        try:
            yield bundle
        finally:
            with self._lock:
                self._users[id(bundle)] -= 1
                self._close_unused(bundle)

    def put(self, new: LoadedBundle | None) -> None:
        """Put another bundle, or none, in service."""
        with self._lock:
            old, self._current = self._current, new
            if new is not None:
                self._users[id(new)] = 0
            if old is not None:
                self._close_unused(old)

    def _close_unused(self, bundle: LoadedBundle) -> None:
        """End the threads of a bundle that was replaced and that no request uses."""
        if bundle is not self._current and self._users[id(bundle)] == 0:
            del self._users[id(bundle)]
            bundle.scheduler.close()
