"""Code a table by its study: every feature becomes one column of numbers, NaN where missing.

Numbers stay as they are, an ordinal becomes the rank of its level, a category the index of its
level. Nothing here is fitted. What a value cannot be coded for is kept as a finding, which a cohort
turns into an error and a prediction into a flag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.study import Feature, Study, as_level

#: Cells that mean "not known", compared in lower case; a study's own level wins over this list.
MISSING = frozenset(
    {"", ".", "?", "-", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "missing", "unknown"}
    | {"not available", "not reported", "[not available]", "[not applicable]"}
    | {"[not evaluated]", "[unknown]", "[discrepancy]"}
)

#: Types of true and false.
TRUTHS = frozenset({bool, np.bool_})
#: Kinds of finding.
ABSENT, NOT_A_NUMBER, OUT_OF_RANGE, UNKNOWN_LEVEL = (
    "absent",
    "not_a_number",
    "out_of_range",
    "unknown_level",
)


@dataclass(frozen=True)
class Finding:
    """Something in a column that its feature does not allow."""

    kind: str
    feature: str
    rows: Bools
    """(n,) the rows concerned."""


@dataclass(frozen=True)
class Coded:
    """A table as numbers."""

    values: Array
    """(n, p) one column a feature, in the study's order; NaN is missing."""
    findings: tuple[Finding, ...]


def code(study: Study, frame: pd.DataFrame) -> Coded:
    """Code the features of a table.

    Args:
        study: describes the features.
        frame: n rows; columns in any order, further ones are not looked at.
    """
    n = len(frame)
    features = study.features
    values = np.full((n, len(features)), np.nan)
    findings: list[Finding] = []
    for j, (name, feature) in enumerate(features.items()):
        source = feature.column or name
        if source not in frame.columns:
            findings.append(Finding(ABSENT, name, np.ones(n, dtype=bool)))
            continue
        if feature.levels is not None:
            values[:, j], bad = code_levels(frame[source], feature)
            kind = UNKNOWN_LEVEL
        else:
            numbers, bad = code_numbers(frame[source])
            values[:, j] = numbers
            kind = NOT_A_NUMBER
            low, high = feature.bounds
            outside = (numbers < low) | (numbers > high)
            if outside.any():
                findings.append(Finding(OUT_OF_RANGE, name, outside))
        if bad.any():
            findings.append(Finding(kind, name, bad))
    return Coded(values, tuple(findings))


def code_numbers(column: pd.Series) -> tuple[Array, Bools]:
    """Return the numbers of a column (n,), NaN where missing, and which cells are neither."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isinf(numbers), np.nan, numbers), np.isinf(numbers)
    text = column.astype("string").str.strip()
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.where(np.isinf(numbers), np.nan, numbers)
    empty = (text.isna() | text.str.lower().isin(MISSING)).to_numpy(dtype=bool)
    return numbers, np.isnan(numbers) & ~empty


def code_levels(column: pd.Series, feature: Feature) -> tuple[Array, Bools]:
    """Return the index of each cell's level (n,), NaN where missing, and the unknown cells."""
    levels = {level: float(i) for i, level in enumerate(feature.levels or ())}
    meaning: dict[str, float] = dict(levels)
    for spelling, level in (feature.map or {}).items():
        meaning[spelling] = levels[level] if level is not None else np.nan
    if column.dtype == object and any(kind in TRUTHS for kind in set(map(type, column))):
        # True equals 1, but as levels the two are spelt apart.
        column = column.map(as_level, na_action="ignore")
    codes, cells = pd.factorize(column, use_na_sentinel=True)
    found = np.full(len(cells) + 1, np.nan)
    unknown = np.zeros(len(cells) + 1, dtype=bool)
    for i, cell in enumerate(cells):
        text = as_level(cell)
        if text in meaning:
            found[i] = meaning[text]
        elif text.lower() not in MISSING:
            unknown[i] = True
    # A missing cell has code -1 and so takes the last entry, which is NaN and not unknown.
    return found[codes], unknown[codes]


def treated(study: Study, values: Array) -> Array | None:
    """Return who is treated (n,): 1, 0, or NaN where unknown; None where the study asks for none.

    Args:
        study: names the treatment and its levels.
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
    """Return the code of being without the treatment in a study that names one."""
    if study.treatment is None:
        raise ValueError("the study names no treatment")
    levels = list(study.features.values())[study.treatment_position].levels
    if levels is None:
        spelt = (pd.to_numeric(level, errors="coerce") for level in study.treatment.untreated)
        return float(next((number for number in spelt if not np.isnan(number)), np.nan))
    return float(next(i for i, v in enumerate(levels) if v in study.treatment.untreated))


def eligible(study: Study, values: Array) -> Array:
    """Return for whom the treatment is an option (n,): 1, 0, or NaN where that is not known.

    Args:
        study: names the levels at which it is.
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
