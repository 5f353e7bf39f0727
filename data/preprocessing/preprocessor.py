"""Turn coded features into model inputs; everything fitted here is fitted on training patients.

Three steps, applied by ``preprocessing.batched_preprocessor`` with the fitted state:

1. *Scale*: numbers and densities are log-transformed where that reduces a strong skew; expression
   becomes the normal score of its rank among the assay's reference quantiles; an ordinal is the
   position of its level. Then all of them are clipped to the middle 99 % of the training patients'
   values and standardised, (x − mean) / SD. Categories have no scale.
2. *Linear design*: scaled features, standardised indicators of category levels, centred indicators
   of missing values, products of the study's interactions. A missing value becomes zero, the
   training mean.
3. *Piecewise-linear embedding* of the scaled features for the network (Gorishniy et al., "On
   embeddings for numerical features in tabular deep learning", NeurIPS 2022), centred so that
   missing is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.data.preprocessing.batched_preprocessor import BatchedPreprocessor
from accomplice.data.preprocessing.expression_ranks import REFERENCE, SCORES
from accomplice.data.preprocessing.missingness import MissingIndicators
from accomplice.data.preprocessing.repeats import read_blocks, repeated_features
from accomplice.data.preprocessing.scaling import (
    Unstandardised,
    assay_references,
    column_quantiles,
    log_offsets,
    piecewise,
    sort_columns,
    total,
    zeroed,
)
from accomplice.data.preprocessing.state import PreprocessorState, ranks_of
from accomplice.data.study import Study

#: Minimum number of known values of a feature; with fewer, the fit takes all its values for
#: missing.
FEWEST_KNOWN = 5
#: Minimum number of patients with 0, and with 1, in an indicator of missingness that is an input.
MISSING_COUNT = 10
#: Maximum number of columns of the embedding, unless there are more features; each has at least one
#: bin.
EMBEDDED_WIDTH = 640


class Inputs(NamedTuple):
    """Model inputs of n patients."""

    linear: Array
    """(n, d) the linear design."""
    embedded: Array
    """(n, q) the piecewise-linear embedding."""
    present: Array
    """(n, m) 1 where any feature of the modality is known, else 0."""


@dataclass(frozen=True)
class Preprocessor(PreprocessorState):
    """Fitted preprocessing of coded features (n, p) of n patients."""

    @classmethod
    def fit(
        cls,
        study: Study,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        bins: int = 8,
        everyone: Array | None = None,
    ) -> Self:
        """Return a preprocessor fitted on training patients.

        Args:
            study: description of the p features.
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; one with at least 50 known values of an expression feature gets a
                scale of its own for that feature.
            bins: maximum number of the embedding's bins for each feature; see ``EMBEDDED_WIDTH``.
            everyone: (m, p) coded features of the patients of all folds; a level of a category that
                none of them has gets no column, nor does a feature that repeats another in all of
                them. By default ``values``.
        """
        cohort_values = values if everyone is None else everyone
        kinds = np.array([f.kind for f in study.features.values()])
        category, expression = kinds == "category", kinds == "expression"
        # The quantiles of a few known values would be these patients' own values.
        hidden = (~np.isnan(values)).sum(axis=0) < FEWEST_KNOWN
        if hidden.any():
            values = np.where(hidden, np.nan, values)
        offset = log_offsets(values, np.isin(kinds, ("number", "density")))
        reference = assay_references(values, expression, centre)
        ranks = ranks_of(reference, expression)
        z = Unstandardised(offset[None], ranks).scale(values, centre)[0]
        # Clipping and standardising keep the order, so that one sort serves both quantiles.
        ordered = sort_columns(z)
        low, high = column_quantiles(ordered, np.array([0.005, 0.995]))
        low, high = (np.where(np.isnan(edge), 0.0, edge) for edge in (low, high))
        for scaled in (z, ordered):
            np.clip(scaled, low, high, out=scaled)
        known = np.maximum((~np.isnan(z)).sum(axis=0), 1)
        mean = total(len(z), lambda rows: zeroed(z[rows])) / known
        sd = np.sqrt(total(len(z), lambda rows: zeroed((z[rows] - mean) ** 2)) / known)
        mean, sd = np.where(category, 0.0, mean), np.where(category | (sd < 1e-9), 1.0, sd)
        for scaled in (z, ordered):
            scaled -= mean
            scaled /= sd
            scaled[:, category] = np.nan
        repeats = repeated_features(cohort_values, kinds.tolist())
        read = np.ones(len(kinds), dtype=bool)
        read[[j for j, _ in repeats]] = False
        numeric = int((read & ~category).sum())
        bins = max(1, min(bins, EMBEDDED_WIDTH // max(numeric, 1)))
        edges = np.nan_to_num(column_quantiles(ordered, np.linspace(0, 1, bins + 1)))
        del ordered
        begins, width = edges[:-1].T, np.diff(edges, axis=0).T
        embedded = total(len(z), lambda rows: zeroed(piecewise(z[rows][:, :, None], begins, width)))
        indicated = np.flatnonzero(read & category).tolist()
        levels = [(j, k) for j in indicated for k in _indicated(cohort_values[:, j])]
        owner, level = np.array(levels, dtype=int).reshape(-1, 2).T
        shown = total(len(z), lambda rows: (values[rows][:, owner] == level).astype(float))
        indicators = MissingIndicators.of(read_blocks(study.blocks, repeats), len(kinds))
        absent = total(len(z), lambda rows: indicators.inputs(values[rows]))
        few = np.minimum(absent, len(z) - absent) < MISSING_COUNT
        return cls(
            study=study,
            log_offset=offset,
            low=low,
            high=high,
            mean=mean,
            sd=sd,
            edges=edges,
            embedded_mean=(embedded / known[:, None]).T,
            reference=reference,
            indicators=tuple(levels),
            indicator_mean=shown / known[owner],
            missing_mean=np.where(few, np.nan, absent / len(z)),
            repeats=repeats,
        )

    def transform(
        self,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        precision: type[np.floating] = np.float64,
    ) -> Inputs:
        """Return the model inputs of n patients.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
            precision: precision of all inputs.
        """
        made = self._batch.transform(values, centre, precision, precision)
        return Inputs(made.linear[0], made.embedded[0].T, made.present.T.astype(precision))

    def linear(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the linear design (n, d) alone, without computing the embedding.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
        """
        (made,) = self._batch.linear(values, centre)
        return np.asarray(made)

    def singles(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the design's columns of one feature each (n, c), NaN where the feature is missing.

        :meth:`single_columns` describes them. A column's known values have mean 0 among the
        training patients, if at least ``FEWEST_KNOWN`` are known.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
        """
        (made,) = self._batch.singles(values, centre)
        return np.asarray(made)

    def scale(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return standardised features (n, p), NaN where missing or a category.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one.
        """
        (made,) = self._batch.scale(values, centre)
        return np.asarray(made)

    def design(self, single: Array, values: Array) -> Array:
        """Return the linear design (n, d) from :meth:`singles` (n, c) and coded features (n, p).

        Args:
            single: (n, c) columns of one feature each, from :meth:`singles`.
            values: (n, p) coded features, NaN is missing.
        """
        (made,) = self._batch.design(single[None], values)
        return np.asarray(made)

    @cached_property
    def _batch(self) -> BatchedPreprocessor:
        return BatchedPreprocessor((self,))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw synthetic coded features (n, p), about one value in five missing.

        Numbers are drawn in the training range, levels from all of the study's. Each feature is
        drawn by itself, so that no row is a real patient's.

        Args:
            n: number of rows.
            rng: source of the random numbers.
        """
        place = rng.random((n, len(self.mean)))
        scaled = self.low + place * (self.high - self.low)
        logged = ~np.isnan(self.log_offset)
        values = scaled.copy()
        values[:, logged] = np.exp(scaled[:, logged]) - self.log_offset[logged]
        for j, feature in enumerate(self.study.features.values()):
            if feature.levels is not None:
                values[:, j] = np.floor(place[:, j] * len(feature.levels))
            elif feature.kind == "expression":
                values[:, j] = np.interp(place[:, j], REFERENCE, self.reference[""][:, j])
        values[rng.random(values.shape) < 0.2] = np.nan
        return np.asarray(values)

    def typical(self) -> Array:
        """Return the coded features (p,) of a typical patient, made from training summaries.

        A number or expression is the training mean, taken on the models' scale and converted back;
        an ordinal is the level nearest to the mean position; a category is the most frequent level.
        """
        values = np.array(self.mean)
        logged = ~np.isnan(self.log_offset)
        values[logged] = np.exp(values[logged]) - self.log_offset[logged]
        share = dict(zip(self.indicators, self.indicator_mean, strict=True))
        for j, feature in enumerate(self.study.features.values()):
            if feature.kind == "expression":
                values[j] = np.interp(self.mean[j], SCORES, self.reference[""][:, j])
            elif feature.kind == "category":
                shares = {k: part for (i, k), part in share.items() if i == j}
                most = max(shares, key=shares.__getitem__, default=0)
                # Of two levels one has a column.
                other = len(shares) == 1 and shares[most] < 0.5
                values[j] = float(int(most == 0) if other else most)
            elif feature.levels is not None:
                values[j] = np.rint(values[j])
        for j, i in self.repeats:
            values[j] = values[i]
        return values

    def quantiles(self, probabilities: Array) -> Array:
        """Return approximate quantiles (k, p) of the training values at probabilities (k,).

        They are interpolated between the stored quantiles, so that none is a patient's value, and
        lie between the 0.5th and the 99.5th percentile. Features with levels have NaN.
        """
        stored = np.linspace(0, 1, len(self.edges))
        columns = [np.interp(probabilities, stored, edge) for edge in self.edges.T]
        found = np.stack(columns, axis=1) * self.sd + self.mean
        logged = ~np.isnan(self.log_offset)
        found[:, logged] = np.exp(found[:, logged]) - self.log_offset[logged]
        for j, feature in enumerate(self.study.features.values()):
            if feature.kind == "expression":
                found[:, j] = np.interp(probabilities, REFERENCE, self.reference[""][:, j])
            elif feature.levels is not None:
                found[:, j] = np.nan
        return found

    def on_assay(self, values: Array, centre: NDArray[np.str_] | None) -> Array:
        """Return coded features (n, p) with expression on the scale of each patient's centre (n,).

        Expression on the scale of all patients becomes the value of the same rank in the centre, if
        the centre has a scale of its own; beyond the outermost stored quantile it becomes that
        quantile. All else stays as it is.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; None: all stays as it is.
        """
        found = np.array(values)
        overall = self.reference.get("")
        if centre is None or overall is None:
            return found
        kinds = [f.kind for f in self.study.features.values()]
        for name in self.reference.keys() - {""}:
            rows = centre == name
            for j in (j for j, kind in enumerate(kinds) if kind == "expression"):
                own = self.reference[name][:, j]
                found[rows, j] = np.interp(values[rows, j], overall[:, j], own)
        return found


def _indicated(values: Array) -> list[int]:
    """Return the levels of a category (n,) with an indicator: all that occur, of two the second."""
    levels = [int(k) for k in np.unique(values[~np.isnan(values)])]
    return levels[1:] if len(levels) == 2 else levels
