"""Take cells such as ``age: 66``, as GEO's phenotype tables have them, for their values."""

from __future__ import annotations

import re

import pandas as pd
from pandas.api.types import is_numeric_dtype

_KEYED = re.compile(r"([A-Za-z][^:\d][^:]{0,80}): +(.*)|([A-Za-z][^:]{1,80}):$", re.DOTALL)


def key_in(cells: pd.Series) -> str | None:
    """Return the key that all known cells of a column begin with, if they share one."""
    if is_numeric_dtype(cells.dtype) or cells.dtype.kind in "mM":
        return None
    key: str | None = None
    for cell in cells.dropna():
        met = _KEYED.fullmatch(cell.strip()) if isinstance(cell, str) else None
        found = None if met is None else (met[1] or met[3]).strip()
        if found is None or (key is not None and found.lower() != key.lower()):
            return None
        key = found
    return key


def keyed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose cells are values alone in the columns where all begin with one key."""
    keys = keys_of(frame)
    if not keys:
        return frame
    return frame.assign(**{name: _values(frame[name]) for name in keys})


def keys_of(frame: pd.DataFrame) -> dict[str, str]:
    """Return column -> the key that all its known cells begin with."""
    found = {str(name): key_in(cells) for name, cells in frame.items()}
    return {name: key for name, key in found.items() if key is not None}


def _values(cells: pd.Series) -> pd.Series:
    return cells.map(lambda cell: cell.split(":", 1)[1].strip(), na_action="ignore")
