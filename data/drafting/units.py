"""Find the unit of the follow-up time by an option, its name or its cells, and check it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.errors import InputError, enumerated, some
from accomplice.data.panels.panel import key_of
from accomplice.data.readers.columns import column
from accomplice.data.study_parts import MONTHS, Unit

#: Source of the unit -> longest follow-up in years for which the unit is not asked for. The source
#: ``the name`` is the names and cells of the columns.
LONGEST_YEARS = {"nothing": 30, "the name": 50, "the option": 100}

#: Number, in the columns' unit, that all times must exceed to be taken for dates, written as days
#: since 1960 or 1970.
FIRST_SERIAL_DAY = 7000
#: Minimum number of times above 0 that can be taken for dates.
FEWEST_TIMES = 20
#: Unit -> pattern of names of columns in it, as keys.
_UNITS: dict[Unit, str] = {
    "days": r"(^|_)(days?|d|jours?|d[ií]as?|giorni|dagen)(_|$)|(days|tagen?|天数?)$",
    "weeks": r"(^|_)(weeks?|wks?|semaines?|semanas?|settimane|weken)(_|$)|(weeks|wochen?|周数?)$",
    "months": r"(^|_)(months?|mths?|mos?|mois|mes(es)?|mesi|maanden)(_|$)|(months|monaten?|月数?)$",
    "years": (
        r"(^|_)(years?|yrs?|y|ans|ann[ée]es?|a[ñn]os?|anni|jaren)(_|$)|(years|jahren?)$|(^|_)年数?$"
    ),
}


def unit_of(
    frame: pd.DataFrame,
    columns: Sequence[str],
    given: Unit | None,
    keys: Mapping[str, str],
    words: Collection[str],
) -> tuple[Unit, str]:
    """Return the unit of the time, and its source: a key of :data:`LONGEST_YEARS`.

    Args:
        frame: the table.
        columns: columns of the time.
        given: unit of the user's option, if any.
        keys: column -> the prefix of all its cells, such as ``months`` in ``months: 12``.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a column is missing or has lists in its cells, or the columns' names and cells
            have several units or another one than the option.
    """
    named = {unit for name in columns if (unit := unit_named(keys.get(name, name)))}
    for name in columns:
        read = number_column(column(frame, name, "time"), NumberFormat(words, bounds=False))
        named |= {unit for unit in MONTHS if read.unit == unit}
    if len(named) > 1 or (named and given is not None and given not in named):
        option = f", --unit says {given}" if given is not None else ""
        raise InputError(
            f"column {some(columns)}: its name or cells say {enumerated(sorted(named))}{option}: "
            f"give --unit {sorted(named)[0]}, or rename the column"
        )
    if given is not None:
        return given, "the option"
    if named:
        return named.pop(), "the name"
    return "months", "nothing"


def unit_named(name: str) -> Unit | None:
    """Return the unit that a column's name contains; None if it contains none or several."""
    key = key_of(name)
    found = [unit for unit, pattern in _UNITS.items() if re.search(pattern, key)]
    return found[0] if len(found) == 1 else None


def ask_unit(
    time: Array, columns: Sequence[str], unit: Unit, source: str, notes: list[str]
) -> list[str]:
    """Return a question if the times seem to be dates or are too long for their unit.

    Without a question, a unit that is not from the option is noted.

    Args:
        time: follow-up in months (n,), NaN where missing.
        columns: columns of the time.
        unit: unit of the columns.
        source: source of the unit; see :func:`unit_of`.
        notes: list to which a note is added.
    """
    longest = float(np.nanmax(time, initial=0.0))
    years = longest / 12
    raw = time[time > 0] / MONTHS[unit]
    shortest = float(np.nanmin(raw, initial=np.inf))
    whole = bool((np.abs(raw - raw.round()) < 1e-6).all())
    if (
        len(raw) >= FEWEST_TIMES
        and whole
        and 0.4 * raw.max() < shortest < np.inf
        and shortest > FIRST_SERIAL_DAY
    ):
        return [
            f"column {some(columns)}: no time is shorter than {shortest:.0f}: these seem to be "
            "dates, as days since 1960 or 1970: subtract the start of follow-up, or export both "
            "columns as dates and give --from START --time END"
        ]
    if years > LONGEST_YEARS[source]:
        other = "the unit that is right" if source == "the name" else "--unit days"
        sure = source != "the option" and years <= LONGEST_YEARS["the option"]
        confirm = f" (--unit {unit} if it is right)" if sure else ""
        return [
            f"column {some(columns)}: in {unit} the longest follow-up would be {years:.0f} years: "
            f"give {other}{confirm}"
        ]
    if source != "the option":
        why, way = "", "name another unit with --unit"
        if source == "the name":
            why, way = ", as its name says", "rename it, or correct its cells, if that is wrong"
        notes.append(
            f"time: {some(columns)} is taken to be in {unit}{why}, so that the longest follow-up "
            f"is {years:.2g} years; {way}"
        )
    return []
