"""Find the unit of the follow-up time: by an option, its name, its cells, or plausibility."""

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

#: Years of follow-up above which the unit is asked for, by the source of the unit.
LONGEST = {"nothing": 30, "the name": 50, "the option": 100}

#: Whole numbers above which all times of so many patients are days since 1960 or 1970.
SERIAL, ENOUGH = 7000, 20

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
    """Return the unit of the time, and its source.

    Raises:
        InputError: a column's name or cells tell another unit than the option.
    """
    named = {unit for name in columns if (unit := unit_named(keys.get(name, name)))}
    for name in columns:
        read = number_column(column(frame, name, "time"), NumberFormat(words, bounds=False))
        named |= {unit for unit in MONTHS if read.unit == unit}
    if len(named) > 1 or (named and given is not None and given not in named):
        said = f", --unit says {given}" if given is not None else ""
        raise InputError(
            f"column {some(columns)}: its name or cells say {enumerated(sorted(named))}{said}: "
            f"give --unit {sorted(named)[0]}, or rename the column"
        )
    if given is not None:
        return given, "the option"
    if named:
        return named.pop(), "the name"
    return "months", "nothing"


def unit_named(name: str) -> Unit | None:
    """Return the unit in a column's name."""
    key = key_of(name)
    found = [unit for unit, pattern in _UNITS.items() if re.search(pattern, key)]
    return found[0] if len(found) == 1 else None


def plausible(
    time: Array, columns: Sequence[str], unit: Unit, told: str, notes: list[str]
) -> list[str]:
    """Ask for the unit where the longest time is too long, and note what was assumed."""
    longest = float(np.nanmax(time, initial=0.0))
    years = longest / 12
    raw = time[time > 0] / MONTHS[unit]
    shortest = float(np.nanmin(raw, initial=np.inf))
    whole = bool((np.abs(raw - raw.round()) < 1e-6).all())
    if len(raw) >= ENOUGH and whole and 0.4 * raw.max() < shortest < np.inf and shortest > SERIAL:
        return [
            f"column {some(columns)}: no time is shorter than {shortest:.0f}: these seem to be "
            "dates, as days since 1960 or 1970: subtract the start of follow-up, or export both "
            "columns as dates and give --from START --time END"
        ]
    if years > LONGEST[told]:
        other = "the unit that is right" if told == "the name" else "--unit days"
        sure = told != "the option" and years <= LONGEST["the option"]
        confirm = f" (--unit {unit} if it is right)" if sure else ""
        return [
            f"column {some(columns)}: in {unit} the longest follow-up would be {years:.0f} years: "
            f"give {other}{confirm}"
        ]
    if told != "the option":
        said, way = "", "name another unit with --unit"
        if told == "the name":
            said, way = ", as its name says", "rename it, or correct its cells, if that is wrong"
        notes.append(
            f"time: {some(columns)} is taken to be in {unit}{said}, so that the longest follow-up "
            f"is {years:.2g} years; {way}"
        )
    return []
