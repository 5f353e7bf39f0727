"""Outcomes that mean something else than they seem to."""

from __future__ import annotations

import datetime
import re

import numpy as np

from tests.fuzzing.cases import Case
from tests.fuzzing.tables import MONTHS, draw_times
from tests.fuzzing.templates import TIMES, UNTOLD

#: Ways to code no event (several texts, in turn) and the event.
CODINGS = (
    (("1",), ("2",)),
    (("2",), ("1",)),
    (("0",), ("1", "2")),
    (("0",), ("1", "1", "9")),
    (("Living",), ("Died of Disease", "Died of Other Causes")),
    (("NED", "AWD"), ("DOD",)),
    (("NED", "AWD"), ("DOD", "DOC")),
    (("Alive", "Alive with disease"), ("Dead",)),
    (("A",), ("D",)),
    (("lebend",), ("tot", "verstorben")),
    (("No", "no "), ("Yes", "yes")),
    (("0.0",), ("1.0",)),
    (("0 - alive",), ("1 - dead",)),
    (("no relapse",), ("relapse",)),
    (("Censored", "censored"), ("Event",)),
    (("survived",), ("expired",)),
    (("+",), ("-",)),
    (("False", "F"), ("True", "T")),
    (("Lost to follow-up", "Alive"), ("Deceased",)),
    (("alive or lost",), ("deceased",)),
)
CENSORING = (
    *("censored", "censoring", "censor", "cens", "os censored", "is censored", "censoring status"),
    *("alive", "survived", "living", "alive at last contact", "event free", "disease free"),
    *("censorship", "no event", "survivor", "right censored"),
)
FLAGS = (("0", "1"), ("no", "yes"), ("FALSE", "TRUE"), ("N", "Y"))


def codings(case: Case) -> None:
    """Code the event in other words."""
    no, yes = CODINGS[int(case.rng.integers(len(CODINGS)))]
    event = case.table.role("event")
    ways = {0.0: no, 1.0: yes}
    event.cells = [str(case.rng.choice(ways[float(v or 0)])) for v in event.values]
    case.done = f"{no} / {yes}"
    if "9" in yes:
        # The 9 is no event, but not known.
        case.table.left_out = {i for i, cell in enumerate(event.cells) if cell == "9"}


def censoring(case: Case) -> None:
    """Give the event's column for the censored, under a name that says so."""
    event = case.table.role("event")
    event.name = str(case.rng.choice(CENSORING))
    flags = FLAGS[int(case.rng.integers(len(FLAGS)))]
    event.cells = [flags[0] if v else flags[1] for v in event.values]
    case.done = event.name


def swapped(case: Case) -> None:
    """Swap the event's codes where no name tells: what was assumed must be said."""
    event = case.table.role("event")
    flags = FLAGS[int(case.rng.integers(len(FLAGS)))]
    event.values = [0.0 if v else 1.0 for v in event.values]
    event.cells = [flags[1] if v else flags[0] for v in event.values]
    count = sum(v == 1 for v in event.values)
    case.needed = [rf"(?i)'{flags[1]}'.* means the event: {count} of {case.table.rows}"]


def units(case: Case) -> None:
    """Write times in another unit than the name, or nothing, says."""
    rng, table = case.rng, case.table
    time = table.role("time")
    unit = str(rng.choice([*MONTHS]))
    said = str(rng.choice([each for each in MONTHS if each != unit]))
    if rng.random() < 0.4:
        said = "months"
        time.name = str(rng.choice(UNTOLD))
    else:
        time.name = str(rng.choice(TIMES[said]))
    time.cells, seen = draw_times(table.rows, unit, rng)
    set_events(case, seen)
    time.values = [float(c) * MONTHS[unit] for c in time.cells]
    table.unit, table.told = said, True
    case.options["unit"] = None
    case.done = f"in {unit}, as {time.name} says {said}"
    case.excused = [("time", rf"taken to be in {said}.*longest follow-up is")]


def dates(case: Case) -> None:
    """Write dates where times are asked for, in all cells or in some."""
    rng, table = case.rng, case.table
    time = table.role("time")
    form = str(
        rng.choice(
            [
                "%Y-%m-%d",
                "%d.%m.%Y",
                "%m/%d/%Y",
                "%d/%m/%y",
                "%Y%m%d",
                "serial",
                "%d %b %Y",
                "%b %d, %Y",
                "%Y/%m/%d",
            ]
        )
    )
    rows = range(table.rows) if rng.random() < 0.6 else case.rows(1, 5)
    start = datetime.date(2014, 1, 1)
    for i in rows:
        day = start + datetime.timedelta(days=int(rng.integers(0, 2600)))
        serial = (day - datetime.date(1899, 12, 30)).days
        time.cells[i] = str(serial) if form == "serial" else day.strftime(form)
    case.done = f"{form}, {len(rows)} rows"
    case.answers = {}


def follow_up(case: Case) -> None:
    """Take times or events away, or make them zero or negative."""
    rng, table = case.rng, case.table
    time, event = table.role("time"), table.role("event")
    way = str(
        rng.choice(
            ["no time", "no event", "zero", "death at zero", "negative", "no censored time", "many"]
        )
    )
    few = max(1, int(0.08 * table.rows))
    rows = set(case.rows(1, few))
    dead = {i for i, v in enumerate(event.values) if v}
    case.done = way
    if way == "no censored time":
        rows = {*range(table.rows)} - dead
    elif way == "many":
        rows = {*map(int, rng.choice(table.rows, int(0.3 * table.rows), replace=False))}
    elif way == "zero":
        rows = {i for i in rows if i not in dead} or {
            next(i for i in range(table.rows) if i not in dead)
        }
    elif way == "death at zero":
        rows = {*sorted(dead)[: int(rng.integers(1, 4))]}
    column = event if way == "no event" else time
    for i in rows:
        column.cells[i] = {"zero": "0", "death at zero": "0", "negative": "-" + time.cells[i]}.get(
            way, ""
        )
    if way == "death at zero":
        later = {float(v) for i, v in enumerate(time.values) if i not in rows and v is not None}
        steps = np.diff(sorted({0.0, *later}))
        for i in rows:
            time.values[i] = float(steps[steps > 1e-9].min()) / 2
        case.needed = [f"{len(rows)} events at time zero"]
    elif way != "negative":
        table.left_out = rows
        case.needed = [f"left out: {len(rows)} of {table.rows}"]
    case.excused = [("time", re.escape("never"))]


def set_events(case: Case, seen: list[bool]) -> None:
    """Write events in the codes that the column has."""
    event = case.table.role("event")
    codes = dict(zip(event.values, event.cells, strict=True))
    event.values = [float(each) for each in seen]
    event.cells = [codes[v] for v in event.values]
