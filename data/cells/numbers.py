"""Parse numbers written in tables: with decimal marks of a locale, bounds and units.

A draft decides the decimal mark and the unit for a whole column: ``7,214`` alone can be 7.214 or
7214; beside ``35,3`` it is 7.214, beside ``6.2`` it is 7214. The study file then states mark and
unit of each feature, so that its cells are read alone (`number_of`) and no patient's number depends
on the other patients of a table or of a batch. A cell that fits neither mark is no number.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.exact_numbers import to_numeric
from accomplice.data.cells.missing import NO_NUMBERS
from accomplice.data.study_parts import Feature, Mark, as_level

#: A unit without a power of ten, such as mg, mmol or cells.
_BASE = r"(?:[munpkcdµ]?(?:g|l|mol|u|iu|m|gy|kg)|mm|cm|hpf|cells?|copies|mb|pts?|points?)[23²]?"
#: Units that may follow a number where cells are read together, in lower case.
UNIT = re.compile(
    rf"%|y|yrs?|years?|years? old|d|days?|wks?|weeks?|mos?|months?|mmhg|bpm|°c|kda|bp"
    r"|j|jahren?|jahre? alt|ans?|a[ñn]os?|anni|岁|年|tagen?|jours?|d[ií]as?|giorni|天"
    r"|wochen?|semaines?|semanas?|settimane|周|monaten?|mois|mes(?:es)?|mesi|个?月"
    rf"|[x×*]? ?10(?:\^|e|\*\*)?\d+ ?/ ?{_BASE}|(?:{_BASE}|/)(?: ?/ ?{_BASE})*"
)
#: A unit of time -> its other spellings.
_TIMES = {
    "years": r"y(ea)?rs?|years? old|y|j|jahren?|jahre? alt|ans?|a[ñn]os?|anni|岁|年",
    "days": "d|day|tagen?|jours?|d[ií]as?|giorni|天",
    "weeks": "wks?|week|wochen?|semaines?|semanas?|settimane|周",
    "months": "mos?|month|monaten?|mois|mes(es)?|mesi|个?月",
}
#: A bound, a number, a plus and a unit; all but the number are optional.
_CELL = re.compile(
    r"(?P<bound>[<>≤≥]=?|(?:over|under|above|below) )? ?"
    r"(?P<number>[-+]?(?:\d[\d.,' ]*|[.,]\d+)(?:e[-+]?\d+)?)"
    r"(?P<plus> ?(?:\+|(?:or|and) (?:older|over|more|above)))? ?(?P<unit>\D.*)?"
)
#: A number without grouped digits. Digits match in one way alone: the time is linear in the length.
_PLAIN = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
#: Most characters of a cell that is read alone, unless it is a plain number.
LONGEST = 64
#: Mark -> pattern of a whole number whose thousands are grouped by the mark.
_GROUPED = {mark: re.compile(rf"[-+]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+") for mark in ".,"}

#: Decimal mark that one number shows: a point, a comma, either of them (open), or none.
Vote = Literal[".", ",", "open", "none"]


@dataclass(frozen=True)
class Numbers:
    """Texts read as numbers."""

    values: Array
    """(n,) NaN where a text is no number."""
    bound: Bools
    """(n,) whether the text is a bound such as ``>90``, whose number is taken for the value."""
    unit: str | None
    """The unit that the texts name; None if they name none, several or one that is not allowed."""
    mark: Mark | None
    """Decimal mark, if a text has a comma or several points or if the given mark is a comma; None
    otherwise, and if the texts disagree."""
    open: bool
    """Whether commas leave the mark open and none was given, so that a point was taken."""


@dataclass(frozen=True)
class NumberColumn:
    """A column read as numbers."""

    values: Array
    """(n,) NaN where missing, or where a cell is no number."""
    bad: Bools
    """(n,) whether a cell is neither a finite number nor missing."""
    bound: Bools
    """(n,) whether a cell is a bound such as ``>90``, whose number is taken for the value."""
    unit: str | None = None
    """Unit, as in :class:`Numbers`; None where each cell is read alone."""
    mark: Mark | None = None
    """Decimal mark, as in :class:`Numbers`; None where each cell is read alone."""
    open: bool = False
    """Whether the mark is open, as in :class:`Numbers`; false where each cell is read alone."""


@dataclass(frozen=True)
class NumberFormat:
    """Format of a column's numbers, as far as it is known before they are read."""

    words: Collection[str]
    """Cells that mean missing, in lower case."""
    mapped: Mapping[str, str | None] | None = None
    """Cell -> the number that it means, or None for missing."""
    decimal: Mark | None = None
    """Decimal mark where a cell, or the column, leaves it open."""
    bounds: bool = True
    """Whether ``>90`` is read as 90."""
    unit: str | None = None
    """The only unit that cells may name; None: any one of :data:`UNIT`, or no unit where cells are
    read alone."""
    alone: bool = False
    """Whether each cell is read alone, by this format, without regard to the rest of the column."""

    @cached_property
    def replaced(self) -> dict[float, float]:
        """Number -> the number that it means, NaN for missing."""
        mapped = dict.fromkeys(word for word in self.words if word[-1:].isdigit())
        return {
            float(text): math.nan if meant is None else float(meant)
            for text, meant in (mapped | dict(self.mapped or {})).items()
            if re.fullmatch(r"[-+]?\d+(?:\.\d+)?", text)
        }

    @classmethod
    def of(cls, feature: Feature, words: Collection[str]) -> NumberFormat:
        """Return the format of a feature's cells."""
        return cls(words, feature.map, feature.decimal, unit=feature.unit, alone=True)

    @cached_property
    def named_unit(self) -> str | None:
        """The unit as :func:`unit_of` writes it."""
        return None if self.unit is None else unit_of(_plain(self.unit))


def number_of(text: str, column_format: NumberFormat) -> tuple[float, bool, bool]:
    """Read one cell alone.

    Args:
        text: the cell.
        column_format: format of its column.

    Returns:
        The number, NaN if the cell is missing or no number; whether the cell is neither missing nor
        a number; and whether the number is a bound.
    """
    cell = text.strip()
    lower = cell.lower()
    if not cell or lower in column_format.words or lower in NO_NUMBERS:
        return math.nan, False, False
    if column_format.mapped and (level := as_level(cell)) in column_format.mapped:
        meant = column_format.mapped[level]
        return (math.nan if meant is None else float(meant)), False, False
    bound = False
    if column_format.decimal != "," and _PLAIN.fullmatch(cell):
        value = float(cell)
    else:
        value, bound = _read(cell, column_format) if len(cell) <= LONGEST else (math.nan, False)
    if not math.isfinite(value):
        return math.nan, True, False
    return column_format.replaced.get(value, value), False, bound


def _read(cell: str, column_format: NumberFormat) -> tuple[float, bool]:
    """Return the number of a cell in any spelling, NaN if it is none, and whether it is a bound."""
    match = _CELL.fullmatch(_plain(cell))
    if match is None:
        return math.nan, False
    unit = (match["unit"] or "").strip()
    bound = bool(match["bound"] or match["plus"])
    if (unit and unit_of(unit) != column_format.named_unit) or (bound and not column_format.bounds):
        return math.nan, False
    core = match["number"].replace("'", "").strip()
    vote = _vote(core)
    mark = vote if vote in (".", ",") else column_format.decimal
    if mark is None and vote == "open" and "," in core:
        return math.nan, False
    return _number(core, vote, mark or "."), bound


def number_column(column: pd.Series, column_format: NumberFormat) -> NumberColumn:
    """Read a column (n,) as numbers: its cells alone or together, as its format says.

    Args:
        column: the cells (n,).
        column_format: format of the column.
    """
    mapped = column_format.mapped or {}
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.isinf(numbers)
        numbers = np.where(bad, np.nan, numbers)
        for number, other in column_format.replaced.items():
            numbers[numbers == number] = other
        return NumberColumn(numbers, bad, np.zeros(len(numbers), dtype=bool))
    if column_format.decimal == "," and column.dtype == object:
        # A number is no text, whose point would group thousands.
        measured = np.array([_is_number(cell) for cell in column], dtype=bool)
        if measured.any():
            return _mixed(column, measured, column_format)
    text = column.astype("string").str.strip()
    words = {*column_format.words, *NO_NUMBERS}
    empty = (text.isna() | text.str.lower().isin(words)).to_numpy(dtype=bool)
    numbers = to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.where(np.isinf(numbers) | empty, np.nan, numbers)
    odd = np.isnan(numbers) & ~empty
    bound = np.zeros(len(numbers), dtype=bool)
    if column_format.alone:
        return _alone(text, numbers, empty, column_format)
    if not (odd.any() or mapped or column_format.decimal == ","):
        return NumberColumn(numbers, odd, bound)
    codes, distinct = pd.factorize(text.where(~empty), use_na_sentinel=True)
    texts = [as_level(cell) for cell in distinct]
    left = [i for i, cell in enumerate(texts) if cell not in mapped]
    read = read_numbers([texts[i] for i in left], column_format.decimal, column_format.unit)
    values, bounds = np.full(len(texts) + 1, np.nan), np.zeros(len(texts) + 1, dtype=bool)
    values[left], bounds[left] = read.values, read.bound
    # A text that only a plain parser reads stays a number.
    plain = np.array([*to_numeric(pd.Series(texts), errors="coerce"), np.nan])
    if column_format.decimal != "," and read.mark is None:
        values = np.where(np.isnan(values) & np.isfinite(plain), plain, values)
    if not column_format.bounds:
        values[bounds] = np.nan
    for i, cell in enumerate(texts):
        if cell in mapped:
            meant = mapped[cell]
            values[i] = np.nan if meant is None else float(meant)
    void = np.array([cell in mapped and mapped[cell] is None for cell in texts] + [True])
    numbers = values[codes]
    bad = np.isnan(numbers) & ~void[codes]
    return NumberColumn(numbers, bad, bounds[codes] & ~bad, read.unit, read.mark, read.open)


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float, np.number)) and not isinstance(cell, (bool, np.bool_))


def _float(number: float) -> float:
    """Return a number as a float; infinity for an integer that is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _mixed(column: pd.Series, measured: Bools, column_format: NumberFormat) -> NumberColumn:
    """Read a column (n,) of texts that has numbers at the rows ``measured`` (n,)."""
    read = number_column(column.mask(measured, None).astype("string"), column_format)
    numbers = number_column(
        pd.Series([_float(c) for c in column[measured]], dtype=float), column_format
    )
    for array, own in zip(
        (read.values, read.bad, read.bound),
        (numbers.values, numbers.bad, numbers.bound),
        strict=True,
    ):
        array[measured] = own
    return read


def _alone(
    text: pd.Series[str], numbers: Array, empty: Bools, column_format: NumberFormat
) -> NumberColumn:
    """Read each cell of a column alone.

    Args:
        text: the cells (n,).
        numbers: numbers (n,) that a plain parser reads, NaN elsewhere.
        empty: whether a cell is missing (n,).
        column_format: format of the column.
    """
    values, bad = numbers.copy(), np.zeros(len(numbers), dtype=bool)
    bound = bad.copy()
    for number, other in column_format.replaced.items():
        values[numbers == number] = other
    every = bool(column_format.mapped) or column_format.decimal == ","
    rows = np.flatnonzero(~empty & (every | np.isnan(numbers)))
    if len(rows):
        codes, distinct = pd.factorize(text.iloc[rows])
        read = [number_of(cell, column_format) for cell in distinct]
        for array, column in zip((values, bad, bound), zip(*read, strict=True), strict=True):
            array[rows] = np.array(column)[codes]
    return NumberColumn(values, bad, bound)


def read_numbers(
    texts: Sequence[str], decimal: Mark | None = None, only: str | None = None
) -> Numbers:
    """Read the known cells of one column together.

    Args:
        texts: the n cells, without those that mean missing; repeats make no difference.
        decimal: decimal mark where the cells leave it open; None: a point.
        only: the only unit that cells may name, in one spelling; None: any one of :data:`UNIT`.

    Returns:
        The numbers. If units differ or are not allowed, each text with a unit is no number.
    """
    match = [_CELL.fullmatch(_plain(text)) for text in texts]
    cores = ["" if m is None else m["number"].replace("'", "").strip() for m in match]
    units = [(m["unit"] or "").strip() if m is not None else "" for m in match]
    spellings = {unit for unit in units if unit}
    named = {unit_of(unit) if UNIT.fullmatch(unit) else None for unit in spellings}
    unit = named.pop() if len(named) == 1 else None
    if only is not None and (unit != _plain(only) or len(spellings) > 1):
        unit = None
    votes = [_vote(core) for core in cores]
    mark, undecided = _decide(cores, votes, decimal)
    values, bound = np.full(len(texts), np.nan), np.zeros(len(texts), dtype=bool)
    for i, (m, core, own) in enumerate(zip(match, cores, units, strict=True)):
        if m is None or (own and unit is None):
            continue
        values[i] = _number(core, votes[i], mark)
        bound[i] = bool(m["bound"] or m["plus"]) and not np.isnan(values[i])
    marked = any("," in core or core.count(".") > 1 for core in cores)
    return Numbers(values, bound, unit, mark if marked or decimal == "," else None, undecided)


def unit_of(text: str) -> str:
    """Return the usual name of a unit of time, such as ``months``; any other text as it is.

    Args:
        text: a unit in lower case.
    """
    return next((unit for unit, others in _TIMES.items() if re.fullmatch(others, text)), text)


def _plain(text: str) -> str:
    """Return a text in lower case with single blanks and a plain minus sign.

    Full-width digits and similar characters become ASCII (Unicode's form NFKC).
    """
    # A spreadsheet's mark of a text, as in '61.
    text = text[1:] if text[:1] == "'" and text[1:2].isdigit() else text
    return " ".join(unicodedata.normalize("NFKC", text).replace("−", "-").lower().split())


def _vote(core: str) -> Vote:
    """Return the decimal mark that one number shows."""
    core = re.sub(r"(?<=\d) (?=\d{3}\b)", "", core)
    commas, points = core.count(","), core.count(".")
    if not commas and not points:
        return "none"
    if commas and points:
        return "." if core.rfind(".") > core.rfind(",") else ","
    mark: Mark = "," if commas else "."
    other: Mark = "." if commas else ","
    if commas + points > 1:
        return other if _GROUPED[mark].fullmatch(core) else "none"
    whole, _, rest = core.lstrip("+-").partition(mark)
    grouped = len(rest) == 3 and rest.isdigit() and whole[:1] not in ("", "0") and len(whole) <= 3
    return "open" if grouped else mark


def _decide(
    cores: Iterable[str], votes: Sequence[Vote], decimal: Mark | None
) -> tuple[Mark | None, bool]:
    """Return a column's decimal mark, None if cells disagree; and whether a point is a guess.

    It is a guess if commas leave the mark open and ``decimal`` is None. Points alone are decimal.
    """
    known: set[Mark] = {vote for vote in votes if vote in (".", ",")}
    if len(known) > 1:
        return None, False
    if known:
        return next(iter(known)), False
    commas = [core for core, vote in zip(cores, votes, strict=True) if vote == "open"]
    if not any("," in core for core in commas):
        return decimal or ".", False
    if any("." in core for core in commas):
        return None, False
    # Whole numbers below 1000 beside grouped ones: the commas group thousands.
    whole = [c for c, vote in zip(cores, votes, strict=True) if vote == "none" and c.isdigit()]
    if decimal is None and whole and all(len(core) <= 3 for core in whole):
        return ".", False
    return decimal or ".", decimal is None


def _number(core: str, vote: Vote, mark: Mark | None) -> float:
    """Return the value of a number with this decimal mark, NaN if its marks do not fit.

    Without a mark (the column has both), the number's own vote decides; a number whose comma is
    open is then NaN.
    """
    core = re.sub(r"(?<=\d) (?=\d{3}\b)", "", core)
    if mark is None:
        if vote == "open" and "," in core:
            return float("nan")
        mark = vote if vote in (".", ",") else "."
    group = "," if mark == "." else "."
    whole, _, rest = core.partition(mark or ".")
    if group in whole:
        if not _GROUPED[group].fullmatch(whole):
            return float("nan")
        whole = whole.replace(group, "")
    if group in rest:
        return float("nan")
    try:
        value = float(f"{whole}.{rest}" if rest else whole)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")
