"""The reader of tables, whole or in parts, with the same values.

The type of a column must not depend on the rows of a part. So a text table is read twice: first to
check it and to find its columns' types, then to yield its parts. Neither reading holds more than
one block or part in memory; a workbook is read whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.cells.missing import NO_NUMBERS, word_of
from accomplice.data.readers.column_types import (
    as_column_type,
    has_plus,
    is_text,
    kinds,
    type_of,
)
from accomplice.data.readers.layout import clean_name
from accomplice.data.readers.reader import (
    PLAIN,
    DraftSource,
    Reader,
    Reading,
    Selection,
    Stream,
    of_frame,
)
from accomplice.data.readers.row_checker import RowChecker
from accomplice.data.readers.tables import (
    EXCEL,
    PARQUET,
    ending_of,
    format_of,
    note,
    read_noted,
    read_table,
    readable,
    text_of,
    to_pandas,
    with_clean_names,
    with_index,
)
from accomplice.data.readers.text import Text, refuse_empty, unquoted

#: Bytes read at once while the columns' types are found; more for tables of 2000 columns or more.
SURVEYED = 1 << 22
#: Maximum number of distinct words among the numbers of a column; one with more holds texts or
#: identifiers.
MOST_WORDS = 20
#: Bytes of a Parquet column read at once, as otherwise a whole row group would be.
BUFFER = 1 << 18


class TableReader(Reader):
    """Reader of text tables, Parquet files and Excel workbooks."""

    def recognises(self, path: Path) -> bool:
        """Whether the path has the ending of a table."""
        return format_of(path) is not None

    def read(self, path: Path, selection: Selection) -> pd.DataFrame:
        """Return a table; see :func:`tables.read_table`.

        Args:
            path: the file.
            selection: columns that are needed, and options of reading.

        Raises:
            InputError: as :func:`tables.read_table`.
        """
        return read_table(path, *_options(selection), selection.reading)

    def stream(self, path: Path, selection: Selection) -> Stream:
        """Return a table in parts; see :func:`open_stream`.

        Args:
            path: the file.
            selection: columns that are needed, and options of reading.

        Raises:
            InputError: as :func:`tables.read_table`.
        """
        return open_stream(path, *_options(selection), selection.reading)

    def draft(
        self,
        path: Path,
        id: str | None,
        genes: Collection[str],  # noqa: ARG002
        reading: Reading = PLAIN,
    ) -> DraftSource:
        """Return the table to draft a study from, with notes on how it was read.

        Args:
            path: the file.
            id: column of the patient's identifier; None: it is searched, see
                :func:`identity.identify`.
            genes: not used: all columns are read.
            reading: options on how the table is read.

        Raises:
            InputError: as :func:`tables.read_table`; or a column has a word that can mean missing
                or be a level, and the options do not say which.
        """
        columns = () if id is None else (id,)
        frame, notes = read_noted(path, columns, 2, reading)
        if ending_of(path) != PARQUET:
            with readable(path):
                text_of(path, 2, reading).refuse_doubtful(
                    frame.drop(columns=columns, errors="ignore")
                )
        given = {"sheet": reading.sheet, "encoding": reading.encoding}
        options = {key: value for key, value in given.items() if value is not None}
        return DraftSource(frame, id, options=options, notes=(*notes, *_words_among_numbers(frame)))


def _words_among_numbers(frame: pd.DataFrame) -> list[str]:
    """Return a note for each text column of which less than half of the known cells are no numbers.

    Columns with more than ``MOST_WORDS`` such texts get none.
    """
    notes = []
    for name, kind in zip(frame.columns, frame.dtypes, strict=True):
        if not is_text(kind):
            continue
        cells = frame[name].dropna()
        cells = cells[[word_of(cell) not in NO_NUMBERS for cell in cells]]
        odd = pd.to_numeric(cells.astype(str), errors="coerce").isna()
        others = int(odd.sum())
        if 0 < others < len(cells) / 2 and cells[odd].nunique() <= MOST_WORDS:
            notes.append(
                f"column '{name}': {others} of {len(cells)} cells are not numbers: list words that "
                "mean missing with --missing (missing in the study file)"
            )
    return notes


def _options(selection: Selection) -> tuple[tuple[str, ...], int]:
    """Return the columns to keep as text, and the minimum number of columns of a table."""
    # A table of new patients has one column if the model has one feature.
    return (() if selection.id is None else (selection.id,)), 1 if selection.predicting else 2


def open_stream(
    path: Path,
    text_columns: Sequence[str] = (),
    fewest: int = 2,
    reading: Reading = PLAIN,
) -> Stream:
    """Return a stream of a table, which is checked and whose columns' types are found.

    Args:
        path: a file that :func:`readers.tables.read_table` can read; a workbook is read whole.
        text_columns: columns kept as text, such as identifiers with leading zeros.
        fewest: minimum number of columns of a text table.
        reading: options on how the table is read.

    Raises:
        InputError: as :func:`readers.tables.read_table`.
    """
    ending = ending_of(path)
    if ending in EXCEL:
        return of_frame(read_table(path, text_columns, fewest, reading))
    if ending == PARQUET:
        return _parquet(path)
    with readable(path):
        return _text(text_of(path, fewest, reading), text_columns)


def _text(text: Text, text_columns: Sequence[str]) -> Stream:
    """Return a stream of a text table."""
    found: dict[str, set[int]] = {name: set() for name in text.names}
    changed: set[str] = set()
    signed: set[str] = set()

    def survey(rows: RowChecker) -> None:
        with text.open() as file:
            # A column costs the same in each block, however few its rows.
            for block in rows.blocks(file, SURVEYED * max(1, len(text.names) // 1000)):
                if not block.strip():
                    continue
                frame = text.parse(block, dict.fromkeys(text_columns, str))
                frame = text.without_missing_words(frame, text_columns, changed)
                for name, cells in frame.items():
                    found[str(name)] |= kinds(cells)
                    texts = is_text(cells.dtype) and str(name) not in text_columns
                    if texts and has_plus(cells.unique()):
                        signed.add(str(name))

    _, rows = text.checked(survey)
    refuse_empty(text.path, rows.count)
    note(text.path, (*text.notes, *((rows.note,) if rows.note else ())))
    types = {
        name: str if name in changed or name in text_columns else kind
        for name, kind in ((name, type_of(cells)) for name, cells in found.items())
    }
    words = text.reading.words
    # In a column that has +, a - is a level, also in the parts without a +.
    levels = {name: words.levels.get(name, frozenset()) | {"-"} for name in signed}
    words = replace(words, levels={**words.levels, **levels})
    mixed = [name for name, kind in types.items() if kind is object]
    read = {name: kind for name, kind in types.items() if kind not in (bool, object)}

    def parts(n: int) -> Iterator[pd.DataFrame]:
        with text.open() as file:
            reader = pd.read_csv(file, **text.options(read), nrows=rows.count, chunksize=n)
            while (frame := _next(text.path, reader)) is not None:
                with readable(text.path):
                    yield in_column_types(unquoted(frame, text_columns))

    def in_column_types(frame: pd.DataFrame) -> pd.DataFrame:
        converted = {
            name: as_column_type(frame[name], found[name], words)
            for name in types
            if name in changed or (types[name] is str and name not in text_columns)
        }
        return frame.assign(**converted).astype(dict.fromkeys(mixed, object))

    return Stream(rows.count, text.names, parts)


def _next(path: Path, frames: Iterator[Any]) -> Any:
    """Return the next frame or batch of a file, or None at the end.

    Raises:
        InputError: the file cannot be read.
    """
    with readable(path):
        return next(frames, None)


def _parquet(path: Path) -> Stream:
    """Return a stream of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def plain(kind: pa.DataType) -> bool:
        return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))

    with readable(path), pq.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
        first = next(file.iter_batches(batch_size=1), None)
        frame = _pandas(schema, [] if first is None else [first], 0)
        columns = with_clean_names(path, frame).columns
        # pandas has no missing whole number or truth value: a single gap changes a column's type.
        gaps = set()
        for name in (field.name for field in schema if plain(field.type)):
            if any(b.column(0).null_count for b in file.iter_batches(columns=[name])):
                gaps.add(clean_name(name))

    def parts(rows: int) -> Iterator[pd.DataFrame]:
        with readable(path):
            file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        with file:
            batches, done = file.iter_batches(batch_size=rows), 0
            for group in _regrouped(path, batches, rows):
                with readable(path):
                    frame = with_clean_names(path, _pandas(schema, group, done))
                done += len(frame)
                yield frame.astype({name: _with_gaps(frame[name].dtype) for name in gaps})

    return Stream(rows, tuple(columns), parts)


def _with_gaps(kind: Any) -> Any:
    """Return pandas' type of a column with missing values, given its type without them."""
    if not isinstance(kind, np.dtype):
        return kind
    return {"b": np.dtype(object), "i": np.dtype(float), "u": np.dtype(float)}.get(kind.kind, kind)


def _regrouped(path: Path, batches: Iterator[Any], rows: int) -> Iterator[list[Any]]:
    """Yield lists of Arrow batches, with ``rows`` rows in each list; the last may have fewer.

    Args:
        path: the file, for errors.
        batches: batches of any size.
        rows: rows of a list.
    """
    group: list[Any] = []
    count = 0
    while (batch := _next(path, batches)) is not None:
        while len(batch):
            part = batch.slice(0, rows - count)
            group.append(part)
            count += len(part)
            batch = batch.slice(len(part))
            if count == rows:
                yield group
                group, count = [], 0
    if group:
        yield group


def _pandas(schema: Any, batches: Sequence[Any], done: int) -> pd.DataFrame:
    """Return Arrow batches as a frame; ``done`` is the number of the file's rows before them."""
    import pyarrow as pa

    frame = to_pandas(pa.Table.from_batches(batches, schema=schema))
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    if len(index) == 1 and isinstance(index[0], dict):
        # A range is not stored as cells, but by its start and step.
        start, step = index[0]["start"] + index[0]["step"] * done, index[0]["step"]
        stop = start + step * len(frame)
        frame.index = pd.RangeIndex(start, stop, step, name=index[0]["name"])
    return with_index(frame)
