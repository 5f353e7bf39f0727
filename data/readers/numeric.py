"""Parse texts to the nearest double, with any release of pandas.

pandas 2 misses the nearest by one unit in the last place in one of eight numbers with 17 digits, so
that a table and a request would differ.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

_LONG = "92.57216995498905"
#: Whether pandas reads each number as Python does.
_EXACT = bool(pd.to_numeric(_LONG) == float(_LONG))
#: Options of `pandas.read_csv`; later releases warn of the option.
EXACTLY: dict[str, Any] = {} if _EXACT else {"float_precision": "round_trip"}


def to_numeric(cells: pd.Series, errors: Literal["raise", "coerce"] = "raise") -> pd.Series:
    """Return `pandas.to_numeric` of cells (n,), with each number as Python reads it.

    Args:
        cells: texts or numbers.
        errors: whether a text that is no number is an error or missing.
    """
    numbers = pd.to_numeric(cells, errors=errors)
    if _EXACT or pd.api.types.is_numeric_dtype(cells.dtype) or numbers.dtype.kind != "f":
        return numbers
    known = numbers.notna().to_numpy(dtype=bool)
    numbers[known] = cells[known].to_numpy(dtype=object).astype(np.float64)
    return numbers
