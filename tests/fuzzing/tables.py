"""Sound clinical tables whose truth is known, drawn from a seed.

A table has a patient's identifier, a time of follow-up, an event and some features, beside columns
that are no features. Each column keeps its true values apart from its cells, so that a damage of
the cells leaves the truth as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tests.fuzzing.templates import (
    CATEGORIES,
    CODINGS,
    COMMENTS,
    EVENTS,
    GENES,
    IDS,
    NUMBERS,
    ORDINALS,
    TIMES,
    UNTOLD,
    Rng,
)

Role = Literal["id", "time", "event", "centre", "feature", "other"]
Kind = Literal["number", "ordinal", "category", "text"]
Value = float | str | None

#: Months of a unit of time.
MONTHS = {"days": 12 / 365.25, "weeks": 84 / 365.25, "months": 1.0, "years": 12.0}
#: Part of the patients that the rarest level of a column has at least.
RAREST = 0.12


@dataclass
class Column:
    """A column: its name, its truth and its cells."""

    name: str
    """Words separated by blanks, which a form writes in its own way, or a symbol."""
    role: Role
    kind: Kind
    values: list[Value]
    """(n,) what is true; None is missing."""
    cells: list[str]
    """(n,) as they stand in the table, with a decimal point; empty where missing."""
    order: tuple[str, ...] = ()
    """Levels of an ordinal, lowest first."""
    symbol: bool = False
    """Whether the name is kept as it is in any form, as that of a gene."""
    concept: str = ""
    """The template that it was drawn from."""
    raw: bool = False
    """Whether a form leaves the decimal marks of its cells as they are."""


@dataclass
class Table:
    """A table whose truth is known."""

    columns: list[Column]
    unit: str
    """Unit of the time."""
    told: bool
    """Whether the name of the time tells its unit."""
    left_out: set[int] = field(default_factory=set)
    """Rows of patients without follow-up."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.columns[0].cells)

    def role(self, role: Role) -> Column:
        """Return the column of a role."""
        return next(c for c in self.columns if c.role == role)

    def has(self, role: Role) -> bool:
        """Whether there is a column of a role."""
        return any(c.role == role for c in self.columns)

    def features(self, *kinds: Kind) -> list[Column]:
        """Return the features of some kinds, or all."""
        return [c for c in self.columns if c.role == "feature" and (not kinds or c.kind in kinds)]

    def concept(self, name: str) -> Column | None:
        """Return the column that was drawn from a template, if there is one."""
        return next((c for c in self.columns if c.concept == name), None)


def draw_table(rng: Rng) -> Table:
    """Draw a sound table."""
    n = int(rng.integers(40, 121))
    unit = str(rng.choice(["months", "months", "days", "years", "weeks"]))
    told = bool(rng.random() < 0.7)
    names = TIMES[unit] if told else UNTOLD
    columns = [_draw_id(n, rng), *_draw_outcome(n, unit, str(rng.choice(names)), rng)]
    columns += _draw_features(n, rng)
    columns += _draw_others(n, rng)
    columns = _named_apart(columns)
    if rng.random() < 0.5:
        columns = [columns[i] for i in rng.permutation(len(columns))]
    return Table(columns, unit, told)


def draw_number(concept: str, n: int, rng: Rng) -> Column:
    """Draw a column of numbers."""
    names, decimals, _, draw = NUMBERS[concept]
    written = [f"{float(v):.{decimals}f}" for v in draw(rng, n)]
    return _with_gaps(
        Column(
            str(rng.choice(list(names))),
            "feature",
            "number",
            [float(cell) for cell in written],
            written,
            concept=concept,
        ),
        rng,
    )


def draw_gene(symbol: str, n: int, rng: Rng) -> Column:
    """Draw a gene's expression."""
    decimals = int(rng.integers(2, 5))
    written = [f"{v:.{decimals}f}" for v in rng.normal(rng.uniform(4, 9), 1.2, n).clip(0)]
    values: list[Value] = [float(cell) for cell in written]
    return _with_gaps(
        Column(symbol, "feature", "number", values, written, symbol=True, concept=symbol), rng
    )


def draw_ordinal(concept: str, n: int, rng: Rng, spelling: int | None = None) -> Column:
    """Draw an ordered code."""
    names, levels, ways = ORDINALS[concept]
    way = ways[int(rng.integers(len(ways))) if spelling is None else spelling]
    codes = _codes(n, len(levels), rng)
    cells = [str(rng.choice(way[i].split("|"))) for i in codes]
    made = Column(
        str(rng.choice(list(names))),
        "feature",
        "ordinal",
        [levels[i] for i in codes],
        cells,
        order=levels,
        concept=concept,
    )
    return _with_gaps(made, rng)


def draw_category(concept: str, n: int, rng: Rng, spelling: int | None = None) -> Column:
    """Draw a category."""
    names, ways = CATEGORIES[concept]
    way = ways[int(rng.integers(len(ways))) if spelling is None else spelling]
    return draw_levels(concept, str(rng.choice(list(names))), way, n, rng)


def draw_levels(concept: str, name: str, way: Sequence[str], n: int, rng: Rng) -> Column:
    """Draw a category with some levels."""
    codes = _codes(n, len(way), rng)
    made = Column(
        name,
        "feature",
        "category",
        [str(i) for i in codes],
        [way[i] for i in codes],
        concept=concept,
    )
    return _with_gaps(made, rng)


def _draw_id(n: int, rng: Rng) -> Column:
    names, make = IDS[int(rng.integers(len(IDS)))]
    ids = [make(i + 1, rng) for i in range(n)]
    return Column(str(rng.choice(list(names))), "id", "text", [*ids], [*ids], concept="id")


def draw_times(n: int, unit: str, rng: Rng, longest: float = 90) -> tuple[list[str], list[bool]]:
    """Draw times of follow-up in a unit, none zero, and whether the event was seen."""
    while True:
        until = rng.exponential(0.5 * longest, n)
        censored = rng.uniform(0.2 * longest, longest, n)
        event = until <= censored
        if RAREST * n < event.sum() < (1 - RAREST) * n:
            break
    months = np.minimum(until, censored) + 0.3
    decimals = {"days": 0, "weeks": 1, "months": int(rng.integers(1, 3)), "years": 2}[unit]
    times = [f"{max(v, 10.0**-decimals):.{decimals}f}" for v in months / MONTHS[unit]]
    return times, [bool(seen) for seen in event]


def _draw_outcome(n: int, unit: str, name: str, rng: Rng) -> list[Column]:
    cells, seen = draw_times(n, unit, rng)
    time = Column(
        name, "time", "number", [float(c) * MONTHS[unit] for c in cells], cells, concept="time"
    )
    codes = [*map(int, seen)]
    coding = CODINGS[int(rng.integers(len(CODINGS)))]
    event = Column(
        str(rng.choice(EVENTS)),
        "event",
        "number",
        [float(i) for i in codes],
        [coding[i] for i in codes],
        concept="event",
    )
    return [time, event]


def _draw_features(n: int, rng: Rng) -> list[Column]:
    numbers = [
        "age",
        *rng.choice([k for k in NUMBERS if k != "age"], int(rng.integers(1, 4)), replace=False),
    ]
    genes = rng.choice(GENES, int(rng.integers(0, 4)), replace=False)
    ordinals = rng.choice([*ORDINALS], int(rng.integers(1, 3)), replace=False)
    categories = rng.choice([*CATEGORIES], int(rng.integers(1, 4)), replace=False)
    return [
        *(draw_number(str(each), n, rng) for each in numbers),
        *(draw_gene(str(each), n, rng) for each in genes),
        *(draw_ordinal(str(each), n, rng) for each in ordinals),
        *(draw_category(str(each), n, rng) for each in categories),
    ]


def _draw_others(n: int, rng: Rng) -> list[Column]:
    """Draw columns that are no features: a hospital, remarks, dates, a batch."""
    found = []
    if rng.random() < 0.35:
        way = [("Seoul", "Tokyo", "Wien"), ("H1", "H2", "H3", "H4"), ("1", "2", "3")][
            int(rng.integers(3))
        ]
        made = draw_levels("centre", str(rng.choice(["hospital", "center", "clinic"])), way, n, rng)
        made.role = "centre"
        made.cells = [cell or way[0] for cell in made.cells]
        found.append(made)
    if rng.random() < 0.3:
        texts = [f"{COMMENTS[int(rng.integers(len(COMMENTS)))]} {i}" for i in range(n)]
        found.append(Column("remarks", "other", "text", [None] * n, texts, concept="remarks"))
    if rng.random() < 0.25:
        days = [str(np.datetime64("2012-01-01") + int(d)) for d in rng.integers(0, 2500, n)]
        found.append(Column("surgery date", "other", "text", [None] * n, days, concept="date"))
    if rng.random() < 0.25:
        batch = [f"B{int(b):02d}" for b in rng.integers(1, 9, n)]
        found.append(Column("batch id", "other", "text", [None] * n, batch, concept="batch"))
    return found


def _codes(n: int, k: int, rng: Rng) -> list[int]:
    """Draw levels from 0 to k - 1, none of them rare."""
    least = max(2, round(RAREST * n))
    codes = [*np.repeat(np.arange(k), least)]
    codes += [*rng.choice(k, n - len(codes), p=rng.dirichlet(np.full(k, 3.0)))]
    return [int(i) for i in rng.permutation(codes)]


def _with_gaps(column: Column, rng: Rng) -> Column:
    """Empty some cells."""
    if rng.random() < 0.6:
        return column
    for i in np.flatnonzero(rng.random(len(column.cells)) < rng.uniform(0.01, 0.1)):
        if column.kind == "number" or column.values.count(column.values[i]) > 3:
            column.values[i], column.cells[i] = None, ""
    return column


def _named_apart(columns: list[Column]) -> list[Column]:
    """Leave out features whose name another column has."""
    seen: set[str] = set()
    kept = []
    for column in columns:
        key = "".join(c for c in column.name.lower() if c.isalnum())
        if key not in seen:
            seen.add(key)
            kept.append(column)
    return kept
