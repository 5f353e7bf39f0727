"""Write files whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV or Parquet, whole or not at all."""
    with written_whole(path) as part:
        if path.suffix == ".parquet":
            table.to_parquet(part, index=False)
        else:
            table.to_csv(part, index=False)


def check_file(path: Path) -> None:
    """Refuse a place where no file can be written.

    Raises:
        InputError: the folder does not exist, or the path is one.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder: make it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name a file")


def check_beside(path: Path, suffixes: tuple[str, ...]) -> Path:
    """Refuse, before long work, a place where no file can go with its numbers as JSON beside it.

    Raises:
        InputError: not one of the suffixes, or as :func:`check_file`.
    """
    if path.suffix not in suffixes:
        raise InputError(f"--out {path}: name a file that ends in {' or '.join(suffixes)}")
    for each in (path, path.with_suffix(".json")):
        check_file(each)
    return path


@contextmanager
def written_beside(path: Path, numbers: str) -> Iterator[Path]:
    """Do as :func:`written_whole`, and write the numbers as JSON beside it."""
    with written_whole(path) as part, written_whole(path.with_suffix(".json")) as beside:
        yield part
        beside.write_text(numbers, encoding="utf-8")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a place to write to that becomes ``path`` at the end, and goes away on failure.

    Raises:
        InputError: as :func:`check_file`.
    """
    check_file(path)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
