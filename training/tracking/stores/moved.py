"""Moved stores: correction of file paths after the store's folder was moved, renamed or copied.

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

#: Folder beside the database that holds a folder of files for each experiment.
ARTIFACTS = "artifacts"
#: Tag of a run that names its study file; only in the project's own store, since the path means
#: nothing on another machine.
STUDY_FILE = "study_file"
#: Columns of MLflow's tables that hold paths or addresses of files.
COLUMNS = ("artifact_location", "artifact_uri", "storage_location", "source")
#: Beginning of the address of a local file.
FILE = "file://"


def experiment_place(root: Path, name: str) -> str:
    """Return the address of an experiment's files in a store's folder, as MLflow takes it.

    Args:
        root: absolute path of the store's folder.
        name: name of the experiment.
    """
    return (root / ARTIFACTS / name).as_uri()


def correct_places(uri: str, root: Path) -> list[Path]:
    """Correct the paths of the store's files, and of study files, in a moved database.

    Args:
        uri: address of the SQLite database, which is in ``root``.
        root: absolute path of the store's folder.

    Returns:
        The former folders of the store; empty if it was not moved.

    Raises:
        InputError: as :func:`connected`.
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
        # Unescaped, of an earlier version: MLflow cuts it short at the # or ?.
        if root in _root_of(name, place) and {*place} & {*"#?"}:
            _replace_prefix(
                connection, "experiments", "artifact_location", place, experiment_place(root, name)
            )
    connection.commit()
    return moved


def _root_of(name: str, place: str | None) -> list[Path]:
    """Return the store's folder in the address of an experiment's files; empty if it has none."""
    ending = f"/{ARTIFACTS}/{name}"
    path = unquote((place or "").removeprefix(FILE))
    ours = (place or "").startswith(FILE) and path.endswith(ending)
    return [Path(path.removesuffix(ending))] if ours else []


def _is_moved(before: Path, root: Path) -> bool:
    """Whether files that the database has in ``before`` belong in ``root`` now.

    They do unless the two folders are one, or only ``before`` has a folder of files.
    """
    if before == root or (before.is_dir() and before.samefile(root)):
        return False
    # A database that was copied alone keeps the paths of its files.
    return (root / ARTIFACTS).is_dir() or not (before / ARTIFACTS).is_dir()


def _replace(connection: Connection, before: Path, root: Path) -> None:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    for table in inspector.get_table_names():
        for column in inspector.get_columns(table):
            if column["name"] in COLUMNS:
                # The unescaped address of an earlier version, the address, and the plain path.
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
    """Replace ``old`` by ``new`` at the beginning of a column's texts."""
    from sqlalchemy import text

    connection.execute(
        text(
            f"update {table} set {column} = :new || substr({column}, :length + 1) "
            f"where substr({column}, 1, :length) = :old{where}"
        ),
        {"new": new, "old": old, "length": len(old)},
    )
