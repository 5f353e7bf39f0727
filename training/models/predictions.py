"""Out-of-fold or external predictions of patients with observed outcomes.

Evaluation takes these, so that a training run, an external validation and a comparison of two
models are evaluated by the same code. A bundle holds no patients: from its fold models and the
cohort it was trained on, ``fitting.out_of_fold.replay`` makes the out-of-fold predictions again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.training.estimators.hazard import TimeGrid

#: Name of the model among its learners and baselines.
MODEL = "model"
#: Protocols of predictions: by fold models trained without the patient, or on a new cohort.
OUT_OF_FOLD, EXTERNAL = "out of fold", "external"
#: Names of the peers: models of scikit-survival, fitted on the same folds.
FOREST, BOOSTED = "random survival forest", "boosted trees"
PEERS = (FOREST, BOOSTED)


class Repredict(Protocol):
    """Function that predicts the same patients with other values of their features."""

    def __call__(self, values: Array, rows: Ints | None = None, /) -> Array:
        """Return cumulative hazards (m, j + 1) by the model without the treatment.

        Args:
            values: (m, p) coded features without the treatment.
            rows: (m,) index of the patient of each row; if absent, all n patients in order.
        """


@dataclass(frozen=True, eq=False)
class FoldCurves:
    """Predictions of m of n patients by the models of each of k folds alone.

    All but one of the folds' models were fitted to the patient too. They show how far predictions
    depend on the training patients, and are not judged.
    """

    rows: Ints
    """(m,) positions of the patients."""
    fold: Ints
    """(m,) fold of each patient, whose models were fitted without the patient."""
    curves: Mapping[str, Array]
    """Model or baseline -> (k, m, j + 1) cumulative hazards without the treatment."""

    def take(self, rows: Ints) -> FoldCurves:
        """Return those of the patients at ``rows`` of the n, with positions among these."""
        place = np.full(max(int(self.rows.max(initial=-1)), int(rows.max(initial=-1))) + 1, -1)
        place[self.rows] = np.arange(len(self.rows))
        kept = np.flatnonzero(place[rows] >= 0)
        own = place[rows[kept]]
        curves = {name: curve[:, own] for name, curve in self.curves.items()}
        return FoldCurves(kept, self.fold[own], curves)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-fold or external predictions of n patients."""

    cohort: Cohort
    """The patients, the treatment among their features."""
    protocol: str
    """``OUT_OF_FOLD`` or ``EXTERNAL``."""
    group: Ints
    """(n,) label of each patient, within which risks are compared: the fold of random folds, as
    only within a fold risks come from the same models; 0 for all where the models were fitted on
    no patient of the same centre, as external predictions and those of held-out centres."""
    grid: TimeGrid
    """The j bins of all curves; no month after its horizon can be judged."""
    curves: Mapping[str, Array]
    """(n, j + 1) cumulative hazards of the ``MODEL``, then of its learners, by name, all without
    the patients' treatment: like the baselines, they use only what is known at the start."""
    baselines: Mapping[str, Array]
    """(n, j + 1) cumulative hazards of the simple models, then of the peers, by name."""
    served: Array
    """(n, j + 1) cumulative hazard of the model under the treatment that each patient came to have,
    as it is served; the curve of ``MODEL`` where there is no effect or the treatment is unknown."""
    again: Repredict
    """Computes the curve of ``MODEL`` for other features of the patients."""
    notes: tuple[str, ...] = ()
    """Baselines without predictions, and why."""
    by_fold: FoldCurves | None = None
    """Predictions of each fold's models; None if one model predicts all, as external predictions
    are."""

    @property
    def centres_held_out(self) -> bool:
        """Whether each patient's models were fitted on no patient of the same centre."""
        return not self.group.any()

    @property
    def outcome(self) -> tuple[Array, Bools]:
        """Months of follow-up (n,) and events (n,), administratively censored at the horizon.

        The horizon is that of the cohort or of the grid, whichever is earlier.
        """
        horizon = min(self.cohort.horizon, self.grid.horizon)
        time = np.minimum(self.cohort.time, horizon)
        return time, self.cohort.event & (self.cohort.time <= horizon)

    def take(self, rows: Ints) -> Predictions:
        """Return the predictions of the patients at ``rows`` (m,), in that order."""

        def again(values: Array, some: Ints | None = None, /) -> Array:
            return self.again(values, rows if some is None else rows[some])

        return replace(
            self,
            cohort=self.cohort.take(rows),
            group=self.group[rows],
            curves={name: curve[rows] for name, curve in self.curves.items()},
            baselines={name: curve[rows] for name, curve in self.baselines.items()},
            served=self.served[rows],
            again=again,
            by_fold=None if self.by_fold is None else self.by_fold.take(rows),
        )
