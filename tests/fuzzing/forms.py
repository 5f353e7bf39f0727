"""The forms in which a program may write a table: delimiter, quotation marks, encoding, names."""

from __future__ import annotations

import csv
import gzip
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.fuzzing.tables import Column, Rng, Table

Grid = list[list[str]]

MISSING_WORDS = (
    *("", "", "", "NA", "NA", "N/A", "nan", "NaN", ".", "unknown", "Unknown", "[Not Available]"),
    *("--", "?", "null", "n/a", "#N/A", "'--", "Not Reported", "missing", "<NA>"),
)
TITLES = ("Gastric cancer cohort", "Exported from the registry", "Version 3 of the final table")


@dataclass(frozen=True)
class Form:
    """How a table is written."""

    ending: str = ".csv"
    delimiter: str = ","
    quoting: int = csv.QUOTE_MINIMAL
    encoding: str = "utf-8"
    newline: str = "\n"
    decimal: str = "."
    style: str = "snake"
    """How names are written."""
    missing: str = ""
    above: tuple[str, ...] = ()
    """Lines above the header."""
    last_newline: bool = True
    padded: bool = False
    """Whether blanks stand around cells."""

    @property
    def is_text(self) -> bool:
        """Whether the table is written as text."""
        return self.ending not in (".xlsx", ".parquet")

    def plain(self) -> Form:
        """Return a form of text as like it as can be, in which each record is a line."""
        return replace(
            self,
            ending=self.ending if self.is_text else ".csv",
            encoding="utf-8" if self.encoding.startswith("utf-16") else self.encoding,
            above=(),
        )

    def name(self, column: Column) -> str:
        """Return a column's name in this form."""
        if column.symbol or not re.fullmatch(r"[a-z0-9 ]+", column.name):
            return column.name
        words = column.name.split()
        return {
            "snake": "_".join(words),
            "upper": "_".join(words).upper(),
            "title": " ".join(word.capitalize() for word in words),
            "dots": ".".join(words),
            "blanks": " ".join(words),
        }[self.style]

    def cell(self, column: Column, cell: str) -> str:
        """Return a cell in this form."""
        if not cell:
            return self.missing if column.role != "other" else ""
        point = column.kind == "number" and not column.raw
        if self.decimal == "," and point and re.fullmatch(r"-?\d+\.\d+", cell):
            return cell.replace(".", ",")
        return cell

    def grid(self, table: Table) -> Grid:
        """Return names and rows of a table."""
        names = [self.name(column) for column in table.columns]
        cells = [[self.cell(c, cell) for cell in c.cells] for c in table.columns]
        return [names, *map(list, zip(*cells, strict=True))]

    def records(self, grid: Grid) -> list[str]:
        """Write each row as a text."""
        if self.delimiter == " ":
            return [" ".join(map(_blank_quoted, row)) for row in grid]
        written = []
        for row in grid:
            made = io.StringIO()
            writer = csv.writer(
                made, delimiter=self.delimiter, quoting=self.quoting, lineterminator="\r\n"
            )
            writer.writerow(
                [f" {cell}" if self.padded and cell and j else cell for j, cell in enumerate(row)]
            )
            written.append(made.getvalue().removesuffix("\r\n"))
        return written

    def save(self, records: list[str], path: Path) -> None:
        """Write records as a text file."""
        text = self.newline.join([*self.above, *records]) + self.newline * self.last_newline
        raw = text.encode(self.encoding)
        path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)

    def save_grid(self, grid: Grid, path: Path) -> None:
        """Write rows as a workbook or a Parquet file."""
        import openpyxl
        import pandas as pd

        typed = [[_typed(cell) for cell in row] for row in grid[1:]]
        if self.ending == ".xlsx":
            book = openpyxl.Workbook()
            for title in self.above:
                book.active.append([title])
            for row in [grid[0], *typed]:
                book.active.append(row)
            book.save(path)
            return
        frame = pd.DataFrame(grid[1:], columns=grid[0])
        for name in frame.columns:
            cells = frame[name].replace("", None)
            numbers = pd.to_numeric(cells, errors="coerce")
            keeps = not any(re.fullmatch(r"0\d.*", str(cell)) for cell in cells)
            frame[name] = numbers if numbers.notna().equals(cells.notna()) and keeps else cells
        frame.to_parquet(path, index=False)


def draw_form(rng: Rng, table: Table) -> Form:
    """Draw a form that suits a table."""
    delimiter = str(rng.choice([",", ",", ",", "\t", "\t", ";", ";", "|", " "]))
    decimal = "," if delimiter in ";\t|" and rng.random() < 0.5 else "."
    breaks = any("\n" in cell for column in table.columns for cell in column.cells)
    if breaks and delimiter == " ":
        delimiter = ","
    endings = {"\t": [".tsv", ".txt", ".tab", ".csv"]}.get(delimiter, [".csv", ".csv", ".txt"])
    ending = str(rng.choice([*endings, *endings, *endings, "", ".csv.gz", ".xlsx", ".parquet"]))
    missing = str(rng.choice(MISSING_WORDS))
    if delimiter == " " and not missing:
        missing = "NA"
    form = Form(
        ending=ending,
        delimiter=delimiter,
        quoting=int(
            rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
        ),
        encoding=str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        newline=str(rng.choice(["\n", "\n", "\r\n", "\r\n", "\r"]))
        if not breaks
        else str(rng.choice(["\n", "\r\n"])),
        decimal=decimal,
        style=str(rng.choice(["snake", "snake", "upper", "title", "dots", "blanks"])),
        missing=missing,
        above=_above(rng) if delimiter != " " else (),
        last_newline=bool(rng.random() < 0.8),
        padded=bool(rng.random() < 0.07) and delimiter != " ",
    )
    if form.ending in (".xlsx", ".parquet"):
        form = replace(form, decimal=".", missing="", padded=False)
        form = form if form.ending == ".xlsx" else replace(form, above=())
    if form.encoding == "cp1252" and not _fits_cp1252(table):
        form = replace(form, encoding="utf-8")
    if form.quoting == csv.QUOTE_ALL and delimiter == " ":
        form = replace(form, quoting=csv.QUOTE_MINIMAL)
    return form


def _above(rng: Rng) -> tuple[str, ...]:
    drawn = rng.random()
    if drawn < 0.08:
        return (str(rng.choice(TITLES)),)
    if drawn < 0.12:
        return (str(rng.choice(TITLES)), "")
    return ("# " + str(rng.choice(TITLES)),) if drawn < 0.16 else ()


def _fits_cp1252(table: Table) -> bool:
    try:
        "".join(cell for column in table.columns for cell in column.cells).encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _blank_quoted(cell: str) -> str:
    if cell and not re.search(r'[\s"]', cell):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _typed(cell: str) -> str | float | int | None:
    if re.fullmatch(r"-?[1-9]\d{0,14}|0", cell):
        return int(cell)
    if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", cell):
        return float(cell)
    return cell or None


def step(rng: Rng, low: float, high: float) -> float:
    """Draw a number to three digits."""
    return float(np.round(rng.uniform(low, high), 3))
