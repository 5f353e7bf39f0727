"""Join tables on the patient's identifier, and count the identifiers that match."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from accomplice.data.errors import InputError, some
from accomplice.data.rows.barcodes import read_barcode
from accomplice.data.rows.identifiers import identifiers


def _patient(text: str) -> str:
    """Return the patient's barcode in a sample's barcode; other text as it is."""
    code = read_barcode(text)
    return text if code is None else code.patient


#: Phrase in notes -> normalisation of an identifier; the smallest change comes first.
FORMS: dict[str, Callable[[str], str]] = {
    "as they are": str,
    "but for case and blanks": lambda text: "".join(text.split()).casefold(),
    "without leading zeros": lambda text: "".join(text.split()).casefold().lstrip("0"),
    "with . and _ as -": lambda text: text.casefold().replace(".", "-").replace("_", "-"),
    "by the patient in their barcodes": _patient,
}
#: Phrase in errors that lists the normalisations by which no identifier matches.
NOT_EVEN = f"not even {' or '.join([*FORMS][1:])}"


def join_tables(
    frames: Sequence[pd.DataFrame], names: Sequence[str], on: str
) -> tuple[pd.DataFrame, list[str]]:
    """Join tables on the id column, keeping the rows of the first table and their order.

    Args:
        frames: the tables.
        names: names of the tables, for errors and notes.
        on: name of the id column.

    Returns:
        The joined table, and a note for each further table on its number of matching identifiers.

    Raises:
        InputError: a table lacks the id column or has a row without an identifier; or a further
            table has an identifier twice, a column of another table, or no matching identifier.
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
        matched = len({*keys} & {*theirs})
        if matched == 0:
            raise InputError(
                f"{name}: none of its {len(own)} ids (column '{on}') is in {names[0]}, {NOT_EVEN}: "
                "write the ids alike"
            )
        text = f"{name}: {matched} of its {len(own)} ids are in {names[0]}"
        if how != next(iter(FORMS)):
            text += f", read {how}"
        known = {*theirs}
        if without := sum(key not in known for key in keys):
            text += f"; {without} of {len(first)} rows of {names[0]} have none there"
        notes.append(text)
        keyed = frame.drop(columns=on).set_axis(pd.Index(theirs, dtype=object))
        rows = keyed.reindex(pd.Index(keys, dtype=object)).set_axis(joined.index)
        joined = pd.concat([joined, rows], axis=1)
    return joined, notes


def best_form(first: Sequence[str], other: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Return the first normalisation in `FORMS` by which the most identifiers of two tables match.

    A normalisation that makes different identifiers of one table equal is not considered.

    Args:
        first: identifiers of one table.
        other: identifiers of the other.

    Returns:
        The key of the normalisation, and the normalised identifiers of both tables.
    """
    best: tuple[int, str, list[str], list[str]] = (-1, "", [], [])
    for how, form in FORMS.items():
        keys, theirs = [*map(form, first)], [*map(form, other)]
        if len({*keys}) < len({*first}) or len({*theirs}) < len({*other}):
            continue
        matched = len({*keys} & {*theirs})
        if matched > best[0]:
            best = (matched, how, keys, theirs)
        if matched == min(len(keys), len(theirs)):
            break
    return best[1:]
