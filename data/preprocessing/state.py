"""The fitted state of a preprocessor, and the arrays derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.preprocessing.expression_ranks import Ranks, assay_scores
from accomplice.data.preprocessing.missingness import MissingIndicators, missing_inputs
from accomplice.data.preprocessing.repeats import Repeats, read_blocks
from accomplice.data.study import Study

#: Minimum divisor of an indicator, in place of a smaller standard deviation.
INDICATOR_SD = 0.25


class Column(NamedTuple):
    """One column of the linear design."""

    label: str
    """Name of the column, such as ``stage=III``."""
    modality: str
    """Modality to which its effect is counted."""
    features: tuple[str, ...]
    """Names of the features that it is made from."""


@dataclass(frozen=True)
class PreprocessorState:
    """State of a preprocessor, fitted on training patients; p features in the study's order."""

    study: Study
    """Description of the features."""
    log_offset: Array
    """(p,) offset added before the logarithm; NaN where a feature is not log-transformed."""
    low: Array
    """(p,) lower bound to which values are clipped, after the logarithm or normal score."""
    high: Array
    """(p,) upper bound to which values are clipped, after the logarithm or normal score."""
    mean: Array
    """(p,) mean before standardising; 0 for a category."""
    sd: Array
    """(p,) standard deviation before standardising; 1 for a category or a constant feature."""
    edges: Array
    """(bins + 1, p) bin edges of the embedding on the standardised scale."""
    embedded_mean: Array
    """(bins, p) training mean of the embedding."""
    reference: dict[str, Array]
    """Centre, or empty text for all patients -> (41, p) quantiles of expression features, 0 for
    other features."""
    indicators: tuple[tuple[int, int], ...]
    """(feature, level) pairs that have an indicator column."""
    indicator_mean: Array
    """(i,) frequency of each indicator's level among the training patients with a known value."""
    missing_mean: Array
    """(a + m,) training mean of the missingness indicators of a features, then of m modalities;
    NaN for an indicator that is not used, as nearly all patients share its value."""
    repeats: Repeats = ()
    """(feature, earlier feature) pairs with the same values in all patients; the first of a pair
    has no columns of its own, and those of the second are used for it."""

    # Cached: computing the properties below takes longer than preparing one patient.

    @cached_property
    def blocks(self) -> dict[str, tuple[int, ...]]:
        """Modality -> positions of its features that are used; a modality without any is left out.

        Features that repeat others are not used.
        """
        return read_blocks(self.study.blocks, self.repeats)

    @cached_property
    def missing_indicators(self) -> MissingIndicators:
        """Indicators of missing features and modalities."""
        return MissingIndicators.of(self.blocks, len(self.study.features))

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
        """(f,) positions of the features that are used and are not categories."""
        found = ~self.category
        found[[j for j, _ in self.repeats]] = False
        return np.flatnonzero(found)

    @cached_property
    def ranks(self) -> dict[str, Ranks]:
        """Centre, or empty text for all patients -> normal scores of expression."""
        return ranks_of(self.reference, self.expression)

    @cached_property
    def bins(self) -> tuple[Array, Array, Array]:
        """Lower edges, widths and training means (f, bins, 1) of the embedding's bins."""
        edges, mean = (a[:, self.numeric].T[:, :, None] for a in (self.edges, self.embedded_mean))
        return edges[:, :-1], np.diff(edges, axis=1), mean

    @cached_property
    def indicated(self) -> tuple[Ints, Ints]:
        """(i,) feature and (i,) level of the indicator columns, as positions."""
        feature, level = np.array(self.indicators, dtype=np.intp).reshape(-1, 2).T
        return feature, level

    @cached_property
    def indicator_spread(self) -> Array:
        """(i,) divisor √(q (1 − q)) of a centred indicator of frequency q; at least 0.25."""
        q = self.indicator_mean
        return np.maximum(np.sqrt(q * (1 - q)), INDICATOR_SD)

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """Positions (j,) of the first and second columns whose products are interactions.

        Positions are among :meth:`single_columns`.
        """
        columns: dict[str, list[int]] = {name: [] for name in self.study.features}
        names = list(columns)
        for column, j in enumerate([*self.numeric, *self.indicated[0]]):
            columns[names[j]].append(column)
        pairs = {
            pair: None
            for interaction in self.study.interactions
            for pair in product(*(columns[name] for name in self.read_for(interaction)))
        }
        first, second = np.array([*pairs], dtype=np.intp).reshape(-1, 2).T
        return first, second

    def read_for(self, names: Iterable[str]) -> list[str]:
        """Return for each feature the one whose columns are used: itself, or the one it repeats."""
        every = list(self.study.features)
        repeats = {every[j]: every[i] for j, i in self.repeats}
        return [repeats.get(name, name) for name in names]

    def linear_columns(self) -> list[Column]:
        """Describe the columns of the linear design."""
        names, blocks = list(self.study.features), self.blocks
        modality = {j: m for m, block in blocks.items() for j in block}
        single = self.single_columns()
        features, modalities = missing_inputs(blocks)
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
        """Return the fitted state, without the study, as plain data."""
        state: dict[str, Any] = {key: _plain(getattr(self, key)) for key in _ARRAYS}
        state["reference"] = {centre: _plain(table) for centre, table in self.reference.items()}
        state["indicators"] = [list(pair) for pair in self.indicators]
        state["repeats"] = [list(pair) for pair in self.repeats]
        return state

    @classmethod
    def from_json(cls, study: Study, state: dict[str, Any]) -> Self:
        """Rebuild the state, or a subclass of it, from a study and the result of :meth:`to_json`.

        Args:
            study: study of the features.
            state: result of :meth:`to_json`.

        Raises:
            KeyError: the result lacks a field.
        """
        read = {key: np.array(state[key], dtype=float) for key in _ARRAYS}
        return cls(
            study=study,
            **read,
            reference={c: np.array(t, dtype=float) for c, t in state["reference"].items()},
            indicators=tuple((int(j), int(k)) for j, k in state["indicators"]),
            # Older bundles use every feature.
            repeats=tuple((int(j), int(i)) for j, i in state.get("repeats", ())),
        )


#: Fields that are arrays, and their keys in JSON.
_ARRAYS = (
    *("log_offset", "low", "high", "mean", "sd", "edges", "embedded_mean"),
    "indicator_mean",
    "missing_mean",
)


def _plain(array: Array) -> list[Any]:
    """Return an array as nested lists with None for NaN, which JSON lacks."""
    listed = array.astype(object)
    listed[np.isnan(array)] = None
    return list(listed.tolist())


def ranks_of(reference: Mapping[str, Array], expression: Bools) -> dict[str, Ranks]:
    """Return centre -> normal scores from centre -> reference quantiles (41, p).

    Args:
        reference: quantiles from :func:`scaling.assay_references`.
        expression: (p,) whether a feature is expression.
    """
    return {name: Ranks((assay_scores(table, expression),)) for name, table in reference.items()}
