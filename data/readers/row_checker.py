"""Read the rows of a text table in blocks, and refuse a row that is not as wide as the header.

No fast parser reports its repairs: pandas fills short rows, and reads the text between two stray
quotation marks as one cell. So the delimiters and quotation marks of a block are counted first. If
the counts are wrong, each line is checked; lines with misplaced quotation marks are parsed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from accomplice.data.arrays import Bools, Ints
from accomplice.data.errors import InputError
from accomplice.data.readers.footer import footer_note, is_remark, is_summary, wrong_width

#: Bytes read at once by default.
BLOCK = 1 << 22
#: Maximum number of bytes under a table that can be remarks.
REMARKS = 1 << 16
#: Maximum number of bytes of a row.
LONGEST = 1 << 26
#: Number of last rows that are searched for a summary or a remark.
LAST = 3

#: Quotation mark, line break, carriage return.
QUOTE, NEWLINE, RETURN = b'"', b"\n", b"\r"
#: Beginning of a quoted cell.
_OPENING = re.compile(rb' *"')
#: A quoted cell, up to its closing mark.
_QUOTED = re.compile(rb' *"[^"]*(?:""[^"]*)*"(?!")')


@dataclass
class RowChecker:
    """A check that each row of a text table is as wide as the header, and its state so far."""

    path: Path
    """The file, for errors."""
    delimiter: bytes
    """Character between cells."""
    width: int
    """Number of cells that each row must have."""
    line: int
    """Number of the next line, from 1."""
    header: bytes = b""
    """The header's line without its end; it must not occur again."""
    precise: bool = False
    """Whether each line is checked by itself, so that an error names the invalid ones."""
    count: int = 0
    """Number of rows read so far."""
    note: str | None = None
    """Note on lines left out under the table; None if there are none, empty if all are blank."""
    _gap: bool = False
    """Whether the last line so far is blank."""
    _last: list[tuple[int, bytes]] = field(default_factory=list)
    """Number and text of each of the last ``LAST`` lines so far."""

    def blocks(self, file: IO[bytes], size: int = BLOCK) -> Iterator[bytes]:
        """Yield the valid rows in blocks of whole lines, blank lines among them.

        Args:
            file: the text as UTF-8, at its first row.
            size: bytes read at once.

        Raises:
            InputError: a row above the remarks is not as wide as the header, has no value, is no
                text, repeats the header, is too long, or has a stray quotation mark or carriage
                return; or one of the last rows is a summary or a remark.
        """
        held, last = b"", False
        while not last:
            read = file.read(max(size, len(held)))
            held, last = held + read, not read
            if last and held and not held.endswith(NEWLINE):
                held += NEWLINE
            cut = held.rfind(NEWLINE) + 1
            block, wrong = self._checked(held[:cut], last=last)
            held = held[len(block) :]
            self._keep_last(block)
            if last or wrong:
                self._refuse_summary()
            if block:
                yield block
            if wrong:
                self._read_footer(held + file.read(REMARKS + 1), wrong)
                return
            if len(held) > LONGEST:
                raise self._unclosed(self.line)

    def _checked(self, block: bytes, *, last: bool) -> tuple[bytes, list[tuple[int, int]]]:
        """Return the valid rows of a block of whole lines, and count them.

        Args:
            block: whole lines.
            last: whether the file ends with this block.

        Returns:
            The text of the valid rows, up to the first invalid row or the last complete one; and
            the line number and number of cells of the first invalid rows, 0 cells if all are blank.
        """
        self.refuse_non_text_and_header(block)
        lines = block.count(NEWLINE)
        if not self.precise and self._cells_add_up(block, lines):
            self.count, self.line = self.count + lines, self.line + lines
            self._gap = self._gap and not lines
            return block, []
        return self._checked_by_line(block, last=last) if block else (block, [])

    def _cells_add_up(self, block: bytes, lines: int) -> bool:
        """Whether a block, and its first row by itself, have the expected number of cells.

        A long row can make up for a short one in this count; pandas then refuses the long one. With
        one column, an empty row or a lone carriage return the result is false: lines are checked.
        """
        alone = RETURN in block and block.count(RETURN) != block.count(b"\r\n")
        if self.width < 2 or alone or self._has_empty(block):
            return False
        # pandas silently accepts one extra empty cell in the first row.
        first = block[: block.find(NEWLINE) + 1]
        return self._has_cells(first, 1) and self._has_cells(block, lines)

    def _has_cells(self, block: bytes, lines: int) -> bool:
        """Whether the ``lines`` lines of a block have the expected number of cells in all."""
        octets = np.frombuffer(block, np.uint8)
        inside = _delimiters_inside(octets, self.delimiter[0]) if QUOTE in block else 0
        between = int(np.count_nonzero(octets == self.delimiter[0]))
        return inside is not None and between - inside == lines * (self.width - 1)

    @cached_property
    def _white(self) -> bytes:
        """Characters that a blank line can hold."""
        return bytes({*b" \t\r"} - {self.delimiter[0]})

    def _has_empty(self, block: bytes) -> bool:
        """Whether a block has a row of delimiters alone, or of empty pairs of quotation marks."""
        empty = [self.delimiter * (self.width - 1)]
        if QUOTE in block:
            empty.append(self.delimiter.join([QUOTE * 2] * self.width))
        return any(
            block.startswith(row + end) or NEWLINE + row + end in block
            for row in empty
            for end in _ends(block)
        )

    def refuse_non_text_and_header(self, block: bytes) -> None:
        """Raise for bytes that are not UTF-8 text, and for a second header longer than ``width``.

        Raises:
            InputError: the block has either; the text names the line.
        """
        if (place := block.find(b"\0")) >= 0:
            line = self.line + block.count(NEWLINE, 0, place)
            raise self._error(f"line {line} has a NUL byte: the file is binary, or damaged")
        for end in _ends(block) if len(self.header) > self.width else ():
            place = (
                0 if block.startswith(self.header + end) else block.find(b"\n" + self.header + end)
            )
            if place >= 0:
                line = self.line + block.count(NEWLINE, 0, place + 1)
                raise self._error(f"line {line} is the header again: remove it")
        if block.isascii():
            return
        try:
            block.decode()
        except UnicodeDecodeError as error:
            line = self.line + block.count(NEWLINE, 0, error.start)
            raise InputError(
                f"{self.path}: line {line} is not UTF-8 text: save it as CSV UTF-8, or say what it "
                "is, as with --encoding cp1252 (source.encoding in the study file)"
            ) from None

    def _checked_by_line(self, block: bytes, *, last: bool) -> tuple[bytes, list[tuple[int, int]]]:
        """Return :meth:`_checked` from the number of cells of each line."""
        octets = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(octets == NEWLINE[0])
        starts = np.concatenate(([0], ends[:-1] + 1))
        cells, odd = _count_cells(octets, starts, ends, self.delimiter[0])
        if RETURN in block:
            returns = np.flatnonzero(octets == RETURN[0])
            odd[np.searchsorted(ends, returns[octets[returns + 1] != NEWLINE[0]])] = True

        # A row in quotation marks may take several lines; only the first counts as its beginning.
        n, begins, done = len(ends), np.ones(len(ends), dtype=bool), -1
        # Few lines are short enough to be blank, or to be delimiters alone.
        for i in np.flatnonzero(ends - starts <= self.width + 8).tolist():
            line = block[starts[i] : ends[i]]
            if not line.strip(self._white):
                begins[i] = False
            elif self.width > 1 and not line.strip(self.delimiter + b'" \r'):
                cells[i], odd[i] = 0, b'"' in line and odd[i]
        unequal = begins & (cells != self.width) & ~odd
        for i in np.flatnonzero(odd).tolist():
            if i <= done:
                continue
            if unequal[done + 1 : i].any():
                break
            end, count = self._parse_row(block, int(starts[i]), self.line + i, last=last)
            if end is None:
                n = i
                break
            done = int(np.searchsorted(ends, end))
            cells[i], begins[i], begins[i + 1 : done + 1] = count, True, False
        wrong = np.flatnonzero(begins[:n] & (cells[:n] != self.width))
        found = [(self.line + i, int(cells[i])) for i in wrong[:6].tolist()]
        n = int(wrong[0]) if len(wrong) else n
        self.count += int(begins[:n].sum())
        self.line += n
        if n:
            self._gap = not block[starts[n - 1] : ends[n - 1]].strip(self._white)
        return block[: int(ends[n - 1]) + 1 if n else 0], found

    def _parse_row(
        self, block: bytes, place: int, line: int, *, last: bool
    ) -> tuple[int | None, int]:
        """Parse one row with misplaced quotation marks, as pandas does but strictly.

        Args:
            block: whole lines.
            place: position of the row's first byte.
            line: number of the row's first line.
            last: whether the file ends with this block.

        Returns:
            The position of the line break that ends the row, None if the block ends before; and the
            number of the row's cells.

        Raises:
            InputError: a quotation mark is not closed or is followed by text, a carriage return
                occurs in the row, or each line of the row could be a row.
        """
        start, cells = place, 1

        def line_at(place: int) -> int:
            return line + block.count(NEWLINE, start, place)

        while True:
            quoted = _QUOTED.match(block, place)
            if quoted is None and _OPENING.match(block, place):
                if not last:
                    return None, 0
                raise self._unclosed(line_at(place))
            opened = place
            found = quoted or self._bare.match(block, place)
            place = place if found is None else found.end()
            if block.startswith(self.delimiter, place):
                cells, place = cells + 1, place + 1
            elif block.startswith((NEWLINE, b"\r\n"), place):
                place = block.index(NEWLINE, place)
                self._refuse_joined_lines(block[start:place], line)
                return place, cells
            elif quoted is None:
                at = line_at(place)
                raise self._error(f"line {at} has a carriage return in a row: remove it")
            else:
                raise self._error(
                    f"line {line_at(opened)} has a cell that begins with a quotation mark, and "
                    f"after the next mark (line {line_at(place)}) there is more text: remove a "
                    "stray mark, or double the marks inside a cell"
                )

    @cached_property
    def _bare(self) -> re.Pattern[bytes]:
        """Pattern of a cell without quotation marks around it."""
        return re.compile(rb"[^\r\n" + re.escape(self.delimiter) + rb"]*")

    def _refuse_joined_lines(self, record: bytes, line: int) -> None:
        """Raise for a row of several lines, each wide enough for a row of its own.

        Raises:
            InputError: the row is such; two stray quotation marks have joined its lines.
        """
        lines = record.split(NEWLINE)
        if len(lines) > 1 and all(row.count(self.delimiter) >= self.width - 1 for row in lines):
            raise self._error(
                f"lines {line} to {line + len(lines) - 1} are one row by their quotation marks, "
                "but each could be a row: remove the stray marks"
            )

    def _read_footer(self, text: bytes, wrong: list[tuple[int, int]]) -> None:
        """Note the lines under the table, which are left out.

        Args:
            text: the lines from the first invalid row on.
            wrong: line number and number of cells of the first invalid rows.

        Raises:
            InputError: the lines may be patients.
        """
        if len(text) <= REMARKS:
            lines = text.decode(errors="replace").splitlines()
            rows = [_cells_of(line, self.delimiter.decode()) for line in lines]
            self.note = footer_note(rows, self.line, gap=self._gap)
            if self.note is not None:
                return
        raise self._error(wrong_width(wrong, self.width))

    def _keep_last(self, block: bytes) -> None:
        """Keep the last lines of a block, which may be the last of the table."""
        end = len(block)
        while end and block[end - 1] in b"\r\n":
            end -= 1
        line = self.line - block.count(NEWLINE, end)
        lines: list[tuple[int, bytes]] = []
        while end > 0 and len(lines) < LAST:
            start = block.rfind(NEWLINE, 0, end) + 1
            lines.append((line - len(lines), block[start:end]))
            end = start - 1
        self._last = [*self._last, *reversed(lines)][-LAST:]

    def _refuse_summary(self) -> None:
        """Raise ``InputError`` for a remark or a summary among the last rows."""
        for line, row in self._last:
            cells = _cells_of(row.decode(errors="replace"), self.delimiter.decode())
            if is_summary(cells) or is_remark(cells):
                kind = "summary (mean, median, total ...)" if is_summary(cells) else "remark"
                raise self._error(f"line {line} looks like a {kind}, not a patient: remove it")

    def _unclosed(self, line: int) -> InputError:
        return self._error(
            f"line {line} has a cell that begins with a quotation mark and does not end: remove "
            "the stray mark"
        )

    def _error(self, text: str) -> InputError:
        return InputError(f"{self.path}: not a readable table: {text}")


def _ends(block: bytes) -> tuple[bytes, ...]:
    """Return the line ends that a block can have."""
    return (NEWLINE, b"\r\n") if RETURN in block else (NEWLINE,)


def _cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a row on one line; the whole line if it cannot be parsed."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def _delimiters_inside(octets: np.ndarray, delimiter: int) -> int | None:
    """Return the number of delimiters in quoted cells.

    It is None if a quotation mark is misplaced or a quoted cell has a line break.
    """
    marks = np.flatnonzero(octets == QUOTE[0])
    if len(marks) % 2:
        return None
    first, second = marks[::2], marks[1::2]
    before, after = octets[first - 1], octets[second + 1]
    begun = np.isin(before, (delimiter, *NEWLINE, *QUOTE)) | (first == 0)
    ended = np.isin(after, (delimiter, *NEWLINE, *RETURN, *QUOTE))
    if not (begun.all() and ended.all()):
        return None
    sizes = second - first
    shift = first - (np.cumsum(sizes) - sizes)
    inside = octets[np.repeat(shift, sizes) + np.arange(int(sizes.sum()))]
    return None if (inside == NEWLINE[0]).any() else int(np.count_nonzero(inside == delimiter))


def _count_cells(
    octets: np.ndarray, starts: Ints, ends: Ints, delimiter: int
) -> tuple[Ints, Bools]:
    """Return the number of cells of each line (n,), and which lines (n,) must be parsed.

    Args:
        octets: the text, as bytes.
        starts: (n,) position of each line's first byte.
        ends: (n,) position of each line's line break.
        delimiter: byte between cells.
    """
    places = np.flatnonzero(octets == delimiter)
    cells = np.diff(np.searchsorted(places, ends), prepend=0) + 1
    marks = np.flatnonzero(octets == QUOTE[0])
    odd = np.zeros(len(ends), dtype=bool)
    if not len(marks):
        return cells, odd
    line = np.searchsorted(ends, marks)
    count = np.bincount(line, minlength=len(ends))
    opens = (np.arange(len(marks)) - (np.cumsum(count) - count)[line]) % 2 == 0
    before, after = octets[marks - 1], octets[marks + 1]
    begun = (marks == starts[line]) | (before == delimiter) | (before == QUOTE[0])
    ended = np.isin(after, (delimiter, *NEWLINE, *RETURN, *QUOTE))
    odd[line[~np.where(opens, begun, ended)]] = True
    odd |= count % 2 == 1
    sound = ~odd[line]
    first, second = marks[opens & sound], marks[~opens & sound]
    inside = np.searchsorted(places, second) - np.searchsorted(places, first)
    within = np.bincount(line[opens & sound], weights=inside, minlength=len(ends))
    return cells - within.astype(cells.dtype), odd
