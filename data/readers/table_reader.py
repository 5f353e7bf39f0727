"""The reader of tables, whole or in parts that have the same cells.

The type of a column must not depend on the rows of a part: a column of numbers with one word in it
is text everywhere, so that ``1.50`` does not become ``1.5`` in the parts without the word, and one
of whole numbers with a gap somewhere is read alike above and below the gap. A first pass over the
table, which takes a small part of the time that a model then needs, finds the columns' types; a
second one gives the parts. Neither keeps more than one part in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.readers.reader import Reader, Selection, Stream, of_frame
from accomplice.data.readers.tables import (
    EXCEL,
    PARQUET,
    ending_of,
    format_of,
    named,
    open_text,
    read_table,
    readable,
    with_index,
)

#: Rows read at once while finding out what the columns are.
SURVEYED = 8192
#: Bytes of a Parquet column read at once; without it a row group is read whole.
BUFFER = 1 << 18

#: What the cells of a column in one part of a text table can be, beside ``EMPTY``.
EMPTY, GAPS, TRUTH, WHOLE, FRACTION, WORDS = range(6)


class TableReader(Reader):
    """Text tables, Parquet files and Excel workbooks."""

    def recognises(self, path: Path) -> bool:
        """Whether the name ends as that of a table does."""
        return format_of(path) is not None

    def read(self, path: Path, selection: Selection) -> pd.DataFrame:
        """Read a table; see :func:`tables.read_table`."""
        return read_table(path, *_options(selection))

    def stream(self, path: Path, selection: Selection) -> Stream:
        """Read a table in parts; see :func:`open_stream`."""
        return open_stream(path, *_options(selection))


def _options(selection: Selection) -> tuple[tuple[str, ...], int]:
    """Return the columns kept as text, and the fewest columns that a table may have."""
    # The table for a model of one feature has one column.
    return (() if selection.id is None else (selection.id,)), 1 if selection.predicting else 2


def open_stream(path: Path, text_columns: Sequence[str] = (), fewest: int = 2) -> Stream:
    """Find out what a table holds, so that it can be read in parts.

    Args:
        path: as :func:`readers.tables.read_table` takes it. A workbook is read whole.
        text_columns: columns kept as text, such as identifiers with leading zeros.
        fewest: columns that a text file must have to count as a table.

    Raises:
        InputError: as :func:`readers.tables.read_table`.
    """
    ending = ending_of(path)
    if ending in EXCEL:
        return of_frame(read_table(path, text_columns, fewest))
    if ending == PARQUET:
        return _parquet(path)
    return _text(path, text_columns, fewest)


def _text(path: Path, text_columns: Sequence[str], fewest: int) -> Stream:
    kept = set(text_columns)
    found: dict[str, set[int]] = {}
    rows = 0
    with readable(path), open_text(path, fewest) as text:
        first = None
        for frame in pd.read_csv(text.file, **text.options, chunksize=SURVEYED):
            first = frame.iloc[:1] if first is None else first
            rows += len(frame)
            for name in frame.columns:
                # Names can be odd, but pandas has made them differ.
                found.setdefault(name, set()).update(_cells(frame[name]))
        columns = named(path, pd.DataFrame(first)).columns
    types = {name: str if name.strip() in kept else _type(cells) for name, cells in found.items()}
    read = {name: kind for name, kind in types.items() if kind not in (bool, object)}
    mixed = [name for name, kind in types.items() if kind is object]

    def parts(rows: int) -> Iterator[pd.DataFrame]:
        with open_text(path, fewest) as text:
            reader = pd.read_csv(text.file, **text.options, dtype=read, chunksize=rows)
            while (frame := _next(path, reader)) is not None:
                yield named(path, frame.astype(dict.fromkeys(mixed, object)))

    return Stream(rows, tuple(columns), parts)


def _next(path: Path, frames: Iterator[Any]) -> Any:
    """Take the next, or None at the end."""
    with readable(path):
        return next(frames, None)


def _cells(cells: pd.Series) -> set[int]:
    """Say what is among the cells of a part of a column, as pandas read it."""
    gaps = {GAPS} if cells.isna().any() else set()
    if gaps and cells.isna().all():
        return {EMPTY}
    if cells.dtype == np.int64:
        return {WHOLE}
    if cells.dtype.kind == "f":
        return {FRACTION}
    truth = cells.dtype == bool or pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
    # Whole numbers too large for 64 bits are best kept as they are spelt.
    return gaps | {TRUTH if truth else WORDS}


def _type(cells: set[int]) -> type:
    """Say what pandas makes of a column that holds such cells; an object is truth with gaps."""
    if WORDS in cells or (TRUTH in cells and cells & {WHOLE, FRACTION}):
        return str
    if TRUTH in cells:
        return object if cells & {EMPTY, GAPS} else bool
    return int if cells == {WHOLE} else float


def _parquet(path: Path) -> Stream:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def plain(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))

    with readable(path), pq.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        first = next(file.iter_batches(batch_size=1), None)
        columns = named(path, _pandas(schema, [] if first is None else [first], 0)).columns
        # pandas has no missing whole number or truth value: a single gap changes a column.
        gaps = set()
        for name in (field.name for field in schema if plain(field.type)):
            if any(b.column(0).null_count for b in file.iter_batches(columns=[name])):
                gaps.add(name.strip())

    def parts(rows: int) -> Iterator[pd.DataFrame]:
        with readable(path):
            file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        with file:
            batches, done = file.iter_batches(batch_size=rows), 0
            for held in _regrouped(path, batches, rows):
                with readable(path):
                    frame = named(path, _pandas(schema, held, done))
                done += len(frame)
                yield frame.astype({name: _with_gaps(frame[name].dtype) for name in gaps})

    return Stream(rows, tuple(columns), parts)


def _with_gaps(kind: Any) -> Any:
    """Return what pandas takes in place of a type that cannot be missing."""
    if not isinstance(kind, np.dtype):
        return kind
    return {"b": np.dtype(object), "i": np.dtype(float), "u": np.dtype(float)}.get(kind.kind, kind)


def _regrouped(path: Path, batches: Iterator[Any], rows: int) -> Iterator[list[Any]]:
    """Put Arrow batches, which end where row groups do, together to so many rows each."""
    held: list[Any] = []
    count = 0
    while (batch := _next(path, batches)) is not None:
        while len(batch):
            part = batch.slice(0, rows - count)
            held.append(part)
            count += len(part)
            batch = batch.slice(len(part))
            if count == rows:
                yield held
                held, count = [], 0
    if held:
        yield held


def _pandas(schema: Any, batches: Sequence[Any], done: int) -> pd.DataFrame:
    """Turn Arrow batches into a frame whose first row is preceded by so many in the file."""
    import pyarrow as pa

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "make_block is deprecated")
        frame = pa.Table.from_batches(batches, schema=schema).to_pandas()
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    if len(index) == 1 and isinstance(index[0], dict):
        # A range is not kept as cells, but as where it begins and how it goes on.
        start, step = index[0]["start"] + index[0]["step"] * done, index[0]["step"]
        stop = start + step * len(frame)
        frame.index = pd.RangeIndex(start, stop, step, name=index[0]["name"])
    return with_index(frame)
