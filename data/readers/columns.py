"""Take columns out of tables that have been read, and join tables on their id column."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from accomplice.data.errors import InputError, nearest, some


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Return a column.

    Raises:
        InputError: the table lacks it; the text names the nearest column.
    """
    if name not in frame.columns:
        raise InputError(f"{where}: no column '{name}'{nearest(name, map(str, frame.columns))}")
    return frame[name]


def join_tables(frames: Sequence[pd.DataFrame], names: Sequence[str], on: str) -> pd.DataFrame:
    """Join tables on the id column, keeping the rows and the order of the first.

    Raises:
        InputError: a table lacks the id column, holds an id twice, or repeats a column.
    """
    joined = frames[0]
    column(joined, on, names[0])
    for frame, name in zip(frames[1:], names[1:], strict=True):
        repeated = column(frame, on, name).duplicated()
        if repeated.any():
            raise InputError(
                f"{name}: column '{on}': {int(repeated.sum())} rows repeat an id: keep one row each"
            )
        both = [c for c in frame.columns if c in joined.columns and c != on]
        if both:
            raise InputError(f"{name}: column {some(both)} is in two tables: rename or remove one")
        joined = joined.merge(frame, on=on, how="left", sort=False)
    return joined
