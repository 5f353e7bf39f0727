"""A text table: its layout, the parsing of its cells, and the check that all of it was read."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import pandas as pd

from accomplice.data.cells.missing import DOUBTFUL, MISSING, word_of
from accomplice.data.errors import InputError
from accomplice.data.readers.column_types import is_text, settled, spellings
from accomplice.data.readers.contents import Contents, contents_of, in_memory
from accomplice.data.readers.layout import BLANKS, SAMPLED, Layout, layout_of, split_blanks
from accomplice.data.readers.numeric import EXACTLY
from accomplice.data.readers.reader import PLAIN, Reading
from accomplice.data.readers.records import LONGEST, RowChecker

T = TypeVar("T")

#: Most levels of a column of words that may be a category.
FEW_LEVELS = 22
#: Bytes of the sample above which a few lines are enough.
SAMPLE, FEW = 1 << 18, 6


@dataclass(frozen=True)
class Text:
    """A text table whose layout is known."""

    path: Path
    contents: Contents
    layout: Layout
    reading: Reading
    start: int
    """Bytes before the first row."""
    header: bytes = b""
    """The header's line, without its end."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on how it was read, one line each."""
        return (*self.contents.notes, *self.layout.notes)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return self.layout.names

    @property
    def blank(self) -> list[str]:
        """Words for missing that are levels in no column, which pandas may take out."""
        words = self.reading.words
        levels = words.kept.union(*words.levels.values())
        # Beside + a - is a level.
        return spellings((MISSING | words.missing) - levels - {"-"})

    def open(self) -> IO[bytes]:
        """Open it at its first row."""
        file = self.contents.open()
        file.seek(file.tell() + self.start)
        return file

    def rows(self, *, precise: bool = False) -> RowChecker:
        """Return the rows, to be read and checked; see :class:`RowChecker`."""
        return RowChecker(
            self.path,
            self.layout.delimiter.encode(),
            len(self.names),
            self.layout.line,
            self.header,
            precise,
        )

    def options(self, types: Mapping[str, type]) -> dict[str, Any]:
        """Return the options of pandas' reader, with the types of some columns."""
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
        """Read the table whole; return it with notes on how it was read.

        Raises:
            InputError: it cannot be read whole.
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
        frame = self.settle(frame, text_columns)
        return frame, (*self.notes, *((rows.note,) if rows.note else ()))

    def refuse_doubtful(self, frame: pd.DataFrame) -> None:
        """Raise for a column of words that has blank cells and None or NA: is that a level?

        Args:
            frame: the table as it has been read.

        Raises:
            InputError: there is one, and the user has not said what the word means.
        """
        words = self.reading.words
        asked = {w.lower(): w for w in DOUBTFUL if w.lower() not in words.missing | words.kept}
        names = [n for n, kind in zip(frame.columns, frame.dtypes, strict=True) if is_text(kind)]
        if not asked or not names:
            return
        cells = self.options(dict.fromkeys(names, str)) | {"na_values": [], "na_filter": False}
        with self.open() as file:
            raw = pd.read_csv(file, **cells, usecols=names, nrows=len(frame))
        for name in names:
            found = {word_of(cell) for cell in raw[name].unique()}
            both = sorted(found & asked.keys()) if "" in found and len(found) <= FEW_LEVELS else []
            if both:
                word = asked[both[0]]
                level = (
                    f"--level {word} if it is a level"
                    if word.lower() not in MISSING
                    else "then list it under the levels of the feature if it is one"
                )
                raise InputError(
                    f"{self.path}: column '{name}' has {word} as well as blank cells: give "
                    f"--missing {word} if it means missing, {level}"
                )

    def checked(self, read: Callable[[RowChecker], T]) -> tuple[T, RowChecker]:
        """Return the result of ``read`` on the rows, and the rows in their state after it.

        If pandas meets a row that is too long, each line is checked in a second reading, so
        that the error names it.
        """
        rows = self.rows()
        try:
            return read(rows), rows
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            rows = self.rows(precise=True)
            return read(rows), rows

    def parse(self, rows: bytes, types: Mapping[str, type]) -> pd.DataFrame:
        """Return a frame of some rows."""
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(rows), **self.options(types))
        return frame

    def settle(
        self, frame: pd.DataFrame, text_columns: Sequence[str], changed: set[str] | None = None
    ) -> pd.DataFrame:
        """Replace words for missing in a frame as pandas has read it.

        Args:
            frame: all rows, or some.
            text_columns: columns that stay text.
            changed: collects the names of columns that differ from pandas' reading.
        """
        fresh = {}
        for name, kind in zip(frame.columns, frame.dtypes, strict=True):
            if is_text(kind) and name not in text_columns:
                cells, other = settled(frame[name], self.reading.words)
                if other:
                    fresh[name] = cells
        if changed is not None:
            changed.update(fresh)
        return frame.assign(**fresh) if fresh else frame


def refuse_empty(path: Path, rows: int) -> None:
    """Raise for a table without rows.

    Raises:
        InputError: it has none.
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
    """Find the layout of a text table.

    Args:
        path: of the file.
        fewest: columns that it must have to count as a table.
        reading: how the table is to be read.
        contents: the text, if it is already in memory.
        delimiter: the character between cells, where the format says it.

    Raises:
        InputError: it is binary, names too few columns, or is not laid out as a table.
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
    """Decode the first lines; one that is not UTF-8 is named.

    Raises:
        InputError: there is one.
    """
    rows = RowChecker(path, b",", 0, 1)
    for line in lines:
        rows.refuse_bytes(line)
        rows.line += 1
    return [line.decode() for line in lines]


def _with_tabs(contents: Contents) -> Contents:
    """Put tabs where runs of blanks are."""
    with contents.open() as file:
        lines = file.read().decode().splitlines()
    made = "".join(_tabbed(split_blanks(line)) + "\n" for line in lines)
    return in_memory(made.encode(), *contents.notes, "blanks stand between its cells")


def _tabbed(cells: Sequence[str]) -> str:
    return "\t".join(
        f'"{c.replace(chr(34), chr(34) * 2)}"' if {*c} & {*'\t" '} else c for c in cells
    )
