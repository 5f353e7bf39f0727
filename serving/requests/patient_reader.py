"""Reading of patients given as JSON objects: the keys that name features, and the flags.

``data.coding`` codes and flags the values, as it does those of a table.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.data.coding import Coder, Flagger
from accomplice.data.errors import nearest
from accomplice.data.matching.columns import Synonyms, other_names
from accomplice.data.study import Study
from accomplice.data.study_parts import as_level
from accomplice.training.bundle import MOST_UNKNOWN

#: Maximum of letters of a request's name that an answer repeats.
LONGEST_NAME = 64
#: Letters of a hospital's name that are read.
LONGEST_CENTRE = 256
#: Unknown names of a patient up to which they are looked at as other ways to write known ones.
MOST_RENAMED = 1000
#: Unknown names of a request for which the nearest known one is found; each takes long.
MOST_HINTS = 20


@dataclass(frozen=True)
class CodedPatients:
    """n coded patients."""

    values: Array
    """(n, p) coded features in the study's order; NaN is missing."""
    flags: list[list[str]]
    """Flags of each patient, as of ``Bundle.predict``."""
    ids: list[str | None]
    """Identifiers, where the study has an id column and the patient has one."""
    centre: NDArray[np.str_] | None
    """(n,) hospital, empty text where unknown; None where no patient names one."""


@dataclass(frozen=True)
class PatientReader:
    """Reads patients by a study's columns or feature names."""

    study: Study

    @cached_property
    def positions(self) -> dict[str, int]:
        """Key of a patient's object -> position of the feature; a column wins over a name."""
        features = self.study.features
        by_column = {f.column or name: j for j, (name, f) in enumerate(features.items())}
        others = other_names(self.study)
        return by_column | {name: j for j, name in enumerate(features) if name in others}

    @cached_property
    def _columns(self) -> frozenset[str]:
        return frozenset(self.study.columns())

    @cached_property
    def _further(self) -> frozenset[str]:
        """Names that features have beside their columns."""
        return frozenset(other_names(self.study))

    @cached_property
    def _names(self) -> list[str]:
        return list(self.study.features)

    @cached_property
    def _coder(self) -> Coder:
        return Coder(self.study)

    @cached_property
    def _flagger(self) -> Flagger:
        return Flagger(self.study)

    def meaning(self, feature: str) -> dict[str, float] | None:
        """Return spelling -> index of the level it means, NaN for missing; None for a number."""
        return self._coder.meanings[self._names.index(feature)]

    def spellings(self, position: int) -> list[bool | int | float | str] | None:
        """Return the JSON values of a feature's levels, by position; None for a number."""
        meaning = self._coder.meanings[position]
        if meaning is None:
            return None
        return [value for level in meaning for value in _spellings(level)]

    def named(self, patient: dict[str, Any]) -> dict[str, Any]:
        """Return a patient by the study's names; see ``matching.columns``."""
        others = patient.keys() - self._known
        if not 0 < len(others) <= MOST_RENAMED:
            return patient
        names = self._synonyms.renamed(patient)
        return {names.get(key, key): value for key, value in patient.items()} if names else patient

    @cached_property
    def _synonyms(self) -> Synonyms:
        return Synonyms.of(self.study)

    @cached_property
    def _known(self) -> frozenset[str]:
        return self._columns | self.positions.keys()

    def names_once(self, patients: Sequence[Mapping[str, Any]]) -> bool:
        """Whether each patient's keys name some feature, and none by its column and its name."""
        if any(map(self.positions.keys().isdisjoint, patients)):
            return False
        names: frozenset[str] = frozenset().union(*patients)
        return self._further.isdisjoint(names) or not any(map(self.twice, patients))

    def twice(self, patient: Mapping[str, Any]) -> list[str]:
        """Keys of a patient that name a feature another key has already named."""
        seen: set[int] = set()
        repeated = []
        for key in patient:
            j = self.positions.get(key)
            if j is not None and j in seen:
                repeated.append(key)
            elif j is not None:
                seen.add(j)
        return repeated

    def read(self, patients: Sequence[dict[str, Any]]) -> CodedPatients:
        """Code patients whose values are null, true, false, numbers or texts."""
        names: frozenset[str] = frozenset().union(*patients)
        columns: dict[int, list[Any]] = {}
        for key in names & self.positions.keys():
            j, column = self.positions[key], [*map(dict.get, patients, repeat(key))]
            if j in columns:
                # A feature by its column and by its name; each patient uses one of the two.
                column = [a if b is None else b for a, b in zip(columns[j], column, strict=True)]
            columns[j] = column
        coded = self._coder.lists(columns, len(patients))
        flags = self._flagger(coded)
        if names - self._known:
            hints: dict[str, str] = {}
            for patient, own in zip(patients, flags, strict=True):
                own += self._unknown(patient, hints)
        id_column, centre_column = self.study.id, self.study.centre
        ids = [_text(patient.get(id_column)) if id_column else None for patient in patients]
        centre = None
        if centre_column in names:
            # Each cell takes the memory of the longest one.
            centre = np.array(
                [(_text(p.get(centre_column)) or "")[:LONGEST_CENTRE] for p in patients], dtype=str
            )
        return CodedPatients(coded.values, flags, ids, centre)

    def _unknown(self, patient: Mapping[str, Any], hints: dict[str, str]) -> list[str]:
        """Return flags of a patient's unknown keys; ``hints`` keeps the nearest known names."""
        positions, columns = self.positions, self._columns
        extra = [key for key in patient if key not in positions and key not in columns]
        flags = []
        for key in extra[:MOST_UNKNOWN]:
            shown = shorten(key)
            if shown not in hints and len(hints) < MOST_HINTS:
                hints[shown] = nearest(shown, positions)
            flags.append(f"unknown_column:{shown}{hints.get(shown, '')}")
        if len(extra) > MOST_UNKNOWN:
            flags.append(f"unknown_columns:{len(extra) - MOST_UNKNOWN} more")
        return flags


def shorten(name: str) -> str:
    """Cut a name from a request to the letters that an answer may repeat, all valid Unicode."""
    if not name.isascii():
        # JSON's escapes can spell half a character, which cannot be written again.
        name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _spellings(level: str) -> Iterator[bool | int | float | str]:
    """Yield a level's text, and the JSON values written alike: 2 for '2', true for 'True'."""
    yield level
    if level in ("True", "False"):
        yield level == "True"
    with contextlib.suppress(ValueError):
        number = float(level)
        if math.isfinite(number) and as_level(number) == level:
            yield int(number) if number.is_integer() else number


def _text(value: object) -> str | None:
    return None if value is None else as_level(value)
