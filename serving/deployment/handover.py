"""How whoever starts a server tells its worker which bundle to answer with, while it runs.

A folder with two small files. ``wanted.json`` is written by the process that started the server and
may know the registry; ``served.json`` by the worker, which knows only bundles, once it answers with
one. A worker that is started anew begins with what is wanted, or, where that was refused, with what
was served before. Neither waits for the other, and neither sees half a file.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from accomplice.data.errors import InputError

#: Environment variable of a server's process that names the folder.
HANDOVER_VARIABLE = "ACCOMPLICE_HANDOVER"
WANTED, SERVED = "wanted.json", "served.json"
#: Seconds between two looks of the worker, the first ones aside.
PAUSE, FIRST = 1.0, 0.02
#: Seconds that a worker waits for its first bundle, which may have to be fetched from afar.
PATIENCE = 600.0


@dataclass(frozen=True)
class Version:
    """A bundle, and what the registry calls it."""

    bundle: str | None
    """Its folder; None where it could not be fetched."""
    digest: str | None = None
    """What its content must be."""
    run_id: str | None = None
    version: str | None = None


class Handover:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def wanted(self) -> Version | None:
        """What the worker is to answer with."""
        return _read(self.folder / WANTED)

    @wanted.setter
    def wanted(self, version: Version) -> None:
        _write(self.folder / WANTED, version)

    @property
    def served(self) -> Version | None:
        """What the worker answers with, or last did."""
        return _read(self.folder / SERVED)

    @served.setter
    def served(self, version: Version) -> None:
        _write(self.folder / SERVED, version)


class Follower:
    """The worker's side: looks for what is wanted once a second, in a thread of its own.

    Args:
        handover: the folder.
        load: makes a version the one that answers, or raises and leaves all as it is.
        told: is told of each move, with None, or of each refusal, with the error.
    """

    def __init__(
        self,
        handover: Handover,
        load: Callable[[Version], None],
        told: Callable[[Version, Exception | None], None],
    ) -> None:
        self._handover, self._load, self._told = handover, load, told
        self._seen: Version | None = None
        self._serves: Version | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def begin(self) -> None:
        """Load what is wanted, or else what was served before; wait until either is known.

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
        """Move to what is wanted, if that is new."""
        wanted = self._handover.wanted
        if wanted is None or wanted == self._seen:
            return
        self._seen = wanted
        if wanted != self._serves and self._take(wanted):
            self._told(wanted, None)

    def start(self) -> None:
        """Go on looking."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a load under way is not waited for."""
        self._over.set()

    def _take(self, version: Version) -> bool:
        try:
            if version.bundle is None:
                raise InputError("it could not be fetched")
            self._load(version)
        except Exception as error:
            # Whatever is wrong with the new one, the old one answers.
            self._told(version, error)
            return False
        self._serves = self._handover.served = version
        return True

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            self.look()


def _read(path: Path) -> Version | None:
    try:
        return Version(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, version: Version) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(version)), encoding="utf-8")
    part.replace(path)
