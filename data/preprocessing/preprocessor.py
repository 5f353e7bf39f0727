"""Turn coded features into model inputs; everything fitted here is fitted on training patients.

Three steps, each a function of the fitted state alone:

1. *Scale*: numbers are log-transformed where that takes away skew, drawn in to the training range
   and standardised; expression becomes the normal score of its rank against the assay's reference
   quantiles; ordinals are standardised ranks.
2. *Linear design*: scaled numbers, centred indicators of category levels, indicators of missing
   values, products of the study's interactions. A missing value is the training mean, zero.
3. *Piecewise-linear embedding* of the numbers for the network (Gorishniy et al., "On embeddings for
   numerical features in tabular deep learning", NeurIPS 2022), centred so that missing is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.preprocessing.expression_ranks import REFERENCE, SCORES, Ranks, assay_scores
from accomplice.data.preprocessing.missingness import Absences, missing_inputs
from accomplice.data.preprocessing.scaling import (
    assay_references,
    by_block,
    column_quantiles,
    log_offsets,
    piecewise,
    sort_columns,
    total,
    unstandardised,
    zeroed,
)
from accomplice.data.study import Study

#: Known values below which a feature counts as missing altogether.
FEWEST_KNOWN = 5
#: Missing values a column needs before missingness itself is an input.
MISSING_COUNT = 10
#: Standard deviation below which an indicator is not stretched any further.
INDICATOR_SD = 0.25
#: Columns that the embedding may add in all; wide cohorts get fewer bins a feature.
EMBEDDED_WIDTH = 640


class Inputs(NamedTuple):
    """Model inputs of n patients."""

    linear: Array
    """(n, p) the linear design."""
    embedded: Array
    """(n, q) the piecewise-linear embedding."""
    present: Array
    """(n, m) 1 where any feature of the modality is known."""


class Column(NamedTuple):
    """One column of the linear design."""

    label: str
    modality: str
    features: tuple[str, ...]
    """The features it is made from."""


@dataclass(frozen=True)
class Preprocessor:
    """Fitted preprocessing. Arrays run over the study's p features in their order."""

    study: Study
    log_offset: Array
    """(p,) added before the logarithm; NaN where the feature is not log-transformed."""
    low: Array
    """(p,) values below are drawn up to this, after the logarithm."""
    high: Array
    """(p,) values above are drawn down to this."""
    mean: Array
    """(p,) of the scaled feature before standardising."""
    sd: Array
    """(p,) likewise; 1 where the feature is constant."""
    edges: Array
    """(bins + 1, p) bin edges of the embedding on the standardised scale."""
    embedded_mean: Array
    """(bins, p) training mean of the embedding."""
    reference: dict[str, Array]
    """Centre, or empty text for all patients -> (41, p) quantiles of expression features."""
    indicators: tuple[tuple[int, int], ...]
    """(feature, level) pairs that have an indicator column."""
    indicator_mean: Array
    """(i,) training frequency of each."""
    missing_mean: Array
    """(f + m,) training frequency of missing features and modalities; NaN where too rare to use."""

    @classmethod
    def fit(
        cls, study: Study, values: Array, centre: NDArray[np.str_] | None = None, bins: int = 8
    ) -> Self:
        """Fit on training patients.

        Args:
            study: describes the p features.
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital, whose own expression scale is used where it has enough patients.
            bins: of the embedding, a feature; fewer where the features are many.
        """
        kinds = np.array([f.kind for f in study.features.values()])
        category, expression = kinds == "category", kinds == "expression"
        # What is known of a few patients only would be kept as their values.
        hidden = (~np.isnan(values)).sum(axis=0) < FEWEST_KNOWN
        if hidden.any():
            values = np.where(hidden, np.nan, values)
        offset = log_offsets(values, np.isin(kinds, ("number", "density")))
        reference = assay_references(values, expression, centre)
        z = unstandardised(values, offset, _ranks(reference, expression), centre)
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
        numeric = int((~category).sum())
        bins = max(1, min(bins, EMBEDDED_WIDTH // max(numeric, 1)))
        edges = np.nan_to_num(column_quantiles(ordered, np.linspace(0, 1, bins + 1)))
        del ordered
        begins, width = edges[:-1].T, np.diff(edges, axis=0).T
        embedded = total(len(z), lambda rows: zeroed(piecewise(z[rows][:, :, None], begins, width)))
        levels = [(j, k) for j in np.flatnonzero(category).tolist() for k in _levels_of(study, j)]
        owner, level = np.array(levels, dtype=int).reshape(-1, 2).T
        shown = total(len(z), lambda rows: (values[rows][:, owner] == level).astype(float))
        absences = Absences.of(study)
        absent = total(len(z), lambda rows: absences.inputs(values[rows]))
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
        )

    def transform(
        self,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        precision: type[np.floating] = np.float64,
    ) -> Inputs:
        """Make the inputs of n patients from their coded features (n, p)."""
        z, n = self.scale(values, centre), len(values)
        return Inputs(
            by_block(
                n,
                lambda rows: self.design(self._single(z[rows], values[rows]), values[rows]).astype(
                    precision
                ),
            ),
            self._embed(z.astype(precision)),
            by_block(n, lambda rows: self._present(values[rows]).astype(precision)),
        )

    def linear(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Make the linear design (n, p) alone: the embedding is several times as wide."""
        single = self.singles(values, centre)
        return by_block(len(values), lambda rows: self.design(single[rows], values[rows]))

    def singles(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Make the design's columns of one feature each (n, c), NaN where the feature is missing.

        They are those of :meth:`single_columns`; known values have mean 0 among the training
        patients.
        """
        z = self.scale(values, centre)
        return by_block(len(values), lambda rows: self._single(z[rows], values[rows]))

    def scale(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return standardised features (n, p), NaN where missing or a category."""
        z = unstandardised(values, self.log_offset, self.ranks, centre)
        np.minimum(np.maximum(z, self.low, out=z), self.high, out=z)
        z -= self.mean
        z /= self.sd
        z[:, self._category] = np.nan
        return z

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Make up coded features (n, p) within the training range, one value in five missing.

        They are drawn feature by feature and are nobody's.
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
        """Return coded features (p,) of a typical training patient, who is nobody.

        Numbers are the training mean on the scale on which models take them, ordinals the level
        nearest to the mean rank, categories the most frequent level.
        """
        values = np.array(self.mean)
        logged = ~np.isnan(self.log_offset)
        values[logged] = np.exp(values[logged]) - self.log_offset[logged]
        share = dict(zip(self.indicators, self.indicator_mean, strict=True))
        for j, feature in enumerate(self.study.features.values()):
            if feature.kind == "expression":
                values[j] = np.interp(self.mean[j], SCORES, self.reference[""][:, j])
            elif feature.kind == "category" and len(feature.levels or ()) == 2:
                values[j] = float(share[j, 1] >= 0.5)
            elif feature.kind == "category":
                shares = [share[j, k] for k in range(len(feature.levels or ()))]
                values[j] = float(np.argmax(shares))
            elif feature.levels is not None:
                values[j] = np.rint(values[j])
        return values

    def quantiles(self, places: Array) -> Array:
        """Return about which values (k, p) the training patients had at parts ``places`` (k,).

        They are between what is kept, so that none is a patient's, and the first and the last are
        where half a percent of the patients lies beyond; NaN for features with levels.
        """
        kept = np.linspace(0, 1, len(self.edges))
        columns = [np.interp(places, kept, edge) for edge in self.edges.T]
        found = np.stack(columns, axis=1) * self.sd + self.mean
        logged = ~np.isnan(self.log_offset)
        found[:, logged] = np.exp(found[:, logged]) - self.log_offset[logged]
        for j, feature in enumerate(self.study.features.values()):
            if feature.kind == "expression":
                found[:, j] = np.interp(places, REFERENCE, self.reference[""][:, j])
            elif feature.levels is not None:
                found[:, j] = np.nan
        return found

    def on_assay(self, values: Array, centre: NDArray[np.str_] | None) -> Array:
        """Take features (n, p) from the scale of all patients to that of each one's centre (n,).

        Expression of a centre with a reference of its own becomes what has the same rank there;
        all else stays as it is.
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

    def design(self, single: Array, values: Array) -> Array:
        """Make the linear design (n, p) from :meth:`singles` and the coded features."""
        single = zeroed(single)
        # A column that was too rarely missing in training stays zero: the layout of the design
        # depends on the study alone, so that fold models can be stacked.
        absent = zeroed(self.absences.inputs(values) - self.missing_mean)
        first, second = self.pairs
        products = single.take(first, axis=1) * single.take(second, axis=1)
        return np.concatenate([single, absent, products], axis=1)

    def _single(self, z: Array, values: Array) -> Array:
        numbers = z.take(self.numeric, axis=1)
        if not self.indicators:
            return numbers
        feature, level = self.indicated
        coded = values.take(feature, axis=1)
        shown = np.where(np.isnan(coded), np.nan, coded == level)
        deviation = (shown - self.indicator_mean) / self.indicator_spread
        return np.concatenate([numbers, deviation], axis=1)

    def _embed(self, z: Array) -> Array:
        numeric = self.numeric
        # Patients last, and in place: this is the widest array of the preprocessing, and the
        # network takes it so.
        z = np.ascontiguousarray(z[:, numeric].T)[:, None]
        begins, width, mean = (a.astype(z.dtype) for a in self.bins)
        embedded = piecewise(z, begins, width)
        embedded -= mean
        np.copyto(embedded, 0, where=np.isnan(z))
        return embedded.reshape(mean.size, -1).T

    def _present(self, values: Array) -> Array:
        known = ~np.isnan(values)
        blocks = self.study.blocks.values()
        return np.stack([known[:, block].any(axis=1) for block in blocks], axis=1).astype(float)

    # What follows from the fields is worked out once: one patient takes no longer to prepare than
    # these lists take to make.

    @cached_property
    def absences(self) -> Absences:
        """Indicators of what is missing."""
        return Absences.of(self.study)

    @cached_property
    def _kinds(self) -> NDArray[np.str_]:
        return np.array([f.kind for f in self.study.features.values()], dtype=str)

    @cached_property
    def _category(self) -> Bools:
        return np.asarray(self._kinds == "category")

    @cached_property
    def _expression(self) -> Bools:
        return np.asarray(self._kinds == "expression")

    @cached_property
    def numeric(self) -> Ints:
        """Features that are no categories."""
        return np.flatnonzero(~self._category)

    @cached_property
    def ranks(self) -> dict[str, Ranks]:
        """By centre, or empty text for all patients, what expression scores there."""
        return _ranks(self.reference, self._expression)

    @cached_property
    def bins(self) -> tuple[Array, Array, Array]:
        """Begin, width and training mean (f, bins, 1) of the embedding of the f numbers."""
        edges, mean = (a[:, self.numeric].T[:, :, None] for a in (self.edges, self.embedded_mean))
        return edges[:, :-1], np.diff(edges, axis=1), mean

    @cached_property
    def indicated(self) -> tuple[Ints, Ints]:
        """Feature and level of each indicator."""
        feature, level = np.array(self.indicators, dtype=np.intp).reshape(-1, 2).T
        return feature, level

    @cached_property
    def indicator_spread(self) -> Array:
        """(i,) that an indicator's deviation from its frequency is divided by."""
        share = self.indicator_mean
        return np.maximum(np.sqrt(share * (1 - share)), INDICATOR_SD)

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """Single columns, first and second, whose products are the study's interactions."""
        columns: dict[str, list[int]] = {name: [] for name in self.study.features}
        names = list(columns)
        # The feature behind each single column.
        for column, j in enumerate([*self.numeric, *self.indicated[0]]):
            columns[names[j]].append(column)
        pairs = [
            pair
            for first, second in self.study.interactions
            for pair in product(columns[first], columns[second])
        ]
        first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        return first, second

    def linear_columns(self) -> list[Column]:
        """Say what each column of the linear design is."""
        names, blocks = list(self.study.features), self.study.blocks
        modality = {j: m for m, block in blocks.items() for j in block}
        single = self.single_columns()
        features, modalities = missing_inputs(self.study)
        missing = [Column(f"{names[j]} missing", modality[j], (names[j],)) for j in features]
        for m in modalities:
            missing.append(Column(f"{m} missing", m, tuple(names[j] for j in blocks[m])))
        # A product belongs to the second feature's modality: the marker that modifies the first.
        products = [
            Column(
                f"{single[a].label} x {single[b].label}",
                single[b].modality,
                single[a].features + single[b].features,
            )
            for a, b in zip(*self.pairs, strict=True)
        ]
        return single + missing + products

    def single_columns(self) -> list[Column]:
        """Say what each column of :meth:`singles` is; the linear design begins with them."""
        names = list(self.study.features)
        modality = {j: m for m, block in self.study.blocks.items() for j in block}
        single = [Column(names[j], modality[j], (names[j],)) for j in self.numeric]
        for j, k in self.indicators:
            level = (self.study.features[names[j]].levels or ())[k]
            single.append(Column(f"{names[j]}={level}", modality[j], (names[j],)))
        return single

    def embedded_columns(self) -> list[Column]:
        """Say what each column of the embedding is."""
        names = list(self.study.features)
        modality = {j: m for m, block in self.study.blocks.items() for j in block}
        return [
            Column(f"{names[j]} bin {b}", modality[j], (names[j],))
            for j in self.numeric
            for b in range(len(self.edges) - 1)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data; the study is kept beside it."""
        state: dict[str, Any] = {key: _plain(getattr(self, key)) for key in _ARRAYS}
        state["reference"] = {centre: _plain(table) for centre, table in self.reference.items()}
        state["indicators"] = [list(pair) for pair in self.indicators]
        return state

    @classmethod
    def from_json(cls, study: Study, state: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_json` and the study it was fitted for."""
        read = {key: np.array(state[key], dtype=float) for key in _ARRAYS}
        return cls(
            study=study,
            **read,
            reference={c: np.array(t, dtype=float) for c, t in state["reference"].items()},
            indicators=tuple((int(j), int(k)) for j, k in state["indicators"]),
        )


_ARRAYS = (
    *("log_offset", "low", "high", "mean", "sd", "edges", "embedded_mean"),
    "indicator_mean",
    "missing_mean",
)


def _plain(array: Array) -> list[Any]:
    """Nested lists with null for NaN, which JSON does not know."""
    listed = array.astype(object)
    listed[np.isnan(array)] = None
    return list(listed.tolist())


def _ranks(reference: Mapping[str, Array], expression: Bools) -> dict[str, Ranks]:
    return {name: Ranks((assay_scores(table, expression),)) for name, table in reference.items()}


def _levels_of(study: Study, j: int) -> range:
    """Levels of a category that get an indicator: all, but one of two is enough."""
    levels = list(study.features.values())[j].levels or ()
    return range(1, 2) if len(levels) == 2 else range(len(levels))
