"""Find and draft further survival endpoints of a table, such as DFS and DSS in addition to OS."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from accomplice.data.cells.events import meanings
from accomplice.data.drafting.survival_endpoint import Wanted, draft_endpoint
from accomplice.data.drafting.units import unit_named
from accomplice.data.errors import InputError
from accomplice.data.panels.panel import Panel, key_of
from accomplice.data.study_parts import Mark, Unit

#: Words in the name of a time column, in addition to the endpoint's name.
_TIME = re.compile(r"time|months?|mths?|mos?|days?|weeks?|years?|yrs?|survival|surv|duration|in|to")
#: Words in the name of an event column, in addition to the endpoint's name.
_EVENT = re.compile(r"status|event|events|indicator|ind|flag|state|occurred|yn|binary|code")


@dataclass
class FurtherEndpoints:
    """Drafted endpoints in addition to the one that the user gave."""

    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of an endpoint -> its entry in the study file."""
    columns: list[str] = field(default_factory=list)
    """Columns of the endpoints' times and events, which are no features."""
    notes: list[str] = field(default_factory=list)
    """One line on each endpoint that could not be drafted, then one on all the drafted ones."""


def further_endpoints(
    frame: pd.DataFrame,
    first: str,
    used: Collection[str],
    panel: Panel,
    words: Collection[str],
    mark: Mark | None,
    unit: Unit,
    keys: Mapping[str, str],
    *,
    gaps: bool,
) -> FurtherEndpoints:
    """Draft each further endpoint for which exactly one pair of columns, time and event, fits.

    The two columns match the endpoint's pattern, and their names are the same except for words such
    as ``months`` and ``status``. An endpoint that cannot be drafted without a question is left out,
    with a note.

    Args:
        frame: the table, one row a patient.
        first: name of the endpoint that was drafted first.
        used: columns that have a role.
        panel: known names, with a pattern of columns for each endpoint.
        words: cells that mean missing, in lower case.
        mark: decimal mark of the table's columns, if known.
        unit: unit of a time whose column's name contains none.
        keys: column -> the key that all its cells begin with.
        gaps: whether patients without follow-up are usual in this source, so that time 0 means
            none; patients without follow-up are left out in any case.
    """
    found, drafts = FurtherEndpoints(), list[str]()
    free = {str(name): key_of(keys.get(str(name), str(name))) for name in frame.columns}
    free = {name: key for name, key in free.items() if name not in used}
    for endpoint, pattern in panel.endpoints.items():
        own = {name: key for name, key in free.items() if re.search(pattern, key)}
        if endpoint == first or (pair := _pair(frame, own, words)) is None:
            continue
        time, event = pair
        known = unit_named(keys.get(time, time))
        wanted = Wanted(
            [time], event, unit=known or unit, drop_without_follow_up=True, keys=dict(keys)
        )
        try:
            drafted = draft_endpoint(frame, endpoint, wanted, words, mark, gaps=gaps)
        except InputError as error:
            found.notes.append(f"{endpoint}: not drafted beside {first}: {error}")
            continue
        if drafted.asked:
            found.notes.append(f"{endpoint}: not drafted beside {first}: {drafted.asked[0]}")
            continue
        found.endpoints[endpoint] = drafted.raw
        found.columns += pair
        observed, kept = int(drafted.event[drafted.keep].sum()), int(drafted.keep.sum())
        columns = f"'{time}' in {drafted.raw['unit']}, '{event}'"
        drafts.append(f"{endpoint} ({columns}: {observed} events of {kept} patients)")
    if drafts:
        found.notes.append(
            f"further endpoints: {', '.join(drafts)}; take out those that are not needed"
        )
    return found


def _pair(
    frame: pd.DataFrame, names: Mapping[str, str], words: Collection[str]
) -> tuple[str, str] | None:
    """Return an endpoint's time and event columns; None unless exactly one pair of names matches.

    Args:
        frame: the table.
        names: column that matches the endpoint's pattern -> its key, by :func:`panel.key_of`.
        words: cells that mean missing, in lower case.
    """
    times = {name: stem for name, key in names.items() if (stem := _stem(key, _TIME)) != key}
    events = {
        name: _stem(key, _EVENT)
        for name, key in names.items()
        if name not in times and _is_event(frame[name], words)
    }
    pairs = [(t, e) for t, stem in times.items() for e, other in events.items() if stem == other]
    return pairs[0] if len(pairs) == 1 else None


def _stem(key: str, words: re.Pattern[str]) -> str:
    """Return a column's key without the words for a time, or for an event."""
    return "_".join(token for token in key.split("_") if not words.fullmatch(token))


def _is_event(cells: pd.Series, words: Collection[str]) -> bool:
    """Whether each known cell of a column means the event or no event, and both occur.

    A column of more than 20 distinct cells is taken for something else.
    """
    distinct = pd.unique(cells.dropna())
    if len(distinct) > 20:
        return False
    found = meanings(distinct, words)
    return {True, False} <= {m for m in found if m is not None} <= {True, False}
