"""Several preprocessors of one study, such as those of a model's folds, applied in one go.

One patient's inputs are a few hundred numbers: what takes time is not the arithmetic but the number
of calls. Here a step of all preprocessors is one call. What each of them makes is what
``Preprocessor.transform`` makes, number for number, the embedding in single precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints, Singles
from accomplice.data.preprocessing.expression_ranks import Ranks
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.scaling import of_centres, piecewise


class AbreastInputs(NamedTuple):
    """Model inputs of n patients by k preprocessors."""

    linear: Array
    """(k, n, p) the linear designs."""
    embedded: Singles
    """(k, q, n) the embeddings, patients last, as precise as the networks that take them."""
    present: Array
    """(m, n) 1 where any feature of the modality is known."""


@dataclass(frozen=True)
class Abreast:
    """Preprocessors of one study, with as many bins each."""

    each: tuple[Preprocessor, ...]

    def transform(self, values: Array, centre: NDArray[np.str_] | None = None) -> AbreastInputs:
        """Make the inputs of n patients from their coded features (n, p)."""
        z = self._scale(values, centre)
        return AbreastInputs(self._design(z, values), self._embed(z), self._present(values))

    def _scale(self, values: Array, centre: NDArray[np.str_] | None) -> Array:
        """Standardised features (k, n, p), NaN where missing or a category."""
        z = np.repeat(values[None], len(self.each), axis=0)
        if len(self._logged):
            offset = self._offset
            whole = values[:, self._logged]
            logged = np.log(np.maximum(whole + offset, 1e-12))
            z[:, :, self._logged] = np.where(np.isnan(offset), whole, logged)
        if len(self._expression):
            z[:, :, self._expression] = self._ranked(values[:, self._expression], centre)
        np.minimum(np.maximum(z, self._of("low"), out=z), self._of("high"), out=z)
        z -= self._of("mean")
        z /= self._of("sd")
        z[:, :, self._category] = np.nan
        return z

    def _ranked(self, measured: Array, centre: NDArray[np.str_] | None) -> Array:
        """Normal scores (k, n, e) of expression (n, e) on the scale of each one's centre."""
        if centre is None:
            return self._ranks[""].score(measured)
        found = np.empty((len(self.each), *measured.shape))
        for name, rows in of_centres(centre, np.array(sorted(self._assays - {""}), dtype=str)):
            if len(rows):
                found[:, rows] = self._ranks[name].score(measured[rows])
        return found

    def _design(self, z: Array, values: Array) -> Array:
        first = self.each[0]
        parts = [z.take(first.numeric, axis=2)]
        if first.indicators:
            feature, level = first.indicated
            coded = values.take(feature, axis=1)
            shown = np.where(np.isnan(coded), np.nan, coded == level)
            mean, spread = self._indicator
            parts.append((shown - mean) / spread)
        single = np.concatenate(parts, axis=2)
        np.copyto(single, 0.0, where=np.isnan(single))
        absent = first.absences.inputs(values) - self._missing
        np.copyto(absent, 0.0, where=np.isnan(absent))
        left, right = first.pairs
        products = single.take(left, axis=2) * single.take(right, axis=2)
        return np.concatenate([single, absent, products], axis=2)

    def _embed(self, z: Array) -> Singles:
        numbers = z.take(self.each[0].numeric, axis=2).transpose(0, 2, 1)
        single = numbers.astype(np.float32, order="C")[:, :, None]
        known = ~np.isnan(single)
        begins, width, mean = self._bins
        embedded = piecewise(np.where(known, single, np.float32(0)), begins, width)
        embedded -= mean
        embedded *= known
        return embedded.reshape(len(self.each), mean[0].size, z.shape[1])

    def _present(self, values: Array) -> Array:
        known = (~np.isnan(values)).astype(float)
        return np.asarray(self._member @ known.T > 0, dtype=float)

    def _of(self, name: str) -> Array:
        return self._stacked[name]

    # What follows from the preprocessors is worked out once.

    @cached_property
    def _ranks(self) -> dict[str, Ranks]:
        """By centre what all preprocessors' ranks score, in a row."""
        return {
            name: Ranks(tuple(e.ranks.get(name, e.ranks[""]).each[0] for e in self.each))
            for name in {*self._assays, ""}
        }

    @cached_property
    def _stacked(self) -> dict[str, Array]:
        names = ("low", "high", "mean", "sd")
        return {n: np.stack([getattr(each, n) for each in self.each])[:, None] for n in names}

    @cached_property
    def _member(self) -> Array:
        """(m, p) 1 where a feature is of a modality."""
        blocks = self.each[0].study.blocks.values()
        found = np.zeros((len(blocks), len(self._kinds)))
        for own, block in zip(found, blocks, strict=True):
            own[list(block)] = 1
        return found

    @cached_property
    def _kinds(self) -> NDArray[np.str_]:
        return np.array([f.kind for f in self.each[0].study.features.values()], dtype=str)

    @cached_property
    def _category(self) -> Ints:
        return np.flatnonzero(self._kinds == "category")

    @cached_property
    def _expression(self) -> Ints:
        return np.flatnonzero(self._kinds == "expression")

    @cached_property
    def _assays(self) -> frozenset[str]:
        """Centres of which any preprocessor knows the assay."""
        return frozenset(name for each in self.each for name in each.reference)

    @cached_property
    def _logged(self) -> Ints:
        """Features of which any preprocessor takes the logarithm."""
        return np.flatnonzero([~np.isnan(o).all() for o in self._offsets.T])

    @property
    def _offsets(self) -> Array:
        return np.stack([each.log_offset for each in self.each])

    @cached_property
    def _offset(self) -> Array:
        """(k, 1, l) of the logarithm, NaN where it is not taken."""
        return self._offsets[:, None, self._logged]

    @cached_property
    def _indicator(self) -> tuple[Array, Array]:
        mean = np.stack([each.indicator_mean for each in self.each])[:, None]
        return mean, np.stack([each.indicator_spread for each in self.each])[:, None]

    @cached_property
    def _missing(self) -> Array:
        return np.stack([each.missing_mean for each in self.each])[:, None]

    @cached_property
    def _bins(self) -> tuple[Singles, Singles, Singles]:
        begins, width, mean = (
            np.stack(parts).astype(np.float32)
            for parts in zip(*(each.bins for each in self.each), strict=True)
        )
        return begins, width, mean
