"""Find a text table's header, its first row of data, and its delimiter.

The delimiter is the one that cuts the most of the first lines into equally many cells; the first
line that it cuts counts more. Lines above the header are skipped if they cannot be a part of the
table; a doubtful layout is an error.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accomplice.data.cells.missing import MISSING, NO_NUMBERS, word_of
from accomplice.data.errors import InputError, some

#: Characters that can delimit cells.
DELIMITERS = ",\t;|"
#: Delimiter that means runs of blanks, tried if each other one leaves most lines in one cell.
BLANKS = " "
#: Maximum number of first lines from which the layout is found.
SAMPLED = 100
#: Number of first rows among which a header below a title is searched, and of rows below the header
#: whose numbers of cells are compared with the names.
TOPMOST = 20
#: Minimum count of numbers below a word that show that the word is no value of the column.
ENOUGH = 4
#: Maximum number of columns that are searched for numbers.
MOST_COLUMNS = 200

#: Characters that are not displayed.
_HIDDEN = re.compile("[\u200b\u200c\u200d\u2060\ufeff]")
#: A cell between blanks, or one in quotation marks.
_BETWEEN_BLANKS = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"(?!\S)|\S+')
#: Spaces other than the plain one.
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


@dataclass(frozen=True)
class Record:
    """The cells of one row, and the lines that it takes in the file."""

    cells: list[str]
    """Texts of the cells; empty for a blank line."""
    line: int
    """Number of the first line, from 1."""
    after: int
    """Number of the last line, from 1."""

    @property
    def filled(self) -> int:
        """Number of cells that are not blank."""
        return sum(not is_blank(cell) for cell in self.cells)


@dataclass(frozen=True)
class Layout:
    """The columns, the delimiter and the position of a table in its file."""

    names: tuple[str, ...]
    """Names of the columns; ``Unnamed: 0`` and so on, by position, where the header has none."""
    delimiter: str
    """Character between cells; `BLANKS` means runs of blanks."""
    line: int
    """Number of the line on which the first patient begins, from 1; without a patient, of the line
    below the header's first line."""
    after: int
    """Number of the header's last line, from 1."""
    notes: tuple[str, ...] = ()
    """Notes on how the layout was found, one line each."""


class NotATableError(InputError):
    """Error of a file that is empty, or has fewer columns than a table must have."""


def layout_of(
    path: Path, lines: Sequence[str], fewest: int, delimiter: str | None = None
) -> Layout:
    """Find the layout of a text table.

    Args:
        path: the file, for errors.
        lines: the first lines of the text.
        fewest: minimum number of columns of a table.
        delimiter: character between cells; None: it is found from the lines.

    Raises:
        NotATableError: as :func:`find_header`.
        InputError: as :func:`find_header`.
    """
    if delimiter is None:
        delimiter, records = _delimited(lines, fewest)
    else:
        records = _split(lines, delimiter)
    quoted = {i + 1 for i, line in enumerate(lines) if line.startswith('"')}
    return find_header(path, records, delimiter, fewest, quoted)


def find_header(
    path: Path,
    records: Sequence[Record],
    delimiter: str,
    fewest: int,
    quoted: Collection[int] = (),
) -> Layout:
    """Find the header among a table's first rows, and return the layout.

    Args:
        path: the file, for errors.
        records: the first rows.
        delimiter: character between cells.
        fewest: minimum number of columns of a table.
        quoted: numbers of the lines that begin with a quotation mark.

    Raises:
        NotATableError: there is no row, or the rows or the names have too few columns.
        InputError: a column name occurs twice, names and cells differ in number, or one or two rows
            below the header are units or further headers.
    """
    records = [record for record in records if record.cells]
    if not records:
        raise NotATableError(
            f"{path}: not a readable table: it is empty: the first line names fewer columns than "
            f"{fewest}"
        )
    if (width := _usual_width(records)) < fewest:
        raise NotATableError(
            f"{path}: not a table: the first line names fewer columns than {fewest}"
        )
    place, notes = _header_place(records, width)
    header, below = records[place], records[place + 1 :]
    names = [clean_name(cell) for cell in header.cells]
    if below and all(len(record.cells) == width for record in below[:TOPMOST]):
        rowed = all(record.line in quoted for record in (header, *below))
        names, more = _match_names(path, header, names, below, width, quoted=rowed)
        notes += more
    if len(names) < fewest:
        raise NotATableError(
            f"{path}: not a table: the first line names fewer columns than {fewest}"
        )
    _refuse_units(path, len(names), below)
    # pandas would rename a repeated column instead of refusing it.
    refuse_twice(path, [name for name in names if name])
    named = tuple(name or f"Unnamed: {i}" for i, name in enumerate(names))
    line = below[0].line if below else header.line + 1
    return Layout(named, delimiter, line, header.after, tuple(notes))


def refuse_twice(path: Path, names: Iterable[str]) -> None:
    """Raise for column names that occur twice.

    Args:
        path: the file, for the error.
        names: names of the columns.

    Raises:
        InputError: a name occurs twice.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path}: column {some(twice)} stands twice: rename or remove one")


def clean_name(cell: str) -> str:
    """Return a column's name with plain spaces, none around it, and without hidden characters."""
    return _SPACES.sub(" ", _HIDDEN.sub("", cell)).strip()


def is_blank(cell: str) -> bool:
    """Whether a cell has no character that is displayed."""
    return not cell or not _HIDDEN.sub("", cell).strip()


def _delimited(lines: Sequence[str], fewest: int) -> tuple[str, list[Record]]:
    """Return the delimiter of the lines, and the rows that it makes.

    It gives the largest share of rows with one number of cells, two or more; the share counts 0.2
    more if the first row that it cuts has that number. Of two equal delimiters the one that makes
    wider rows is taken. If none makes such rows, it is `BLANKS` where all rows below the first have
    one number of cells and the first has as many or one fewer, else a comma.
    """
    best: tuple[float, int] = (0.0, 0)
    chosen = DELIMITERS[0], _split(lines, DELIMITERS[0])
    for delimiter in DELIMITERS:
        records = _split(lines, delimiter)
        width = _usual_width(records)
        if width < 2:
            continue
        counts = [len(record.cells) for record in records if record.cells]
        first = next((n for n in counts if n > 1), 0)
        alike = counts.count(width) / len(counts) + 0.2 * (first == width)
        if (score := (round(alike, 2), width)) > best:
            best, chosen = score, (delimiter, records)
    if best[1] or fewest < 2:
        return chosen
    records = [record for record in _split(lines, BLANKS) if record.cells]
    counts = [len(record.cells) for record in records]
    same = len(counts) > 1 and len(set(counts[1:])) == 1 and counts[1] > 1
    return (BLANKS, records) if same and 0 <= counts[1] - counts[0] <= 1 else chosen


def _split(lines: Sequence[str], delimiter: str) -> list[Record]:
    """Return the rows that a delimiter makes of lines; a blank line has no cells."""
    plain = (re.sub("\r(?!\n)", " ", line.removesuffix("\n").removesuffix("\r")) for line in lines)
    if delimiter == BLANKS:
        return [Record(split_blanks(line), i + 1, i + 1) for i, line in enumerate(plain)]
    # Every line ends, so that a quoted cell may hold line breaks.
    reader = csv.reader((line + "\n" for line in plain), delimiter=delimiter, skipinitialspace=True)
    records, before = [], 0
    for cells in _without_errors(reader):
        blank = len(cells) == 1 and is_blank(cells[0])
        records.append(Record([] if blank else cells, before + 1, reader.line_num))
        before = reader.line_num
    return records


def split_blanks(line: str) -> list[str]:
    """Return the cells of a line, cut at runs of blanks outside quotation marks."""
    cells = _BETWEEN_BLANKS.finditer(line)
    return [c[0] if c["quoted"] is None else c["quoted"].replace('""', '"') for c in cells]


def _without_errors(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield rows up to the first that cannot be read; a later check reports it with its line."""
    try:
        yield from reader
    except csv.Error:
        return


def _usual_width(records: Sequence[Record]) -> int:
    """Return the most frequent number of cells in a row; of two equally frequent, the larger."""
    counts = Counter(len(record.cells) for record in records if record.cells)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def _header_place(records: Sequence[Record], width: int) -> tuple[int, list[str]]:
    """Return the header's position among the rows, and a note if lines above it are skipped."""
    comments = 0
    for record in records:
        if not record.cells[0].startswith("#"):
            break
        comments += 1
    if comments and comments < len(records) and _can_be_names(records[comments], width):
        return comments, [f"{_lines(records[:comments])} above the header skipped: comments"]
    if comments:
        return comments - 1, []
    if width < 2 or not _is_title(records[0], width):
        return 0, []
    for place, record in enumerate(records[1:TOPMOST], 1):
        if _can_be_names(record, width) and _numbers_below(records, place):
            above = f"{_lines(records[:place])} above the header skipped"
            return place, [f"{above}: the names stand in line {record.line}"]
        if not _is_title(record, width):
            break
    return 0, []


def _can_be_names(record: Record, width: int) -> bool:
    """Whether a row can name all columns: no cell is blank, a number or repeated."""
    names = [clean_name(cell) for cell in record.cells]
    return (
        len(names) == width
        and all(names)
        and len(set(names)) == width
        and not any(map(_is_number, names))
    )


def _is_title(record: Record, width: int) -> bool:
    """Whether a row has too few different cells for names or values: a title, or group names."""
    return len({cell for cell in record.cells if not is_blank(cell)}) <= max(1, width // 2)


def _numbers_below(records: Sequence[Record], place: int) -> bool:
    """Whether some column has only numbers below a row: `ENOUGH`, or as many as there are rows.

    Cells that mean missing are left out.
    """
    below = [record.cells for record in records[place + 1 :]]
    return any(
        len(cells) >= min(ENOUGH, len(below)) > 0 and all(map(_is_number, cells))
        for j in range(min(MOST_COLUMNS, len(records[place].cells)))
        if (cells := [row[j] for row in below if j < len(row) and not _is_missing(row[j])])
    )


def _match_names(
    path: Path,
    header: Record,
    names: list[str],
    below: Sequence[Record],
    width: int,
    *,
    quoted: bool,
) -> tuple[list[str], list[str]]:
    """Return as many column names as the rows have cells, and a note if one was added.

    A blank name beyond the last cell is removed. A blank name for the first column is added if the
    column numbers the rows and all lines begin with a quotation mark.

    Args:
        path: the file, for errors.
        header: the header.
        names: names in the header.
        below: rows below the header.
        width: cells of each row.
        quoted: whether header and rows all begin with a quotation mark.

    Raises:
        InputError: names and cells differ in number in another way.
    """
    if len(names) == width:
        return names, []
    if len(names) == width + 1 and not names[-1]:
        return names[:-1], []
    if len(names) == width - 1 and quoted and _numbers_rows(below):
        return ["", *names], ["the first column has no name: it numbers the rows, as R writes them"]
    why = "correct the names, or the rows"
    if len(names) == width - 1:
        why = (
            "name the first column too if it holds row names, as R writes them, or add the name "
            "that is missing"
        )
        if all(is_blank(record.cells[-1]) for record in below):
            why = "remove the delimiter that ends each row, or add the name that is missing"
    raise InputError(
        f"{path}: not a readable table: line {header.line} names {len(names)} columns and the rows "
        f"below have {width} cells: {why}"
    )


def _numbers_rows(below: Sequence[Record]) -> bool:
    """Whether the first cells of the rows count from 1, in `ENOUGH` rows or more."""
    firsts = [record.cells[0] for record in below]
    return len(firsts) >= ENOUGH and firsts == [str(i + 1) for i in range(len(firsts))]


def _refuse_units(path: Path, width: int, below: Sequence[Record]) -> None:
    """Raise for one or two first rows of words above columns of numbers.

    The words are above at least two such columns, and at least half of all such columns.

    Raises:
        InputError: there are such rows, which are units or further headers.
    """
    rows = [record.cells for record in below if len(record.cells) == width]
    for n in (1, 2):
        if len(rows) <= ENOUGH + n - 1:
            return
        columns = range(min(MOST_COLUMNS, width))
        headed = [j for j in columns if all(_is_word(row[j], digits=n > 1) for row in rows[:n])]
        words = sum(_has_numbers(rows[n:], j) for j in headed)
        if words >= 2 and words >= sum(_has_numbers(rows[n:], j) for j in columns) / 2:
            line = f"line {below[0].line} has"
            remove = "a second header, or units? Remove that line"
            if n > 1:
                line = f"lines {below[0].line} and {below[1].line} have"
                remove = "further headers, as TCGA's files have them? Remove those lines"
            raise InputError(
                f"{path}: not a readable table: {line} words where the rows below have numbers "
                f"({words} columns): {remove}"
            )


def _has_numbers(rows: Sequence[Sequence[str]], j: int) -> bool:
    """Whether the known cells of a column are numbers, in `ENOUGH` rows or more."""
    known = 0
    for row in rows:
        if not _is_missing(row[j]):
            if not _is_number(row[j]):
                return False
            known += 1
    return known >= ENOUGH


def _is_word(cell: str, *, digits: bool) -> bool:
    """Whether a cell is neither missing nor a number, and has no digit unless ``digits``."""
    if _is_missing(cell) or _is_number(cell):
        return False
    return digits or not any(c.isdigit() for c in cell)


def _is_missing(cell: str) -> bool:
    return word_of(cell) in MISSING or word_of(cell) in NO_NUMBERS


def _is_number(cell: str) -> bool:
    """Whether a cell is a number, with any decimal and thousands marks, or a percentage."""
    return bool(re.fullmatch(r"\s*[-+]?(\d[\d.,' ]*|[.,]\d+)([eE][-+]?\d+)?\s*%?", cell))


def _lines(records: Sequence[Record]) -> str:
    first, last = records[0].line, records[-1].line
    return f"line {first}" if first == last else f"lines {first} to {last}"
