"""Find columns that hold times of the event alone, later than the times that the user named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.dates import date_form, read_dates
from accomplice.data.cells.times import without_missing
from accomplice.data.drafting.units import unit_named
from accomplice.data.errors import InputError, some
from accomplice.data.study_parts import MONTHS, FromDates, SurvivalEndpoint

#: Minimum fraction of the patients with the event who have a value in such a column.
LEAST_OF_EVENTS = 0.8
#: Maximum fraction of the censored patients who have a value in such a column.
MOST_OF_CENSORED = 0.05
#: Minimum number of events for which such a column is looked for.
FEWEST_EVENTS = 10


def later_times(
    frame: pd.DataFrame,
    endpoint: SurvivalEndpoint,
    time: Array,
    event: Bools,
    words: Collection[str],
) -> list[str]:
    """Return a question for each column filled for events alone with later times than ``time``.

    Such a column has an empty cell, a time for most patients with the event (`LEAST_OF_EVENTS`) and
    for few censored patients (`MOST_OF_CENSORED`). Its times of patients with the event are later
    than ``time`` by more than 0.1 % in more than half of them, and above 90 % of ``time`` in all.
    With fewer than `FEWEST_EVENTS` events there is no question.

    Args:
        frame: the table, one row a patient (n rows).
        endpoint: survival endpoint with the columns and the unit of the time.
        time: follow-up in months (n,), NaN where missing.
        event: whether the event was observed (n,).
        words: cells that mean missing, in lower case.

    Raises:
        InputError: the column of the start of follow-up cannot be read as dates.
    """
    used = {*endpoint.time_columns, endpoint.event}
    filled = frame.columns[frame.isna().any()].difference(list(used), sort=False)
    if event.sum() < FEWEST_EVENTS:
        return []
    asked = []
    for name, months in _months(frame, filled, endpoint, words):
        known = ~np.isnan(months)
        if known[event].mean() < LEAST_OF_EVENTS or known[~event].mean() > MOST_OF_CENSORED:
            continue
        both = known & event & ~np.isnan(time)
        later = int((months[both] > time[both] * 1.001).sum())
        if later > 0.5 * both.sum() and (months[both] > 0.9 * time[both]).all():
            ends = [c for c in endpoint.time_columns if c != _start(endpoint)]
            asked.append(
                f"column '{name}': it is filled for patients with the event, and later than "
                f"{some(ends)} in {later} of them: give --time {','.join([name, *ends])} if it is "
                "the time of the event, or leave it out of the table"
            )
    return asked


def _start(endpoint: SurvivalEndpoint) -> str | None:
    """Return the column of the date at which follow-up begins, where the time is from dates."""
    return endpoint.time.start if isinstance(endpoint.time, FromDates) else None


def _months(
    frame: pd.DataFrame, names: Iterable[str], endpoint: SurvivalEndpoint, words: Collection[str]
) -> Iterator[tuple[str, Array]]:
    """Yield name and months from the start of follow-up (n,) of each column that can hold times.

    These are columns of dates if the time is from dates, else columns of numbers, in the unit that
    the name contains or in the endpoint's.
    """
    if not isinstance(endpoint.time, FromDates):
        for name in names:
            if is_numeric_dtype(frame[name].dtype):
                unit = unit_named(name) or endpoint.unit
                yield name, frame[name].to_numpy(dtype=float, na_value=np.nan) * MONTHS[unit]
        return
    start, format = endpoint.time.start, endpoint.time.format
    begin = read_dates(without_missing(frame[start], words), format, start)[0]
    for name in names:
        if date_form(frame[name]) != "dates":
            continue
        try:
            days = read_dates(without_missing(frame[name], words), format, name)[0]
        except InputError:
            continue
        yield name, (days - begin) * MONTHS["days"]
