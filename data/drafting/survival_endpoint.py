"""Draft a survival endpoint: its columns, their unit, and the values that mean the event."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.dates import read_dates
from accomplice.data.cells.events import meanings
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.cells.times import without_missing
from accomplice.data.drafting.event_codes import (
    AMBIGUOUS,
    UNKNOWN_CODES,
    refuse_events_only,
    refuse_unclear_codes,
)
from accomplice.data.drafting.later_times import later_times
from accomplice.data.drafting.units import LONGEST_YEARS, ask_unit, unit_of
from accomplice.data.errors import InputError, some
from accomplice.data.outcomes import LeftOut, follow_up, survival_targets
from accomplice.data.panels.panel import key_of
from accomplice.data.readers.columns import column
from accomplice.data.study_parts import Mark, SurvivalEndpoint, Unit, as_level

#: Names, as keys, of an event that is death.
_DEATH = (
    r"(^|_)os(_|$)|dea(d|th)|died|deceased|vital|exitus|verstorben|gestorben|d[ée]c[ée]s|falleci"
    r"|死亡"
)
#: Values of an event column that mean that the event is not known, in lower case.
_UNKNOWN = re.compile(
    r"(n/?a|unk|unknown|unclear|missing|not (available|applicable|reported|stated|known)|no data"
    r"|unbekannt|inconnu|desconocido|sconosciuto|不详|未知)\b.*"
)
#: Maximum fraction of patients without follow-up that a draft leaves out without the option.
FEW_WITHOUT_FOLLOW_UP = 0.1


@dataclass(frozen=True)
class Wanted:
    """The user's options on a survival endpoint."""

    times: Sequence[str]
    """Columns of the time."""
    event: str
    """Column of the event."""
    start: str | None = None
    """Column of the date at which follow-up begins, where the time is from dates."""
    date_format: str | None = None
    """Format of the dates, as ``strptime`` takes it."""
    unit: Unit | None = None
    """Unit of the time columns."""
    event_values: tuple[str, ...] | None = None
    """Values that mean the event."""
    drop_without_follow_up: bool = False
    """Whether any number of patients without follow-up is left out."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Column -> the key that all its cells begin with; see :func:`keys.keys_of`."""

    def key(self, name: str) -> str:
        """Return a column's name, or the key of its cells, as :func:`panel.key_of` writes it."""
        return key_of(self.keys.get(name, name))


@dataclass
class Endpoint:
    """A drafted survival endpoint."""

    raw: dict[str, Any]
    """Its entry in the study file."""
    time: Array
    """(n,) follow-up in months, NaN where missing."""
    event: Bools
    """(n,) whether the event was observed."""
    keep: Bools
    """(n,) whether a patient has follow-up."""
    notes: list[str] = field(default_factory=list)
    """Assumptions, one line each."""
    asked: list[str] = field(default_factory=list)
    """Questions that an option must answer, one line each."""


def time_columns(frame: pd.DataFrame, time: str) -> list[str]:
    """Return the columns that an option names: one, or several separated by commas.

    Args:
        frame: the table.
        time: the option: a column, or several columns separated by commas.
    """
    if time in frame.columns or "," not in time:
        return [time]
    return [name.strip() for name in time.split(",")]


def draft_endpoint(
    frame: pd.DataFrame,
    name: str,
    wanted: Wanted,
    words: Collection[str],
    mark: Mark | None,
    *,
    gaps: bool,
) -> Endpoint:
    """Draft a survival endpoint.

    Args:
        frame: the table, one row a patient (n rows).
        name: name of the endpoint.
        wanted: the user's options.
        words: cells that mean missing, in lower case.
        mark: decimal mark of the table's other columns, if known.
        gaps: whether patients without follow-up are expected, and left out without a question.

    Raises:
        InputError: a column is missing, or is no time or no event; a time's name or cells have
            another unit than the option, or two units; no single format fits the dates; an option
            names a value that does not occur; the event's name or codes leave open which value
            means the event, or all known cells mean it; no event was observed; or too many patients
            have no follow-up.
    """
    columns = list(wanted.times)
    raw: dict[str, Any] = {"time": columns[0], "event": wanted.event}
    notes: list[str] = []
    asked: list[str] = []
    source = "the option"
    if wanted.start is not None:
        raw["time"] = _from_dates(frame, columns, wanted, words, notes)
    else:
        if len(columns) > 1:
            raw["time"] = {"first_of": columns}
        raw["unit"], source = unit_of(frame, columns, wanted.unit, wanted.keys, words)
        if decimal := _decimal(frame, columns, words, mark, asked):
            raw["decimal"] = decimal
    if wanted.event_values:
        raw["event_values"] = _event_values(frame, wanted, words, asked)
    raw["horizon"] = None
    endpoint = SurvivalEndpoint.model_validate(raw | {"drop_without_follow_up": True})
    cells = column(frame, wanted.event, "event")
    refuse_unclear_codes(cells, wanted.event, wanted.key(wanted.event), wanted.event_values, words)
    time, event, left = follow_up(frame, name, endpoint, words)
    if left.unknown.mean() > FEW_WITHOUT_FOLLOW_UP and event[~left.unknown].all():
        refuse_events_only(wanted.event, int(event.sum()), int(left.unknown.sum()))
    if gaps and left.early.any():
        raw["zero_is_missing"] = True
        endpoint = endpoint.model_copy(update={"zero_is_missing": True})
        time, event, left = follow_up(frame, name, endpoint, words)
    keep = ~left.rows
    # Only death is the last event: a relapse can have a later death.
    if name == "os" or re.search(_DEATH, wanted.key(wanted.event)):
        asked += later_times(frame, endpoint, time, event, words)
    if wanted.start is not None:
        asked += _far_dates(time, [wanted.start, *columns])
    if raw.get("unit") is not None:
        asked += _codes_among(frame, columns, endpoint, words)
        asked += ask_unit(time, columns, raw["unit"], source, notes)
    notes += _on_events(frame, wanted, words, time, event, keep)
    if len(columns) > 1 and wanted.start is None:
        notes += _on_several(frame, columns, endpoint, words, event, asked)
    asked += _left_out(raw, left, wanted, columns, gaps=gaps)
    # Raises if too many patients have no follow-up, or none has the event.
    survival_targets(frame, name, SurvivalEndpoint.model_validate(raw), words)
    return Endpoint(raw, time, event, keep, notes, asked)


def _from_dates(
    frame: pd.DataFrame,
    columns: Sequence[str],
    wanted: Wanted,
    words: Collection[str],
    notes: list[str],
) -> dict[str, Any]:
    """Return the study file's entry of a time from dates, and note it.

    Raises:
        InputError: a column is missing, or no single format fits the dates.
    """
    names = (str(wanted.start), *columns)
    cells = {name: without_missing(column(frame, name, "time"), words) for name in names}
    format = wanted.date_format
    texts = [dates for dates in cells.values() if dates.dtype.kind != "M"]
    if format is None and texts:
        # Together, since one column may have no day after the twelfth.
        _, format = read_dates(pd.concat(texts, ignore_index=True), None, "', '".join(names))
    written = f", written as {format}" if format else ""
    notes.append(f"time: from '{wanted.start}' to {some(columns)}{written}")
    raw: dict[str, Any] = {"from": wanted.start, "to": list(columns)}
    return raw | ({"format": format} if format else {})


def _far_dates(time: Array, columns: Sequence[str]) -> list[str]:
    """Return a question if dates give a follow-up (n,) in months that is implausibly long."""
    years = time / 12
    far = int((years > LONGEST_YEARS["the name"]).sum())
    if not far:
        return []
    return [
        f"columns {some(columns)}: {far} patients would have a follow-up of more than "
        f"{LONGEST_YEARS['the name']} years, up to {np.nanmax(years):.0f}: correct the dates, or "
        "give --missing with those that mean unknown, such as 01.01.1900, as they are written"
    ]


def _decimal(
    frame: pd.DataFrame,
    columns: Sequence[str],
    words: Collection[str],
    mark: Mark | None,
    asked: list[str],
) -> Mark | None:
    """Return the decimal mark for the study file; ask where cells leave it open.

    None where no cell has commas or grouped digits.
    """
    found: Mark | None = None
    for name in columns:
        read = number_column(frame[name], NumberFormat(words, decimal=mark, bounds=False))
        if read.open:
            asked.append(open_mark(name))
        found = read.mark or found
    return found


def open_mark(name: str) -> str:
    """Return the question for a column's decimal mark."""
    return (
        f"column '{name}': its commas can be decimal or group thousands: give --decimal , or "
        "--decimal ."
    )


def _codes_among(
    frame: pd.DataFrame,
    columns: Sequence[str],
    endpoint: SurvivalEndpoint,
    words: Collection[str],
) -> list[str]:
    """Return a question for each column whose longest time looks like a code for unknown."""
    asked = []
    for name in columns:
        known = NumberFormat(words, decimal=endpoint.decimal, bounds=False)
        times, counts = np.unique(number_column(frame[name], known).values, return_counts=True)
        times, counts = times[~np.isnan(times)], counts[: int((~np.isnan(times)).sum())]
        if len(times) > 2 and times[-2] < 0.6 * times[-1]:
            code = as_level(float(times[-1]))
            # 98 and 99 can be the longest time of one patient.
            if code in UNKNOWN_CODES and (counts[-1] > 1 or times[-1] >= 998):
                asked.append(
                    f"column '{name}': {int(counts[-1])} times are {code}, which looks like a code "
                    f"for unknown: give --missing {code}, or remove those rows"
                )
    return asked


def _event_values(
    frame: pd.DataFrame, wanted: Wanted, words: Collection[str], asked: list[str]
) -> list[str]:
    """Return the values that mean the event, in the column's spelling; ask about unknown codes.

    Raises:
        InputError: one of them does not occur.
    """
    cells = column(frame, wanted.event, "event")
    texts = {as_level(cell) for cell in pd.unique(cells.dropna())}
    folded = {text.lower(): text for text in texts}
    values = []
    for value in wanted.event_values or ():
        spelling = value if value in texts else folded.get(value.lower())
        if spelling is None:
            raise InputError(
                f"column '{wanted.event}': no cell holds '{value}' (--event-values): it has "
                f"{len(texts)} different values"
            )
        values.append(spelling)
    others = [text for text in texts - {*values} if text.lower() not in words]
    rest = sorted(t for t in others if t in UNKNOWN_CODES or _UNKNOWN.fullmatch(t.lower()))
    if rest:
        asked.append(
            f"column '{wanted.event}': {some(rest)} looks like a code for unknown and would count "
            f"as no event: give --missing '{','.join(rest)}', or list it under --event-values"
        )
    return values


def _on_events(
    frame: pd.DataFrame,
    wanted: Wanted,
    words: Collection[str],
    time: Array,
    event: Bools,
    keep: Bools,
) -> list[str]:
    """Return a note on the values that mean the event, and on the number of events.

    Raises:
        InputError: the column's name leaves open whether a value means the event or censoring, and
            the times do not decide it.
    """
    cells = frame[wanted.event]
    distinct = pd.unique(cells.dropna())
    found = meanings(
        distinct, words, wanted.event_values and _event_values(frame, wanted, words, [])
    )
    yes = sorted(as_level(c) for c, m in zip(distinct, found, strict=True) if m is True)
    key, z = wanted.key(wanted.event), _later(time[keep], event[keep])
    if re.search(AMBIGUOUS, key) and not wanted.event_values and z > -2:
        raise InputError(
            f"column '{wanted.event}': its name leaves open whether {some(yes)} means the event or "
            f"censoring ({int((event & keep).sum())} of {int(keep.sum())} patients have it): name "
            f"the value that means the event (--event-values {yes[0] if yes else 1}, or the other)"
        )
    note = f"event: {some(yes)} means the event: {int((event & keep).sum())} of {int(keep.sum())}"
    if z > 3 and not wanted.event_values:
        note += (
            "; their times are longer than those of the others, as if it meant censoring: look, "
            "and name the value with --event-values"
        )
    causes = [text for text in yes if re.search(r"\b(of|other|cause)", text.lower())]
    if len(causes) > 1:
        note += "; one cause alone: --event-values"
    return [note]


def _later(time: Array, event: Bools) -> float:
    """Return z of the Mann-Whitney test that events have longer times than censored patients.

    z = (U − n₁ n₀ / 2) / √(n₁ n₀ (n + 1) / 12), with U of the n₁ events among n = n₁ + n₀ patients,
    without a correction for ties; 0 if n₁ or n₀ is 0 (Mann and Whitney, On a test of whether one of
    two random variables is stochastically larger than the other, Annals of Mathematical Statistics
    1947).

    Args:
        time: known follow-up (n,).
        event: whether the event was observed (n,).
    """
    n, n_event = len(time), int(event.sum())
    if n_event in (0, n):
        return 0.0
    ranks = pd.Series(time).rank().to_numpy()
    u = ranks[event].sum() - n_event * (n_event + 1) / 2
    return float(
        (u - n_event * (n - n_event) / 2) / np.sqrt(n_event * (n - n_event) * (n + 1) / 12)
    )


def _on_several(
    frame: pd.DataFrame,
    columns: Sequence[str],
    endpoint: SurvivalEndpoint,
    words: Collection[str],
    event: Bools,
    asked: list[str],
) -> list[str]:
    """Return a note that the time is the first filled of several columns; ask about their order."""
    known = NumberFormat(words, decimal=endpoint.decimal, bounds=False)
    times = [number_column(frame[name], known).values for name in columns]
    both = ~np.isnan(times[0]) & ~np.isnan(times[1])
    note = f"time: the first filled of {some(columns)}"
    if both.any():
        note += f"; {int(both.sum())} patients have both of the first two, and the first counts"
        longer = both & event & (times[1] > times[0])
        if longer.sum() > 0.5 * max((both & event).sum(), 1):
            asked.append(
                f"columns {some(columns)}: of patients with the event the later column is longer: "
                f"put the time to the event first (--time {columns[1]},{columns[0]})"
            )
    return [note]


def _left_out(
    raw: dict[str, Any], left: LeftOut, wanted: Wanted, columns: Sequence[str], *, gaps: bool
) -> list[str]:
    """Set in ``raw`` whether patients without follow-up are left out; return a question on doubt.

    It is doubtful where many are left out and all others have the event.
    """
    rows = left.rows
    few = rows.mean() <= FEW_WITHOUT_FOLLOW_UP
    if rows.any() and (wanted.drop_without_follow_up or gaps or few):
        raw["drop_without_follow_up"] = True
    kept = left.event[~rows]
    if not (rows.any() and len(kept) and kept.all() and not few):
        return []
    return [
        f"columns {some(columns)}: the {int(rows.sum())} patients left out have no event, and all "
        f"{len(kept)} others have it: the time of the censored is in another column: give --time "
        f"{columns[0]},OTHER"
    ]
