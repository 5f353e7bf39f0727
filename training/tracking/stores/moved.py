"""Moved stores: correct the paths of files after the folder was moved, renamed or copied.

MLflow keeps absolute paths, so that files of a moved store would not be found, and new ones would
be written to the old folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from accomplice.training.databases import connected

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: Folder beside the database that holds the files of experiments by their names.
ARTIFACTS = "artifacts"
#: Tag of a run that names its study file; only in the project's own store, since the path means
#: nothing on another machine.
STUDY_FILE = "study_file"
#: Columns of MLflow's tables that hold places.
COLUMNS = ("artifact_location", "artifact_uri", "storage_location", "source")
FILE = "file://"


def experiment_place(root: Path, name: str) -> str:
    """Return where the files of an experiment go in a store's folder, as MLflow takes it."""
    return (root / ARTIFACTS / name).as_uri()


def correct_places(uri: str, root: Path) -> list[Path]:
    """Correct the places in a database that was moved with its files.

    Args:
        uri: of the SQLite database, which is in ``root``.
        root: absolute path of the store's folder.

    Returns:
        The folders that the store was in before; none where it was not moved.
    """
    return connected(uri, lambda connection: _correct(connection, root), str(root))


def _correct(connection: Connection, root: Path) -> list[Path]:
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("experiments"):
        return []
    named = connection.execute(text("select name, artifact_location from experiments")).all()
    before = {folder for each in named for folder in _root_of(*each)}
    moved = sorted(folder for folder in before if _is_moved(folder, root))
    for folder in moved:
        _replace(connection, folder, root)
    for name, place in named:
        # Of an earlier version, and cut short by MLflow at the # or ?: new files go here.
        if root in _root_of(name, place) and {*place} & {*"#?"}:
            _replace_prefix(
                connection, "experiments", "artifact_location", place, experiment_place(root, name)
            )
    connection.commit()
    return moved


def _root_of(name: str, place: str | None) -> list[Path]:
    """Return the folder of the store that a place of an experiment's files was made in, if any."""
    ending = f"/{ARTIFACTS}/{name}"
    path = unquote((place or "").removeprefix(FILE))
    ours = (place or "").startswith(FILE) and path.endswith(ending)
    return [Path(path.removesuffix(ending))] if ours else []


def _is_moved(before: Path, root: Path) -> bool:
    """Whether the files are in ``root`` now, though the database says another folder."""
    if before == root or (before.is_dir() and before.samefile(root)):
        return False
    # A database that was copied by itself goes on with the files where they are.
    return (root / ARTIFACTS).is_dir() or not (before / ARTIFACTS).is_dir()


def _replace(connection: Connection, before: Path, root: Path) -> None:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    for table in inspector.get_table_names():
        for column in inspector.get_columns(table):
            if column["name"] in COLUMNS:
                # Of an earlier version, and as an address: percent-encoded.
                for old in dict.fromkeys((f"{FILE}{before}/", f"{before.as_uri()}/", f"{before}/")):
                    new = f"{root}/" if old == f"{before}/" else f"{root.as_uri()}/"
                    _replace_prefix(connection, table, str(column["name"]), old, new)
    _replace_prefix(
        *(connection, "tags", "value", f"{before.parent}/", f"{root.parent}/"),
        where=f" and key = '{STUDY_FILE}'",
    )


def _replace_prefix(
    connection: Connection, table: str, column: str, old: str, new: str, where: str = ""
) -> None:
    """Replace the beginning of the texts of a column that begin with ``old``."""
    from sqlalchemy import text

    connection.execute(
        text(
            f"update {table} set {column} = :new || substr({column}, :length + 1) "
            f"where substr({column}, 1, :length) = :old{where}"
        ),
        {"new": new, "old": old, "length": len(old)},
    )
