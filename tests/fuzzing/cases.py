"""A case: a table as drawn, in a form, with what was done to it and what is right afterwards."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzzing.forms import Form, Grid, draw_form
from tests.fuzzing.tables import Column, Rng, Table, draw_table


@dataclass
class Case:
    """A table of one kind, made from one seed."""

    kind: str
    seed: int
    rng: Rng
    table: Table
    form: Form
    options: dict[str, Any] = field(default_factory=dict)
    """What the user says when the study is drafted."""
    answers: dict[str, str | Callable[[str], str]] = field(default_factory=dict)
    """Option -> what the user answers where a line names that option."""
    excused: list[tuple[str, str]] = field(default_factory=list)
    """Pattern of a difference -> pattern of the note that excuses it; see :mod:`judge`."""
    needed: list[str] = field(default_factory=list)
    """Patterns of notes that must be there where the table is read."""
    sound: bool = False
    """Whether nothing is wrong with the table."""
    first: Grid | None = None
    """Rows of a file with a part of the columns; the study is drafted from all of them."""
    joined: Grid | None = None
    """Rows of a second file, to be joined to that one by the identifier."""
    done: str = ""
    """What was done to the table, for a replay."""
    _grid: Grid | None = None
    _records: list[str] | None = None

    @property
    def grid(self) -> Grid:
        """Names and rows, in the form; from then on the table's cells are written."""
        if self._grid is None:
            self._grid = self.form.grid(self.table)
        return self._grid

    @property
    def records(self) -> list[str]:
        """The lines of the header and the rows; from then on the grid is written."""
        if self._records is None:
            self._records = self.form.records(self.grid)
        return self._records

    def as_text(self) -> None:
        """Take a form of text in which each record is a line."""
        self.form = self.form.plain()
        for column in self.table.columns:
            column.cells = [cell.replace("\n", " ") for cell in column.cells]

    def name(self, column: Column) -> str:
        """Return a column's name as it is written."""
        return self.form.name(column)

    def index(self, column: Column) -> int:
        """Return a column's position."""
        return self.table.columns.index(column)

    def pick(self, columns: list[Column]) -> Column:
        """Draw one of some columns."""
        return columns[int(self.rng.integers(len(columns)))]

    def rows(self, fewest: int = 1, most: int = 3) -> list[int]:
        """Draw some rows (of the table, from 0), in order."""
        count = int(self.rng.integers(fewest, most + 1))
        return sorted(map(int, self.rng.choice(self.table.rows, count, replace=False)))

    def filled(self, column: Column, fewest: int = 1, most: int = 3) -> list[int]:
        """Draw some rows in which a column has a value."""
        there = [i for i, cell in enumerate(column.cells) if cell]
        count = min(int(self.rng.integers(fewest, most + 1)), len(there))
        return sorted(map(int, self.rng.choice(there, count, replace=False)))

    def save(self, folder: Path) -> list[Path]:
        """Write the table into a folder, and both files that are joined, if it is so made."""
        path = folder / f"cohort{self.form.ending}"
        if self.form.is_text:
            self.form.save(self.records, path)
        else:
            self.form.save_grid(self.grid, path)
        paths = [path]
        for name, grid in (("first.csv", self.first), ("second.csv", self.joined)):
            if grid is not None:
                Form().save(Form().records(grid), folder / name)
                paths.append(folder / name)
        return paths


Damage = Callable[[Case], None]


def new_case(kind: str, seed: int) -> Case:
    """Draw a sound table and the form in which it is written."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    table = draw_table(rng)
    return Case(kind, seed, rng, table, draw_form(rng, table))


def finish(case: Case) -> None:
    """Say what a user says of the table's columns."""
    table, rng, said = case.table, case.rng, case.options
    said.setdefault("time", case.name(table.role("time")))
    said.setdefault("event", case.name(table.role("event")))
    if table.has("id") and rng.random() < 0.5:
        said.setdefault("id", case.name(table.role("id")))
    if table.has("centre") and rng.random() < 0.5:
        said.setdefault("centre", case.name(table.role("centre")))
    if not table.told and table.unit != "months":
        said.setdefault("unit", table.unit)
    if said.get("unit") is None:
        said.pop("unit", None)


def digest(text: str) -> str:
    """Return the sha256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
