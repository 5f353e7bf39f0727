"""Strip keys from cells such as ``age: 66``, the form of GEO's phenotype tables.

The key is the text before the colon.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import pandas as pd
from pandas.api.types import is_numeric_dtype

#: A cell of a key and a value, or of a key alone.
_KEYED = re.compile(r"([A-Za-z][^:\d][^:]{0,80}): +(.*)|([A-Za-z][^:]{1,80}):$", re.DOTALL)


def key_in(cells: pd.Series) -> str | None:
    """Return the key that all known cells of a column begin with; None if they share none.

    Letter case does not count: the key is returned as it is written in the last known cell.
    """
    if is_numeric_dtype(cells.dtype) or cells.dtype.kind in "mM":
        return None
    key: str | None = None
    for cell in cells.dropna():
        match = _KEYED.fullmatch(cell.strip()) if isinstance(cell, str) else None
        found = None if match is None else (match[1] or match[3]).strip()
        if found is None or (key is not None and found.lower() != key.lower()):
            return None
        key = found
    return key


def has_key(text: str) -> bool:
    """Whether a text begins with a key, as in ``age: 66``."""
    return _KEYED.fullmatch(text.strip()) is not None


def keys_of(parts: Iterable[pd.DataFrame]) -> dict[str, str]:
    """Return column -> the key that all its known cells begin with, for columns that have one.

    Args:
        parts: the rows of one table, in parts; reading stops once no column can have a key.
    """
    found: dict[str, str | None] | None = None
    for part in parts:
        if found is None:
            found = dict.fromkeys(map(str, part.columns))
        for name in [*found]:
            before, key = found[name], key_in(part[name])
            if key is not None and key.lower() == (before or key).lower():
                found[name] = key
            elif key is not None or not _is_empty(part[name]):
                del found[name]
        if not found:
            break
    return {name: key for name, key in (found or {}).items() if key is not None}


def without_keys(frame: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Return a table with the keys removed from the cells of some columns.

    Args:
        frame: the table.
        names: columns in which every known cell begins with a key; of a key alone, empty text is
            left.
    """
    if not names:
        return frame
    return frame.assign(**{name: _values(frame[name]) for name in names})


def _is_empty(cells: pd.Series) -> bool:
    return not is_numeric_dtype(cells.dtype) and bool(cells.isna().all())


def _values(cells: pd.Series) -> pd.Series:
    return cells.map(lambda cell: cell.split(":", 1)[1].strip(), na_action="ignore")
