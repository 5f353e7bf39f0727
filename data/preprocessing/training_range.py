"""The range of the training patients' values, and values far outside it.

A model clips a number to the range that it was trained on, so that counts given to a model of
logarithms get a smooth answer all the same. Such values are found here by the quantiles that the
preprocessors keep, on the scale of the model's inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.coding import OUT_OF_RANGE
from accomplice.data.panels.panel import same_key
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.scaling import of_centres
from accomplice.data.study import Study

#: Flags of a value, and of a modality, far outside those of the training patients.
OUTSIDE, OUTSIDE_MODALITY = "outside_training", "outside_training_modality"
#: Flag of a patient whose centre's expression scale a model does not know.
UNKNOWN_ASSAY = "unknown_assay"
#: A value is far outside beyond the middle 99 % of the training patients' by this part of their
#: width; of a normal distribution 1 in 7000 lies there.
MARGIN = 0.3
#: Part of a modality's known values that are outside, from which on all of it is.
MOST = 0.5
#: Known values of a modality of which it is enough that they are outside the middle 99 %.
SEVERAL = 8


@dataclass(frozen=True)
class TrainingRange:
    """Bounds of p features, by centre where expression has a scale of the centre's own."""

    study: Study
    bounds: dict[str, Array]
    """Centre, or empty text for all others -> (2, p) the middle 99 % of the training patients;
    minus and plus infinity for levels and for a feature without spread."""
    far: dict[str, Array]
    """The same, widened by the margin."""
    ranked: list[int]
    """Features whose values are ranked by centre."""
    known: frozenset[str]
    """Centres that all preprocessors rank by themselves."""

    @classmethod
    def of(cls, study: Study, preprocessors: Sequence[Preprocessor]) -> Self:
        """Return the range of what some preprocessors of a study's features were fitted on."""
        centres = {name for each in preprocessors for name in each.reference} | {""}
        place = {name: j for j, name in enumerate(study.features)}
        bounds, far = {}, {}
        for name in sorted(centres):
            found = np.full((2, len(preprocessors), 2, len(place)), np.nan)
            for k, each in enumerate(preprocessors):
                found[:, k, :, [place[own] for own in each.study.features]] = _bounds(each, name)
            bounds[name], far[name] = map(_widest, found)
        scales = [set(each.reference) - {""} for each in preprocessors if each.reference]
        kinds = [feature.kind for feature in study.features.values()]
        ranked = [j for j, kind in enumerate(kinds) if kind == "expression" and any(scales)]
        known = frozenset(set.intersection(*scales)) if scales else frozenset[str]()
        return cls(study, bounds, far, ranked, known)

    def known_centre(self, centre: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
        """Return hospitals (n,) as training wrote them, where case, blanks or zeros differ."""
        if centre is None or not self._by_key:
            return centre
        return np.array([self._by_key.get(same_key(c), c) for c in centre.tolist()], dtype=str)

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """Key of a hospital with a scale of its own -> its name, if only one has that key."""
        times = Counter(map(same_key, self._centres.tolist()))
        return {same_key(c): c for c in self._centres.tolist() if times[same_key(c)] == 1}

    def flag(
        self, flags: Sequence[list[str]], values: Array, centre: NDArray[np.str_] | None
    ) -> None:
        """Append flags of values outside the training range to the flags of n patients.

        Args:
            flags: of each patient.
            values: coded features (n, p).
            centre: (n,) hospital; empty text where unknown.
        """
        for i in np.flatnonzero(self._unknown_assay(values, centre)).tolist():
            flags[i].append(UNKNOWN_ASSAY)
        far, whole = self.outside(values, centre)
        names, modalities = list(self.study.features), list(self.study.blocks)
        for i, j in np.argwhere(whole).tolist():
            flags[i].append(f"{OUTSIDE_MODALITY}:{modalities[j]}")
        for i, j in np.argwhere(far).tolist():
            if f"{OUT_OF_RANGE}:{names[j]}" not in flags[i]:
                flags[i].append(f"{OUTSIDE}:{names[j]}")

    def _unknown_assay(self, values: Array, centre: NDArray[np.str_] | None) -> Bools:
        """Patients (n,) whose expression is ranked on a scale that may not fit their centre.

        Training ranked each large centre's expression by itself; another centre's is ranked
        against all patients'.
        """
        if not self.ranked:
            return np.zeros(len(values), dtype=bool)
        measured = np.asarray(~np.isnan(values[:, self.ranked]).all(axis=1))
        if centre is None:
            return measured
        return np.array([name not in self.known for name in centre.tolist()], dtype=bool) & measured

    def outside(self, values: Array, centre: NDArray[np.str_] | None) -> tuple[Bools, Bools]:
        """Values (n, p) that are far outside, and rows (n, m) with a whole modality outside.

        Args:
            values: coded features, NaN is missing.
            centre: (n,) hospital; empty text where unknown.

        Returns:
            Of each value whether it is far outside, or outside with its modality; and of each
            modality, in the study's order, whether it is outside. Levels are always inside.
        """
        beyond = self._beyond(self.bounds, values, centre)
        whole = np.zeros((len(values), len(self.study.blocks)), dtype=bool)
        if not beyond.any():
            return beyond, whole
        far = self._beyond(self.far, values, centre)
        known = ~np.isnan(values)
        for m, block in enumerate(self.study.blocks.values()):
            place = list(block)
            count = known[:, place].sum(axis=1)
            several = (count >= SEVERAL) & (beyond[:, place].sum(axis=1) >= MOST * count)
            far[:, place] |= beyond[:, place] & several[:, None]
            whole[:, m] = (count > 0) & (far[:, place].sum(axis=1) >= MOST * count)
        return far, whole

    def _beyond(
        self, bounds: dict[str, Array], values: Array, centre: NDArray[np.str_] | None
    ) -> Bools:
        """Values (n, p) that are not within bounds; a missing one is."""
        if len(bounds) == 1 or centre is None:
            low, high = bounds[""]
            return np.asarray((values < low) | (values > high))
        found = np.zeros(values.shape, dtype=bool)
        for name, rows in of_centres(centre, self._centres):
            low, high = bounds[name]
            found[rows] = (values[rows] < low) | (values[rows] > high)
        return found

    @cached_property
    def _centres(self) -> NDArray[np.str_]:
        return np.array(sorted(self.far.keys() - {""}), dtype=str)


def _widest(bounds: Array) -> Array:
    """Return the lowest and the highest (2, p) of several bounds (k, 2, p); NaN is none."""
    low, high = bounds.transpose(1, 0, 2)
    found = np.stack([np.fmin.reduce(low), np.fmax.reduce(high)])
    return np.where(np.isnan(found), np.array([[-np.inf], [np.inf]]), found)


def _bounds(fitted: Preprocessor, centre: str) -> Array:
    """Return low and high of its patients' middle 99 %, without and with the margin (p, 2, 2)."""
    bounds = np.stack([fitted.low, fitted.high])
    if fitted.expression.any():
        reference = fitted.reference.get(centre, fitted.reference[""])
        bounds = np.where(fitted.expression, reference[[0, -1]], bounds)
    width = bounds[1] - bounds[0]
    levels = np.array([f.levels is not None for f in fitted.study.features.values()], dtype=bool)
    bounds = np.where(levels | ~(width > 0), np.nan, bounds)
    wide = bounds + MARGIN * width * np.array([[-1], [1]])
    logged = ~np.isnan(fitted.log_offset)
    for each in (bounds, wide):
        each[:, logged] = np.exp(each[:, logged]) - fitted.log_offset[logged]
    return np.stack([bounds, wide]).transpose(2, 0, 1)
