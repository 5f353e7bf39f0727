"""Parse the follow-up time: from one column, the first filled of several, or two dates."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cells.dates import date_form, read_dates
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.study_parts import MONTHS, FirstOf, FromDates, SurvivalEndpoint, as_level

#: Advice where a column holds dates in place of times.
FROM_DATES = "a time runs from one date to another: data init --from START --time END"


def months_of(
    frame: pd.DataFrame, endpoint: SurvivalEndpoint, where: str, words: Collection[str]
) -> Array:
    """Return the follow-up time in months (n,), NaN where missing.

    Times between dates in the wrong order are negative.

    Args:
        frame: the table (n rows).
        endpoint: survival endpoint with the columns and the unit of the time.
        where: part of the study that needs the columns, for errors.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a column is missing, its cells are no times, or no dates of one format, or their
            decimal mark is open; or a time that is not from dates is negative.
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
    """Return for each row (n,) its first value that is not NaN, of several columns (n,)."""
    found = columns[0]
    for other in columns[1:]:
        found = np.where(np.isnan(found), other, found)
    return found


def without_missing(cells: pd.Series, words: Collection[str]) -> pd.Series:
    """Return a column as texts, NaN for cells that mean missing; timestamps stay as they are.

    Args:
        cells: the column (n,).
        words: cells that mean missing, in lower case.
    """
    if cells.dtype.kind == "M":
        return cells
    texts = cells.map(as_level, na_action="ignore").astype("object")
    return texts.where(texts.isna() | ~texts.astype(str).str.lower().isin(words))


def resolution(times: Array) -> float:
    """Return the smallest step between the distinct times and 0; 1 where no time is positive.

    Steps of at most 1e-9 count as rounding, and negative times are left out.

    Args:
        times: follow-up (n,), NaN where missing; the step has its unit.
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
    """Return a column of times (n,) in the endpoint's unit, NaN where missing.

    Raises:
        InputError: the column is missing, its cells are dates, no numbers or negative, or their
            decimal mark is open.
    """
    cells = column(frame, name, where)
    form = date_form(cells)
    if form is not None:
        raise InputError(f"column '{name}': it holds {form}, no times: {FROM_DATES}")
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
    """Return the advice on cells that are no times."""
    texts = cells.map(as_level).str.strip()
    if texts.str.fullmatch(r"[\d.,]+ ?\+").all():
        return (
            "they end with +, as R writes the times of the censored: write the time and the event "
            "in two columns"
        )
    if texts.str.fullmatch(r"\d[\d.,]*\s*[^\W\d].*").mean() > 0.5:
        return "they name units that differ or are not known: write plain numbers of one unit"
    return "correct or remove those rows"
