"""Outcomes of a table's patients: times, events, and labels of binary endpoints."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cells.events import meanings
from accomplice.data.cells.missing import MISSING
from accomplice.data.cells.rounding import round_off
from accomplice.data.cells.times import months_of, resolution
from accomplice.data.errors import InputError, some
from accomplice.data.readers.columns import column
from accomplice.data.study_parts import BinaryEndpoint, SurvivalEndpoint, as_level

#: Maximum number of distinct values of an event column that an error quotes.
MOST_CODES = 5
#: Maximum length, in characters, of a value that an error quotes.
LONGEST_CODE = 60
#: Minimum number of patients that each value must have for an error to quote the values.
FEWEST_CELLS = 5
#: Pattern of names of endpoints, or of their columns, other than death of any cause.
NOT_ANY_DEATH = re.compile(
    r"relap|recur|rezidiv|récidive|recidiv|progress|复发|进展|_free|specific|metasta"
    r"|(?<![a-z])(dfs|rfs|pfs|efs|mfs|dmfs|lrfs|ttr|ttp|dss|css)(?![a-z])"
)


@dataclass(frozen=True)
class LeftOut:
    """Reasons why patients have no follow-up, for all n patients of a table."""

    untimed: Bools
    """(n,) whether the time is missing, or is zero where the endpoint takes that for missing."""
    at_zero: Bools
    """(n,) whether follow-up ends at time zero without a known event; for an event only if no time
    of the table is above zero."""
    unknown: Bools
    """(n,) whether the event status is missing."""
    event: Bools
    """(n,) whether the event was observed; false where the status is missing."""
    early: Bools
    """(n,) whether the event was observed at time zero, which is moved to half the smallest
    step."""

    @property
    def rows(self) -> Bools:
        """(n,) whether a patient has no follow-up for any of these reasons."""
        return self.untimed | self.at_zero | self.unknown

    def counts(self) -> str:
        """Return, as text, the counts of patients without follow-up by reason and by event."""
        texts = []
        for rows, reason in (
            (self.untimed, "without a time"),
            (self.at_zero & ~self.unknown & ~self.event, "censored at time zero"),
            (self.at_zero & self.event, "with the event at time zero, as no time is above zero"),
            (self.unknown & ~self.untimed, "without an event status"),
        ):
            if rows.any():
                texts.append(f"{int(rows.sum())} {reason}")
        known = self.rows & ~self.unknown
        events = int((known & self.event).sum())
        if known.any():
            texts.append(f"{events} with the event, {int(known.sum()) - events} censored")
        return ", ".join(texts)

    def doubts(self) -> list[str]:
        """Return the reasons why dropping patients without follow-up may bias the cohort."""
        known, found = self.untimed & ~self.unknown, []
        if (known & self.event).any():
            found.append(
                f"{int((known & self.event).sum())} patients with the event have no time: look "
                "for it in another column, since leaving them out makes survival look better"
            )
        if known.sum() > 1 and not self.event[known].any():
            text = "all patients left out for a missing time are censored"
            if self.event[~self.rows].all():
                text += ", and all others have the event, as in a time to death"
            found.append(
                f"{text}: look for the last contact in another column, and name both (data init "
                "--time A,B, or time: {first_of: [A, B]})"
            )
        return found


def survival_targets(
    frame: pd.DataFrame,
    name: str,
    endpoint: SurvivalEndpoint,
    words: Collection[str] = MISSING,
) -> tuple[Array, Bools, Bools]:
    """Return time in months (n,), whether the event was observed (n,), and rows to keep (n,).

    A missing time is NaN. An event at time 0 is put at half the smallest step between times,
    unless the endpoint takes time 0 for missing.

    Args:
        frame: one row a patient.
        name: name of the endpoint, for errors.
        endpoint: columns and rules of the endpoint.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: as :func:`follow_up`; no event was observed; or patients have no follow-up and
            ``drop_without_follow_up`` is false.
    """
    time, event, left = follow_up(frame, name, endpoint, words)
    keep = ~left.rows
    if not keep.all() and not endpoint.drop_without_follow_up:
        doubts = left.doubts()
        raise InputError(
            f"columns {some([*endpoint.time_columns, endpoint.event])}: {int((~keep).sum())} of "
            f"{len(keep)} patients have no follow-up ({left.counts()}): "
            + "; ".join(doubts or ["correct them"])
            + f", or leave them out with endpoints.survival.{name}.drop_without_follow_up: true "
            "in the study file (data init --drop-without-follow-up)"
        )
    if not (event & keep).any():
        raise InputError(f"column '{endpoint.event}': no event among {int(keep.sum())} patients")
    return time, event, keep


def notes_on(
    frame: pd.DataFrame,
    name: str,
    endpoints: Mapping[str, SurvivalEndpoint],
    words: Collection[str],
) -> tuple[str, ...]:
    """Return notes on an endpoint.

    They are on patients without follow-up, events at time 0, a horizon after the last follow-up,
    and competing deaths. Arguments are those of :func:`competing_deaths`.

    Raises:
        InputError: as :func:`follow_up`.
    """
    endpoint = endpoints[name]
    time, _, left = follow_up(frame, name, endpoint, words)
    n, rows = len(time), left.rows
    found = []
    if rows.any():
        doubts = "".join(f"; doubtful: {doubt}" for doubt in left.doubts())
        found.append(
            f"left out: {int(rows.sum())} of {n} patients, who have no follow-up "
            f"({left.counts()}; {name}){doubts}"
        )
    if early := int((left.early & ~rows).sum()):
        found.append(f"{early} events at time zero are put at half the smallest step ({name})")
    last = float(time[~rows].max(initial=0.0))
    if endpoint.horizon is not None and endpoint.horizon > round_off(last, up=True) > 0:
        found.append(
            f"the horizon of {endpoint.horizon:g} months lies beyond the last follow-up ({name}): "
            "shorten it"
        )
    return (*found, *competing_deaths(frame, name, endpoints, words))


def competing_deaths(
    frame: pd.DataFrame,
    name: str,
    endpoints: Mapping[str, SurvivalEndpoint],
    words: Collection[str] = MISSING,
) -> tuple[str, ...]:
    """Return a warning if censored patients of an endpoint died by another endpoint of the study.

    There is none for an endpoint of death of any cause. An endpoint is another one if its name or
    columns mention relapse, progression or death of one cause. Deaths are the events of the study's
    endpoints of death of any cause whose columns exist and can be read.

    Args:
        frame: one row a patient.
        name: name of the endpoint.
        endpoints: the study's survival endpoints by name, this one among them.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: the event of the endpoint cannot be read.
    """
    if not _is_not_any_death(name, endpoints[name]):
        return ()
    own = endpoints[name]
    censored = code_events(column(frame, own.event, f"endpoint '{name}'"), own, words) == 0
    died, by = np.zeros(len(frame), dtype=bool), []
    for other, endpoint in endpoints.items():
        if _is_not_any_death(other, endpoint) or endpoint.event not in frame:
            continue
        try:
            dead = censored & (code_events(frame[endpoint.event], endpoint, words) == 1)
        except InputError:
            continue
        if dead.any():
            died |= dead
            by.append(other)
    if not died.any():
        return ()
    return (
        f"{int(died.sum())} of {int(censored.sum())} patients censored in '{name}' died "
        f"({some(by)}): death competes with this event but counts as censoring, so predicted "
        "risks are those of a world without such deaths, and too high; count deaths as events, or "
        "read the risks as relative",
    )


def _is_not_any_death(name: str, endpoint: SurvivalEndpoint) -> bool:
    """Whether, by its name and columns, an endpoint's event is other than death of any cause."""
    texts = (name, endpoint.event, *endpoint.time_columns)
    return any(NOT_ANY_DEATH.search(text.lower()) for text in texts)


def follow_up(
    frame: pd.DataFrame, name: str, endpoint: SurvivalEndpoint, words: Collection[str]
) -> tuple[Array, Bools, LeftOut]:
    """Return time in months (n,), event (n,), and the patients without follow-up.

    The arguments are those of :func:`survival_targets`.

    Raises:
        InputError: a column is missing or holds lists, a time or event cannot be read, or a time is
            negative.
    """
    where = f"endpoint '{name}'"
    time = months_of(frame, endpoint, where, words)
    coded = code_events(column(frame, endpoint.event, where), endpoint, words)
    if negative := int((time < 0).sum()):
        raise InputError(
            f"columns {some(endpoint.time_columns)}: {negative} of {len(time)} times are negative: "
            "correct or remove those rows"
        )
    event = coded == 1
    if endpoint.zero_is_missing:
        time = np.where(time == 0, np.nan, time)
    early = event & (time == 0) & bool((time > 0).any())
    time = np.where(early, resolution(time) / 2, time)
    return time, event, LeftOut(np.isnan(time), time == 0, np.isnan(coded), event, early)


def code_events(
    cells: pd.Series, endpoint: SurvivalEndpoint, words: Collection[str] = MISSING
) -> Array:
    """Return (n,) 1 for an event, 0 for none, NaN for a missing status.

    Known codings are 0/1, true/false, words such as alive/deceased, and ``1:DECEASED``. If the
    endpoint has ``event_values``, these mean the event and all other values mean none.

    Args:
        cells: (n,) values of the event column.
        endpoint: the endpoint, with the column's name and ``event_values``.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a value is no known coding, and the endpoint has no ``event_values``.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    found = meanings(distinct, words, endpoint.event_values)
    odd = [i for i, meaning in enumerate(found) if isinstance(meaning, str)]
    if odd:
        count = int(np.isin(codes, odd).sum())
        raise InputError(
            f"column '{endpoint.event}': {count} of {len(cells)} values are neither 0/1, "
            "true/false nor a known coding such as alive/deceased: recode them, or name those"
            f"{_of_few(codes, distinct)} that mean the event (event_values in the study file, data "
            "init --event-values)"
        )
    values = [np.nan if m is None else float(m is True) for m in found]
    return np.array([*values, np.nan])[codes]


def _of_few(codes: Ints, distinct: Collection[object]) -> str:
    """Return " of" and the column's values; empty if they are many or could identify a patient."""
    texts = sorted(map(as_level, distinct))
    often = 1 < len(texts) <= MOST_CODES and np.bincount(codes[codes >= 0]).min() >= FEWEST_CELLS
    plain = all(len(t) <= LONGEST_CODE and sum(c.isdigit() for c in t) < 3 for t in texts)
    return f" of {some(texts)}" if often and plain else ""


def binary_target(
    frame: pd.DataFrame, name: str, endpoint: BinaryEndpoint, words: Collection[str] = MISSING
) -> Array:
    """Return (n,) 1 for a positive label, 0 for a negative one, NaN for a missing one.

    Args:
        frame: one row a patient.
        name: name of the endpoint, for errors.
        endpoint: the endpoint's column, and its positive and negative values.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a label is not listed, or the column is missing or holds lists.
    """
    cells = column(frame, endpoint.column, f"endpoint '{name}'")
    meaning = dict.fromkeys(endpoint.negative, 0.0) | dict.fromkeys(endpoint.positive, 1.0)
    codes, texts = texts_of(cells)
    unlisted = [t not in meaning and t.lower() not in words for t in texts]
    if odd := int(np.array(unlisted)[codes].sum()):
        raise InputError(
            f"column '{endpoint.column}': {odd} labels are listed neither under positive nor "
            f"under negative of endpoint '{name}'"
        )
    return np.array([meaning.get(t, np.nan) for t in texts])[codes]


def texts_of(cells: pd.Series) -> tuple[Ints, list[str]]:
    """Return the index (n,) of each cell's text in a list of distinct texts, and this list.

    A missing cell has the index -1, that of the last text, which is empty.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    return codes, [*map(as_level, distinct), ""]
