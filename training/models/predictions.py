"""What a model said of patients whose outcome is known: out of fold, or of a cohort new to it.

All that judges a model takes this, so that a training run, an external validation and a comparison
of two models are judged by the same code. A bundle holds no patients: with its cohort at hand,
:func:`replay` makes the out-of-fold predictions of the run anew from the bundle's own fold models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.fitting.fit import Fitted, assemble
from accomplice.training.fitting.peers import peers
from accomplice.training.fitting.prepare import Prepared, assign_folds, truncate
from accomplice.training.learners.stack import LEARNERS
from accomplice.training.models.baselines import Baseline, fit_baselines, out_of_fold_curves
from accomplice.training.models.survival import SurvivalModel

MODEL = "model"
OUT_OF_FOLD, EXTERNAL = "out of fold", "external"


class Again(Protocol):
    """Predicts the same patients once more, had they had other features."""

    def __call__(self, values: Array, rows: Ints | None = None, /) -> Array:
        """Return cumulative hazards without the treatment.

        Args:
            values: (m, p) coded features without the treatment.
            rows: (m,) the patients that they are of; all, in order, if absent.
        """


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions of n patients, of whom nothing but the features was used to make them."""

    cohort: Cohort
    """The patients, the treatment among their features."""
    protocol: str
    """``OUT_OF_FOLD`` or ``EXTERNAL``."""
    group: Ints
    """(n,) patients predicted by the same models, whose risks may be compared: their fold."""
    grid: TimeGrid
    """The j bins of all curves; its horizon is the last month that is judged."""
    curves: Mapping[str, Array]
    """(n, j + 1) cumulative hazards of the ``MODEL``, then of its learners, by name."""
    baselines: Mapping[str, Array]
    """(n, j + 1) cumulative hazards of the simple models, then of the peers, by name."""
    blind: Array
    """(n, j + 1) cumulative hazard of the model without the treatment."""
    again: Again
    """``blind``, had the patients had other features."""
    notes: tuple[str, ...] = ()
    """What the model is not held against, and why."""

    @property
    def outcome(self) -> tuple[Array, Bools]:
        """Time and event (n,), administratively censored at the horizon."""
        horizon = min(self.cohort.horizon, self.grid.horizon)
        time = np.minimum(self.cohort.time, horizon)
        return time, self.cohort.event & (self.cohort.time <= horizon)

    def take(self, rows: Ints) -> Predicted:
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


def from_fit(
    fitted: Fitted,
    config: Config,
    baselines: Sequence[Baseline] | None = None,
    budget: Budget = UNLIMITED,
) -> Predicted:
    """Gather a fit's out-of-fold predictions, and those of the baselines on the same folds.

    Args:
        fitted: the fit.
        config: of the run.
        baselines: of the fit, where they are there already; they are fitted if absent.
        budget: within which there may be time for the peers.
    """
    prepared = fitted.prepared
    curves = {MODEL: fitted.cumulative} | dict(zip(LEARNERS, fitted.learners, strict=True))
    own = fit_baselines(prepared, config) if baselines is None else baselines
    others, notes = peers(prepared, config, budget)
    return Predicted(
        cohort=prepared.cohort,
        protocol=OUT_OF_FOLD,
        group=prepared.fold[0],
        grid=prepared.grid,
        curves=curves,
        baselines=out_of_fold_curves(own, prepared) | others,
        blind=fitted.blind,
        again=fitted.again,
        notes=notes,
    )


def replay(model: SurvivalModel, cohort: Cohort, config: Config) -> Fitted:
    """Make a run's out-of-fold predictions anew from its bundle and the cohort it was trained on.

    Args:
        model: of the bundle.
        cohort: that the model was trained on, as its fingerprint tells; the folds follow from it.
        config: of the run.
    """
    ensemble = model.ensemble
    fold = assign_folds(cohort, *truncate(cohort), config)
    prepared = Prepared(cohort, cohort.prognostic(), fold, ensemble.folds, ensemble.grid)
    fitted = assemble(prepared, ensemble.net, config, history=[])
    return replace(fitted, ensemble=ensemble)
