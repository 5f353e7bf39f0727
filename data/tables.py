"""Read tables: CSV, TSV, Parquet and Excel to a pandas frame, with errors a user can act on."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from data.errors import InputError, nearest, some

DELIMITERS = ",\t;|"
TEXT = (".csv", ".tsv", ".tab", ".txt")


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
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).lower()
    try:
        if ending == ".parquet":
            frame = _read_parquet(path)
        elif ending in (".xlsx", ".xls", ".xlsm"):
            frame = _read_excel(path, text_columns)
        elif ending.removesuffix(".gz") in TEXT:
            frame = _read_text(path, text_columns, fewest)
        else:
            raise InputError(
                f"{path}: not a table that can be read: give .csv, .tsv, .parquet or .xlsx"
            )
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text: save it as CSV UTF-8") from None
    except Exception as error:
        # Readers raise a wide family of errors whose texts can quote cells: name the kind only.
        raise InputError(f"{path}: not a readable table ({type(error).__name__})") from None
    if frame.empty:
        raise InputError(f"{path}: the table has no rows")
    frame.columns = [str(c).strip() for c in frame.columns]
    _refuse_twice(path, frame.columns)
    return frame


def _refuse_twice(path: Path, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path}: column {some(twice)} stands twice: rename or remove one")


def _read_text(path: Path, text_columns: Sequence[str], fewest: int) -> pd.DataFrame:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if b"\0" in raw[:65536]:
        raise InputError(f"{path}: not a table: the file is binary")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    # Bytes until a reader wants them: as text in memory a large table is four times its size.
    raw = raw.lstrip(b"\r\n")
    head = raw.split(b"\n", 1)[0].decode()
    delimiter = max(DELIMITERS, key=head.count) if head else DELIMITERS[0]
    lines = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="\n")
    names = next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), [])
    if len(names) < fewest:
        raise InputError(f"{path}: not a table: the first line names fewer columns than {fewest}")
    # pandas would rename a repeated column instead of refusing it.
    _refuse_twice(path, [name.strip() for name in names])
    with warnings.catch_warnings():
        # It would also cut rows that are longer than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            io.BytesIO(raw),
            sep=delimiter,
            dtype=dict.fromkeys(text_columns, str),
            index_col=False,
            low_memory=False,
            skipinitialspace=True,
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    # pandas writes a named index, such as the patients', beside the columns: bring it back.
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
