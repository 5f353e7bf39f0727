"""Checks of a store's address before MLflow opens it.

MLflow adds missing tables to a database when it opens it, and refuses an unexpected schema only
afterwards, with a traceback. Its schema is versioned by alembic: the database holds its revision,
and each of MLflow's migrations, a file each, names its own and the previous one. If a tracking
server does not answer, MLflow repeats its requests for minutes.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from contextlib import suppress
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from accomplice.data.errors import InputError
from accomplice.training.databases import TIMEOUT, connected, sqlite_path, within

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: Tag of a run with the version of the MLflow that wrote it.
WRITTEN_BY = "mlflow_version"
#: Databases that MLflow supports.
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
#: Schemes of tracking servers.
SERVERS = ("http", "https")
#: Stores with an MLflow client of their own.
HOSTED = ("databricks", "databricks-uc", "uc")
#: Group of entry points by which packages add kinds of stores to MLflow.
PLUGINS = "mlflow.tracking_store"


def check_address(uri: str, variable: str | None = None) -> None:
    """Refuse a store that MLflow cannot open.

    Args:
        uri: address of the store.
        variable: environment variable of the address, named in errors in place of the address,
            which may contain a password. None for the store in ``mlruns/``.

    Raises:
        InputError: MLflow stores no runs there, the server does not answer, or the database is in
            memory, cannot be opened, has other tables or was written by another version of MLflow.
    """
    place = variable or uri
    kind = kind_of(uri)
    if kind in DATABASES:
        _check_database(uri, place, variable)
    elif kind in SERVERS:
        _check_server(uri, place)
    elif kind == "file" or (kind == uri and uri not in HOSTED):
        raise InputError(
            f"{place}: MLflow no longer keeps runs in a folder's files: give a database such as "
            "sqlite:////folder/mlflow.db or a server, or unset it for a database in mlruns/"
        )
    elif kind not in {*HOSTED, *(each.name for each in entry_points(group=PLUGINS))}:
        raise InputError(
            f"{place}: MLflow keeps no runs at an address of the kind {kind.strip()}: give a "
            "database such as sqlite:////folder/mlflow.db or a server such as http://host:port"
        )


def kind_of(uri: str) -> str:
    """Return the kind of a store's address, such as ``sqlite`` or ``https``."""
    return re.split(r"[:+]", uri, maxsplit=1)[0] if uri not in HOSTED else uri


def _check_server(uri: str, place: str) -> None:
    import httpx

    def ask() -> None:
        address = httpx.URL(uri).copy_with(username=None, password=None, path="/health", query=None)
        httpx.get(address, timeout=TIMEOUT, verify=False)

    try:
        within(TIMEOUT, ask)
    except (httpx.TransportError, httpx.InvalidURL, TimeoutError) as error:
        raise InputError(
            f"{place}: the tracking server does not answer ({type(error).__name__}): start it, "
            "correct the address, or unset it for a database in mlruns/"
        ) from None


def _check_database(uri: str, place: str, variable: str | None) -> None:
    from sqlalchemy.exc import ArgumentError

    with suppress(ArgumentError):  # reported by connected
        if kind_of(uri) == "sqlite" and not _is_made(sqlite_path(uri), place):
            return
    problem = "cannot be read as MLflow's database"
    tables, revision, writers = connected(uri, _read, place, problem)
    if not tables:
        return
    if revision is None:
        raise InputError(
            f"{place}: holds tables, and no version of MLflow's schema: name another database"
        )
    before, installed = _migrations(), version("mlflow")
    if revision in before and revision not in before.values():
        return
    if revision in before:
        command = f'"${variable}"' if variable else shlex.quote(uri)
        raise InputError(
            f"{place}: written by an older MLflow than {installed}, which is installed: "
            f"keep a copy of it, then run: mlflow db upgrade {command}"
        )
    newest = max(filter(None, map(_version, writers)), default=None)
    if newest is not None and newest > Version(installed):
        raise InputError(
            f"{place}: written by MLflow {newest}, and {installed} is installed: "
            f"pip install --upgrade accomplice 'mlflow>={newest}'"
        )
    raise InputError(
        f"{place}: written by a newer MLflow than {installed}, which is installed: "
        "pip install --upgrade accomplice mlflow"
    )


def _is_made(path: Path | None, place: str) -> bool:
    """Whether an SQLite file exists; opening a missing one would create it.

    Raises:
        InputError: the database is in memory, is no file, or cannot be created.
    """
    if path is None:
        raise InputError(f"{place}: a database in memory is gone with the command: name a file")
    if path.is_file():
        return True
    if path.exists():
        raise InputError(f"{place}: not a file, as a database is")
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        if missing:
            missing[-1].mkdir()
            missing[-1].rmdir()
    except OSError as error:
        raise InputError(f"{place}: its folder cannot be made ({error.strerror})") from None
    return False


def _read(connection: Connection) -> tuple[bool, str | None, list[str]]:
    """Return whether a database has tables, its revision, and the MLflow versions of its runs."""
    from sqlalchemy import inspect, text

    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        return bool(tables), None, []
    revision = connection.execute(text("select version_num from alembic_version")).scalar()
    if "tags" not in tables:
        return True, revision, []
    query = text("select distinct value from tags where key = :key")
    return True, revision, [*connection.execute(query, {"key": WRITTEN_BY}).scalars()]


def _version(tag: str) -> Version | None:
    """Return the version in the text of a tag; None if the text is not a version."""
    try:
        return Version(tag)
    except InvalidVersion:
        return None


def _migrations() -> dict[str, str | None]:
    """Return MLflow's schema revisions: revision -> the previous one.

    They are read as text: alembic would import all of them, which takes a second.
    """
    spec = importlib.util.find_spec("mlflow")
    previous: dict[str, str | None] = {}
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder, "store", "db_migrations", "versions").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            named = dict(re.findall(r'^(revision|down_revision) = "(\w+)"', text, re.M))
            if "revision" in named:
                previous[named["revision"]] = named.get("down_revision")
    return previous
