"""Infer what a column holds: its kind, its levels, or why it cannot be a feature as it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.coding import code_numbers
from accomplice.data.panels.panel import Ordinal, Panel, Place, key_of, matches
from accomplice.data.readers.missing import MISSING
from accomplice.data.study_parts import Kind, as_level

#: A text column with more levels than this is not a category.
MOST_LEVELS = 20
#: A column with values for a smaller share of the patients is left out.
LEAST_FILLED = 0.05

DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})")

EMPTY = "no patient has a value"
SPARSE = "fewer than 5 % of the patients have a value"
CONSTANT = "the same value for every patient"
MIXED = "numbers and text in one column"
DATED = "a date"
COMMA = "numbers with a decimal comma, write them with a point"
UNIQUE = "another text for nearly every patient"
NOT_PLAIN = "not plain numbers or text"
ROW_NUMBER = "numbers the rows"


@dataclass(frozen=True)
class Inferred:
    """A column that can be a feature."""

    spec: dict[str, Any]
    """The feature as plain data."""
    codes: Array
    """(n,) its values, or numbers that order as its levels do; NaN is missing."""
    ordinal: Ordinal | None = None
    """The known code that it follows."""

    @property
    def kind(self) -> Kind:
        """The feature's kind."""
        kind: Kind = self.spec["kind"]
        return kind


def infer(cells: pd.Series, name: str, place: Place | None, panel: Panel) -> Inferred | str:
    """Infer a feature from a column.

    Args:
        cells: the column (n,), of the patients that will be in the cohort.
        name: the column's name.
        place: what the panel says of the name.
        panel: known codes and units.

    Returns:
        The feature; or why the column cannot be one: a reason, after a colon its detail.
    """
    if cells.dtype.kind in "mM":
        return DATED
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    except TypeError:
        return NOT_PLAIN
    found = _fill(len(cells), int((codes >= 0).sum()))
    if found is not None:
        return found
    numeric = pd.api.types.is_numeric_dtype(cells.dtype) and not _is_bool(cells)
    if len(distinct) <= 2 * MOST_LEVELS:
        texts = [as_level(cell) for cell in distinct]
        ordinal = _known_code(codes, texts, key_of(name), panel)
        if ordinal is not None:
            return ordinal
    else:
        texts = [] if numeric else [as_level(cell) for cell in distinct]
    if numeric:
        return _number(*code_numbers(cells), name, place, panel)
    empty = np.array([text.lower() in MISSING for text in texts] + [True])[codes]
    found = _fill(len(cells), int((~empty).sum()))
    if found is not None:
        return found
    numbers, bad = code_numbers(cells)
    if _is_bool(cells) or np.isnan(numbers[~empty]).mean() > 0.5:
        return _levels(codes, texts, empty)
    return _number(numbers, bad, name, place, panel)


def _is_bool(cells: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(cells.dtype):
        return True
    return cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) == "boolean"


def _fill(n: int, filled: int) -> str | None:
    if filled == 0:
        return EMPTY
    return SPARSE if filled < LEAST_FILLED * n else None


def _known_code(codes: Ints, texts: list[str], key: str, panel: Panel) -> Inferred | str | None:
    """Read a column by the first ordered code whose cells it holds."""
    known = sorted({text for text in texts if text.lower() not in MISSING})
    for ordinal in panel.ordinals if known else ():
        meaning = ordinal.read(known, key)
        if meaning is None:
            continue
        occur = {level for level in meaning.values() if level is not None}
        levels = [lv for lv in ordinal.levels if lv in occur or lv not in ordinal.rare]
        spec: dict[str, Any] = {"kind": "ordinal", "levels": levels}
        spellings = {text: level for text, level in meaning.items() if text != level}
        if spellings:
            spec["map"] = spellings
        # By the whole code's levels, so that two columns of one code can be compared.
        index = {level: float(i) for i, level in enumerate(ordinal.levels)}
        table = [index.get(meaning.get(text) or "", np.nan) for text in texts]
        values = np.array([*table, np.nan])[codes]
        filled = _fill(len(codes), int((~np.isnan(values)).sum()))
        return filled or (Inferred(spec, values, ordinal) if len(occur) > 1 else CONSTANT)
    return None


def _number(
    numbers: Array,
    bad: Bools,
    name: str,
    place: Place | None,
    panel: Panel,
) -> Inferred | str:
    if bad.any():
        return (
            f"{MIXED}: {int(bad.sum())} cells are not numbers; list words for missing (--missing)"
        )
    known = numbers[~np.isnan(numbers)]
    found = _fill(len(numbers), len(known))
    if found is not None:
        return found
    n_distinct = len(np.unique(known))
    if n_distinct < 2:
        return CONSTANT
    if len(known) >= 10 and np.array_equal(numbers, numbers[0] + np.arange(len(numbers))):
        return ROW_NUMBER
    spec: dict[str, Any] = {"kind": _number_kind(known, n_distinct, name, place, panel)}
    for quantity in panel.quantities:
        low, high = quantity.range
        if matches([quantity.names], key_of(name)) and low <= known.min() and known.max() <= high:
            limits = [int(x) if x.is_integer() else x for x in quantity.range]
            spec |= {"unit": quantity.unit, "range": limits}
    return Inferred(spec, numbers)


def _number_kind(
    known: Array, n_distinct: int, name: str, place: Place | None, panel: Panel
) -> Kind:
    if n_distinct == 2:
        return "number"
    gene = place is not None and place.gene and place.exact
    if gene and place is not None and place.assay != "density":
        return "expression"
    if (gene or matches([panel.densities], key_of(name))) and known.min() >= 0:
        return "density"
    return "number"


def _levels(codes: Ints, texts: list[str], empty: Bools) -> Inferred | str:
    """Infer a category from a column of text."""
    counts = Counter(dict.fromkeys(texts, 0))
    for code, count in zip(*np.unique(codes[~empty], return_counts=True), strict=True):
        counts[texts[int(code)]] += int(count)
    counts = +counts
    filled = counts.total()
    for pattern, reason in ((DATE, DATED), (DECIMAL_COMMA, COMMA)):
        if sum(count for text, count in counts.items() if pattern.fullmatch(text)) > 0.5 * filled:
            return reason
    meaning = _spellings(counts)
    levels = sorted(set(meaning.values()))
    if len(levels) < 2:
        return CONSTANT
    if len(levels) > max(2, 0.5 * filled) and len(levels) > 0.9 * filled:
        return UNIQUE
    if len(levels) > MOST_LEVELS or len(levels) > max(2, 0.5 * filled):
        return f"too many levels for a category: {len(levels)}"
    spec: dict[str, Any] = {"kind": "category", "levels": levels}
    others = {text: level for text, level in sorted(meaning.items()) if text != level}
    if others:
        spec["map"] = others
    index = {level: float(i) for i, level in enumerate(levels)}
    table = [index[meaning[text]] if text in meaning else np.nan for text in texts]
    return Inferred(spec, np.array([*table, np.nan])[codes])


def _spellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Map each text to its commonest spelling: case and spaces do not make another level."""
    best: dict[str, str] = {}
    for text in sorted(counts, key=lambda t: (-counts[t], t)):
        best.setdefault(" ".join(text.lower().split()), text)
    return {text: best[" ".join(text.lower().split())] for text in counts}
