"""The identifiers of a table's rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.study_parts import as_level


def identifiers(frame: pd.DataFrame, name: str, where: str = "id") -> NDArray[np.str_]:
    """Return the identifiers of a table's rows (n,), whole numbers without a decimal point.

    Args:
        frame: the table.
        name: name of the column.
        where: file of the column, or ``id``, its key in the study file, for errors.

    Raises:
        InputError: there is no such column, it holds lists, or a row has no identifier.
    """
    cells = column(frame, name, where)
    if cells.isna().any():
        file = "" if where == "id" else f"{where}: "
        raise InputError(
            f"{file}column '{name}': {int(cells.isna().sum())} rows have no id: fill them in"
        )
    if not isinstance(cells.dtype, pd.StringDtype):
        return np.array([as_level(c) for c in cells], dtype=str)
    # Fast for a million texts: only those that could be whole numbers are converted one by one.
    ids = np.strings.strip(cells.to_numpy(dtype=str))
    whole = np.strings.endswith(ids, ".0")
    ids[whole] = [as_level(c) for c in ids[whole]]
    return np.asarray(ids)
