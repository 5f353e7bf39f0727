"""Read a table (CSV, TSV, Parquet, Excel) into a pandas frame; errors say how to fix the file."""

from __future__ import annotations

import gzip
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from accomplice.data.errors import InputError
from accomplice.data.escaping import printable
from accomplice.data.readers.contents import refuse_others
from accomplice.data.readers.layout import NotATableError, clean_name, refuse_twice
from accomplice.data.readers.reader import PLAIN, Reading
from accomplice.data.readers.text import Text, open_text, refuse_empty
from accomplice.data.readers.workbook import workbook_text

#: Endings of text tables.
TEXT = (".csv", ".tsv", ".tab", ".txt")
#: Ending of Parquet files.
PARQUET = ".parquet"
#: Endings of Excel workbooks.
EXCEL = (".xlsx", ".xls", ".xlsm")

log = logging.getLogger(__name__)


def read_table(
    path: Path,
    text_columns: Sequence[str] = (),
    fewest: int = 2,
    reading: Reading = PLAIN,
) -> pd.DataFrame:
    """Return a table, and log notes on how it was read.

    Args:
        path: a ``.csv``, ``.tsv``, ``.tab`` or ``.txt`` file (also ``.gz``), ``.parquet``, or an
            Excel workbook; a file of another name that is a text table is read too.
        text_columns: columns kept as text, such as identifiers with leading zeros; a Parquet file
            keeps its own types.
        fewest: minimum number of columns of a text table or a workbook; a file with another name
            needs at least two.
        reading: options on how the table is read; not used for Parquet.

    Raises:
        InputError: the file is missing, cannot be read, is not a table, is empty, names a column
            twice, or has a row that is not as wide as its header.
    """
    frame, notes = read_noted(path, text_columns, fewest, reading)
    note(path, notes)
    return frame


def read_noted(
    path: Path, text_columns: Sequence[str], fewest: int, reading: Reading
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table with notes on how it was read; there are none on a Parquet file.

    The arguments are those of :func:`read_table`.

    Raises:
        InputError: as :func:`read_table`.
    """
    with readable(path):
        if ending_of(path) == PARQUET:
            return with_clean_names(path, _read_parquet(path)), ()
        return text_of(path, fewest, reading).read(text_columns)


def note(path: Path, notes: Sequence[str]) -> None:
    """Log the notes on how a file was read.

    Args:
        path: the file.
        notes: one line each.
    """
    for text in notes:
        log.warning("%s", printable(f"note: {path}: {text}"))


def text_of(path: Path, fewest: int, reading: Reading) -> Text:
    """Return a text table, or the table of a workbook as text; not for Parquet.

    Args:
        path: the file.
        fewest: minimum number of columns of a table.
        reading: options on how the table is read.

    Raises:
        InputError: as :func:`read_table`.
    """
    ending = ending_of(path)
    if ending in EXCEL:
        return workbook_text(path, fewest, reading)
    if ending:
        return open_text(path, fewest, reading)
    with path.open("rb") as file:
        refuse_others(path, file.read(64))
    try:
        return open_text(path, max(2, fewest), reading)
    except NotATableError:
        raise InputError(
            f"{path}: not a table that can be read: give .csv, .tsv, .parquet or .xlsx"
        ) from None


def ending_of(path: Path) -> str:
    """Return the ending of an existing table: :func:`format_of`, or "" for another ending.

    Raises:
        InputError: there is no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return format_of(path) or ""


def format_of(path: Path) -> str | None:
    """Return the ending of a table in lower case; None for any other ending.

    A text table may end with ``.gz`` too, which is left out; other tables may not.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    ending = "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])
    if ending in (PARQUET, *EXCEL):
        return ending
    return plain if (plain := ending.removesuffix(".gz")) in TEXT else None


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn any error of a reader inside the block into an error of one line without any cell.

    An :class:`InputError` is raised as it is.

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
    except EOFError:
        raise InputError(
            f"{path}: not a readable table: it is cut short (EOFError): copy or download it again"
        ) from None
    except gzip.BadGzipFile:
        raise InputError(
            f"{path}: not a readable table: it is not packed by gzip: name it without .gz"
        ) from None
    except Exception as error:
        # The texts of readers' errors can quote cells: only the error's class is named.
        raise InputError(f"{path}: not a readable table ({type(error).__name__})") from None


def with_clean_names(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Clean the column names of a frame in place, and return it.

    Args:
        path: the file, for errors.
        frame: the frame.

    Raises:
        InputError: the frame has no rows, or a name occurs twice.
    """
    refuse_empty(path, len(frame))
    frame.columns = [clean_name(str(c)) for c in frame.columns]
    refuse_twice(path, frame.columns)
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return with_index(to_pandas(file.read()))


def to_pandas(table: Any) -> pd.DataFrame:
    """Return an Arrow table as a frame; columns of bytes, which some programs write, become text.

    Raises:
        ValueError: the bytes are not UTF-8.
    """
    import pyarrow as pa

    kinds = pa.types
    fields = [
        field.with_type(pa.string())
        if kinds.is_binary(field.type) or kinds.is_large_binary(field.type)
        else field
        for field in table.schema
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "make_block is deprecated")
        frame: pd.DataFrame = table.cast(pa.schema(fields, table.schema.metadata)).to_pandas()
    return frame


def with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its index as columns, unless that is one index without a name."""
    return frame if frame.index.names == [None] else frame.reset_index()
