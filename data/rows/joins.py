"""Join tables on the patient's identifier, and count the matched identifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from accomplice.data.errors import InputError, some
from accomplice.data.rows.barcodes import read_barcode
from accomplice.data.rows.identifiers import identifiers


def _patient(text: str) -> str:
    code = read_barcode(text)
    return text if code is None else code.patient


#: Normalisations of identifiers, the least first.
FORMS: dict[str, Callable[[str], str]] = {
    "as they are": str,
    "but for case and blanks": lambda text: "".join(text.split()).casefold(),
    "without leading zeros": lambda text: "".join(text.split()).casefold().lstrip("0"),
    "with . and _ as -": lambda text: text.casefold().replace(".", "-").replace("_", "-"),
    "by the patient in their barcodes": _patient,
}
#: What was tried where no identifier is met.
NOT_EVEN = f"not even {' or '.join([*FORMS][1:])}"


def join_tables(
    frames: Sequence[pd.DataFrame], names: Sequence[str], on: str
) -> tuple[pd.DataFrame, list[str]]:
    """Join tables on the id column, keeping the rows and the order of the first.

    Args:
        frames: the tables.
        names: of the tables, for errors and notes.
        on: the id column.

    Returns:
        The table, and a line for each further one on the number of matched identifiers.

    Raises:
        InputError: a table lacks the id column or an id, holds an id twice, or repeats a column, or
            none of its identifiers is in the first table.
    """
    joined, notes = frames[0], []
    first = identifiers(joined, on, names[0]).tolist()
    for frame, name in zip(frames[1:], names[1:], strict=True):
        own = identifiers(frame, on, name).tolist()
        repeated = pd.Series(own).duplicated()
        if repeated.any():
            raise InputError(
                f"{name}: column '{on}': {int(repeated.sum())} rows repeat an id: keep one row each"
            )
        both = [c for c in frame.columns if c in joined.columns and c != on]
        if both:
            raise InputError(f"{name}: column {some(both)} is in two tables: rename or remove one")
        how, keys, theirs = best_form(first, own)
        met = len({*keys} & {*theirs})
        if met == 0:
            raise InputError(
                f"{name}: none of its {len(own)} ids (column '{on}') is in {names[0]}, {NOT_EVEN}: "
                "write the ids alike"
            )
        told = f"{name}: {met} of its {len(own)} ids are in {names[0]}"
        if how != next(iter(FORMS)):
            told += f", read {how}"
        there = {*theirs}
        if without := sum(key not in there for key in keys):
            told += f"; {without} of {len(first)} rows of {names[0]} have none there"
        notes.append(told)
        keyed = frame.drop(columns=on).set_axis(pd.Index(theirs, dtype=object))
        rows = keyed.reindex(pd.Index(keys, dtype=object)).set_axis(joined.index)
        joined = pd.concat([joined, rows], axis=1)
    return joined, notes


def best_form(first: Sequence[str], other: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Return the normalisation that matches most identifiers of two tables, and both so written."""
    best: tuple[int, str, list[str], list[str]] = (-1, "", [], [])
    for how, form in FORMS.items():
        keys, theirs = [*map(form, first)], [*map(form, other)]
        if len({*keys}) < len({*first}) or len({*theirs}) < len({*other}):
            continue
        met = len({*keys} & {*theirs})
        if met > best[0]:
            best = (met, how, keys, theirs)
        if met == min(len(keys), len(theirs)):
            break
    return best[1:]
