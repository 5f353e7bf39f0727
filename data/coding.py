"""Code patients by their study: every feature becomes one column of numbers, NaN where missing.

Numbers stay as they are, an ordinal becomes the rank of its level, a category the index of its
level. Nothing here is fitted. A cell that cannot be coded is kept as a finding, which a cohort
turns into an error and a prediction into a flag. A cell means the same in a table and in the JSON
of a request: a frame of one patient takes a millisecond for a few columns and tens of them for an
expression panel, plain lists take microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.missing import MISSING, word_of, words_of
from accomplice.data.cells.numbers import NumberFormat, number_column, number_of
from accomplice.data.errors import InputError, some
from accomplice.data.matching.spellings import Spellings
from accomplice.data.study import Study
from accomplice.data.study_parts import Feature, as_level

#: Patterns of missing values whose flags are kept.
REMEMBERED = 4096

#: Types of true and false.
TRUTHS = (bool, np.bool_)
#: Types of a column's cells that can be taken as they are.
NUMBERS, LEVELS = frozenset({float, type(None)}), frozenset({str, type(None)})
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
    bounds: dict[str, int] = field(default_factory=dict)
    """Feature -> cells such as ``>90``, whose bound was taken; empty for a request."""


@dataclass(frozen=True)
class Coder:
    """Codes the columns of a study's features, given as a frame or as plain lists of cells."""

    study: Study

    @cached_property
    def meanings(self) -> list[Meanings | None]:
        """By feature: spelling -> index of its level, NaN for missing; None for a number."""
        features = self.study.features.items()
        return [meaning_of(feature, feature.column or name) for name, feature in features]

    @cached_property
    def words(self) -> frozenset[str]:
        """Cells that mean missing, in lower case."""
        return missing_words(self.study)

    @cached_property
    def formats(self) -> list[NumberFormat]:
        """By feature: how its numbers are written."""
        return [NumberFormat.of(feature, self.words) for feature in self.study.features.values()]

    @cached_property
    def _names(self) -> list[str]:
        return list(self.study.features)

    @cached_property
    def _bounds(self) -> tuple[Array, Array]:
        """Lowest and highest possible value (p,) of each feature."""
        bounds = np.array([f.bounds for f in self.study.features.values()], dtype=float)
        low, high = bounds.reshape(-1, 2).T
        levels = np.array([meaning is not None for meaning in self.meanings], dtype=bool)
        return np.where(levels, -np.inf, low), np.where(levels, np.inf, high)

    def frame(self, frame: pd.DataFrame) -> Coded:
        """Code a table of n rows; columns in any order, further ones are not looked at.

        Raises:
            InputError: a name of a column stands twice.
        """
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()].unique()
            raise InputError(f"column {some(twice)} stands twice: rename or remove one")
        values = np.full((len(frame), len(self._names)), np.nan)
        found: dict[tuple[int, str], Bools] = {}
        bounds: dict[str, int] = {}
        for j, (name, feature) in enumerate(self.study.features.items()):
            source = feature.column or name
            if source not in frame.columns:
                kind, rows = ABSENT, np.ones(len(frame), dtype=bool)
            elif feature.levels is None:
                read = number_column(frame[source], self.formats[j])
                kind, values[:, j], rows = NOT_A_NUMBER, read.values, read.bad
                if read.bound.any():
                    bounds[name] = int(read.bound.sum())
            else:
                coded = code_levels(frame[source], feature, self.words, source)
                kind, (values[:, j], rows) = UNKNOWN_LEVEL, coded
            if rows.any():
                found[j, kind] = rows
        return replace(self._coded(values, found), bounds=bounds)

    def lists(self, columns: Mapping[int, list[Any]], n: int) -> Coded:
        """Code columns of n cells each: None, truth values, numbers or texts.

        Args:
            columns: position of a feature -> its cells; a feature without a column is missing.
            n: the number of rows.
        """
        nothing: list[float | None] = [None] * n
        numbers, found = [nothing] * len(self._names), {}
        for j, column in columns.items():
            meaning = self.meanings[j]
            numbers[j], rows = code_cells(column, meaning, self.formats[j])
            if rows:
                kind = NOT_A_NUMBER if meaning is None else UNKNOWN_LEVEL
                found[j, kind] = np.isin(np.arange(n), rows)
        return self._coded(np.array(numbers, dtype=float).reshape(len(numbers), n).T, found)

    def _coded(self, values: Array, found: dict[tuple[int, str], Bools]) -> Coded:
        """Add the values (n, p) out of range to the findings, by position of feature and kind."""
        low, high = self._bounds
        outside = values < low
        outside |= values > high
        for j in np.flatnonzero(outside.any(axis=0)).tolist():
            found[j, OUT_OF_RANGE] = outside[:, j]
        # Of a feature's two findings the range comes first.
        order = sorted(found, key=lambda place: (place[0], place[1] != OUT_OF_RANGE))
        return Coded(
            values, tuple(Finding(kind, self._names[j], found[j, kind]) for j, kind in order)
        )


@dataclass(frozen=True)
class Flagger:
    """Flags the missing and the odd values of each coded row, for an answer."""

    study: Study

    @cached_property
    def _blocks(self) -> list[tuple[str, tuple[int, ...], list[str]]]:
        """By modality: its flag, its features' positions, and their flags."""
        names = list(self.study.features)
        return [
            (f"missing_modality:{modality}", block, [f"missing:{names[j]}" for j in block])
            for modality, block in self.study.blocks.items()
        ]

    @cached_property
    def _known(self) -> dict[bytes, list[str]]:
        return {}

    def __call__(self, coded: Coded) -> list[list[str]]:
        """Return the flags of each of n rows, those of missing values first.

        Rows miss the same values together, so that most patterns are known already.
        """
        unknown = np.isnan(coded.values)
        packed = np.packbits(unknown, axis=1)
        text, width = packed.tobytes(), packed.shape[1]
        flags = []
        for i in range(len(unknown)):
            pattern = text[i * width : (i + 1) * width]
            missing = self._known.get(pattern)
            if missing is None:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                missing = self._known[pattern] = self._missing(unknown[i].tolist())
            flags.append([*missing])
        for finding in coded.findings:
            if finding.kind != ABSENT:
                for i in np.flatnonzero(finding.rows).tolist():
                    flags[i].append(f"{finding.kind}:{finding.feature}")
        return flags

    def _missing(self, unknown: Sequence[bool]) -> list[str]:
        flags = []
        for whole, block, each in self._blocks:
            here = [unknown[j] for j in block]
            if all(here):
                flags.append(whole)
            elif any(here):
                flags += compress(each, here)
        return flags


def code(study: Study, frame: pd.DataFrame) -> Coded:
    """Code the features of a table; see :meth:`Coder.frame`."""
    return Coder(study).frame(frame)


class Meanings(dict[str, float]):
    """Spelling -> index of its level, NaN for missing, of the feature of one column."""

    def __init__(self, feature: Feature, column: str) -> None:
        super().__init__((level, float(i)) for i, level in enumerate(feature.levels or ()))
        for spelling, level in (feature.map or {}).items():
            self[spelling] = math.nan if level is None else self[level]
        self._feature, self._column = feature, column

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings.of(self._feature, self._column)

    def otherwise(self, text: str) -> float | None:
        """Return the index of the level that an unlisted spelling means, if that is sure."""
        level = self._spellings.level(text)
        return None if level is None else self[level]


def meaning_of(feature: Feature, column: str = "") -> Meanings | None:
    """Return the spellings of a feature's levels; None for a number."""
    return None if feature.levels is None else Meanings(feature, column)


def missing_words(study: Study) -> frozenset[str]:
    """Return the cells that mean missing in a study's tables, in lower case."""
    return MISSING | words_of(study.missing)


#: Default format of a column's numbers.
PLAIN = NumberFormat(MISSING, alone=True)


def code_cells(
    column: list[Any], meaning: Mapping[str, float] | None, known: NumberFormat = PLAIN
) -> tuple[list[float | None], list[int]]:
    """Return the numbers of cells, None or NaN where missing, and the rows that have no meaning.

    Args:
        column: cells that are None, truth values, numbers or texts.
        meaning: of the feature's spellings; None for a number.
        known: how the column's cells are written.
    """
    kinds = {*map(type, column)}
    if meaning is None and kinds <= NUMBERS:
        return [known.replaced.get(v, v) for v in column] if known.replaced else column, []
    if meaning is not None and kinds <= LEVELS:
        codes = [*map(meaning.get, column)]
        if codes.count(None) == column.count(None):
            return codes, []
    # True equals 1, but the two are coded apart.
    read = {(type(v), v): _code_cell(v, meaning, known) for v in column if v is not None}
    found = [(None, False) if v is None else read[type(v), v] for v in column]
    return [number for number, _ in found], [i for i, (_, bad) in enumerate(found) if bad]


def _code_cell(
    value: Any, meaning: Mapping[str, float] | None, known: NumberFormat
) -> tuple[float, bool]:
    if meaning is not None:
        return code_level(value, meaning, known.words)
    if type(value) is str:
        return number_of(value, known)[:2]
    number, bad = code_number(value)
    return known.replaced.get(number, number), bad


def code_number(value: bool | int | float) -> tuple[float, bool]:
    """Return the number of a cell that is no text, NaN if it is none, and whether it is none."""
    if isinstance(value, TRUTHS):
        return math.nan, True
    try:
        number = float(value)
    except OverflowError:
        return math.nan, True
    return (number, False) if math.isfinite(number) else (math.nan, True)


def code_level(
    value: object, meaning: Mapping[str, float], words: Collection[str] = MISSING
) -> tuple[float, bool]:
    """Return the index of a cell's level, NaN where missing, and whether it is no level."""
    text = as_level(value)
    if text in meaning:
        return meaning[text], False
    if word_of(text) in words:
        return math.nan, False
    found = meaning.otherwise(text) if isinstance(meaning, Meanings) else None
    return (math.nan, True) if found is None else (found, False)


def code_levels(
    column: pd.Series, feature: Feature, words: Collection[str] = MISSING, name: str = ""
) -> tuple[Array, Bools]:
    """Return the index of each cell's level (n,), NaN where missing, and the unknown cells."""
    if column.dtype == object and any(kind in TRUTHS for kind in set(map(type, column))):
        # True equals 1, but as levels the two are spelt apart.
        column = column.map(as_level, na_action="ignore")
    # Of a series of objects pandas 2 tries to make floats, which a large whole number is not.
    plain = column.to_numpy() if column.dtype == object else column
    try:
        codes, cells = pd.factorize(plain, use_na_sentinel=True)
    except TypeError:  # lists in cells
        codes, cells = pd.factorize(column.map(as_level, na_action="ignore"), use_na_sentinel=True)
    known = NumberFormat(words)
    numbers, odd = code_cells([*cells], meaning_of(feature, name) or {}, known)
    # A missing cell has code -1 and so takes the last entry, which is NaN and not unknown.
    unknown = np.isin(np.arange(len(cells) + 1), odd)
    return np.array([*numbers, None], dtype=float)[codes], unknown[codes]


def treated(study: Study, values: Array) -> Array | None:
    """Return the treatment (n,): 1, 0, or NaN where unknown; None if the study names none.

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
    """Return the code of "untreated"; NaN where the study gives no number for it.

    Raises:
        ValueError: the study names no treatment.
    """
    if study.treatment is None:
        raise ValueError("the study names no treatment")
    levels = list(study.features.values())[study.treatment_position].levels
    if levels is None:
        spelt = (pd.to_numeric(level, errors="coerce") for level in study.treatment.untreated)
        return float(next((number for number in spelt if not np.isnan(number)), np.nan))
    return float(next(i for i, v in enumerate(levels) if v in study.treatment.untreated))


def eligible(study: Study, values: Array) -> Array:
    """Return whether the treatment is an option (n,): 1, 0, or NaN where unknown.

    It is 1 for all where the study names no treatment.

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
