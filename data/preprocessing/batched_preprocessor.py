"""Preprocessors of one study, such as those of a model's folds, applied in one call.

The inputs of one patient are a few hundred numbers, so that most of the time goes to NumPy's calls,
not to the arithmetic. Here each step is one call for all preprocessors.

Letters in shapes: k preprocessors, n patients, p coded features, f features that are not
categories, c columns of one feature each, d columns of the linear design, q values of the
embedding, m modalities.
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

#: A NumPy type of real numbers, such as ``numpy.float32``.
Precision = type[np.floating]


class BatchedInputs(NamedTuple):
    """Model inputs of n patients by k preprocessors."""

    linear: NDArray[Any]
    """(k, n, d) the linear designs."""
    embedded: NDArray[Any]
    """(k, q, n) the embeddings, patients last."""
    present: Array
    """(m, n) 1 where any feature of the modality is known, else 0."""


@dataclass(frozen=True)
class BatchedPreprocessor:
    """Preprocessors of one study, with equal numbers of bins."""

    preprocessors: tuple[PreprocessorState, ...]
    """The k preprocessors."""

    def transform(
        self,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        linear: Precision = np.float64,
        embedded: Precision = np.float32,
    ) -> BatchedInputs:
        """Return the model inputs of n patients.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
            linear: precision of the linear designs.
            embedded: precision in which the embeddings are computed, ``numpy.float32`` or
                ``numpy.float64``.
        """
        z = self.scale(values, centre)
        return BatchedInputs(
            self._linear(z, values, linear), self._embed(z, embedded), self._present(values)
        )

    def linear(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the linear designs (k, n, d).

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
        """
        return self._linear(self.scale(values, centre), values, np.float64)

    def singles(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the designs' columns of one feature each (k, n, c), NaN where it is missing.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
        """
        z = self.scale(values, centre)
        return by_block(len(values), lambda rows: self._single(z[:, rows], values[rows]))

    def scale(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return features clipped and standardised (k, n, p), NaN where missing or a category.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
        """
        z = self._unstandardised.scale(values, centre)
        low, high, mean, sd = self._standard
        np.minimum(np.maximum(z, low, out=z), high, out=z)
        z -= mean
        z /= sd
        z[:, :, self._category] = np.nan
        return z

    def design(self, single: Array, values: Array) -> Array:
        """Return the linear designs (k, n, d) from :meth:`singles` and coded features (n, p).

        Args:
            single: (k, n, c) columns of one feature each, from :meth:`singles`.
            values: (n, p) coded features, NaN is missing.
        """
        first = self.preprocessors[0]
        single = np.where(np.isnan(single), 0.0, single)
        # An indicator of one value in nearly all training patients has the mean NaN and stays zero:
        # the design's layout depends on the study alone, so that fold models can be stacked.
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
        first = self.preprocessors[0]
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
        patients_last = z.take(self.preprocessors[0].numeric, axis=2).transpose(0, 2, 1)
        numbers = patients_last.astype(precision, order="C")[:, :, None]
        begins, width, mean = self._bins[precision]
        known = ~np.isnan(numbers)
        embedded = piecewise(np.where(known, numbers, precision(0)), begins, width)
        embedded -= mean
        embedded *= known
        return embedded.reshape(len(self.preprocessors), mean[0].size, z.shape[1])

    def _present(self, values: Array) -> Array:
        known = (~np.isnan(values)).astype(float)
        return np.asarray(self._member @ known.T > 0, dtype=float)

    # Cached: computing the properties below takes longer than preparing one patient.

    def _stacked(self, name: str) -> Array:
        """Return an array of each preprocessor, such as ``mean``, stacked to (k, 1, ...)."""
        return np.stack([getattr(state, name) for state in self.preprocessors])[:, None]

    @cached_property
    def _unstandardised(self) -> Unstandardised:
        return Unstandardised(self._stacked("log_offset")[:, 0], self._ranks)

    @cached_property
    def _ranks(self) -> dict[str, Ranks]:
        """Centre that any preprocessor has a scale of, or empty text -> scores of all of them.

        A preprocessor without a scale of the centre gives its scores of all patients.
        """
        states = self.preprocessors
        centres = {name for state in states for name in state.reference}
        return {
            name: Ranks(tuple(s.ranks.get(name, s.ranks[""]).by_preprocessor[0] for s in states))
            for name in centres
        }

    @cached_property
    def _standard(self) -> tuple[Array, ...]:
        """Lowest, highest, mean and SD (k, 1, p) of the unstandardised features."""
        return tuple(self._stacked(name) for name in ("low", "high", "mean", "sd"))

    @cached_property
    def _category(self) -> Ints:
        return np.flatnonzero(self.preprocessors[0].category)

    @cached_property
    def _member(self) -> Array:
        """(m, p) 1 where a feature is of the modality and the models use it, else 0."""
        first = self.preprocessors[0]
        found = np.zeros((len(first.blocks), len(first.study.features)))
        for own, block in zip(found, first.blocks.values(), strict=True):
            own[list(block)] = 1
        return found

    @cached_property
    def _indicator(self) -> tuple[Array, Array]:
        return self._stacked("indicator_mean"), self._stacked("indicator_spread")

    @cached_property
    def _missing_mean(self) -> Array:
        return self._stacked("missing_mean")

    @cached_property
    def _bins(self) -> dict[Precision, tuple[NDArray[Any], ...]]:
        """Precision -> lower edges, widths and training means (k, f, bins, 1) of the bins."""
        bins = (state.bins for state in self.preprocessors)
        stacked = [np.stack(parts) for parts in zip(*bins, strict=True)]
        precisions: tuple[Precision, ...] = (np.float32, np.float64)
        return {p: tuple(part.astype(p) for part in stacked) for p in precisions}
