"""Infer a feature from a column: its kind, levels and unit, or the reason why it is none."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cells.dates import is_date
from accomplice.data.cells.missing import MISSING
from accomplice.data.cells.numbers import NumberColumn, NumberFormat, number_column
from accomplice.data.cells.text_column import TextColumn
from accomplice.data.drafting.decimal_marks import fractions_of, in_threes
from accomplice.data.drafting.event_codes import UNKNOWN_CODES
from accomplice.data.drafting.levels import (
    CONSTANT,
    LevelledFeature,
    code_remark,
    fill,
    known_code,
    levels_of,
)
from accomplice.data.drafting.outlying_numbers import (
    MOST_CODES,
    among_two,
    ask_grouped,
    beyond,
    far_below,
)
from accomplice.data.drafting.survival_endpoint import open_mark
from accomplice.data.errors import some
from accomplice.data.panels.panel import Ordinal, Panel, Place, key_of, matches
from accomplice.data.study_parts import Kind, Mark, as_level

#: Maximum number of levels of a category.
MOST_LEVELS = 20
#: Maximum number of distinct negative numbers of a column in which one can be a code for unknown.
MOST_NEGATIVE = 4
#: Ranges (lowest, highest) that registries and surveys use for several codes for unknown.
CODE_RANGES = ((95, 99), (988, 999), (-9, -6))
#: Minimum number of cells of a word for it to be quoted, unless it says that the value is missing;
#: and the minimum number of fractional numbers for a remark on points.
FEW = 5
#: Words of a cell that mean missing, or that the value is no number; or a cell of one character.
_ABSENT = re.compile(
    r"\b(not?|non|un\w+|miss\w*|pend\w*|refus\w*|declin\w*|await\w*|ask\w*|lost|fail\w*|invalid|error"
    r"|insufficient|inadequate|high|low|pos\w*|neg\w*|trace|absent|present|normal)\b|^\W*\w?\W*$"
)

#: A spreadsheet's error in a cell.
_ERROR = re.compile(r"#(DIV/0|VALUE|REF|NUM|NULL|NAME|SPILL|CALC)[!?]")

#: Reason: some cells of a column of numbers are no numbers.
MIXED = "numbers and text in one column"
#: Reason: the column holds dates.
DATED = "a date"
#: Reason: cells hold lists or other objects.
NOT_PLAIN = "not plain numbers or text"
#: Reason: the column counts the rows.
ROW_NUMBER = "numbers the rows"


@dataclass(frozen=True)
class Hints:
    """Known facts by which a table's cells are read."""

    words: Collection[str] = MISSING
    """Cells that mean missing, in lower case."""
    mark: Mark | None = None
    """Decimal mark of the table's columns, if known."""
    categories: Collection[str] = ()
    """Columns that an option names, whose numbers or words are levels."""
    numbers: Collection[str] = ()
    """Columns that an option names, whose whole numbers are no codes."""


@dataclass(frozen=True)
class Inferred:
    """A column that can be a feature."""

    spec: dict[str, Any]
    """The feature as in the study file."""
    codes: Array
    """(n,) its values, or the positions of its levels (for an ordinal in the whole code); NaN is
    missing."""
    ordinal: Ordinal | None = None
    """The known ordered code that it follows."""
    remarks: tuple[str, ...] = field(default=())
    """Assumptions made in reading it, one line each."""
    asked: tuple[str, ...] = field(default=())
    """Questions that an option must answer, one line each."""

    @property
    def kind(self) -> Kind:
        """The feature's kind."""
        kind: Kind = self.spec["kind"]
        return kind


def infer(
    cells: pd.Series, name: str, place: Place | None, panel: Panel, hints: Hints
) -> Inferred | str:
    """Infer a feature from a column.

    Args:
        cells: the column (n,), of the patients that will be in the cohort.
        name: the column's name.
        place: the column's place in the panel; None if the panel does not know its name.
        panel: known codes and units.
        hints: words for missing, decimal mark, and columns that options name.

    Returns:
        The feature; or the reason why it is none, with details, if any, after a colon.
    """
    if cells.dtype.kind in "mM":
        return DATED
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    except TypeError:
        return NOT_PLAIN
    found = fill(len(cells), int((codes >= 0).sum()))
    if found is not None:
        return found
    numeric = pd.api.types.is_numeric_dtype(cells.dtype) and not _is_bool(cells)
    forced = name in hints.categories
    few = len(distinct) <= 2 * MOST_LEVELS
    texts = [as_level(cell) for cell in distinct] if few or not numeric or forced else []
    column = TextColumn(name, codes, texts, hints.words, forced=forced)
    if few and name not in hints.numbers:
        ordinal = known_code(column, panel)
        if ordinal is not None:
            return _inferred(ordinal)
    known = NumberFormat(hints.words, decimal=hints.mark)
    if numeric and not forced:
        return _number(number_column(cells, known), name, place, panel, hints)
    found = fill(len(cells), int((~column.empty).sum()))
    if found is not None:
        return found
    read = number_column(cells, known)
    filled = ~column.empty
    dates = [is_date(text) for text in texts]
    if np.append(dates, False)[codes].sum() > 0.5 * filled.sum():
        return DATED
    # Where most cells are bounds, as in "<= 2 cm" and "> 2 cm", they are levels.
    unsure = np.isnan(read.values[filled]) | read.bound[filled]
    # One number among words is a level, such as the blood group 0 beside A, B and AB.
    alone = unsure.any() and len(np.unique(read.values[filled][~unsure])) == 1
    if forced or _is_bool(cells) or unsure.mean() > 0.5 or (alone and few and len(texts) > 3):
        return _inferred(levels_of(column, panel, MOST_LEVELS))
    bare = sum(n for text, n in column.counts.items() if text[-1:].isdigit())
    made = _number(read, name, place, panel, hints, bare)
    if isinstance(made, Inferred) and name not in hints.numbers:
        made = replace(made, asked=(*made.asked, *ask_grouped(column, read)))
    return made


def ask_words(cells: pd.Series, name: str, hints: Hints) -> list[str]:
    """Return a question if few cells of a column of numbers are words, which may mean missing.

    Few is at most a fifth of the known cells, with at most ten different words. A word has no digit
    and at most 20 characters, or is a spreadsheet's error; with any other text nothing is asked.

    Args:
        cells: the column (n,).
        name: the column's name.
        hints: words for missing.
    """
    known = cells.dropna()
    read = number_column(known, NumberFormat(hints.words))
    odd = sorted({as_level(cell) for cell in known[read.bad]})
    plain = [t for t in odd if len(t) <= 20 and (_ERROR.fullmatch(t) or not re.search(r"\d", t))]
    if not 0 < read.bad.sum() <= 0.2 * len(known) or len(plain) < len(odd) or len(odd) > 10:
        return []
    counts = known[read.bad].map(as_level).value_counts()
    start = f"column '{name}': {int(read.bad.sum())} cells are words among numbers"
    # A word in a few cells can be a name: unless it says that something is missing, it is counted.
    rare = [str(text) for text, count in counts.items() if count < FEW]
    if not all(_ABSENT.search(text.lower()) or _ERROR.fullmatch(text) for text in rare):
        return [f"{start}: name with --missing those that mean missing, or correct them"]
    return [
        f"{start} ({some(odd, 10)}): give --missing '{','.join(odd)}' if they mean missing, or "
        "correct them"
    ]


def _inferred(found: LevelledFeature | str) -> Inferred | str:
    """Return a feature with levels as an inferred one; a reason as it is."""
    if isinstance(found, str):
        return found
    return Inferred(found.spec, found.codes, found.ordinal, found.remarks)


def _is_bool(cells: pd.Series) -> bool:
    """Whether the known cells of a column are truth values."""
    if pd.api.types.is_bool_dtype(cells.dtype):
        return True
    return cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) == "boolean"


def _number(
    read: NumberColumn,
    name: str,
    place: Place | None,
    panel: Panel,
    hints: Hints,
    bare: int = 0,
) -> Inferred | str:
    """Infer a feature from a column of numbers, or return the reason why it is none.

    Args:
        read: the column as numbers (n,).
        name: the column's name.
        place: the column's place in the panel.
        panel: known units and ranges.
        hints: decimal mark, and columns that options name.
        bare: number of cells without a unit.
    """
    if read.bad.any():
        return f"{MIXED}: {int(read.bad.sum())} cells are not numbers"
    numbers, unknown = _without_codes(read.values)
    known = numbers[~np.isnan(numbers)]
    found = fill(len(numbers), len(known))
    if found is not None:
        return found
    n_distinct = len(np.unique(known))
    if n_distinct < 2:
        return CONSTANT
    if len(known) >= 10 and np.array_equal(numbers, numbers[0] + np.arange(len(numbers))):
        return ROW_NUMBER
    spec: dict[str, Any] = {"kind": _number_kind(known, n_distinct, name, place, panel)}
    remarks = []
    for quantity in panel.quantities:
        low, high = quantity.range
        if not matches([quantity.names], key_of(name)):
            continue
        if outside := int(((known < low) | (known > high)).sum()):
            remarks.append(
                f"{name}: {outside} of {len(known)} cells are outside {low:g} to {high:g} "
                f"{quantity.unit}: correct them, if it is in {quantity.unit}"
            )
            continue
        limits = [int(x) if x.is_integer() else x for x in quantity.range]
        spec |= {"unit": quantity.unit, "range": limits}
    if unknown:
        spec["map"] = dict.fromkeys(unknown)
        count = int((~np.isnan(read.values)).sum()) - len(known)
        remarks.append(code_remark(name, unknown, count))
    if read.mark is not None:
        spec["decimal"] = read.mark
        commas = "be decimal" if read.mark == "," else "group thousands"
        remarks.append(f"{name}: commas are taken to {commas}")
    elif spec["kind"] == "number" and hints.mark is None and name not in hints.numbers:
        parts, grouped = fractions_of(known)
        if grouped and len(parts) >= FEW and in_threes(parts):
            remarks.append(
                f"{name}: its points are taken to be decimal; if they group, remove them"
            )
    if read.unit is not None:
        spec["unit"] = read.unit
        others = f"; {bare} cells name none, and are taken to be in it" if bare else ""
        remarks.append(f"{name}: cells name the unit {read.unit}, which is taken off{others}")
    remarks += beyond(name, known) + far_below(name, known) + among_two(name, known)
    asked = [open_mark(name)] if read.open and hints.mark is None else []
    few = 2 < n_distinct <= MOST_CODES and known.min() >= 0
    if few and name not in hints.numbers and matches(panel.nominal, key_of(name)):
        whole = "whole numbers" if (known % 1 == 0).all() else "few numbers"
        asked.append(
            f"column '{name}': {whole} where categories are usual: give --category '{name}' "
            f"if they are codes, --number '{name}' if they count or measure"
        )
    return Inferred(spec, numbers, remarks=tuple(remarks), asked=tuple(asked))


def _without_codes(numbers: Array) -> tuple[Array, list[str]]:
    """Return numbers (n,), NaN for codes for unknown, and these codes as texts."""
    found: list[str] = []
    values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    if 2 < len(values) < 4:
        return _without_code_of_few(numbers, values)
    if len(values) < 3:
        return numbers, found
    whole = bool((values % 1 == 0).all())
    if whole and (codes := _codes_in_ranges(values)):
        found += codes
        inside = np.isin(values, [float(code) for code in codes])
        values, counts = values[~inside], counts[~inside]
    while len(values) > 3 and as_level(float(values[-1])) in UNKNOWN_CODES:
        last, rest = values[-1], values[-2]
        # 98 and 99 can be counts or percents: codes are far above all other numbers.
        enough = last >= 888 or (whole and last >= 88) or (whole and rest <= 4 and counts[-1] > 1)
        enough |= last >= 88 and counts[-1] > 1 and rest <= 0.5 * last
        if not enough or rest <= 0 or rest > 0.6 * last:
            break
        found.append(as_level(float(last)))
        values, counts = values[:-1], counts[:-1]
    # Among many negative numbers, -9 is a value.
    few = bool((values < 0).sum() <= MOST_NEGATIVE)
    while few and len(values) > 3 and as_level(float(values[0])) in UNKNOWN_CODES:
        if values[0] >= 0 or (values[1] < 0 and as_level(float(values[1])) not in UNKNOWN_CODES):
            break
        alone = values[1] >= 0 and len(values) > MOST_CODES
        if values[0] == -1 and not (counts[0] > 1 if whole else alone):
            break
        found.append(as_level(float(values[0])))
        values, counts = values[1:], counts[1:]
    if not found:
        return numbers, found
    return np.where(np.isin(numbers, [float(code) for code in found]), np.nan, numbers), found


def _codes_in_ranges(values: Array) -> list[str]:
    """Return the codes for unknown of a column that lie in a range of :data:`CODE_RANGES`.

    They are two or more but fewer than the other numbers, and one is in ``UNKNOWN_CODES``. Codes of
    95 to 99 or of 988 to 999 are far above all other numbers; beside codes of -9 to -6 no other
    number is negative.

    Args:
        values: the distinct whole numbers of a column in order.
    """
    found: list[str] = []
    for low, high in CODE_RANGES:
        inside = (values >= low) & (values <= high)
        codes, others = [as_level(float(v)) for v in values[inside]], values[~inside]
        if len(codes) < 2 or len(others) <= len(codes) or not {*codes} & UNKNOWN_CODES:
            continue
        above = low > 0 and values[-1] <= high and others[others < low].max(initial=0) <= 0.6 * low
        if above or (low < 0 and values[0] >= low and values[~inside].min() >= 0):
            found += codes
    return found


def _without_code_of_few(numbers: Array, values: Array) -> tuple[Array, list[str]]:
    """Return numbers (n,), NaN for a code for unknown beside 0 and 1, or 1 and 2; and the code."""
    for last, rest in ((values[-1], values[:-1]), (values[0], values[1:])):
        code = as_level(float(last))
        if code in UNKNOWN_CODES and rest.tolist() in ([0, 1], [1, 2]):
            return np.where(numbers == last, np.nan, numbers), [code]
    return numbers, []


def _number_kind(
    known: Array, n_distinct: int, name: str, place: Place | None, panel: Panel
) -> Kind:
    """Return the kind of known numbers by the column's place in the panel and its name."""
    if n_distinct == 2:
        return "number"
    gene = place is not None and place.gene and place.exact
    if gene and place is not None and place.assay != "density":
        return "expression"
    if (gene or matches([panel.densities], key_of(name))) and known.min() >= 0:
        return "density"
    return "number"
