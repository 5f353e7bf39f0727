"""Convert the table of an Excel workbook to a text table, to be read like any other."""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from accomplice.data.errors import InputError, nearest, some
from accomplice.data.readers.contents import ZIP, contents_of, in_memory
from accomplice.data.readers.footer import footer_note
from accomplice.data.readers.layout import SAMPLED, Record, find_header, is_blank
from accomplice.data.readers.reader import Reading
from accomplice.data.readers.text import Text, open_text

#: Delimiter of the text table: a control character, replaced by a blank inside cells.
SEPARATOR = "\x1f"
#: Minimum factor between the rows of the largest sheet and those of any other, for the largest to
#: be read without being named.
LARGER = 4

#: A range of merged cells in a sheet's XML.
_MERGED = re.compile(rb"<mergeCell ")
#: A formula without its value in a sheet's XML, as written by programs that do not compute it.
_UNCOMPUTED = re.compile(rb"</f>(<v ?/>|<v></v>)?</c>")


def workbook_text(path: Path, fewest: int, reading: Reading) -> Text:
    """Return the table of a workbook as text.

    Args:
        path: the workbook; a text file with the name of a workbook is read as text.
        fewest: minimum number of columns of a table.
        reading: options, with the sheet's name if several sheets have tables of similar length.

    Raises:
        InputError: openpyxl is not installed, the named sheet is missing or none is named of
            several, the table has no rows or no header, rows of patients follow an empty row, or a
            formula has no value. For text: as :func:`text.open_text`.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            text = open_text(path, fewest, reading, contents_of(path, reading.encoding))
            return _noted(text, "it is no workbook, but text")
    sheets, filled = _sheets(path)
    name, notes = _choose_sheet(path, sheets, reading.sheet, strict=fewest > 1)
    if filled.get(name):
        notes.append(f"{filled[name]} cells are merged over several rows: each row has the value")
    rows = _without_empty_columns(sheets[name])
    records = [Record(_cells(row), i + 1, i + 1) for i, row in enumerate(rows[:SAMPLED])]
    layout = find_header(path, records, SEPARATOR, fewest)
    body = [row if len(layout.names) == len(row) else row[:-1] for row in rows[layout.after :]]
    first = next((i for i, row in enumerate(body) if all(map(is_blank, row))), len(body))
    under = footer_note(body[first:], layout.after + first + 1, gap=True)
    if under is None:
        raise InputError(
            f"{path}: not a readable table: row {layout.after + first + 1} is empty and rows "
            "follow: remove it"
        )
    made = io.StringIO()
    csv.writer(made, delimiter=SEPARATOR, lineterminator="\n").writerows(body[:first])
    notes += [under] if under else []
    contents = in_memory(made.getvalue().encode(), *notes)
    return Text(path, contents, layout, reading, start=0)


def _noted(text: Text, note: str) -> Text:
    """Return a text table with a further note on how it was read."""
    contents = replace(text.contents, notes=(note, *text.contents.notes))
    return replace(text, contents=contents)


def _cells(row: list[str]) -> list[str]:
    """Return the cells of a row, none if all are blank."""
    return [] if all(map(is_blank, row)) else row


def _sheets(path: Path) -> tuple[dict[str, list[list[str]]], dict[str, int]]:
    """Return sheet -> rows of cells, and sheet -> number of cells from :func:`_fill_merged`.

    Hidden and empty sheets are left out.

    Raises:
        InputError: openpyxl is not installed, or a formula has no value.
    """
    try:
        load_workbook: Any = import_module("openpyxl").load_workbook
    except ImportError:
        raise InputError(
            f"{path}: reading Excel needs an extra: pip install 'accomplice[excel]'"
        ) from None
    book = load_workbook(path, read_only=True, data_only=True)
    found = {}
    try:
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                continue
            # Some programs write a wrong size.
            sheet.reset_dimensions()
            rows = [[_text(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
            while rows and all(map(is_blank, rows[-1])):
                rows.pop()
            width = max(map(len, rows), default=0)
            found[sheet.title] = [row + [""] * (width - len(row)) for row in rows]
    finally:
        book.close()
    merged = False
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            sheet_text = archive.read(member) if member.startswith("xl/worksheets/") else b""
            if _UNCOMPUTED.search(sheet_text):
                raise InputError(
                    f"{path}: not a readable table: it has formulas without values: open it in "
                    "Excel and save it"
                )
            merged |= _MERGED.search(sheet_text) is not None
    filled = _fill_merged(load_workbook(path), found) if merged else {}
    return {name: rows for name, rows in found.items() if rows}, filled


def _fill_merged(book: Any, found: Mapping[str, list[list[str]]]) -> dict[str, int]:
    """Copy the value of each cell that is merged over several rows of one column to these rows.

    Args:
        book: the workbook.
        found: sheet -> rows of cells, changed in place.

    Returns:
        Sheet -> number of such cells.
    """
    filled: dict[str, int] = {}
    for sheet in book.worksheets:
        rows = found.get(sheet.title, [])
        for merged in sheet.merged_cells.ranges:
            column, within = merged.min_col - 1, rows[merged.min_row - 1 : merged.max_row]
            if merged.min_col == merged.max_col and within and column < len(within[0]):
                filled[sheet.title] = filled.get(sheet.title, 0) + 1
                for row in within[1:]:
                    row[column] = within[0][column]
    return filled


def _choose_sheet(
    path: Path, sheets: Mapping[str, Sequence[object]], named: str | None, *, strict: bool
) -> tuple[str, list[str]]:
    """Return the sheet to read, and a note if it is one of several and was not named.

    Args:
        path: the workbook, for errors.
        sheets: sheet -> rows.
        named: name of the sheet; None: the only sheet, or one with `LARGER` times the rows of any
            other.
        strict: whether the only sheet of a workbook must have that name too; else it is read under
            any name.

    Raises:
        InputError: there is no sheet, the named one is missing, or none is named of several.
    """
    if not sheets:
        raise InputError(f"{path}: the table has no rows")
    if named is not None and (named in sheets or strict or len(sheets) > 1):
        if named not in sheets:
            raise InputError(
                f"{path}: no sheet '{named}'{nearest(named, sheets)}: it has {some(sheets)}"
            )
        return named, []
    by_size = sorted(sheets, key=lambda name: len(sheets[name]), reverse=True)
    if len(by_size) > 1 and len(sheets[by_size[0]]) < LARGER * len(sheets[by_size[1]]):
        raise InputError(
            f"{path}: sheets {some(sheets)} have tables: name one with --sheet (source.sheet in "
            "the study file)"
        )
    others = [name for name in sheets if name != by_size[0]]
    note = f"sheet '{by_size[0]}' is read, and not {some(others)}: name another with --sheet"
    return by_size[0], [note] if others else []


def _without_empty_columns(rows: Sequence[list[str]]) -> list[list[str]]:
    used = [j for j in range(len(rows[0])) if not all(is_blank(row[j]) for row in rows)]
    return [[row[j] for j in used] for row in rows]


def _text(cell: Any) -> str:
    """Return a cell as it would be written in a text table."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.datetime):
        midnight = cell.time() == datetime.time()
        return cell.date().isoformat() if midnight else cell.isoformat(sep=" ")
    return str(cell).replace(SEPARATOR, " ")
