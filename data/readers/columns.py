"""Take a column from a table that has been read, or name the nearest one."""

from __future__ import annotations

import pandas as pd

from accomplice.data.errors import InputError, nearest


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Return a column.

    Raises:
        InputError: the table lacks it; the text names the nearest column.
    """
    if name not in frame.columns:
        raise InputError(f"{where}: no column '{name}'{nearest(name, map(str, frame.columns))}")
    return frame[name]
