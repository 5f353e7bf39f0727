"""Write files whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from accomplice.data.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    WritePart = Callable[[pd.DataFrame], None]

PARQUET = ".parquet"
#: Endings of a table that can be written.
TABLES = (".csv", PARQUET)
#: Rows of a Parquet file that are written together.
ROW_GROUP = 1 << 16


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def written_in_parts(path: Path) -> Iterator[WritePart]:
    """Give what writes a table part by part, as CSV or Parquet by the file's ending.

    The file appears at the end, whole, or not at all; memory holds some parts of it at the most.

    Raises:
        InputError: as :func:`check_file`.
    """
    with written_whole(path) as place:
        if path.suffix == PARQUET:
            with closing(_ParquetParts(place)) as file:
                yield file.write
                file.flush()
        else:
            with place.open("w", encoding="utf-8", newline="") as text:
                yield csv_parts(text)


def csv_parts(file: TextIO) -> WritePart:
    """Return what writes a table part by part to an open file, as CSV."""
    begun = False

    def write(part: pd.DataFrame) -> None:
        nonlocal begun
        part.to_csv(file, index=False, header=not begun)
        begun = True

    return write


class _ParquetParts:
    """A Parquet file written part by part, in row groups of a size that is quick to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._held: list[Any] = []

    def write(self, part: pd.DataFrame) -> None:
        """Add rows; what the columns are is settled by the first part."""
        import pyarrow as pa

        schema = self._held[0].schema if self._held else getattr(self._writer, "schema", None)
        self._held.append(pa.Table.from_pandas(part, schema, preserve_index=False))
        if sum(map(len, self._held)) >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._held:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._held[0].schema)
        self._writer.write_table(pa.concat_tables(self._held))
        self._held.clear()

    def close(self) -> None:
        """Close the file, without what is held."""
        if self._writer is not None:
            self._writer.close()


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
