"""Whether a database was written by the MLflow that is installed, asked before MLflow opens it.

MLflow fills in missing tables of a database when it opens it, and refuses an unexpected schema
only afterwards, with a traceback. Its schema is versioned by alembic: the database names its
revision, and MLflow's migrations, a file each, name theirs and the one before.
"""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

from packaging.version import InvalidVersion, Version
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from accomplice.data.errors import InputError

#: Tag of a run that names the MLflow which wrote it.
WRITTEN_BY = "mlflow_version"


def check_schema(uri: str, given: str | None = None) -> None:
    """Refuse a database whose schema is not the installed MLflow's; an empty one is none.

    Args:
        uri: of the database, as SQLAlchemy takes it.
        given: name of the environment variable that holds it, if one does. It is named in place of
            the address, which may hold a password.

    Raises:
        InputError: an older or a newer MLflow wrote it, or it cannot be opened.
    """
    place = given or uri
    try:
        revision, newest = _read(uri)
    except (ArgumentError, NoSuchModuleError):
        raise InputError(f"{place}: not a database's address that SQLAlchemy can read") from None
    except ModuleNotFoundError as error:
        remedy = (
            ": pip install 'accomplice[postgres]', and begin the address with postgresql+psycopg2:"
            if (error.name or "").startswith("psycopg")
            else ""
        )
        raise InputError(f"{place}: the driver {error.name} is not installed{remedy}") from None
    except DatabaseError as error:
        raise InputError(
            f"{place}: cannot be opened as a database ({type(error.orig).__name__})"
        ) from None
    except OSError as error:
        raise InputError(f"{place}: its folder cannot be made ({error.strerror})") from None
    before = _migrations()
    if revision is None or (revision in before and revision not in before.values()):
        return
    installed = version("mlflow")
    if revision in before:
        address = f'"${given}"' if given else make_url(uri).render_as_string()
        raise InputError(
            f"{place}: written by an older MLflow than {installed}, which is installed: "
            f"keep a copy of it, then run: mlflow db upgrade {address}"
        )
    if newest is not None and newest > Version(installed):
        raise InputError(
            f"{place}: written by MLflow {newest}, and {installed} is installed: "
            f"pip install 'mlflow>={newest}'"
        )
    raise InputError(
        f"{place}: written by a newer MLflow than {installed}, which is installed: "
        "pip install --upgrade mlflow"
    )


def _read(uri: str) -> tuple[str | None, Version | None]:
    """Return a database's revision, if it has one, and the newest MLflow that a run names."""
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
        return None, None  # opening it would make an empty file
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None, None
        revision = connection.execute(text("select version_num from alembic_version")).scalar()
        if not engine.dialect.has_table(connection, "tags"):
            return revision, None
        asked = text("select distinct value from tags where key = :key")
        writers = connection.execute(asked, {"key": WRITTEN_BY}).scalars().all()
    return revision, max((v for each in writers if (v := _version(each))), default=None)


def _version(tag: str) -> Version | None:
    """Return a tag's version; None where somebody wrote another text there."""
    try:
        return Version(tag)
    except InvalidVersion:
        return None


def _migrations() -> dict[str, str | None]:
    """Return MLflow's schema revisions, each with the one before it.

    They are read as text: alembic would import all of them, which takes a second.
    """
    spec = importlib.util.find_spec("mlflow")
    places = () if spec is None else spec.submodule_search_locations or ()
    found: dict[str, str | None] = {}
    for place in places:
        for path in Path(place, "store", "db_migrations", "versions").glob("*.py"):
            named = dict(re.findall(r'^(revision|down_revision) = "(\w+)"', path.read_text(), re.M))
            if "revision" in named:
                found[named["revision"]] = named.get("down_revision")
    return found
