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
    """Preprocessing and learners fitted on one fold's training patients.

    The networks of all folds are kept together, by the ensemble.
    """

    preprocessor: Preprocessor
    """The fitted preprocessing."""
    grid: TimeGrid
    """The fold's own time bins."""
    learners: Mapping[str, Learner]
    """Learners other than the network, by name, in the order of ``learners.registry.LEARNERS``."""

    @property
    def anchor(self) -> Anchor:
        """The ridge Cox model, whose coefficients scale the network's inputs."""
        return cast(Anchor, self.learners["anchor"])
