"""Reduce several rows of a patient (samples, visits, repeated entries) to one."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.dates import read_dates
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.cells.times import without_missing
from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.rows.barcodes import read_barcodes
from accomplice.data.rows.identifiers import identifiers
from accomplice.data.study_parts import FromDates, LatestBefore, Rows

#: Names of columns of a sample's type, such as ``sample_type``.
SAMPLE_TYPE = re.compile(r"(^|_)(sample|tissue|specimen)_?(type|kind|class)(_|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Merged:
    """A table with one row a patient, and counts of the merged and dropped rows."""

    frame: pd.DataFrame
    """The table with one row a patient."""
    rows: int
    """Number of rows of the table as it was read."""
    normal: int
    """Number of rows dropped as normal tissue, or as another sample that is no tumour."""
    late: int
    """Number of patients dropped by ``latest_before``: none of their rows is of a tumour and has a
    known time up to the start of follow-up."""

    def note(self, rows: Rows) -> str:
        """Return a note on the numbers of merged and dropped rows; ``rows`` is the rule used."""
        how = rows.one_per_patient
        rule = "the latest before follow-up" if isinstance(how, LatestBefore) else how
        filled = ", gaps filled from the others" if rows.prefer else ""
        text = f"{self.rows} rows of {len(self.frame)} patients: one row each ({rule}{filled})"
        if self.normal:
            text += f"; {self.normal} rows of normal tissue dropped"
        if self.late:
            text += f"; {self.late} patients without a row from before follow-up dropped"
        return text


def one_per_patient(
    frame: pd.DataFrame,
    id: str,
    rows: Rows,
    start: FromDates | None = None,
    words: Collection[str] = (),
) -> Merged:
    """Return one row of each patient, in the order in which patients first occur.

    Rows whose sample is not of a tumour are left out: by the codes of barcodes, and for the rule
    ``primary`` without such codes by a column of the sample's type. Patients who have no other row
    are left out too.

    Args:
        frame: the table.
        id: column of the patient's identifier, or of the sample's barcode.
        rows: rule by which the row is made.
        start: dates of follow-up; needed if the column of ``latest_before`` holds dates.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a column is missing, a row has no identifier, the column of ``latest_before``
            holds neither numbers nor dates, its dates or those of the start cannot be read, or no
            row is from before follow-up.
    """
    ids = identifiers(frame, id).tolist()
    how, keep = rows.one_per_patient, np.ones(len(frame), dtype=bool)
    order = np.arange(len(frame))
    if how == "primary":
        ids, keep, rank = _samples(frame, ids)
        order = np.lexsort((order, *rank))
    elif _has_types(ids):
        ids, keep, _ = _samples(frame, ids)
    normal = int((~keep).sum())
    if how == "last":
        order = order[::-1]
    elif isinstance(how, LatestBefore):
        taken = _taken(frame, how.latest_before, start, words)
        keep = keep & ~(taken > 0) & ~np.isnan(taken)
        if not keep.any():
            raise InputError(
                f"rows.latest_before: by column '{how.latest_before}' no row is from before "
                "follow-up"
            )
        order = np.lexsort((order, -np.where(np.isnan(taken), np.inf, taken)))
    table = frame.assign(**{id: ids}).iloc[order]
    table = table[keep[order]]
    if rows.prefer == "filled" or how == "mean":
        table = _blanked(table, words)
    single = table.groupby(id, sort=False)
    made = single.head(1).set_index(id)
    if rows.prefer == "filled":
        made = single.first()
    if how == "mean":
        numeric = [c for c in table.columns if c != id and _is_measured(table[c])]
        made = single.first()
        made[numeric] = single[numeric].mean()
    with_row = {*made.index}
    first = pd.Index([one for one in dict.fromkeys(ids) if one in with_row], dtype=object)
    made = made.reindex(first).rename_axis(id).reset_index()[list(frame.columns)]
    late = len(set(ids)) - len(made) if isinstance(how, LatestBefore) else 0
    return Merged(made, len(frame), normal, late)


def _has_types(ids: list[str]) -> bool:
    """Whether identifiers are barcodes, at least one of them with a code of the tissue."""
    return any(code is not None and code.type is not None for code in read_barcodes(ids) or ())


def _samples(
    frame: pd.DataFrame, ids: list[str]
) -> tuple[list[str], Bools, tuple[NDArray[Any], ...]]:
    """Return each row's patient, whether its sample is of a tumour, and keys that rank samples.

    Each key is (n,), for `numpy.lexsort`: the last key comes first, and low values rank first.
    """
    codes = read_barcodes(ids)
    if codes is not None and _has_types(ids):
        patients = [text if c is None else c.patient for text, c in zip(ids, codes, strict=True)]
        types = np.array([1 if c is None or c.type is None else c.type for c in codes])
        vials = pd.Series(["" if c is None else c.rest for c in codes]).rank(method="dense")
        tumour = np.array([c is None or c.tumour for c in codes])
        return patients, tumour, (vials.to_numpy(dtype=int), types)
    named = next((c for c in frame.columns if SAMPLE_TYPE.search(str(c))), None)
    if named is None:
        return ids, np.ones(len(ids), dtype=bool), (np.zeros(len(ids), dtype=int),)
    kinds = frame[named].astype(str).str.lower()
    other = (~kinds.str.startswith("primary")).to_numpy(dtype=int)
    return ids, ~kinds.str.contains("normal").to_numpy(dtype=bool), (other,)


def _taken(
    frame: pd.DataFrame, name: str, start: FromDates | None, words: Collection[str]
) -> Array:
    """Return the time (n,) at which each row was taken; 0 is the start of follow-up.

    It is in days if the column holds dates, else in the column's own unit.

    Raises:
        InputError: a column is missing, the cells are neither numbers nor dates, or they or the
            start of follow-up are not dates of one format.
    """
    cells = without_missing(column(frame, name, "rows.latest_before"), words)
    read = (
        number_column(cells, NumberFormat(words, bounds=False)) if cells.dtype.kind != "M" else None
    )
    if read is not None and not read.bad.any():
        return read.values
    if start is None:
        raise InputError(
            f"rows.latest_before: column '{name}' holds no numbers: give days from the start of "
            "follow-up, or a time from dates"
        )
    begin = without_missing(column(frame, start.start, "time"), words)
    days = read_dates(cells, start.format, name)[0]
    return np.asarray(days - read_dates(begin, start.format, start.start)[0])


def _blanked(table: pd.DataFrame, words: Collection[str]) -> pd.DataFrame:
    """Return a table with the words for missing in its text columns emptied."""
    texts = {str(c): without_missing(table[c], words) for c in table if not _is_measured(table[c])}
    return table.assign(**texts) if texts else table


def _is_measured(cells: pd.Series) -> bool:
    """Whether a column holds numbers, not truth values or text."""
    return bool(is_numeric_dtype(cells.dtype)) and cells.dtype != bool
