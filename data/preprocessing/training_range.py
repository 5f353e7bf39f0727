"""The range of the training patients' values, and values far outside it.

A model clips a number to its training range, so that a value in a wrong unit, such as counts in
place of their logarithms, still gets a prediction. This module finds such values by the quantiles
that the preprocessors store.
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

#: Flag of a value far outside those of the training patients.
OUTSIDE = "outside_training"
#: Flag of a modality whose values are far outside those of the training patients.
OUTSIDE_MODALITY = "outside_training_modality"
#: Flag of a patient with expression whose centre has no expression scale of its own, in a model
#: where other centres have one.
UNKNOWN_ASSAY = "unknown_assay"
#: Distance of a value far outside from the middle 99 % of the training patients' values, as a
#: fraction of the width of these; 1 in 26 500 values of a normal distribution lies so far outside.
MARGIN = 0.3
#: Minimum fraction of a modality's known values that are outside for the modality to be outside.
LEAST_SHARE = 0.5
#: Minimum number of known values of a modality in which those outside the middle 99 % count as far
#: outside even within the margin, if they are at least `LEAST_SHARE` of its known values.
SEVERAL = 8


@dataclass(frozen=True)
class TrainingRange:
    """Ranges of the training patients' values for p features; for expression by centre."""

    study: Study
    """Description of the features."""
    bounds: dict[str, Array]
    """Centre, or empty text for all others -> (2, p) lower and upper bound of the middle 99 % of
    the training patients' values, the widest of all preprocessors; minus and plus infinity for
    levels and for constant features."""
    far: dict[str, Array]
    """Centre, or empty text for all others -> (2, p) the bounds widened by the margin."""
    ranked: list[int]
    """Positions of the expression features, if any centre has a scale of its own; else empty."""
    known: frozenset[str]
    """Centres with an expression scale of their own in all preprocessors of expression."""

    @classmethod
    def of(cls, study: Study, preprocessors: Sequence[Preprocessor]) -> Self:
        """Return the range of the patients that preprocessors were fitted on.

        Args:
            study: description of the features.
            preprocessors: fitted preprocessors, each of some or all of the study's features.
        """
        centres = {name for fitted in preprocessors for name in fitted.reference} | {""}
        place = {name: j for j, name in enumerate(study.features)}
        bounds, far = {}, {}
        for name in sorted(centres):
            found = np.full((2, len(preprocessors), 2, len(place)), np.nan)
            for k, fitted in enumerate(preprocessors):
                columns = [place[feature] for feature in fitted.study.features]
                found[:, k, :, columns] = _bounds(fitted, name)
            bounds[name], far[name] = map(_widest, found)
        scales = [set(fitted.reference) - {""} for fitted in preprocessors if fitted.reference]
        kinds = [feature.kind for feature in study.features.values()]
        ranked = [j for j, kind in enumerate(kinds) if kind == "expression" and any(scales)]
        known = frozenset(set.intersection(*scales)) if scales else frozenset[str]()
        return cls(study, bounds, far, ranked, known)

    def known_centre(self, centre: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
        """Return hospitals (n,) in the spelling of the training cohort's centres with a scale.

        Spellings may differ in letter case, blanks and the form of a number, such as 01 and 1.
        Hospitals that fit none of these centres, or two of them, stay as they are; so does None.
        """
        if centre is None or not self._by_key:
            return centre
        exact, by_key = set(self._centres.tolist()), self._by_key
        names = (c if c in exact else by_key.get(same_key(c), c) for c in centre.tolist())
        return np.array([*names], dtype=str)

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """Key of a hospital with a scale of its own -> its name; keys of two hospitals left out."""
        count = Counter(map(same_key, self._centres.tolist()))
        return {same_key(c): c for c in self._centres.tolist() if count[same_key(c)] == 1}

    def flag(
        self, flags: Sequence[list[str]], values: Array, centre: NDArray[np.str_] | None
    ) -> None:
        """Append flags of values outside the training range to the flags of n patients.

        First comes `UNKNOWN_ASSAY`, then the modalities, then the values, without those that are
        flagged as impossible already.

        Args:
            flags: list of each patient's flags, changed in place.
            values: (n, p) coded features, NaN is missing.
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
        """Return which patients (n,) have expression scored on a scale that may not fit.

        Training scored the expression of a large centre within the centre; that of other centres
        is scored among all patients. If no centre has a scale of its own, no patient is returned.
        """
        if not self.ranked:
            return np.zeros(len(values), dtype=bool)
        measured = np.asarray(~np.isnan(values[:, self.ranked]).all(axis=1))
        if centre is None:
            return measured
        return np.array([name not in self.known for name in centre.tolist()], dtype=bool) & measured

    def outside(self, values: Array, centre: NDArray[np.str_] | None) -> tuple[Bools, Bools]:
        """Find the values and the modalities outside the training range.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; empty text where unknown.

        Returns:
            (n, p) whether a value is far outside: beyond the middle 99 % by the margin, or beyond
            it at all if the patient has `SEVERAL` or more values of the modality and at least
            `LEAST_SHARE` of these are beyond it; (n, m) whether at least `LEAST_SHARE` of the
            patient's values of a modality, in the study's order, are far outside. Levels are always
            inside.
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
            several = (count >= SEVERAL) & (beyond[:, place].sum(axis=1) >= LEAST_SHARE * count)
            far[:, place] |= beyond[:, place] & several[:, None]
            whole[:, m] = (count > 0) & (far[:, place].sum(axis=1) >= LEAST_SHARE * count)
        return far, whole

    def _beyond(
        self, bounds: dict[str, Array], values: Array, centre: NDArray[np.str_] | None
    ) -> Bools:
        """Return which values (n, p) lie outside the bounds; a missing value does not."""
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
    """Return the lowest and the highest bound (2, p) of k ranges (k, 2, p); NaN is no bound."""
    low, high = bounds.transpose(1, 0, 2)
    found = np.stack([np.fmin.reduce(low), np.fmax.reduce(high)])
    return np.where(np.isnan(found), np.array([[-np.inf], [np.inf]]), found)


def _bounds(fitted: Preprocessor, centre: str) -> Array:
    """Return a centre's bounds (p, 2, 2): without and with the margin, each low and high."""
    bounds = np.stack([fitted.low, fitted.high])
    if fitted.expression.any():
        reference = fitted.reference.get(centre, fitted.reference[""])
        bounds = np.where(fitted.expression, reference[[0, -1]], bounds)
    width = bounds[1] - bounds[0]
    levels = np.array([f.levels is not None for f in fitted.study.features.values()], dtype=bool)
    bounds = np.where(levels | ~(width > 0), np.nan, bounds)
    wide = bounds + MARGIN * width * np.array([[-1], [1]])
    logged = ~np.isnan(fitted.log_offset)
    for edges in (bounds, wide):
        edges[:, logged] = np.exp(edges[:, logged]) - fitted.log_offset[logged]
    return np.stack([bounds, wide]).transpose(2, 0, 1)
