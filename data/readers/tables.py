"""Read tables: CSV, TSV, Parquet and Excel to a pandas frame, with errors a user can act on."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pandas as pd

from accomplice.data.errors import InputError, nearest, some

DELIMITERS = ",\t;|"
TEXT = (".csv", ".tsv", ".tab", ".txt")
PARQUET = ".parquet"
EXCEL = (".xlsx", ".xls", ".xlsm")
#: Bytes at the beginning that tell text from binary.
HEAD = 65536


def read_table(path: Path, text_columns: Sequence[str] = (), fewest: int = 2) -> pd.DataFrame:
    """Read one table; the ending of its name tells the format.

    Args:
        path: a ``.csv``, ``.tsv``, ``.tab`` or ``.txt`` file (also ``.gz``), ``.parquet``, or an
            Excel workbook (first sheet).
        text_columns: columns kept as text, such as identifiers with leading zeros.
        fewest: columns that a text file must have to count as a table.

    Raises:
        InputError: the file is missing, is not a table, is empty, or names a column twice.
    """
    ending = ending_of(path)
    with readable(path):
        if ending == PARQUET:
            frame = _read_parquet(path)
        elif ending in EXCEL:
            frame = _read_excel(path, text_columns)
        else:
            with open_text(path, fewest) as text:
                frame = pd.read_csv(text.file, **text.options, dtype=text.typed(text_columns))
        return named(path, frame)


def ending_of(path: Path) -> str:
    """Return the ending that tells a table's format, in lower case and without ``.gz``.

    Raises:
        InputError: there is no such file, or it is of no known format.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if (ending := format_of(path)) is not None:
        return ending
    raise InputError(f"{path}: not a table that can be read: give .csv, .tsv, .parquet or .xlsx")


def format_of(path: Path) -> str | None:
    """Return the ending that tells a table's format, in lower case and without ``.gz``, or None."""
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).lower()
    if ending in (PARQUET, *EXCEL):
        return ending
    return plain if (plain := ending.removesuffix(".gz")) in TEXT else None


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises meanwhile into one line that holds no cell.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # pandas would cut rows that are longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text: save it as CSV UTF-8") from None
    except Exception as error:
        # Readers raise a wide family of errors whose texts can quote cells: name the kind only.
        raise InputError(f"{path}: not a readable table ({type(error).__name__})") from None


def named(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Strip the columns' names in place; return the frame.

    Raises:
        InputError: it has no rows, or a name stands twice.
    """
    if frame.empty:
        raise InputError(f"{path}: the table has no rows")
    frame.columns = [str(c).strip() for c in frame.columns]
    _refuse_twice(path, frame.columns)
    return frame


def _refuse_twice(path: Path, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path}: column {some(twice)} stands twice: rename or remove one")


@dataclass(frozen=True)
class Text:
    """A text table, opened at its header."""

    file: IO[bytes]
    names: tuple[str, ...]
    """As they stand in the header."""
    delimiter: str

    @property
    def options(self) -> dict[str, Any]:
        """How pandas reads it."""
        return {
            "sep": self.delimiter,
            "index_col": False,
            "low_memory": False,
            "skipinitialspace": True,
        }

    def typed(self, text_columns: Sequence[str]) -> dict[str, type[str]]:
        """Say of the columns that are kept as text that they are."""
        return {name: str for name in self.names if name.strip() in text_columns}


@contextmanager
def open_text(path: Path, fewest: int) -> Iterator[Text]:
    """Open a text table at its header, past what editors put before it.

    Raises:
        InputError: it is binary, names too few columns, or one twice.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
        file: IO[bytes] = cast("IO[bytes]", opened)
        if b"\0" in file.read(HEAD):
            raise InputError(f"{path}: not a table: the file is binary")
        file.seek(0)
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        start = file.tell()
        while file.read(1) in (b"\r", b"\n"):
            start += 1
        file.seek(start)
        head = file.readline()
        if b"\n" not in head:
            # Lines that end in a carriage return alone; or a header and nothing else.
            file, start = io.BytesIO(head.replace(b"\r", b"\n")), 0
            head = file.readline()
        line = head.decode().strip("\n")
        delimiter = max(DELIMITERS, key=line.count) if line else DELIMITERS[0]
        file.seek(start)
        # Bytes until a reader wants them: as text in memory a large table is four times its size.
        lines = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        names = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), [])
        lines.detach()
        if len(names) < fewest:
            raise InputError(
                f"{path}: not a table: the first line names fewer columns than {fewest}"
            )
        # pandas would rename a repeated column instead of refusing it.
        _refuse_twice(path, [name.strip() for name in names])
        file.seek(start)
        yield Text(file, tuple(names), delimiter)


def _read_parquet(path: Path) -> pd.DataFrame:
    return with_index(pd.read_parquet(path))


def with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring back, as a column, the index that pandas writes beside the columns if it has a name."""
    return frame if frame.index.name is None else frame.reset_index()


def _read_excel(path: Path, text_columns: Sequence[str]) -> pd.DataFrame:
    try:
        with pd.ExcelFile(path) as book:
            head = pd.read_excel(book, header=None, nrows=1)
            frame = pd.read_excel(book, dtype=dict.fromkeys(text_columns, str))
    except ImportError:
        raise InputError(
            f"{path}: reading Excel needs an extra: pip install 'accomplice[excel]'"
        ) from None
    names = [str(cell).strip() for cell in head.to_numpy().ravel() if not pd.isna(cell)]
    _refuse_twice(path, names)
    return frame


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Return a column.

    Raises:
        InputError: the table lacks it; the text names the nearest column.
    """
    if name not in frame.columns:
        raise InputError(f"{where}: no column '{name}'{nearest(name, map(str, frame.columns))}")
    return frame[name]


def join_tables(frames: Sequence[pd.DataFrame], names: Sequence[str], on: str) -> pd.DataFrame:
    """Join tables on the id column, keeping the rows and the order of the first.

    Raises:
        InputError: a table lacks the id column, holds an id twice, or repeats a column.
    """
    joined = frames[0]
    column(joined, on, names[0])
    for frame, name in zip(frames[1:], names[1:], strict=True):
        repeated = column(frame, on, name).duplicated()
        if repeated.any():
            raise InputError(
                f"{name}: column '{on}': {int(repeated.sum())} rows repeat an id: keep one row each"
            )
        both = [c for c in frame.columns if c in joined.columns and c != on]
        if both:
            raise InputError(f"{name}: column {some(both)} is in two tables: rename or remove one")
        joined = joined.merge(frame, on=on, how="left", sort=False)
    return joined
