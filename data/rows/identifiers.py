"""The identifiers and hospitals of a table's rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accomplice.data.cells.missing import MISSING
from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.study import Study
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


def patient_ids(study: Study, frame: pd.DataFrame) -> NDArray[np.str_]:
    """Return the patients' identifiers (n,): the id column, or the rows' numbers from 1.

    Args:
        study: study with the id column, or without one.
        frame: the table (n rows).

    Raises:
        InputError: the id column or an identifier is missing.
    """
    if study.id is None:
        return np.arange(1, len(frame) + 1).astype(str)
    return identifiers(frame, study.id)


def new_patient_ids(study: Study, frame: pd.DataFrame, first: int) -> NDArray[np.str_]:
    """Return identifiers (n,) of new patients; a row without one gets its number.

    Args:
        study: study that names the column of identifiers.
        frame: the table.
        first: number of the first row.

    Raises:
        InputError: the column holds lists.
    """
    numbered = np.arange(first, first + len(frame)).astype(str)
    if study.id is None or study.id not in frame.columns:
        return numbered
    cells = column(frame, study.id, "id")
    return np.array(
        [
            number if pd.isna(c) or as_level(c).lower() in MISSING else as_level(c)
            for c, number in zip(cells, numbered, strict=True)
        ]
    )


def read_centre(study: Study, frame: pd.DataFrame) -> NDArray[np.str_] | None:
    """Return the hospital of each row (n,), empty where unknown; None without such a column.

    Args:
        study: study that names the column of hospitals.
        frame: the table.

    Raises:
        InputError: the column holds lists.
    """
    name = study.centre
    if name is None or name not in frame.columns:
        return None
    cells = column(frame, name, "centre")
    return np.array(["" if pd.isna(c) else as_level(c) for c in cells], dtype=str)
