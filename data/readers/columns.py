"""Take a column from a table, with an error that helps if the table lacks the column."""

from __future__ import annotations

import pandas as pd
from pandas.api.types import is_hashable

from accomplice.data.errors import InputError, nearest


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Return a column.

    Args:
        frame: the table.
        name: name of the column.
        where: file, endpoint or key of the study file that names the column, for errors.

    Raises:
        InputError: the table has no such column (the text gives the nearest name, or says that the
            table is transposed), or cells of the column hold lists.
    """
    if name not in frame.columns:
        transposed = len(frame.columns) > 1 and frame.iloc[:, 0].astype(str).eq(name).any()
        hint = nearest(name, map(str, frame.columns))
        if transposed:
            hint = ", but it stands in the first column: turn the table, so that a patient is a row"
        raise InputError(f"{where}: no column '{name}'{hint}")
    cells = frame[name]
    if cells.dtype == object and not cells.map(is_hashable).all():
        raise InputError(f"{where}: column '{name}' has lists in its cells: write one value a cell")
    return cells
