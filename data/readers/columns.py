"""Take a column from a table that has been read, or name the nearest one."""

from __future__ import annotations

import pandas as pd
from pandas.api.types import is_hashable

from accomplice.data.errors import InputError, nearest


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Return a column.

    Raises:
        InputError: the table lacks it, and the text names the nearest column; or cells are lists.
    """
    if name not in frame.columns:
        turned = len(frame.columns) > 1 and frame.iloc[:, 0].astype(str).eq(name).any()
        hint = nearest(name, map(str, frame.columns))
        if turned:
            hint = ", but it stands in the first column: turn the table, so that a patient is a row"
        raise InputError(f"{where}: no column '{name}'{hint}")
    cells = frame[name]
    if cells.dtype == object and not cells.map(is_hashable).all():
        raise InputError(f"{where}: column '{name}' has lists in its cells: write one value a cell")
    return cells
