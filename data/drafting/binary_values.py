"""Divide the values of a treatment or a response into those for yes and those for no."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from accomplice.data.cells.missing import MISSING
from accomplice.data.errors import InputError
from accomplice.data.study_parts import as_level


def yes_no_values(
    cells: pd.Series, name: str, yes: str, no: str, words: Collection[str] = MISSING
) -> tuple[list[str], list[str]]:
    """Return the values of a column that mean yes and those that mean no, each sorted.

    A value that matches both patterns means yes. If only two values occur and one of them matches a
    pattern, the other means the opposite.

    Args:
        cells: the column (n,).
        name: the column's name, for errors.
        yes: pattern of whole values, in lower case, that mean yes.
        no: pattern of whole values, in lower case, that mean no.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: a value means neither yes nor no, no value means yes, or no value means no.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    texts = [as_level(cell) for cell in distinct]
    known = {text for text in texts if text.lower() not in words}
    lower = {text: " ".join(text.lower().split()) for text in known}
    positive = {text for text in known if re.fullmatch(yes, lower[text])}
    negative = {text for text in known - positive if re.fullmatch(no, lower[text])}
    other = known - positive - negative
    if len(known) == 2 and len(other) == 1:
        (negative if positive else positive).update(other)
        other = set()
    if other:
        count = int(np.isin(codes, [i for i, text in enumerate(texts) if text in other]).sum())
        raise InputError(
            f"column '{name}': {count} of {len(cells)} values mean neither yes nor no: "
            "recode the column as yes, no and empty, or write the study file by hand"
        )
    if not positive or not negative:
        raise InputError(f"column '{name}': it needs both yes and no, one of them does not occur")
    return sorted(positive), sorted(negative)
