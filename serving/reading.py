"""Read patients given as JSON objects: the same coding and flags as for a table, without a table.

One patient as a pandas frame costs a millisecond for a few columns and tens of them for an
expression panel; as plain Python it costs microseconds. ``data.coding`` says what the values mean,
and a test holds the two ways together.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.coding import MISSING, NOT_A_NUMBER, OUT_OF_RANGE, UNKNOWN_LEVEL, code_numbers
from data.errors import nearest
from data.study import Feature, Study, as_level
from training.bundle import MOST_UNKNOWN

#: Letters of a name from a request that an answer repeats at the most.
LONGEST_NAME = 64
#: Letters by which a hospital is known.
LONGEST_CENTRE = 256
#: Unknown names of a request for which the nearest known one is looked up; each takes long.
MOST_HINTS = 20


@dataclass(frozen=True)
class Patients:
    """What n patients' objects say, coded."""

    values: NDArray[np.float64]
    """(n, p) coded features in the study's order; NaN is missing."""
    flags: list[list[str]]
    """What was odd about each patient, in the words of ``Bundle.predict``."""
    ids: list[str | None]
    """Identifiers, where the study has an id column and the patient has one."""
    centre: NDArray[np.str_] | None
    """(n,) hospital, empty text where unknown; None where no patient names one."""


@dataclass(frozen=True)
class PatientReader:
    """Reads patients by a study's columns or feature names."""

    study: Study

    @cached_property
    def place(self) -> dict[str, int]:
        """Key of a patient's object -> position of the feature; a column wins over a name."""
        features = self.study.features
        found = {f.column or name: j for j, (name, f) in enumerate(features.items())}
        taken = {*found, *self._columns}
        return found | {name: j for j, name in enumerate(features) if name not in taken}

    @cached_property
    def _columns(self) -> frozenset[str]:
        return frozenset(self.study.columns())

    @cached_property
    def _names(self) -> list[str]:
        return list(self.study.features)

    @cached_property
    def _codings(self) -> list[tuple[str, dict[str, float] | None, tuple[float, float]]]:
        """Of each feature: name, what its spellings mean if it has levels, and its bounds."""
        return [(name, _meaning(f), f.bounds) for name, f in self.study.features.items()]

    @cached_property
    def _blocks(self) -> list[tuple[str, tuple[int, ...], list[str]]]:
        """Of each modality: name, positions of its features, and their flags where unknown."""
        return [
            (modality, block, [f"missing:{self._names[j]}" for j in block])
            for modality, block in self.study.blocks.items()
        ]

    def meaning(self, feature: str) -> dict[str, float] | None:
        """Return spelling -> index of the level it means, NaN for missing; None for a number."""
        return self._codings[self._names.index(feature)][1]

    def spellings(self, position: int) -> list[bool | int | float | str] | None:
        """Return all that JSON can call the levels of a feature, by position; None for a number."""
        meaning = self._codings[position][1]
        if meaning is None:
            return None
        return [value for level in meaning for value in _spellings(level)]

    def named(self, patient: Mapping[str, Any]) -> list[int]:
        """Positions of the features that a patient's keys name."""
        place = self.place
        return [place[key] for key in patient if key in place]

    def twice(self, patient: Mapping[str, Any]) -> list[str]:
        """Keys of a patient that name a feature another key has already named."""
        seen: set[int] = set()
        found = []
        for key in patient:
            j = self.place.get(key)
            if j is not None and j in seen:
                found.append(key)
            elif j is not None:
                seen.add(j)
        return found

    def read(self, patients: Sequence[Mapping[str, Any]]) -> Patients:
        """Code patients whose values are null, true, false, numbers or texts."""
        texts = _Texts(self, patients)
        rows, odds = [], []
        for patient in patients:
            row, odd = self._code(patient, texts)
            rows.append(row)
            odds.append(odd)
        values = np.array(rows).reshape(len(patients), len(self._names))
        hints: dict[str, str] = {}
        unknown = np.isnan(values)
        absent = [self._absent(row) if any(row) else [] for row in unknown.tolist()]
        flags = [
            [*missing, *odd, *self._unknown(patient, hints)]
            for patient, missing, odd in zip(patients, absent, odds, strict=True)
        ]
        id_column, centre_column = self.study.id, self.study.centre
        ids = [_text(patient.get(id_column)) if id_column else None for patient in patients]
        centre = None
        if centre_column is not None and any(centre_column in patient for patient in patients):
            # All take as much room as the longest: one text of a megabyte must not fill memory.
            centre = np.array(
                [(_text(p.get(centre_column)) or "")[:LONGEST_CENTRE] for p in patients], dtype=str
            )
        return Patients(values, flags, ids, centre)

    def _code(self, patient: Mapping[str, Any], texts: _Texts) -> tuple[list[float], list[str]]:
        """Return a patient's coded values (p,) and what could not be coded."""
        row, place, codings = [math.nan] * len(self._names), self.place, self._codings
        odd: dict[int, str] = {}
        for key, value in patient.items():
            j = place.get(key)
            if j is None or value is None:
                continue
            name, meaning, (low, high) = codings[j]
            if meaning is not None:
                # Mostly a level as the study spells it.
                number, bad = meaning.get(value) if type(value) is str else None, False
                if number is None:
                    number, bad = code_level(value, meaning)
                kind = UNKNOWN_LEVEL
            else:
                if type(value) is float and math.isfinite(value):
                    number, bad = value, False
                elif type(value) is str:
                    number, bad = texts.numbers[value]
                else:
                    number, bad = code_number(value)
                kind = NOT_A_NUMBER
                if number < low or number > high:
                    odd[j] = f"{OUT_OF_RANGE}:{name}"
            row[j] = number
            if bad:
                odd[j] = f"{kind}:{name}"
        return row, [odd[j] for j in sorted(odd)] if odd else []

    def _absent(self, unknown: Sequence[bool]) -> list[str]:
        """Flag what of a patient's features (p,) is unknown."""
        flags = []
        for modality, block, missing in self._blocks:
            here = [unknown[j] for j in block]
            if all(here):
                flags.append(f"missing_modality:{modality}")
            elif any(here):
                flags += compress(missing, here)
        return flags

    def _unknown(self, patient: Mapping[str, Any], hints: dict[str, str]) -> list[str]:
        """Flag the keys that the study does not know; ``hints`` keeps what was looked up."""
        place, columns = self.place, self._columns
        extra = [key for key in patient if key not in place and key not in columns]
        flags = []
        for key in extra[:MOST_UNKNOWN]:
            shown = shorten(key)
            if shown not in hints and len(hints) < MOST_HINTS:
                hints[shown] = nearest(shown, place)
            flags.append(f"unknown_column:{shown}{hints.get(shown, '')}")
        if len(extra) > MOST_UNKNOWN:
            flags.append(f"unknown_columns:{len(extra) - MOST_UNKNOWN} more")
        return flags


@dataclass(frozen=True)
class _Texts:
    """What stands as text where numbers belong, read all at once: one at a time takes long."""

    reader: PatientReader
    patients: Sequence[Mapping[str, Any]]

    @cached_property
    def numbers(self) -> dict[str, tuple[float, bool]]:
        """Text -> its number, NaN where missing, and whether it is neither."""
        place, codings = self.reader.place, self.reader._codings
        found = {
            value: None
            for patient in self.patients
            for key, value in patient.items()
            if type(value) is str and (j := place.get(key)) is not None and codings[j][1] is None
        }
        return dict(zip(found, code_texts(list(found)), strict=True))


def code_texts(texts: Sequence[str]) -> list[tuple[float, bool]]:
    """Return the numbers that texts mean, as :func:`code_number` does."""
    numbers, bad = code_numbers(pd.Series(texts, dtype=object))
    return list(zip(numbers.tolist(), bad.tolist(), strict=True))


def code_number(value: bool | int | float) -> tuple[float, bool]:
    """Return a value's number, NaN where missing, and whether it is neither."""
    if isinstance(value, bool):
        return math.nan, True
    try:
        number = float(value)
    except OverflowError:
        return math.nan, True
    return (number, False) if math.isfinite(number) else (math.nan, True)


def code_level(value: bool | int | float | str, meaning: Mapping[str, float]) -> tuple[float, bool]:
    """Return the index of a value's level, NaN where missing, and whether it is neither."""
    text = as_level(value)
    if text in meaning:
        return meaning[text], False
    return math.nan, text.lower() not in MISSING


def shorten(name: str) -> str:
    """Cut a name from a request to what an answer may repeat: a few letters, all of them whole."""
    if not name.isascii():
        # JSON's escapes can spell half a character, which cannot be written again.
        name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _meaning(feature: Feature) -> dict[str, float] | None:
    """Spelling -> index of the level it means, NaN for missing; None for a number."""
    if feature.levels is None:
        return None
    found = {level: float(i) for i, level in enumerate(feature.levels)}
    spelt = (feature.map or {}).items()
    return found | {s: math.nan if level is None else found[level] for s, level in spelt}


def _spellings(level: str) -> Iterator[bool | int | float | str]:
    """The text of a level, and what else is written so: 2 for '2', true for 'True'."""
    yield level
    if level in ("True", "False"):
        yield level == "True"
    with contextlib.suppress(ValueError):
        number = float(level)
        if math.isfinite(number) and as_level(number) == level:
            yield int(number) if number.is_integer() else number


def _text(value: object) -> str | None:
    return None if value is None else as_level(value)
