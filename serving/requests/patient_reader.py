"""Read patients given as JSON objects: the keys that name features, and the flags of an answer.

``data.coding`` codes the values, as it does those of a table.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.coding import Coder
from accomplice.data.errors import nearest
from accomplice.data.study import Study
from accomplice.data.study_parts import as_level
from accomplice.training.bundle import MOST_UNKNOWN

#: Letters of a name from a request that an answer repeats at the most.
LONGEST_NAME = 64
#: Letters by which a hospital is known.
LONGEST_CENTRE = 256
#: Unknown names of a request for which the nearest known one is looked up; each takes long.
MOST_HINTS = 20
#: Patterns of missing values of which the flags are remembered.
REMEMBERED = 4096


@dataclass(frozen=True)
class Patients:
    """What n patients' objects say, coded."""

    values: Array
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
    def _further(self) -> frozenset[str]:
        """Names that features have beside their columns."""
        columns = {f.column or name for name, f in self.study.features.items()}
        return frozenset(self.place.keys() - columns)

    @cached_property
    def _names(self) -> list[str]:
        return list(self.study.features)

    @cached_property
    def _coder(self) -> Coder:
        return Coder(self.study)

    @cached_property
    def _blocks(self) -> list[tuple[str, tuple[int, ...], list[str]]]:
        """Of each modality: its flag, its features' positions, and their flags where unknown."""
        return [
            (f"missing_modality:{modality}", block, [f"missing:{self._names[j]}" for j in block])
            for modality, block in self.study.blocks.items()
        ]

    @cached_property
    def _met(self) -> dict[bytes, list[str]]:
        return {}

    def meaning(self, feature: str) -> dict[str, float] | None:
        """Return spelling -> index of the level it means, NaN for missing; None for a number."""
        return self._coder.meanings[self._names.index(feature)]

    def spellings(self, position: int) -> list[bool | int | float | str] | None:
        """Return all that JSON can call the levels of a feature, by position; None for a number."""
        meaning = self._coder.meanings[position]
        if meaning is None:
            return None
        return [value for level in meaning for value in _spellings(level)]

    def names_once(self, patients: Sequence[Mapping[str, Any]]) -> bool:
        """Whether each patient's keys name some feature, and none by its column and its name."""
        if any(map(self.place.keys().isdisjoint, patients)):
            return False
        names: frozenset[str] = frozenset().union(*patients)
        return self._further.isdisjoint(names) or not any(map(self.twice, patients))

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

    def read(self, patients: Sequence[dict[str, Any]]) -> Patients:
        """Code patients whose values are null, true, false, numbers or texts."""
        names: frozenset[str] = frozenset().union(*patients)
        columns: dict[int, list[Any]] = {}
        for key in names & self.place.keys():
            j, column = self.place[key], [*map(dict.get, patients, repeat(key))]
            if j in columns:
                # A feature by its column and by its name; each patient uses one of the two.
                column = [a if b is None else b for a, b in zip(columns[j], column, strict=True)]
            columns[j] = column
        coded = self._coder.lists(columns, len(patients))
        flags = self._absent(np.isnan(coded.values))
        for finding in coded.findings:
            for i in np.flatnonzero(finding.rows).tolist():
                flags[i].append(f"{finding.kind}:{finding.feature}")
        if names - self.place.keys() - self._columns:
            hints: dict[str, str] = {}
            for patient, said in zip(patients, flags, strict=True):
                said += self._unknown(patient, hints)
        id_column, centre_column = self.study.id, self.study.centre
        ids = [_text(patient.get(id_column)) if id_column else None for patient in patients]
        centre = None
        if centre_column in names:
            # All take as much room as the longest: one text of a megabyte must not fill memory.
            centre = np.array(
                [(_text(p.get(centre_column)) or "")[:LONGEST_CENTRE] for p in patients], dtype=str
            )
        return Patients(coded.values, flags, ids, centre)

    def _absent(self, unknown: Bools) -> list[list[str]]:
        """Flag for each of n patients what of their features (n, p) is unknown.

        Patients miss the same things together, so that most patterns have been met before.
        """
        packed = np.packbits(unknown, axis=1)
        text, width = packed.tobytes(), packed.shape[1]
        found = []
        for i in range(len(unknown)):
            pattern = text[i * width : (i + 1) * width]
            flags = self._met.get(pattern)
            if flags is None:
                if len(self._met) >= REMEMBERED:
                    self._met.clear()
                flags = self._met[pattern] = self._flag_absent(unknown[i].tolist())
            found.append([*flags])
        return found

    def _flag_absent(self, unknown: Sequence[bool]) -> list[str]:
        flags = []
        for whole, block, each in self._blocks:
            here = [unknown[j] for j in block]
            if all(here):
                flags.append(whole)
            elif any(here):
                flags += compress(each, here)
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


def shorten(name: str) -> str:
    """Cut a name from a request to what an answer may repeat: a few letters, all of them whole."""
    if not name.isascii():
        # JSON's escapes can spell half a character, which cannot be written again.
        name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


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
