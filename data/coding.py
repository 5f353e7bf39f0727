"""Code patients by their study: every feature becomes one column of numbers, NaN where missing.

A number stays as it is, unless the study maps it; a level becomes its index, from 0. Nothing is
fitted. A cell that cannot be coded or is out of range is a finding, which a cohort turns into an
error and a prediction into a flag. A cell means the same in a table (:meth:`Coder.frame`) and in
JSON (:meth:`Coder.lists`, faster for few patients), except that a table's column of truth values
alone is read as 0 and 1 if its feature is a number.
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

#: Maximum number of patterns of missing values whose flags are cached.
REMEMBERED = 4096

#: Types of truth values.
TRUTHS = (bool, np.bool_)
#: Types of the cells of a numeric feature that need no parsing.
NUMBERS = frozenset({float, type(None)})
#: Types of the cells of a feature with levels that need no conversion to text.
LEVELS = frozenset({str, type(None)})
#: Kinds of finding: the table lacks the column; a cell is no number, out of range, or no level.
ABSENT, NOT_A_NUMBER = "absent", "not_a_number"
OUT_OF_RANGE, UNKNOWN_LEVEL = "out_of_range", "unknown_level"


@dataclass(frozen=True)
class Finding:
    """Cells that a feature does not allow, or the absence of its column."""

    kind: str
    """:data:`ABSENT`, :data:`NOT_A_NUMBER`, :data:`OUT_OF_RANGE` or :data:`UNKNOWN_LEVEL`."""
    feature: str
    rows: Bools
    """(n,) whether a row has such a cell; all rows if the column is absent."""


@dataclass(frozen=True)
class Coded:
    """A table coded as numbers, with findings on its cells."""

    values: Array
    """(n, p) one column a feature, in the study's order; NaN is missing or cannot be coded."""
    findings: tuple[Finding, ...]
    """Absent columns, cells that cannot be coded and values out of range, in the study's order."""
    bounds: dict[str, int] = field(default_factory=dict)
    """Feature -> number of cells such as ``>90``, whose bound was taken; empty for a request."""


@dataclass(frozen=True)
class Coder:
    """Codes the columns of a study's features, given as a frame or as plain lists of cells."""

    study: Study

    @cached_property
    def meanings(self) -> list[Meanings | None]:
        """For each feature: spelling -> index of its level, NaN for missing; None for a number."""
        features = self.study.features.items()
        return [meaning_of(feature, feature.column or name) for name, feature in features]

    @cached_property
    def words(self) -> frozenset[str]:
        """Cells that mean missing, in lower case."""
        return missing_words(self.study)

    @cached_property
    def formats(self) -> list[NumberFormat]:
        """For each feature: format of its numbers."""
        return [NumberFormat.of(feature, self.words) for feature in self.study.features.values()]

    @cached_property
    def _names(self) -> list[str]:
        return list(self.study.features)

    @cached_property
    def _bounds(self) -> tuple[Array, Array]:
        """Lowest and highest possible value (p,) of each feature; infinite for levels."""
        bounds = np.array([f.bounds for f in self.study.features.values()], dtype=float)
        low, high = bounds.reshape(-1, 2).T
        levels = np.array([meaning is not None for meaning in self.meanings], dtype=bool)
        return np.where(levels, -np.inf, low), np.where(levels, np.inf, high)

    def frame(self, frame: pd.DataFrame) -> Coded:
        """Code a table of n rows; its columns have any order, and further ones are ignored.

        Raises:
            InputError: two columns have one name.
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
        """Code columns whose n cells are None, truth values, numbers or texts.

        Args:
            columns: position of a feature -> its n cells; a feature without cells is missing.
            n: number of rows.
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
        """Return the coded table, with findings added for values (n, p) out of range."""
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
    """Flags missing and invalid values of each coded row, for an answer to a request."""

    study: Study

    @cached_property
    def _blocks(self) -> list[tuple[str, tuple[int, ...], list[str]]]:
        """For each modality: its flag, the positions of its features, and their flags."""
        names = list(self.study.features)
        return [
            (f"missing_modality:{modality}", block, [f"missing:{names[j]}" for j in block])
            for modality, block in self.study.blocks.items()
        ]

    @cached_property
    def _cache(self) -> dict[bytes, list[str]]:
        """Pattern of missing values, as packed bits -> its flags."""
        return {}

    def __call__(self, coded: Coded) -> list[list[str]]:
        """Return the flags of each of n rows, those of missing values first."""
        unknown = np.isnan(coded.values)
        packed = np.packbits(unknown, axis=1)
        text, width = packed.tobytes(), packed.shape[1]
        flags = []
        for i in range(len(unknown)):
            pattern = text[i * width : (i + 1) * width]
            missing = self._cache.get(pattern)
            if missing is None:
                if len(self._cache) >= REMEMBERED:
                    self._cache.clear()
                missing = self._cache[pattern] = self._missing(unknown[i].tolist())
            flags.append([*missing])
        for finding in coded.findings:
            if finding.kind != ABSENT:
                for i in np.flatnonzero(finding.rows).tolist():
                    flags[i].append(f"{finding.kind}:{finding.feature}")
        return flags

    def _missing(self, unknown: Sequence[bool]) -> list[str]:
        """Return the flags of one row by which of its p values are missing."""
        flags = []
        for modality_flag, block, feature_flags in self._blocks:
            missing = [unknown[j] for j in block]
            if all(missing):
                flags.append(modality_flag)
            elif any(missing):
                flags += compress(feature_flags, missing)
        return flags


def code(study: Study, frame: pd.DataFrame) -> Coded:
    """Code the features of a table; see :meth:`Coder.frame`."""
    return Coder(study).frame(frame)


class Meanings(dict[str, float]):
    """Spellings of one feature: spelling -> index of the level it means, NaN for missing."""

    def __init__(self, feature: Feature, column: str) -> None:
        super().__init__((level, float(i)) for i, level in enumerate(feature.levels or ()))
        self.update({t: self.get(v or "", math.nan) for t, v in (feature.map or {}).items()})
        self._feature, self._column = feature, column
        self.unlisted = self.get(feature.unlisted or "", math.nan)

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings.of(self._feature, self._column)

    def otherwise(self, text: str) -> float | None:
        """Return the index of an unlisted spelling's level; NaN for missing, None if uncertain."""
        level = self._spellings.level(text)
        return None if level is None else self[level]


def meaning_of(feature: Feature, column: str = "") -> Meanings | None:
    """Return the spellings of a feature's levels in a column of this name; None for a number."""
    return None if feature.levels is None else Meanings(feature, column)


def missing_words(study: Study) -> frozenset[str]:
    """Return the cells that mean missing in a study's tables, in lower case."""
    return MISSING | words_of(study.missing)


#: Format of numbers without a study: the common words for missing, each cell read alone.
PLAIN = NumberFormat(MISSING, alone=True)


def code_cells(
    column: list[Any], meaning: Mapping[str, float] | None, column_format: NumberFormat = PLAIN
) -> tuple[list[float | None], list[int]]:
    """Code the cells of one feature.

    Args:
        column: n cells, each None, a truth value, a number or a text.
        meaning: spelling -> index of its level; None if the feature is a number.
        column_format: format of the column's numbers; its words for missing apply to levels too.

    Returns:
        For each cell a number, or the index of a level; None or NaN where it is missing or invalid.
        And the positions of the invalid cells.
    """
    kinds = {*map(type, column)}
    if meaning is None and kinds <= NUMBERS:
        replaced = column_format.replaced
        return [replaced.get(v, v) for v in column] if replaced else column, []
    if meaning is not None and kinds <= LEVELS:
        codes = [*map(meaning.get, column)]
        if codes.count(None) == column.count(None):
            return codes, []
    # True equals 1, but they are coded differently.
    read = {(type(v), v): _code_cell(v, meaning, column_format) for v in column if v is not None}
    found = [(None, False) if v is None else read[type(v), v] for v in column]
    return [number for number, _ in found], [i for i, (_, bad) in enumerate(found) if bad]


def _code_cell(
    value: Any, meaning: Mapping[str, float] | None, column_format: NumberFormat
) -> tuple[float, bool]:
    """Return the number or the index of the level of a cell, and whether the cell is invalid."""
    if meaning is not None:
        return code_level(value, meaning, column_format.words)
    if type(value) is str:
        return number_of(value, column_format)[:2]
    number, bad = code_number(value)
    return column_format.replaced.get(number, number), bad


def code_number(value: bool | int | float) -> tuple[float, bool]:
    """Return the number of a cell that is no text, and whether the cell is invalid.

    Truth values and numbers that are not finite are invalid; their number is NaN.
    """
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
    """Return the index of a cell's level, and whether the cell is invalid.

    The index is NaN if the cell is missing. A cell that is not known to mean a level is invalid:
    its index is that of unlisted texts, or NaN.

    Args:
        value: the cell.
        meaning: spelling -> index of its level; :class:`Meanings` recognise unlisted spellings too.
        words: cells that mean missing, in lower case.
    """
    text = as_level(value)
    if text in meaning:
        return meaning[text], False
    if word_of(text) in words:
        return math.nan, False
    found = meaning.otherwise(text) if isinstance(meaning, Meanings) else None
    return (getattr(meaning, "unlisted", math.nan), True) if found is None else (found, False)


def code_levels(
    column: pd.Series, feature: Feature, words: Collection[str] = MISSING, name: str = ""
) -> tuple[Array, Bools]:
    """Return :func:`code_level` of the cells of column ``name``, empty ones missing: two (n,)."""
    if column.dtype == object and any(kind in TRUTHS for kind in set(map(type, column))):
        # True equals 1, but they are different levels.
        column = column.map(as_level, na_action="ignore")
    # pandas 2 tries to convert a series of objects to floats, which do not represent large whole
    # numbers exactly.
    plain = column.to_numpy() if column.dtype == object else column
    try:
        codes, cells = pd.factorize(plain, use_na_sentinel=True)
    except TypeError:  # lists in cells
        codes, cells = pd.factorize(column.map(as_level, na_action="ignore"), use_na_sentinel=True)
    meaning: Mapping[str, float] = meaning_of(feature, name) or {}
    numbers, odd = code_cells([*cells], meaning, NumberFormat(words))
    # A missing cell has code -1 and so takes the last entry, which is NaN and not unknown.
    unknown = np.isin(np.arange(len(cells) + 1), odd)
    return np.array([*numbers, None], dtype=float)[codes], unknown[codes]
