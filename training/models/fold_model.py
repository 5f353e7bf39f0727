"""One fold's fitted models and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.learners.anchor import Anchor
from accomplice.training.learners.boosting import Boosting
from accomplice.training.learners.forest import Forest

#: Scale of a network input whose feature has no weight in the anchor.
FAINT = 0.05


#: Inputs of the network from one modality.
MOST_INPUTS = 512


@dataclass(frozen=True)
class FoldModel:
    """What one fold's training patients gave, beside its share of the packed network."""

    preprocessor: Preprocessor
    grid: TimeGrid
    anchor: Anchor
    forest: Forest
    boosting: Boosting

    @cached_property
    def net_columns(self) -> tuple[Ints, Array]:
        """Order and scale of the network's inputs among linear design and embedding.

        The order lays them out modality by modality. The scale is each feature's weight in the
        anchor, against the largest: inputs that carry nothing in a linear model reach the network
        faintly, which so fits less of their noise (an adaptive penalty, as in Zou, "The adaptive
        lasso", JASA 2006). Of a modality with very many inputs, those of the largest weights are
        kept.
        """
        columns = self.preprocessor.linear_columns()
        names = list(self.preprocessor.study.features)
        weight = dict.fromkeys(names, 0.0)
        for column, beta in zip(columns, self.anchor.beta, strict=True):
            if len(column.features) == 1:
                weight[column.features[0]] = float(np.hypot(weight[column.features[0]], beta))
        most = max(weight.values()) or 1.0
        weight = {f: FAINT + (1 - FAINT) * w / most for f, w in weight.items()}
        embedded = self.preprocessor.embedded_columns()
        scale = [float(np.mean([weight[f] for f in c.features])) for c in [*columns, *embedded]]
        owner, by_input = self._owner, np.array(scale)
        kept = []
        for j in range(len(self.preprocessor.study.blocks)):
            own = np.flatnonzero(owner == j)
            strongest = np.argsort(-by_input[own], kind="stable")[:MOST_INPUTS]
            kept.append(own[np.sort(strongest)])
        order = np.concatenate(kept)
        return order, by_input[order]

    @property
    def net_modalities(self) -> tuple[int, ...]:
        """How many inputs of the network each modality has."""
        blocks = len(self.preprocessor.study.blocks)
        inputs = np.bincount(self._owner, minlength=blocks)
        return tuple(np.minimum(inputs, MOST_INPUTS).tolist())

    @property
    def _owner(self) -> Ints:
        """Position of each input's modality."""
        rank = {m: i for i, m in enumerate(self.preprocessor.study.blocks)}
        columns = [*self.preprocessor.linear_columns(), *self.preprocessor.embedded_columns()]
        return np.array([rank[c.modality] for c in columns])
