"""Decimal marks of a table's columns, and points that may group thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.drafting.doubts import FAR_BEYOND
from accomplice.data.study_parts import Mark

#: Fewest cells with a fraction for which it is asked whether points group.
FEW = 5


def text_marks(frame: pd.DataFrame, words: Collection[str]) -> set[Mark]:
    """Return the decimal marks that the columns of text in a table tell."""
    marks: set[Mark] = set()
    for cells in (
        frame.iloc[:, j] for j, kind in enumerate(frame.dtypes) if kind.kind not in "fiub"
    ):
        if cells.dtype == object or isinstance(cells.dtype, pd.StringDtype):
            read = number_column(cells, NumberFormat(words))
            if read.mark is not None and not read.open and read.bad.mean() < 0.5:
                marks.add(read.mark)
    return marks


def table_mark(frame: pd.DataFrame, marks: Collection[Mark]) -> Mark | None:
    """Return the decimal mark of a table, if its columns of text and of numbers agree."""
    told: set[Mark] = {*marks}
    for _, _, parts, grouped in _fractions(frame):
        if len(parts) and not (grouped and in_threes(parts)):
            told.add(".")
    return told.pop() if len(told) == 1 else None


def doubtful_points(
    frame: pd.DataFrame, marks: Collection[Mark], sure: Collection[str] = ()
) -> list[str]:
    """Ask of columns of numbers whose points may group thousands.

    Whole numbers beside three decimals tell it, or far above the others; or three decimals where
    other columns have decimal commas.

    Args:
        frame: the table.
        marks: what its columns of text tell, or the user.
        sure: columns whose points are decimal.
    """
    asked = []
    for name, known, parts, grouped in _fractions(frame):
        whole = known[known % 1 == 0]
        apart = len(parts) and len(whole) and FAR_BEYOND * parts.max() <= whole.min()
        if not (len(parts) >= FEW or apart) or not grouped or name in sure:
            continue
        beside = len(parts) < 0.8 * len(known) and known.min() >= 1
        if apart or (in_threes(parts) and ("," in marks or beside)):
            asked.append(
                f"column '{name}': its points can be decimal or group thousands: remove them if "
                f"they group, or give --decimal . (--number '{name}' for this column alone)"
            )
    return asked


def in_threes(parts: Array) -> bool:
    """Whether most fractions (n,) have a third decimal, as grouped thousands have."""
    return bool((np.round(parts * 1000) % 10 != 0).mean() > 0.75)


def _fractions(frame: pd.DataFrame) -> Iterator[tuple[str, Array, Array, bool]]:
    """Yield columns of numbers: name, known cells, fractions, and whether these can be thousands.

    They can where all are written with three decimals at most, and are from 1 to 999.999.
    """
    for name, cells in frame.select_dtypes("float").items():
        known = cells.to_numpy(dtype=float, na_value=np.nan)
        known = known[np.isfinite(known)]
        yield str(name), known, *fractions_of(known)


def fractions_of(known: Array) -> tuple[Array, bool]:
    """Return the fractions among known numbers (n,), and whether these can be thousands."""
    parts = known[known % 1 != 0]
    exact = np.isclose(parts * 1000, np.round(parts * 1000), rtol=0, atol=1e-6)
    return parts, bool((exact & (parts >= 1)).all()) and known.max(initial=0) < 1000
