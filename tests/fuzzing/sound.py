"""Sound tables, and sound ones with things that others would be damaged by."""

from __future__ import annotations

import re

import numpy as np

from tests.fuzzing.cases import Case
from tests.fuzzing.damaged_outcomes import set_events
from tests.fuzzing.tables import MONTHS, Column, draw_levels, draw_times


def plain(case: Case) -> None:
    """Leave the table as it was drawn."""
    case.sound = True
    table = case.table
    yes = next(
        cell
        for cell, v in zip(table.role("event").cells, table.role("event").values, strict=True)
        if v
    )
    case.answers = {
        "event_values": yes,
        "unit": table.unit,
        "rows": "all",
        "decimal": case.form.decimal,
        "category": lambda text: _named(case, text, "category"),
        "number": lambda text: _named(case, text, "number"),
    }


def unusual(case: Case) -> None:
    """Add what is rare, and right: repeating identifiers, old follow-up, levels called None."""
    plain(case)
    way = str(
        case.rng.choice(["groups", "groups", "cens", "decades", "none", "no id", "ties", "codes"])
    )
    case.done = way
    {
        "groups": _groups,
        "cens": _cens,
        "decades": _decades,
        "none": _none,
        "no id": _no_id,
        "ties": _ties,
        "codes": _codes,
    }[way](case)


def _named(case: Case, text: str, kind: str) -> str:
    """Return the columns that a line names with an option, and that are of a kind."""
    kinds = ("category", "ordinal") if kind == "category" else ("number",)
    names = [case.name(c) for c in case.table.features(*kinds)]
    return ",".join(name for name in names if re.search(rf"--{kind} '{re.escape(name)}'", text))


def _groups(case: Case) -> None:
    """Add hospitals, surgeons, batches or plates, by names or by numbers."""
    rng, n = case.rng, case.table.rows
    name = str(
        rng.choice(["surgeon", "hospital id", "surgeon id", "batch", "plate", "operator", "ward"])
    )
    k = int(rng.integers(3, 13))
    style = str(rng.choice(["{}", "S{:02d}", "Dr {}", "H{}"]))
    groups = np.sort(rng.integers(0, k, n)) if rng.random() < 0.5 else rng.integers(0, k, n)
    cells = [style.format(int(g) + 1) for g in groups]
    is_feature = not name.endswith(" id")
    kind = "number" if style == "{}" else "category"
    values = [float(c) for c in cells] if style == "{}" else [*cells]
    made = Column(name, "feature", kind, values, cells, concept="group")
    if not is_feature:
        made.role, made.kind, made.values = "other", "text", [None] * n
    if len({*cells}) > 1 and not _taken(case, name):
        case.table.columns.append(made)


def _cens(case: Case) -> None:
    """Call the event ``cens``, as some packages do, and code it 1."""
    event = case.table.role("event")
    event.name = str(case.rng.choice(["cens", "os cens", "cens os"]))
    event.cells = ["1" if v else "0" for v in event.values]
    case.answers["event_values"] = "1"


def _decades(case: Case) -> None:
    """Follow patients for up to 45 years."""
    table, rng = case.table, case.rng
    time = table.role("time")
    cells, seen = draw_times(table.rows, table.unit, rng, longest=float(rng.uniform(200, 540)))
    set_events(case, seen)
    time.cells, time.values = cells, [float(c) * MONTHS[table.unit] for c in cells]


def _none(case: Case) -> None:
    """Add a category one of whose levels is called None."""
    name = str(case.rng.choice(["neoadjuvant", "metastasis site", "prior surgery", "comorbidity"]))
    way = [
        ("None", "FLOT", "ECF"),
        ("None", "liver", "peritoneum"),
        ("none", "partial"),
        ("None", "one", "several"),
    ]
    made = draw_levels(
        "none", name, way[int(case.rng.integers(len(way)))], case.table.rows, case.rng
    )
    case.table.columns.append(made)
    case.answers["level"] = "None"


def _no_id(case: Case) -> None:
    """Leave out the identifier."""
    case.table.columns.remove(case.table.role("id"))


def _ties(case: Case) -> None:
    """Round times to whole units, so that many patients share theirs."""
    table = case.table
    time = table.role("time")
    if table.unit in ("months", "weeks"):
        time.cells = [str(max(1, round(float(c)))) for c in time.cells]
        time.values = [float(c) * MONTHS[table.unit] for c in time.cells]


def _codes(case: Case) -> None:
    """Add percents, some of which are 98 and 99, and counts up to 99."""
    rng, n = case.rng, case.table.rows
    values = rng.integers(0, 101, n)
    values[rng.integers(0, n, 4)] = [98, 99, 99, 100]
    cells = [str(int(v)) for v in values]
    made = Column(
        "ki67 percent", "feature", "number", [float(c) for c in cells], cells, concept="percent"
    )
    case.table.columns.append(made)


def _taken(case: Case, name: str) -> bool:
    return any(c.name == name for c in case.table.columns)
