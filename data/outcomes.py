"""What a table says of its patients' outcomes: times to an event, and labels."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.coding import code_numbers
from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.readers.missing import MISSING
from accomplice.data.study_parts import MONTHS, BinaryEndpoint, SurvivalEndpoint, as_level

#: Words that say an event was, or was not, seen; compared in lower case.
EVENT_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "event", "dead", "deceased", "died", "death"), True),
    **dict.fromkeys(("relapse", "relapsed", "recurred", "progressed", "progression"), True),
    **dict.fromkeys(("0", "false", "no", "censored", "no event", "alive", "living"), False),
    **dict.fromkeys(("disease free", "diseasefree", "event free", "lost to follow-up"), False),
}


def survival_targets(
    frame: pd.DataFrame, name: str, endpoint: SurvivalEndpoint
) -> tuple[Array, Bools, Bools]:
    """Return time in months (n,), event (n,) and which patients are kept (n,).

    Raises:
        InputError: a time or event is not usable, or no event was seen.
    """
    time, not_number = code_numbers(column(frame, endpoint.time, f"endpoint '{name}'"))
    time = time * MONTHS[endpoint.unit]
    event = code_events(column(frame, endpoint.event, f"endpoint '{name}'"), endpoint)
    n, negative = len(time), time < 0
    if not_number.any() or negative.any():
        what = "are not numbers" if not_number.any() else "are negative"
        count = int(not_number.sum() or negative.sum())
        raise InputError(
            f"column '{endpoint.time}': {count} of {n} times {what}: correct or remove those rows"
        )
    missing, zero, unknown = np.isnan(time), time == 0, np.isnan(event)
    keep = ~(missing | zero | unknown)
    if not keep.all() and not endpoint.drop_without_follow_up:
        counts = [
            f"{int(rows.sum())} {what}"
            for rows, what in (
                (missing, "without a time"),
                (zero & ~missing, "with time zero"),
                (unknown & ~missing & ~zero, "without an event status"),
            )
            if rows.any()
        ]
        raise InputError(
            f"columns '{endpoint.time}', '{endpoint.event}': {int((~keep).sum())} of {n} patients "
            f"have no follow-up ({', '.join(counts)}): correct them, or leave them out with "
            f"endpoints.survival.{name}.drop_without_follow_up: true in the study file "
            "(data init --drop-without-follow-up)"
        )
    seen = (event == 1) & keep
    if not seen.any():
        raise InputError(f"column '{endpoint.event}': no event among {int(keep.sum())} patients")
    return time, event == 1, keep


def code_events(cells: pd.Series, endpoint: SurvivalEndpoint) -> Array:
    """Return 1 for an event, 0 for none, NaN for unknown (n,).

    Known codings are 0/1, true/false, words such as alive/deceased, and ``1:DECEASED``.

    Raises:
        InputError: a value is none of these and ``event_values`` does not name it.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    meaning = np.full(len(distinct) + 1, np.nan)
    odd = []
    for i, cell in enumerate(distinct):
        text = as_level(cell)
        coded = re.match(r"^([01]):", text)
        word = (coded.group(1) if coded else text).lower()
        if endpoint.event_values is not None and text.lower() not in MISSING:
            meaning[i] = float(text in endpoint.event_values)
        elif word in EVENT_WORDS:
            meaning[i] = float(EVENT_WORDS[word])
        elif word not in MISSING:
            odd.append(i)
    if odd:
        count = int(np.isin(codes, odd).sum())
        raise InputError(
            f"column '{endpoint.event}': {count} of {len(cells)} values are neither 0/1, "
            "true/false nor a known coding such as alive/deceased: "
            "recode them, or list those that mean the event under event_values"
        )
    return meaning[codes]


def binary_target(frame: pd.DataFrame, name: str, endpoint: BinaryEndpoint) -> Array:
    """Return 1 for a positive label, 0 for a negative one, NaN for none (n,).

    Raises:
        InputError: a label is not listed, or the column is missing.
    """
    cells = column(frame, endpoint.column, f"endpoint '{name}'")
    meaning = dict.fromkeys(endpoint.negative, 0.0) | dict.fromkeys(endpoint.positive, 1.0)
    codes, texts = texts_of(cells)
    unlisted = [t not in meaning and t.lower() not in MISSING for t in texts]
    if odd := int(np.array(unlisted)[codes].sum()):
        raise InputError(
            f"column '{endpoint.column}': {odd} labels are listed neither under positive nor "
            f"under negative of endpoint '{name}'"
        )
    return np.array([meaning.get(t, np.nan) for t in texts])[codes]


def texts_of(cells: pd.Series) -> tuple[Ints, list[str]]:
    """Return for each cell (n,) the place of its text; the last text is empty, for the missing."""
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    return codes, [*map(as_level, distinct), ""]
