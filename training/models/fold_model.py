"""One fold's fitted learners and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.learners.anchor import Anchor
from accomplice.training.learners.learner import Learner


@dataclass(frozen=True)
class FoldModel:
    """Models fitted on one fold's training patients, beside its share of the packed network."""

    preprocessor: Preprocessor
    grid: TimeGrid
    learners: Mapping[str, Learner]
    """By name, in the order of ``learners.registry.LEARNERS``."""

    @property
    def anchor(self) -> Anchor:
        """The linear model, by whose coefficients the network's inputs are scaled."""
        return cast(Anchor, self.learners["anchor"])
