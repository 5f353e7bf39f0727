"""Preprocessors of one study, such as those of a model's folds, applied in one call.

The inputs of one patient are a few hundred numbers: most of the time goes to the number of NumPy
calls, not to the arithmetic. Here a step of all preprocessors is one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.data.preprocessing.expression_ranks import Ranks
from accomplice.data.preprocessing.scaling import Unstandardised, by_block, piecewise
from accomplice.data.preprocessing.state import PreprocessorState

Precision = type[np.floating]


class BatchedInputs(NamedTuple):
    """Model inputs of n patients by k preprocessors.

    Letters here: p coded features, c columns of one feature each, d columns of the linear design,
    q values of the embedding, m modalities.
    """

    linear: NDArray[Any]
    """(k, n, d) the linear designs."""
    embedded: NDArray[Any]
    """(k, q, n) the embeddings, patients last, in the networks' precision."""
    present: Array
    """(m, n) 1 where any feature of the modality is known."""


@dataclass(frozen=True)
class BatchedPreprocessor:
    """Preprocessors of one study, with equal numbers of bins."""

    each: tuple[PreprocessorState, ...]

    def transform(
        self,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        linear: Precision = np.float64,
        embedded: Precision = np.float32,
    ) -> BatchedInputs:
        """Make the inputs of n patients from their coded features (n, p).

        Args:
            values: coded features, NaN is missing.
            centre: (n,) hospital, whose own expression scale is used where it is known.
            linear: precision of the linear designs.
            embedded: precision of the embeddings, which are computed in it.
        """
        z = self.scale(values, centre)
        return BatchedInputs(
            self._linear(z, values, linear), self._embed(z, embedded), self._present(values)
        )

    def linear(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Make the linear designs (k, n, d) alone."""
        return self._linear(self.scale(values, centre), values, np.float64)

    def singles(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Make the designs' columns of one feature each (k, n, c), NaN where it is missing."""
        z = self.scale(values, centre)
        return by_block(len(values), lambda rows: self._single(z[:, rows], values[rows]))

    def scale(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return standardised features (k, n, p), NaN where missing or a category."""
        z = self._unstandardised.scale(values, centre)
        low, high, mean, sd = self._standard
        np.minimum(np.maximum(z, low, out=z), high, out=z)
        z -= mean
        z /= sd
        z[:, :, self._category] = np.nan
        return z

    def design(self, single: Array, values: Array) -> Array:
        """Make the linear designs (k, n, d) from :meth:`singles` and coded features (n, p)."""
        first = self.each[0]
        single = np.where(np.isnan(single), 0.0, single)
        # A column that was too rarely missing in training stays zero: the layout of the design
        # depends on the study alone, so that fold models can be stacked.
        absent = first.missing_indicators.inputs(values) - self._missing_mean
        np.copyto(absent, 0.0, where=np.isnan(absent))
        left, right = first.pairs
        products = single.take(left, axis=2) * single.take(right, axis=2)
        return np.concatenate([single, absent, products], axis=2)

    def _linear(self, z: Array, values: Array, precision: Precision) -> NDArray[Any]:
        def make(rows: slice) -> NDArray[Any]:
            some = values[rows]
            made = self.design(self._single(z[:, rows], some), some)
            return made.astype(precision, copy=False)

        return by_block(len(values), make)

    def _single(self, z: Array, values: Array) -> Array:
        first = self.each[0]
        numbers = z.take(first.numeric, axis=2)
        if not first.indicators:
            return numbers
        feature, level = first.indicated
        coded = values.take(feature, axis=1)
        shown = np.where(np.isnan(coded), np.nan, coded == level)
        mean, spread = self._indicator
        return np.concatenate([numbers, (shown - mean) / spread], axis=2)

    def _embed(self, z: Array, precision: Precision) -> NDArray[Any]:
        # Patients last, and in place: this is the widest array, and the networks take it so.
        patients_last = z.take(self.each[0].numeric, axis=2).transpose(0, 2, 1)
        numbers = patients_last.astype(precision, order="C")[:, :, None]
        begins, width, mean = self._bins[precision]
        known = ~np.isnan(numbers)
        embedded = piecewise(np.where(known, numbers, precision(0)), begins, width)
        embedded -= mean
        embedded *= known
        return embedded.reshape(len(self.each), mean[0].size, z.shape[1])

    def _present(self, values: Array) -> Array:
        known = (~np.isnan(values)).astype(float)
        return np.asarray(self._member @ known.T > 0, dtype=float)

    # Computed once: making these takes longer than preparing one patient.

    @cached_property
    def _unstandardised(self) -> Unstandardised:
        return Unstandardised(np.stack([each.log_offset for each in self.each]), self._ranks)

    @cached_property
    def _ranks(self) -> dict[str, Ranks]:
        """Centre whose assay any preprocessor knows, or empty text -> the scores of all."""
        centres = {name for each in self.each for name in each.reference}
        return {
            name: Ranks(tuple(each.ranks.get(name, each.ranks[""]).each[0] for each in self.each))
            for name in centres
        }

    @cached_property
    def _standard(self) -> tuple[Array, ...]:
        """Lowest, highest, mean and SD (k, 1, p) of the unstandardised features."""
        names = ("low", "high", "mean", "sd")
        return tuple(np.stack([getattr(each, n) for each in self.each])[:, None] for n in names)

    @cached_property
    def _category(self) -> Ints:
        return np.flatnonzero(self.each[0].category)

    @cached_property
    def _member(self) -> Array:
        """(m, p) 1 where a feature is of a modality."""
        study = self.each[0].study
        found = np.zeros((len(study.blocks), len(study.features)))
        for own, block in zip(found, study.blocks.values(), strict=True):
            own[list(block)] = 1
        return found

    @cached_property
    def _indicator(self) -> tuple[Array, Array]:
        mean = np.stack([each.indicator_mean for each in self.each])[:, None]
        return mean, np.stack([each.indicator_spread for each in self.each])[:, None]

    @cached_property
    def _missing_mean(self) -> Array:
        return np.stack([each.missing_mean for each in self.each])[:, None]

    @cached_property
    def _bins(self) -> dict[Precision, tuple[NDArray[Any], ...]]:
        """By precision the begins, widths and training means (k, f, bins, 1) of the embeddings."""
        stacked = [np.stack(parts) for parts in zip(*(e.bins for e in self.each), strict=True)]
        precisions: tuple[Precision, ...] = (np.float32, np.float64)
        return {p: tuple(part.astype(p) for part in stacked) for p in precisions}
