"""Out-of-fold or external predictions of patients with observed outcomes.

Evaluation takes these, so that a training run, an external validation and a comparison of two
models are evaluated by the same code. A bundle holds no patients: from its fold models and its
cohort, ``fitting.out_of_fold.replay`` makes the out-of-fold predictions of the run once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.training.estimators.hazard import TimeGrid

MODEL = "model"
OUT_OF_FOLD, EXTERNAL = "out of fold", "external"


class Repredict(Protocol):
    """Predicts the same patients with other features."""

    def __call__(self, values: Array, rows: Ints | None = None, /) -> Array:
        """Return cumulative hazards without the treatment.

        Args:
            values: (m, p) coded features without the treatment.
            rows: (m,) their patients; all, in order, if absent.
        """


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-fold or external predictions of n patients."""

    cohort: Cohort
    """The patients, the treatment among their features."""
    protocol: str
    """``OUT_OF_FOLD`` or ``EXTERNAL``."""
    group: Ints
    """(n,) fold: risks are comparable among patients of one fold, predicted by the same models."""
    grid: TimeGrid
    """The j bins of all curves; its horizon is the last month that is judged."""
    curves: Mapping[str, Array]
    """(n, j + 1) cumulative hazards of the ``MODEL``, then of its learners, by name."""
    baselines: Mapping[str, Array]
    """(n, j + 1) cumulative hazards of the simple models, then of the peers, by name."""
    blind: Array
    """(n, j + 1) cumulative hazard of the model without the treatment."""
    again: Repredict
    """Computes ``blind`` for other features of the patients."""
    notes: tuple[str, ...] = ()
    """Baselines without predictions, and why."""

    @property
    def outcome(self) -> tuple[Array, Bools]:
        """Time and event (n,), administratively censored at the horizon."""
        horizon = min(self.cohort.horizon, self.grid.horizon)
        time = np.minimum(self.cohort.time, horizon)
        return time, self.cohort.event & (self.cohort.time <= horizon)

    def take(self, rows: Ints) -> Predictions:
        """Return some of the patients (m,), in that order."""

        def again(values: Array, some: Ints | None = None, /) -> Array:
            return self.again(values, rows if some is None else rows[some])

        return replace(
            self,
            cohort=self.cohort.take(rows),
            group=self.group[rows],
            curves={name: curve[rows] for name, curve in self.curves.items()},
            baselines={name: curve[rows] for name, curve in self.baselines.items()},
            blind=self.blind[rows],
            again=again,
        )


FOREST, BOOSTED = "random survival forest", "boosted trees"


PEERS = (FOREST, BOOSTED)
