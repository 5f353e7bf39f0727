"""Parse texts to the nearest double, with any release of pandas.

Of numbers with 17 digits, pandas 2 reads one in eight to a neighbour of the nearest double, so that
one value in a table and in a request would differ.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

#: A number that pandas 2 does not read to the nearest double.
_LONG = "92.57216995498905"
#: Whether this release of pandas reads each number as Python does.
_EXACT = bool(pd.to_numeric(_LONG) == float(_LONG))
#: Options with which `pandas.read_csv` reads exactly; a release that needs none warns of them.
EXACTLY: dict[str, Any] = {} if _EXACT else {"float_precision": "round_trip"}


def to_numeric(cells: pd.Series, errors: Literal["raise", "coerce"] = "raise") -> pd.Series:
    """Return `pandas.to_numeric` of cells (n,), with each number as Python reads it.

    Args:
        cells: texts or numbers.
        errors: ``raise`` for a text that is not a number, or ``coerce`` it to NaN.

    Raises:
        ValueError: a text is not a number, and ``errors`` is ``raise``.
    """
    numbers = pd.to_numeric(cells, errors=errors)
    if _EXACT or pd.api.types.is_numeric_dtype(cells.dtype) or numbers.dtype.kind != "f":
        return numbers
    known = numbers.notna().to_numpy(dtype=bool)
    numbers[known] = cells[known].to_numpy(dtype=object).astype(np.float64)
    return numbers
