"""Decimal marks of a table's columns, and points that may group thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cells.numbers import NumberFormat, number_column
from accomplice.data.drafting.outlying_numbers import FAR_BEYOND
from accomplice.data.study_parts import Mark

#: Minimum number of fractional numbers in a column whose points may group thousands, unless its
#: whole numbers are far larger.
FEW = 5


def text_marks(frame: pd.DataFrame, words: Collection[str]) -> set[Mark]:
    """Return the decimal marks in a table's text columns.

    A column counts if fewer than half of its cells are not numbers, and if its commas, or numbers
    with several points, determine one mark.

    Args:
        frame: the table.
        words: cells that mean missing, in lower case.
    """
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
    """Return the decimal mark of a table; None if its columns show none, or disagree.

    Args:
        frame: the table.
        marks: decimal marks that its text columns show.
    """
    shown: set[Mark] = {*marks}
    for _, _, fractional, grouped in _columns(frame):
        if len(fractional) and not (grouped and in_threes(fractional)):
            shown.add(".")
    return shown.pop() if len(shown) == 1 else None


def doubtful_points(
    frame: pd.DataFrame, marks: Collection[Mark], sure: Collection[str] = ()
) -> list[str]:
    """Return a question for each column of numbers whose points may group thousands.

    The points may group thousands if all its fractional numbers can be thousands and if its whole
    numbers are at least ``FAR_BEYOND`` times as large; or if it has at least ``FEW`` fractional
    numbers, most of them with three decimals, and either ``marks`` has the comma, or more than a
    fifth of its numbers are whole and none is below 1.

    Args:
        frame: the table.
        marks: decimal marks that its text columns show, or that the user gave.
        sure: columns whose points are known to be decimal.
    """
    asked = []
    for name, known, fractional, grouped in _columns(frame):
        whole = known[known % 1 == 0]
        apart = len(fractional) and len(whole) and FAR_BEYOND * fractional.max() <= whole.min()
        if not (len(fractional) >= FEW or apart) or not grouped or name in sure:
            continue
        beside = len(fractional) < 0.8 * len(known) and known.min() >= 1
        if apart or (in_threes(fractional) and ("," in marks or beside)):
            asked.append(
                f"column '{name}': its points can be decimal or group thousands: remove them if "
                f"they group, or give --decimal . (--number '{name}' for this column alone)"
            )
    return asked


def in_threes(fractional: Array) -> bool:
    """Whether over 3/4 of fractional numbers (n,) have a third decimal, as grouped thousands do."""
    return bool((np.round(fractional * 1000) % 10 != 0).mean() > 0.75)


def _columns(frame: pd.DataFrame) -> Iterator[tuple[str, Array, Array, bool]]:
    """Yield each column of floats: name, known numbers, and the results of :func:`fractions_of`."""
    for name, cells in frame.select_dtypes("float").items():
        known = cells.to_numpy(dtype=float, na_value=np.nan)
        known = known[np.isfinite(known)]
        yield str(name), known, *fractions_of(known)


def fractions_of(known: Array) -> tuple[Array, bool]:
    """Return the fractional numbers among known numbers (n,), and whether they can be thousands.

    They can if each is at least 1 and has at most three decimals, and if all known numbers, the
    whole ones too, are below 1000.
    """
    fractional = known[known % 1 != 0]
    exact = np.isclose(fractional * 1000, np.round(fractional * 1000), rtol=0, atol=1e-6)
    return fractional, bool((exact & (fractional >= 1)).all()) and known.max(initial=0) < 1000
