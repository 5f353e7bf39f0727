"""Supply a server with the bundle of a registered model, and with later versions.

The supply runs in the process that started the server, which may import MLflow; the worker must
not. For a model named by an alias, the bundle of each new version is copied to this machine,
checked, and handed over to the worker by ``deployment.handover``. After any failure the server
keeps the bundle that it has.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.serving.deployment.handover import HANDOVER_VARIABLE, Handover, Version
from accomplice.serving.deployment.signatures import check_signature
from accomplice.training.models.manifest import MANIFEST, Content, digest_of

#: Address of a model by an alias; only the model of such an address can change.
ALIAS = re.compile(r"models:/(?P<name>[^/@]+)@(?P<alias>[^/@]+)")
#: Default seconds between two checks of the registry.
EVERY = 10.0
#: MLflow's limits for a tracking server that does not answer; with its defaults a check would take
#: minutes.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def say_on_stderr(text: str) -> None:
    """Print a line on stderr."""
    say(f"accomplice: {text}", error=True, flush=True)


class Registered:
    """Supply of one fixed model of the store.

    Args:
        model: ``runs:/ID``, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        folder: folder of the handover to the worker.
        trust: file of the public keys by one of which a bundle must be signed; None: any bundle.

    Raises:
        InputError: there is no store.
    """

    every: float | None = None
    """None: the server does not check for another version."""

    def __init__(self, model: str, folder: Path, trust: Path | None = None) -> None:
        _check_store(model)
        self.model, self._handover, self._trust = model, Handover(folder), trust

    def environment(self) -> dict[str, str]:
        """Return the variables to add to the environment of the server's process."""
        return {HANDOVER_VARIABLE: str(self._handover.folder)}

    def begin(self) -> None:
        """Find the model's bundle and hand it over.

        Raises:
            InputError: the store cannot be opened, there is no such model, or its bundle was
                changed or is not signed by a trusted key.
        """
        from accomplice.training.tracking.store import find_bundle, find_source

        source = find_source(self.model)
        found = find_bundle(source.model)
        _check_signature(found, self._trust, self.model)
        self._handover.wanted = Version(
            str(found.path.resolve()), found.digest, source.run_id, source.version
        )

    def refresh(self) -> None:
        """Do nothing: the model does not change."""


class Champion:
    """Supply of the versions of a model that an alias refers to over time.

    Args:
        model: ``models:/NAME@ALIAS``.
        folder: folder of the copied bundles and of the handover to the worker.
        every: seconds between two checks of the registry.
        say: called with one line on each change, and on each failure unless it is the one reported
            last.
        trust: file of the public keys by one of which a bundle must be signed; None: any bundle.

    Raises:
        InputError: the model is not named by an alias, or there is no store.
    """

    def __init__(
        self,
        model: str,
        folder: Path,
        every: float = EVERY,
        say: Callable[[str], None] = say_on_stderr,
        trust: Path | None = None,
    ) -> None:
        named = ALIAS.fullmatch(model)
        if named is None:
            raise InputError(
                f"--reload-champion: {model} cannot change: give models:/NAME@champion"
            )
        _check_store(model)
        self.model = model
        self.every: float | None = every
        self._name, self._alias = named["name"], named["alias"]
        self._bundles, self._handover = folder / "bundles", Handover(folder)
        self._say, self._reported, self._trust = say, "", trust
        self._wanted: Version | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables to add to the environment of the server's process."""
        return {HANDOVER_VARIABLE: str(self._handover.folder)}

    def begin(self) -> None:
        """Fetch the version that the alias refers to now, and hand it over.

        Raises:
            InputError: the store cannot be opened, the alias names no version, or the version's
                bundle is missing or was changed.
            MlflowException: the registry does not answer.
        """
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        found = self._find()
        if found is None:
            raise InputError(f"{self.model}: no such model: the alias names none")
        self._want(self._fetch(found))

    def refresh(self) -> None:
        """Hand over the version that the alias refers to now, if it is another one.

        Failures to read the registry and to fetch the bundle are reported, not raised.
        """
        try:
            found = self._find()
        except Exception as error:
            self._say_once(f"the registry cannot be read ({type(error).__name__}): serving goes on")
            return
        if found is None:
            self._say_once(f"{self.model} names no version now: serving goes on")
            return
        before = self._wanted
        if before is not None and before.bundle and _same(found, before) and _is_there(before):
            self._reported = ""
            self._clear()
            return
        try:
            fetched = self._fetch(found)
            self._want(fetched)
        except Exception as error:
            ours = isinstance(error, InputError)
            why = " ".join(str(error).split()) if ours else type(error).__name__
            # The worker counts the failure, once for each version; on a full disk it is not told.
            with contextlib.suppress(OSError):
                self._want(found)
            self._say_once(f"version {found.version} cannot be fetched: {why}; serving goes on")
            return
        self._reported = ""
        if fetched != before:
            self._say(f"version {found.version} of {self._name} is {self._alias} now: handed over")

    def _find(self) -> Version | None:
        """Return the alias's version, without its bundle; None if there is no such version."""
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        from accomplice.training.tracking.store import ABSENT, open_store
        from accomplice.training.tracking.stores.recorded import DIGEST

        open_store()
        try:
            found = MlflowClient().get_model_version_by_alias(self._name, self._alias)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise
        return Version(None, found.tags.get(DIGEST), found.run_id, str(found.version))

    def _fetch(self, found: Version) -> Version:
        """Return a version with its bundle, copied to this machine and checked by its digest.

        Raises:
            InputError: as :func:`find_bundle`, or the bundle is not signed by a trusted key.
        """
        from accomplice.training.tracking.store import find_bundle

        place, part = self._bundles / str(found.version), self._bundles / ".part"
        with contextlib.suppress(InputError):
            if found.digest is not None and digest_of(place) == found.digest:
                return replace(found, bundle=str(place))
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            bundle = find_bundle(f"models:/{self._name}/{found.version}", part)
            _check_signature(bundle, self._trust, f"{self._name}, version {found.version}")
            shutil.rmtree(place, ignore_errors=True)
            bundle.write(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return replace(found, bundle=str(place), digest=bundle.digest)

    def _want(self, version: Version) -> None:
        """Hand a version over, if it is another one than the last."""
        if version != self._wanted:
            self._handover.wanted = self._wanted = version

    def _clear(self) -> None:
        """Remove earlier bundles, once the worker serves the wanted one."""
        if self._wanted is None or self._handover.served != self._wanted:
            return
        for place in self._bundles.iterdir():
            if str(place) != self._wanted.bundle:
                shutil.rmtree(place, ignore_errors=True)

    def _say_once(self, text: str) -> None:
        """Report a failure, unless it was the last one reported."""
        if text != self._reported:
            self._reported = text
            self._say(text)


def _check_store(model: str) -> None:
    """Refuse a model where there is no store, before anything is started.

    Raises:
        InputError: there is no store.
    """
    from accomplice.training.tracking.store import find_bundle, store_exists

    if not store_exists():
        find_bundle(model)  # raises


def _check_signature(bundle: Content, trust: Path | None, name: str) -> None:
    """Refuse a bundle that no trusted key has signed, if ``trust`` is given.

    Raises:
        InputError: as :func:`signatures.check_signature`.
    """
    if trust is not None:
        check_signature(bundle.signature, bundle.files[MANIFEST], trust, name)


def _is_there(fetched: Version) -> bool:
    """Whether a version's bundle is still there: systems clean their temporary folders."""
    return (Path(fetched.bundle or "") / MANIFEST).is_file()


def _same(found: Version, fetched: Version) -> bool:
    """Return whether two records are of the same version, with or without its bundle."""
    return (found.version, found.run_id) == (fetched.version, fetched.run_id)
