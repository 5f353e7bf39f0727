"""Handover of bundles from the process that started the server to its worker.

A folder with two small files. ``wanted.json`` is written by the process that started the server,
which may know the registry; ``served.json`` by the worker, which knows only bundles, when a bundle
answers. A new worker loads the wanted bundle or, if that is refused, the one served before. Neither
process waits for the other, and files are replaced whole.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from accomplice.data.errors import InputError

#: Environment variable of a worker that names the folder.
HANDOVER_VARIABLE = "ACCOMPLICE_HANDOVER"
WANTED, SERVED = "wanted.json", "served.json"
#: Seconds between two looks of the worker: later, and before the first bundle.
PAUSE, FIRST = 1.0, 0.02
#: Seconds that a worker waits for its first bundle, which may have to be downloaded.
PATIENCE = 600.0


@dataclass(frozen=True)
class Version:
    """A bundle, and its run and version in the registry."""

    bundle: str | None
    """Its folder; None where it could not be fetched."""
    digest: str | None = None
    """Of its content, to be checked."""
    run_id: str | None = None
    version: str | None = None


class _VersionFile:
    """An attribute that is kept in a file of the folder; None without a file that can be read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, handover: Handover, _: type) -> Version | None:
        try:
            return Version(**json.loads((handover.folder / self._name).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def __set__(self, handover: Handover, version: Version) -> None:
        path = handover.folder / self._name
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(version)), encoding="utf-8")
        part.replace(path)


@dataclass
class Handover:
    """The folder."""

    folder: Path
    wanted = _VersionFile(WANTED)
    """The version that the worker is to serve."""
    served = _VersionFile(SERVED)
    """The version that the worker serves, or served last."""


class Follower:
    """The worker's side: a thread that loads the wanted version when it changes.

    Args:
        handover: the folder.
        load: serves a version, or raises and changes nothing.
        report: callback for each move, with None, and each refusal, with the error.
    """

    def __init__(
        self,
        handover: Handover,
        load: Callable[[Version], None],
        report: Callable[[Version, Exception | None], None],
    ) -> None:
        self._handover, self._load, self._report = handover, load, report
        self._seen: Version | None = None
        self._serves: Version | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def begin(self) -> None:
        """Wait for a wanted or served version, and load the wanted one, else the served one.

        Raises:
            InputError: there is neither, or neither loads.
        """
        until = time.monotonic() + PATIENCE
        while (wanted := self._handover.wanted) is None and time.monotonic() < until:
            if self._handover.served is not None:
                break
            time.sleep(FIRST)
        served = self._handover.served
        self._seen = wanted
        for version in dict.fromkeys((wanted, served)):
            if version is not None and self._take(version):
                return
        raise InputError(f"{self._handover.folder}: names no bundle that can be served")

    def look(self) -> None:
        """Load the wanted version, if it is new."""
        wanted = self._handover.wanted
        if wanted is None or wanted == self._seen:
            return
        self._seen = wanted
        if wanted != self._serves and self._take(wanted):
            self._report(wanted, None)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a load under way is not waited for."""
        self._over.set()

    def _take(self, version: Version) -> bool:
        try:
            if version.bundle is None:
                raise InputError("it could not be fetched")
            self._load(version)
        except Exception as error:
            # Whatever the error, the old version goes on.
            self._report(version, error)
            return False
        self._serves = self._handover.served = version
        return True

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            self.look()
