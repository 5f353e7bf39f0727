"""Treatment of patients: whether each was treated, and whether the treatment is an option."""

from __future__ import annotations

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.study import Study
from accomplice.data.study_parts import as_level


def treated(study: Study, values: Array) -> Array | None:
    """Return the treatment (n,): 1 treated, 0 untreated, NaN unknown; None if the study names none.

    Args:
        study: study with the treatment's levels.
        values: (n, p) coded features.
    """
    if study.treatment is None:
        return None
    j = study.treatment_position
    levels, status = list(study.features.values())[j].levels, np.full(len(values), np.nan)
    codes: Array = values[:, j]
    if levels is None:
        named = {value: as_level(value) for value in np.unique(codes).tolist()}
    else:
        named = dict(enumerate(levels))
    for value, level in named.items():
        if level in study.treatment.treated:
            status[codes == value] = 1.0
        elif level in study.treatment.untreated:
            status[codes == value] = 0.0
    return status


def untreated(study: Study) -> float:
    """Return the coded value of untreated patients; NaN if the study gives no number for it.

    Raises:
        ValueError: the study names no treatment.
    """
    if study.treatment is None:
        raise ValueError("the study names no treatment")
    levels = list(study.features.values())[study.treatment_position].levels
    if levels is None:
        numbers = (pd.to_numeric(level, errors="coerce") for level in study.treatment.untreated)
        return float(next((number for number in numbers if not np.isnan(number)), np.nan))
    return float(next(i for i, v in enumerate(levels) if v in study.treatment.untreated))


def is_option(study: Study, values: Array) -> Bools:
    """Return whether the treatment is known to be an option (n,); see :func:`eligible`."""
    return np.asarray(eligible(study, values) == 1)


def eligible(study: Study, values: Array) -> Array:
    """Return whether the treatment is an option (n,): 1 yes, 0 no, NaN unknown.

    Args:
        study: study with the levels at which the treatment is an option; without one all get 1.
        values: (n, p) coded features.
    """
    status = np.ones(len(values))
    if study.treatment is None:
        return status
    names = list(study.features)
    for name, wanted in study.treatment.eligible.items():
        column, levels = values[:, names.index(name)], study.features[name].levels or ()
        unknown = np.isnan(column)
        inside = (column[:, None] == [levels.index(level) for level in wanted]).any(axis=1)
        status = np.where(unknown & (status > 0), np.nan, np.where(unknown | inside, status, 0.0))
    return status
