"""Reader of patients given as JSON objects: matches keys to features, and flags unknown keys.

``data.coding`` codes and flags the values, in the same way as those of a table.
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

#: Maximum number of characters of a key that an answer repeats.
LONGEST_NAME = 64
#: Maximum number of characters of a hospital's name that are read.
LONGEST_CENTRE = 256
#: Maximum number of unknown keys of a patient that are compared with other spellings of the study's
#: names; of more keys none is.
MOST_RENAMED = 1000
#: Maximum number of unknown keys of a request whose nearest known key is found; each takes long.
MOST_HINTS = 20


@dataclass(frozen=True)
class CodedPatients:
    """n coded patients."""

    values: Array
    """(n, p) coded features in the study's order; NaN is missing."""
    flags: list[list[str]]
    """(n,) flags of each patient, as in ``Bundle.predict``."""
    ids: list[str | None]
    """(n,) identifier; None if the patient has none or the study has no id column."""
    centre: NDArray[np.str_] | None
    """(n,) hospital, empty text where unknown; None if no patient has the key."""


@dataclass(frozen=True)
class PatientReader:
    """Reader of patients whose keys are a study's columns or features."""

    study: Study
    """The study that describes the features."""

    @cached_property
    def positions(self) -> dict[str, int]:
        """Key of a patient -> position of its feature.

        A column of one feature that is the name of another means the column.
        """
        features = self.study.features
        by_column = {f.column or name: j for j, (name, f) in enumerate(features.items())}
        others = other_names(self.study)
        return by_column | {name: j for j, name in enumerate(features) if name in others}

    @cached_property
    def _columns(self) -> frozenset[str]:
        return frozenset(self.study.columns())

    @cached_property
    def _further(self) -> frozenset[str]:
        """Names of features that are read from columns of other names."""
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
        """Return spelling -> index of its level, NaN for missing; None for a numeric feature.

        Raises:
            ValueError: the study has no such feature.
        """
        return self._coder.meanings[self._names.index(feature)]

    def spellings(self, position: int) -> list[bool | int | float | str] | None:
        """Return the JSON values that mean a level of a feature or that the study maps to missing.

        None is returned for a numeric feature.

        Args:
            position: the feature's position in the study.
        """
        meaning = self._coder.meanings[position]
        if meaning is None:
            return None
        return [value for level in meaning for value in _spellings(level)]

    def renames(self, patient: Mapping[str, Any]) -> dict[str, str]:
        """Return key of a patient -> the study's name, for keys that are other spellings of it.

        See ``data.matching.columns``. With more than `MOST_RENAMED` unknown keys, none is changed.
        """
        if not 0 < len(patient.keys() - self._known) <= MOST_RENAMED:
            return {}
        return self._synonyms.renamed(patient)

    @cached_property
    def _synonyms(self) -> Synonyms:
        return Synonyms.of(self.study)

    @cached_property
    def _known(self) -> frozenset[str]:
        return self._columns | self.positions.keys()

    def names_once(self, patients: Sequence[Mapping[str, Any]]) -> bool:
        """Whether each patient has a feature, and none has one both by its column and its name."""
        if any(map(self.positions.keys().isdisjoint, patients)):
            return False
        names: frozenset[str] = frozenset().union(*patients)
        return self._further.isdisjoint(names) or not any(map(self.repeated_keys, patients))

    def repeated_keys(self, patient: Mapping[str, Any]) -> list[str]:
        """Return the keys of a patient whose feature an earlier key means too."""
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
        """Return the codes and flags of n patients.

        Args:
            patients: (n,) feature or column -> null, true, false, number or text.
        """
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
            for patient, patient_flags in zip(patients, flags, strict=True):
                patient_flags += self._unknown(patient, hints)
        id_column, centre_column = self.study.id, self.study.centre
        ids = [_text(patient.get(id_column)) if id_column else None for patient in patients]
        centre = None
        if centre_column in names:
            # An array of text gives each cell the memory of the longest one.
            centre = np.array(
                [(_text(p.get(centre_column)) or "")[:LONGEST_CENTRE] for p in patients], dtype=str
            )
        return CodedPatients(coded.values, flags, ids, centre)

    def _unknown(self, patient: Mapping[str, Any], hints: dict[str, str]) -> list[str]:
        """Return the flags of a patient's unknown keys.

        Args:
            patient: feature or column -> value.
            hints: unknown key, shortened -> text that names the nearest known one, if any; keys are
                added to it over all patients of a request, up to `MOST_HINTS`.
        """
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


def renamed(patient: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a patient under other names.

    Args:
        patient: feature or column -> value.
        names: key -> its other name.
    """
    return {names.get(key, key): value for key, value in patient.items()} if names else patient


def shorten(name: str) -> str:
    """Return a key of a request as an answer may repeat it: of limited length, in valid Unicode."""
    if not name.isascii():
        # JSON's escapes can encode a lone surrogate, which cannot be written as UTF-8.
        name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _spellings(level: str) -> Iterator[bool | int | float | str]:
    """Yield a level's text, and the JSON values equal to it: 2 for '2', true for 'True'."""
    yield level
    if level in ("True", "False"):
        yield level == "True"
    with contextlib.suppress(ValueError):
        number = float(level)
        if math.isfinite(number) and as_level(number) == level:
            yield int(number) if number.is_integer() else number


def _text(value: object) -> str | None:
    return None if value is None else as_level(value)
