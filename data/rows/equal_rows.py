"""Codes of equal cells and equal rows, and how many pairs are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from accomplice.data.arrays import Ints


def value_codes(cells: pd.Series) -> tuple[Ints, int]:
    """Return a code for each cell (n,), -1 where missing, and the number of codes.

    In a column with lists all codes are -1, and their number is 0.
    """
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    except TypeError:
        return np.full(len(cells), -1), 0
    return codes, len(distinct)


def row_codes(frame: pd.DataFrame, columns: Sequence[str]) -> Ints:
    """Return a number for each row (n,), equal where the rows are equal in all columns.

    Args:
        frame: the table (n rows).
        columns: names of the columns that are compared.
    """
    codes = np.zeros(len(frame), dtype=np.int64)
    for name in columns:
        own = pd.factorize(frame[name])[0] + 1
        codes = pd.factorize(codes * (own.max() + 1) + own)[0]
    return codes


def equal_pairs(codes: Ints) -> float:
    """Return the number of pairs of rows (n,) with equal codes."""
    counts = np.bincount(codes).astype(float)
    return float((counts * (counts - 1) / 2).sum())
