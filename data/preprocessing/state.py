"""The fitted state of a preprocessor, and the arrays derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.preprocessing.expression_ranks import Ranks, assay_scores
from accomplice.data.preprocessing.missingness import MissingIndicators, missing_inputs
from accomplice.data.study import Study

#: Least standard deviation that an indicator is divided by.
INDICATOR_SD = 0.25


class Column(NamedTuple):
    """One column of the linear design."""

    label: str
    modality: str
    features: tuple[str, ...]
    """The features it is made from."""


@dataclass(frozen=True)
class PreprocessorState:
    """State of a preprocessor. Arrays run over the study's p features in their order."""

    study: Study
    log_offset: Array
    """(p,) added before the logarithm; NaN where the feature is not log-transformed."""
    low: Array
    """(p,) lower bound that values are clipped to, after the logarithm."""
    high: Array
    """(p,) upper bound of the same."""
    mean: Array
    """(p,) of the scaled feature before standardising."""
    sd: Array
    """(p,) standard deviation of the same; 1 where the feature is constant."""
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
    """(f + m,) training frequency of missing values, of the f features with an indicator of it and
    the m modalities; NaN where too rare to use."""

    # Computed once: making these takes longer than preparing one patient.

    @cached_property
    def missing_indicators(self) -> MissingIndicators:
        """Indicators of missing features and modalities."""
        return MissingIndicators.of(self.study.blocks)

    @cached_property
    def _kinds(self) -> NDArray[np.str_]:
        return np.array([f.kind for f in self.study.features.values()], dtype=str)

    @cached_property
    def category(self) -> Bools:
        """(p,) whether a feature is a category."""
        return np.asarray(self._kinds == "category")

    @cached_property
    def expression(self) -> Bools:
        """(p,) whether a feature is expression."""
        return np.asarray(self._kinds == "expression")

    @cached_property
    def numeric(self) -> Ints:
        """Features that are no categories."""
        return np.flatnonzero(~self.category)

    @cached_property
    def ranks(self) -> dict[str, Ranks]:
        """Centre, or empty text for all patients -> the scores of expression there."""
        return ranks_of(self.reference, self.expression)

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
        """Describe the columns of the linear design."""
        names, blocks = list(self.study.features), self.study.blocks
        modality = {j: m for m, block in blocks.items() for j in block}
        single = self.single_columns()
        features, modalities = missing_inputs(self.study.blocks)
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
        """Describe the columns of one feature each, which begin the linear design."""
        names = list(self.study.features)
        modality = {j: m for m, block in self.study.blocks.items() for j in block}
        single = [Column(names[j], modality[j], (names[j],)) for j in self.numeric]
        for j, k in self.indicators:
            level = (self.study.features[names[j]].levels or ())[k]
            single.append(Column(f"{names[j]}={level}", modality[j], (names[j],)))
        return single

    def embedded_columns(self) -> list[Column]:
        """Describe the columns of the embedding."""
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


def ranks_of(reference: Mapping[str, Array], expression: Bools) -> dict[str, Ranks]:
    """Return the scores of each assay's reference quantiles (41, p)."""
    return {name: Ranks((assay_scores(table, expression),)) for name, table in reference.items()}
