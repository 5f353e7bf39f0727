"""A text table: its layout, the parsing of its cells, and the check that all rows were read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import pandas as pd

from accomplice.data.cells.exact_numbers import EXACTLY
from accomplice.data.cells.missing import DOUBTFUL, MISSING, word_of
from accomplice.data.errors import InputError
from accomplice.data.escaping import unquote_cells
from accomplice.data.readers.column_types import is_text, spellings, without_missing_words
from accomplice.data.readers.contents import Contents, contents_of, in_memory
from accomplice.data.readers.layout import BLANKS, SAMPLED, Layout, layout_of, split_blanks
from accomplice.data.readers.reader import PLAIN, Reading
from accomplice.data.readers.row_checker import LONGEST, RowChecker

T = TypeVar("T")

#: Maximum number of distinct cells, blank ones included, of a column that may be a category.
FEW_LEVELS = 22
#: Number of bytes after which no further line is read to find the layout, if `FEW` are read.
SAMPLE = 1 << 18
#: Number of first lines that are read to find the layout, however long they are.
FEW = 6


@dataclass(frozen=True)
class Text:
    """A text table whose layout is known."""

    path: Path
    """The file, for errors."""
    contents: Contents
    """The text."""
    layout: Layout
    """Columns, delimiter and position of the table."""
    reading: Reading
    """Options on how the table is read."""
    start: int
    """Number of bytes before the first row."""
    header: bytes = b""
    """The header's line, without its end; empty without a header, or if blanks separate cells."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on how the text was read and its layout found, one line each."""
        return (*self.contents.notes, *self.layout.notes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.layout.names

    @property
    def blank(self) -> list[str]:
        """Words that pandas reads as missing in every column; the minus sign is not among them."""
        words = self.reading.words
        levels = words.kept.union(*words.levels.values())
        # In a column that has +, a - is a level.
        return spellings((MISSING | words.missing) - levels - {"-"})

    def open(self) -> IO[bytes]:
        """Open the text at the first row of the table."""
        file = self.contents.open()
        file.seek(file.tell() + self.start)
        return file

    def rows(self, *, precise: bool = False) -> RowChecker:
        """Return a reader of the rows that checks them.

        Args:
            precise: whether each line is checked by itself, so that an error names it.
        """
        return RowChecker(
            self.path,
            self.layout.delimiter.encode(),
            len(self.names),
            self.layout.line,
            self.header,
            precise,
        )

    def options(self, types: Mapping[str, type]) -> dict[str, Any]:
        """Return the options of `pandas.read_csv` for this text.

        Args:
            types: column -> type; pandas finds the types of other columns.
        """
        return {
            "sep": self.layout.delimiter,
            "header": None,
            "names": list(self.names),
            "index_col": False,
            "low_memory": False,
            "skipinitialspace": True,
            "keep_default_na": False,
            "na_values": self.blank,
            "dtype": dict(types),
            **EXACTLY,
        }

    def read(self, text_columns: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Return the whole table with notes on how it was read.

        Args:
            text_columns: columns kept as text.

        Raises:
            InputError: the table has no rows or an invalid row, or pandas reads another number of
                rows than were counted.
        """

        def read(rows: RowChecker) -> pd.DataFrame:
            with self.open() as file:
                body = b"".join(rows.blocks(file))
            refuse_empty(self.path, rows.count)
            return self.parse(body, dict.fromkeys(text_columns, str))

        frame, rows = self.checked(read)
        if len(frame) != rows.count:
            raise InputError(
                f"{self.path}: not a readable table: {len(frame)} of its {rows.count} rows are read"
            )
        frame = self.without_missing_words(frame, text_columns)
        return frame, (*self.notes, *((rows.note,) if rows.note else ()))

    def refuse_doubtful(self, frame: pd.DataFrame) -> None:
        """Raise for a category with blank cells and a word that may be missing or a level.

        Such words are None and NA. A category is a column of text with at most ``FEW_LEVELS``
        distinct cells.

        Args:
            frame: the table as it has been read.

        Raises:
            InputError: there is such a column, and no option for all columns says what the word
                means.
        """
        words = self.reading.words
        doubtful = {w.lower(): w for w in DOUBTFUL if w.lower() not in words.missing | words.kept}
        names = [n for n, kind in zip(frame.columns, frame.dtypes, strict=True) if is_text(kind)]
        if not doubtful or not names:
            return
        cells = self.options(dict.fromkeys(names, str)) | {"na_values": [], "na_filter": False}
        with self.open() as file:
            raw = pd.read_csv(file, **cells, usecols=names, nrows=len(frame))
        for name in names:
            found = {word_of(cell) for cell in raw[name].unique()}
            category = "" in found and len(found) <= FEW_LEVELS
            if category and (unclear := sorted(found & doubtful.keys())):
                word = doubtful[unclear[0]]
                level = (
                    f"--level {word} if it is a level"
                    if word.lower() not in MISSING
                    else "then list it under the levels of the feature if it is one"
                )
                raise InputError(
                    f"{self.path}: column '{name}' has {word} as well as blank cells: give "
                    f"--missing {word} if it means missing (missing in the study file), {level}"
                )

    def checked(self, read: Callable[[RowChecker], T]) -> tuple[T, RowChecker]:
        """Return the result of ``read``, and the row checker that ``read`` has used.

        If pandas meets a row that is too long, ``read`` is called again with a checker of each
        line, so that the error names the line.

        Raises:
            InputError: a row is invalid.
        """
        rows = self.rows()
        try:
            return read(rows), rows
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            rows = self.rows(precise=True)
            return read(rows), rows

    def parse(self, rows: bytes, types: Mapping[str, type]) -> pd.DataFrame:
        """Return a frame of some rows.

        Args:
            rows: text of whole rows.
            types: column -> type; pandas finds the types of other columns.
        """
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(rows), **self.options(types))
        return unquoted(frame, [name for name, kind in types.items() if kind is str])

    def without_missing_words(
        self, frame: pd.DataFrame, text_columns: Sequence[str], changed: set[str] | None = None
    ) -> pd.DataFrame:
        """Return a frame with words for missing emptied and its columns' types found again.

        Args:
            frame: all rows, or some, as pandas has read them.
            text_columns: columns that stay text.
            changed: set to which the names of columns that differ from pandas' reading are added.
        """
        fresh = {}
        for name, kind in zip(frame.columns, frame.dtypes, strict=True):
            if is_text(kind) and name not in text_columns:
                cells, differs = without_missing_words(frame[name], self.reading.words)
                if differs:
                    fresh[name] = cells
        if changed is not None:
            changed.update(fresh)
        return frame.assign(**fresh) if fresh else frame


def unquoted(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return a frame whose identifiers are as before ``escaping.quote_cells``.

    Args:
        frame: all rows of a text table, or some.
        names: columns of identifiers; those that the frame lacks are passed over.
    """
    known = [name for name in names if name in frame and frame[name].str.contains(r"^'|\\u").any()]
    return frame.assign(**{name: unquote_cells(frame[name]) for name in known})


def refuse_empty(path: Path, rows: int) -> None:
    """Raise for a table without rows.

    Args:
        path: the file, for the error.
        rows: number of its rows.

    Raises:
        InputError: the table has no rows.
    """
    if not rows:
        raise InputError(f"{path}: the table has no rows")


def open_text(
    path: Path,
    fewest: int,
    reading: Reading = PLAIN,
    contents: Contents | None = None,
    delimiter: str | None = None,
) -> Text:
    """Return a text table with its layout.

    Args:
        path: the file.
        fewest: minimum number of columns of a table.
        reading: options on how the table is read.
        contents: the text; None: that of the file.
        delimiter: character between cells; None: it is found from the first lines.

    Raises:
        InputError: the file is binary or not text in its encoding, has too few columns or two of
            one name, or it is not clear whether it has a header.
    """
    contents = contents_of(path, reading.encoding) if contents is None else contents
    with contents.open() as file:
        raw = _first_lines(file)
    layout = layout_of(path, _decoded(path, raw), fewest, delimiter)
    header = raw[layout.after - 1].rstrip(b"\r\n") if layout.after else b""
    if layout.delimiter == BLANKS:
        contents = _with_tabs(contents)
        with contents.open() as file:
            raw = _first_lines(file)
        layout, header = replace(layout, delimiter="\t"), b""
    start = sum(map(len, raw[: layout.after]))
    return Text(path, contents, layout, reading, start, header)


def _first_lines(file: IO[bytes]) -> list[bytes]:
    """Return the lines from which the layout is found."""
    lines: list[bytes] = []
    size = 0
    while len(lines) < SAMPLED and (size < SAMPLE or len(lines) < FEW):
        line = file.readline(LONGEST)
        if not line:
            break
        lines.append(line)
        size += len(line)
    return lines


def _decoded(path: Path, lines: Sequence[bytes]) -> list[str]:
    """Return the first lines as texts.

    Raises:
        InputError: a line is not UTF-8 text or has a NUL byte; the error names it.
    """
    rows = RowChecker(path, b",", 0, 1)
    for line in lines:
        rows.refuse_non_text_and_header(line)
        rows.line += 1
    return [line.decode() for line in lines]


def _with_tabs(contents: Contents) -> Contents:
    """Return a text with tabs in place of runs of blanks."""
    with contents.open() as file:
        lines = file.read().decode().splitlines()
    made = "".join(_tabbed(split_blanks(line)) + "\n" for line in lines)
    return in_memory(made.encode(), *contents.notes, "blanks stand between its cells")


def _tabbed(cells: Sequence[str]) -> str:
    return "\t".join(
        f'"{c.replace(chr(34), chr(34) * 2)}"' if {*c} & {*'\t" '} else c for c in cells
    )
