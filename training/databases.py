"""SQL databases: addresses, reachability, and opening Optuna's storage.

MLflow and Optuna take the address of a database as a URL of SQLAlchemy. Some drivers wait minutes
for a host that does not answer. SQLAlchemy is imported inside functions: a bundle's folder is read
without it.
"""

from __future__ import annotations

import importlib.util
import shlex
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from accomplice.data.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

T = TypeVar("T")

#: Seconds within which a server must answer.
TIMEOUT = 5.0
#: The argument that names a storage.
STORAGE = "--storage (in Python storage)"
#: Module of a driver -> package that installs it, as ``pip install`` takes it.
PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "'accomplice[postgres]'",
    "MySQLdb": "mysqlclient",
    "_mysql_connector": "mysql-connector-python",
}


def sqlite_uri(path: Path) -> str:
    """Return the address of an SQLite file, whatever characters its path has."""
    from sqlalchemy.engine import URL, make_url

    plain, uri = f"sqlite:///{path}", URL.create("sqlite", database=str(path)).render_as_string()
    if make_url(uri).database != str(path):
        # SQLAlchemy before 2.1 neither writes nor reads escapes there; SQLite itself does.
        uri = f"sqlite:///{path.absolute().as_uri()}?uri=true"
    # With the driver's name, MLflow does not take the escapes for the name of a folder to be made.
    return plain if uri == plain else uri.replace("sqlite:", "sqlite+pysqlite:", 1)


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite database by its address; None for a database in memory.

    Raises:
        ArgumentError: SQLAlchemy cannot read the address.
    """
    from sqlalchemy.engine import make_url

    name = make_url(uri).database or ""
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    return None if name in ("", ":memory:") else Path(name)


def with_driver(uri: str) -> str:
    """Return a PostgreSQL address that names no driver with psycopg2, where that is installed.

    Other addresses are returned unchanged. Without a name SQLAlchemy takes psycopg2 before 2.1 and
    psycopg from 2.1 on; ``accomplice[postgres]`` installs psycopg2.
    """
    kind, separator, rest = uri.partition("://")
    if kind in ("postgres", "postgresql") and separator and _has("psycopg2"):
        return f"postgresql+psycopg2://{rest}"
    return uri


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def connected(
    uri: str, work: Callable[[Any], T], place: str, problem: str = "cannot be opened"
) -> T:
    """Return the result of some work on a connection to a database, which is then closed.

    Args:
        uri: address of the database.
        work: function of the connection.
        place: name of the database in errors, since its address may hold a password.
        problem: words after that name in errors.

    Raises:
        InputError: SQLAlchemy cannot read the address, the driver is not installed, or the database
            cannot be opened, does not do the work, or takes more than :data:`TIMEOUT` seconds.
    """
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError

    def do() -> T:
        engine = create_engine(uri, poolclass=NullPool)
        with engine.connect() as connection:
            return work(connection)

    try:
        return within(TIMEOUT, do)
    except (ArgumentError, NoSuchModuleError, ValueError):
        why = (
            ": not a database's address that SQLAlchemy can read: give one such as "
            "postgresql://host/database or sqlite:///file.db"
        )
    except ModuleNotFoundError as error:
        why = f": the driver {error.name} is not installed: pip install {_package(error, uri)}"
    except TimeoutError:
        why = (
            f": it does not answer within {TIMEOUT:g} s: start the database's server, or correct "
            "the address"
        )
    except (DatabaseError, InterfaceError) as error:
        why = f" ({type(error.orig).__name__}): correct the address, or name another database"
    raise InputError(f"{place}: {problem}{why}")


def _package(error: ModuleNotFoundError, uri: str) -> str:
    """Return the package that installs a missing driver."""
    module = str(error.name)
    # SQLAlchemy's choice where no driver is named; psycopg2 serves as well.
    if module == "psycopg" and "+" not in uri.partition(":")[0]:
        module = "psycopg2"
    return PACKAGES.get(module, module)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return the result of ``work``, done in a thread; it is abandoned after ``seconds``.

    Args:
        seconds: maximum time in seconds to wait.
        work: function without arguments.

    Raises:
        TimeoutError: the work took longer.
        BaseException: any error of the work.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    # A daemon, which the interpreter does not wait for.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def check_reachable(storage: str) -> None:
    """Refuse an Optuna storage whose server cannot be reached, before anything takes time.

    SQLite has no server and is not checked.

    Raises:
        InputError: as :func:`connected`.
    """
    if not storage.startswith("sqlite"):
        connected(with_driver(storage), lambda _: None, STORAGE)


def open_storage(storage: str, heartbeat: int, grace: int) -> RDBStorage:
    """Open Optuna's storage, making its tables where it has none.

    Args:
        storage: address of a database.
        heartbeat: seconds between two heartbeats of a worker.
        grace: seconds without a heartbeat after which the worker's trial counts as failed.

    Raises:
        InputError: the database cannot be reached or opened, or another version of Optuna wrote it.
    """
    import optuna

    check_reachable(storage)
    wait = {"timeout": 60} if storage.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return _connect(
                with_driver(storage),
                heartbeat_interval=heartbeat,
                grace_period=grace,
                connect_args=wait,
            )
        except Exception as error:
            raise InputError(f"{STORAGE}: {_why_not(storage, error)}") from None


def _why_not(storage: str, error: Exception) -> str:
    """Return the reason why a storage was not opened, without an address with a password."""
    from optuna import __version__

    place = shlex.quote(storage) if storage.startswith("sqlite") else "URL"
    installed = f"Optuna than {__version__}, which is installed"
    # Optuna raises the same error for both, and names the remedy.
    if "optuna storage upgrade" in str(error):
        return (
            f"written by an older {installed}: keep a copy of it, then run: "
            f"optuna storage upgrade --storage {place}"
        )
    if "pip install -U optuna" in str(error):
        return f"{place}: written by a newer {installed}: pip install --upgrade optuna"
    return (
        f"cannot be opened ({type(error).__name__}): "
        "give a URL such as postgresql://host/database or sqlite:///file.db"
    )


def _connect(storage: str, connect_args: dict[str, Any], **given: Any) -> RDBStorage:
    """Open a storage; try again if it is locked or another worker makes its tables just then."""
    from optuna.storages import RDBStorage
    from sqlalchemy import NullPool
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    # A pool is never closed.
    engine = {"poolclass": NullPool, **({"connect_args": connect_args} if connect_args else {})}
    for pause in (0.2, 1.0, 3.0, None):
        try:
            return RDBStorage(storage, engine_kwargs=engine, **given)
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            # Another worker made the same tables in the same moment: they are there by now.
            # SQLite calls that operational, as it does a file that cannot be opened.
            raced = "already exists" in str(error.orig) or "locked" in str(error.orig)
            if pause is None or (isinstance(error, OperationalError) and not raced):
                raise
            time.sleep(pause)
    raise AssertionError  # the last try returns or raises
