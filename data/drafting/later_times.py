"""Find a time of the event alone that is later than the time that the user named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.dates import look_of, read_dates
from accomplice.data.cells.times import without_missing
from accomplice.data.drafting.units import unit_named
from accomplice.data.errors import InputError, some
from accomplice.data.study_parts import MONTHS, FromDates, SurvivalEndpoint

#: Least part of the events that have such a time, and most of the others.
OF_EVENTS, OF_OTHERS = 0.8, 0.05
#: Fewest events by which it can be told.
ENOUGH = 10


def later_times(
    frame: pd.DataFrame,
    endpoint: SurvivalEndpoint,
    time: Array,
    event: Bools,
    words: Collection[str],
) -> list[str]:
    """Ask about a column filled for events alone that holds later times than the endpoint's.

    Args:
        frame: one row a patient (n rows).
        endpoint: names the time and its unit.
        time: follow-up in months (n,).
        event: whether the event was seen (n,).
        words: cells that mean missing, in lower case.
    """
    used = {*endpoint.time_columns, endpoint.event}
    filled = frame.columns[frame.isna().any()].difference(list(used), sort=False)
    if event.sum() < ENOUGH:
        return []
    asked = []
    for name, months in _months(frame, filled, endpoint, words):
        known = ~np.isnan(months)
        if known[event].mean() < OF_EVENTS or known[~event].mean() > OF_OTHERS:
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
    return endpoint.time.start if isinstance(endpoint.time, FromDates) else None


def _months(
    frame: pd.DataFrame, names: Iterable[str], endpoint: SurvivalEndpoint, words: Collection[str]
) -> Iterator[tuple[str, Array]]:
    """Yield columns as months from the start of follow-up (n,), where they can be read so."""
    if not isinstance(endpoint.time, FromDates):
        for name in names:
            if is_numeric_dtype(frame[name].dtype):
                unit = unit_named(name) or endpoint.unit
                yield name, frame[name].to_numpy(dtype=float, na_value=np.nan) * MONTHS[unit]
        return
    start, format = endpoint.time.start, endpoint.time.format
    begin = read_dates(without_missing(frame[start], words), format, start)[0]
    for name in names:
        if look_of(frame[name]) != "dates":
            continue
        try:
            days = read_dates(without_missing(frame[name], words), format, name)[0]
        except InputError:
            continue
        yield name, (days - begin) * MONTHS["days"]
