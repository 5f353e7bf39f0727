"""Handover of bundles from the process that started the server to its worker.

Both processes share a folder with two small files. The process that started the server, which may
read the registry, writes ``wanted.json``; the worker, which reads only bundles, writes
``served.json`` once a bundle answers. A new worker loads the wanted bundle or, if that fails, the
one served before. The server waits for the first version before it starts a worker; later neither
process waits for the other. Files are replaced whole.
"""

from __future__ import annotations

import contextlib
import json
import select
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from accomplice.data.errors import InputError

#: Environment variable of a server that names the shared folder.
HANDOVER_VARIABLE = "ACCOMPLICE_HANDOVER"
#: Environment variable of the bundle to serve where none is handed over, preferred to a packed one.
BUNDLE_VARIABLE = "ACCOMPLICE_BUNDLE"
#: Name of the file of the version that the worker is to serve.
WANTED = "wanted.json"
#: Name of the file of the version that the worker serves.
SERVED = "served.json"
#: Seconds between two checks for a new version.
PAUSE = 1.0
#: Seconds between two checks for the first version.
FIRST = 0.02


@dataclass(frozen=True)
class Version:
    """A bundle, and its run and version in MLflow."""

    bundle: str | None
    """Folder of the bundle; None if it could not be fetched."""
    digest: str | None = None
    """Expected SHA-256 of the bundle's content; None if it is not to be checked."""
    run_id: str | None = None
    """Run that made the bundle; None if unknown."""
    version: str | None = None
    """Version in the registry; None if unknown."""


class _VersionFile:
    """Attribute stored in a file of the folder; None if there is no file that can be read."""

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
    """Folder through which the two processes hand over versions."""

    folder: Path
    wanted = _VersionFile(WANTED)
    """The :class:`Version` that the worker is to serve; None if there is none."""
    served = _VersionFile(SERVED)
    """The :class:`Version` that the worker serves, or served last; None if there is none."""

    def wait(self, ending: Sequence[int]) -> bool:
        """Wait for a wanted version, and return whether there is one.

        Args:
            ending: file descriptors that can be read once the process that would hand one over has
                ended; the wait is then over.
        """
        while self.wanted is None:
            if select.select(ending, [], [], FIRST)[0]:
                return False
        return True


class Follower:
    """The worker's side: a thread that loads the wanted version when it changes.

    Args:
        handover: the shared folder.
        load: function that serves a version, or raises and changes nothing.
        report: callback for each version that :meth:`refresh` has loaded (with None), and for each
            that could not be loaded (with the error).
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
        """Load the wanted version or, if that fails, the served one.

        Raises:
            InputError: there is no version, or none can be loaded.
        """
        self._seen = self._handover.wanted
        for version in dict.fromkeys((self._seen, self._handover.served)):
            if version is not None and self._take(version):
                return
        raise InputError(f"{self._handover.folder}: names no bundle that can be served")

    def refresh(self) -> None:
        """Load the wanted version, if it has changed and is not the one that is served."""
        wanted = self._handover.wanted
        if wanted is None or wanted == self._seen:
            return
        self._seen = wanted
        if wanted != self._serves and self._take(wanted):
            self._report(wanted, None)

    def start(self) -> None:
        """Start the thread, which checks for another version every ``PAUSE`` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; do not wait for it."""
        self._over.set()

    def _take(self, version: Version) -> bool:
        """Load a version, and return whether it is served now."""
        try:
            if version.bundle is None:
                raise InputError("it could not be fetched")
            self._load(version)
        except Exception as error:
            # After any error the old version is still served.
            self._report(version, error)
            return False
        self._serves = version
        # On a full disk the version before stays on record.
        with contextlib.suppress(OSError):
            self._handover.served = version
        return True

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            self.refresh()
