"""Parse the follow-up time: from one column, the first filled of several, or two dates."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cells.dates import look_of, read_dates
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.study_parts import MONTHS, FirstOf, FromDates, SurvivalEndpoint, as_level

FROM_DATES = "a time runs from one date to another: data init --from START --time END"


def months_of(
    frame: pd.DataFrame, endpoint: SurvivalEndpoint, where: str, words: Collection[str]
) -> Array:
    """Return the time in months (n,), NaN where missing.

    Args:
        frame: the table.
        endpoint: names the columns and the unit.
        where: what needs the columns, for errors.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a column is missing, or its cells are no times. Dates in the wrong order give
            negative times.
    """
    match endpoint.time:
        case FromDates(start=start, to=ends, format=format):
            begin = _days(frame, start, where, format, words)
            end = first_filled([_days(frame, name, where, format, words) for name in ends])
            return (end - begin) * MONTHS["days"]
        case FirstOf(first_of=names):
            times = [_numbers(frame, name, where, endpoint, words) for name in names]
            return first_filled(times) * MONTHS[endpoint.unit]
        case name:
            return _numbers(frame, name, where, endpoint, words) * MONTHS[endpoint.unit]


def first_filled(columns: list[Array]) -> Array:
    """Return the first of several columns (n,) that is not NaN, by row."""
    found = columns[0]
    for other in columns[1:]:
        found = np.where(np.isnan(found), other, found)
    return found


def without_missing(cells: pd.Series, words: Collection[str]) -> pd.Series:
    """Return a column whose cells that mean missing are NaN."""
    if cells.dtype.kind == "M":
        return cells
    texts = cells.map(as_level, na_action="ignore").astype("object")
    return texts.where(texts.isna() | ~texts.astype(str).str.lower().isin(words))


def resolution(times: Array) -> float:
    """Return the smallest step between distinct known times (n,), 0 among them, in their unit.

    It is 1 where no time is positive.
    """
    steps = np.diff(np.unique(np.append(times[~np.isnan(times) & (times >= 0)], 0.0)))
    steps = steps[steps > 1e-9]
    return float(steps.min()) if len(steps) else 1.0


def _days(
    frame: pd.DataFrame, name: str, where: str, format: str | None, words: Collection[str]
) -> Array:
    return read_dates(without_missing(column(frame, name, where), words), format, name)[0]


def _numbers(
    frame: pd.DataFrame,
    name: str,
    where: str,
    endpoint: SurvivalEndpoint,
    words: Collection[str],
) -> Array:
    cells = column(frame, name, where)
    look = look_of(cells)
    if look is not None:
        raise InputError(f"column '{name}': it holds {look}, no times: {FROM_DATES}")
    known = NumberFormat(words, decimal=endpoint.decimal, bounds=False, unit=endpoint.unit)
    read = number_column(cells, known)
    if read.open and endpoint.decimal is None:
        raise InputError(
            f"column '{name}': nothing tells whether its commas are decimal: write decimal: ',' or "
            "decimal: '.' at the endpoint in the study file (data init --decimal)"
        )
    if read.bad.any():
        raise InputError(
            f"column '{name}': {int(read.bad.sum())} of {len(cells)} times are not numbers: "
            f"{_remedy(cells[read.bad])}"
        )
    if (negative := int((read.values < 0).sum())) > 0:
        raise InputError(
            f"column '{name}': {negative} of {len(cells)} times are negative: correct or remove "
            "those rows"
        )
    return read.values


def _remedy(cells: pd.Series) -> str:
    """Return what to do about cells that are no times."""
    texts = cells.map(as_level).str.strip()
    if texts.str.fullmatch(r"[\d.,]+ ?\+").all():
        return (
            "they end with +, as R writes the times of the censored: write the time and the event "
            "in two columns"
        )
    if texts.str.fullmatch(r"\d[\d.,]*\s*[^\W\d].*").mean() > 0.5:
        return "they name units that differ or are not known: write plain numbers of one unit"
    return "correct or remove those rows"
