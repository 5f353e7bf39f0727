"""Added value of one feature: the same ridge Cox model with and without it, out of fold.

Discrimination, prediction error and net benefit are compared on the same patients, the same folds
and the same bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.net_benefit import decisions
from accomplice.training.evaluation.record import Decision
from accomplice.training.evaluation.scores import Evaluation, judge
from accomplice.training.fitting.folds import assign_folds
from accomplice.training.learners.anchor import fit_anchor
from accomplice.training.models.ensemble import mean_curve, on_grid
from accomplice.training.models.predictions import MODEL
from accomplice.training.progress import Tick, silent

#: The model without the feature, by its name in the evaluation.
WITHOUT = "without"
#: Months at which net benefit is taken, or the judged horizon where that is sooner.
DECISION_TIME = 60.0


@dataclass(frozen=True)
class AddedValue:
    """Gains of a model with a feature over the same without."""

    evaluation: Evaluation
    """Of the model with it (``model``) and the one without (``without``)."""
    decision: Decision
    """Net benefit of both, and the paired gain by the feature."""

    @property
    def gains(self) -> dict[str, Estimate]:
        """Gain in ``uno_c`` and in ``ibs``; above 0 is better in both."""
        return self.evaluation.gains[WITHOUT]

    @property
    def certain(self) -> bool:
        """Whether some gain is certain and none is a certain loss."""
        gains = self.gains.values()
        return any(g.low > 0 for g in gains) and not any(g.high < 0 for g in gains)


def added_value(
    cohort: Cohort, feature: str, others: Collection[str], config: Config, tick: Tick = silent
) -> AddedValue:
    """Judge the added value of a feature.

    Args:
        cohort: patients with a known value of the feature.
        feature: added to the others.
        others: features of the model without it.
        config: its folds, inner folds, bootstraps and seed are used.
        tick: progress callback.

    Raises:
        InputError: there are too few events.
    """
    time, event = cohort.outcome
    fold = assign_folds(cohort, time, event, config)
    grid = _grid(time, event, cohort.horizon, config)
    curves = np.zeros((2, len(fold), len(time), grid.bins + 1))
    total, done = sum(int(f.max()) + 1 for f in fold), 0
    for r, assignment in enumerate(fold):
        for k in range(int(assignment.max()) + 1):
            out = assignment == k
            made = _fold_curves(cohort, time, event, out, feature, set(others), grid, config)
            curves[:, r, out] = made
            done += 1
            tick("models with and without it", done, total)
    with_it, without = (mean_curve(c) for c in curves)
    evaluation = judge(
        time,
        event,
        fold[0],
        grid,
        {MODEL: with_it},
        {WITHOUT: without},
        config.evaluation.bootstraps,
        config.seed,
    )
    followed = BootstrappedOutcome.of(
        time, event, evaluation.horizon, config.evaluation.bootstraps, config.seed
    )
    months = (min(DECISION_TIME, evaluation.horizon),)
    both = {MODEL: with_it, WITHOUT: without}
    return AddedValue(evaluation, *decisions(followed, grid, both, WITHOUT, months))


def _grid(time: Array, event: Bools, horizon: float, config: Config) -> TimeGrid:
    return TimeGrid.fit(time, event, horizon, config.grid.bins, config.grid.events_each)


def _fold_curves(
    cohort: Cohort,
    time: Array,
    event: Bools,
    out: Bools,
    feature: str,
    others: set[str],
    grid: TimeGrid,
    config: Config,
) -> Array:
    """Cumulative hazards (2, m, j + 1) of the held-out patients, with the feature and without."""
    train = ~out
    values, centre = cohort.values, cohort.centre
    preprocessor = Preprocessor.fit(
        cohort.study, values[train], None if centre is None else centre[train], bins=1
    )
    X, columns = preprocessor.linear(values, centre), preprocessor.linear_columns()
    own = _grid(time[train], event[train], cohort.take(train).horizon, config)
    found = []
    for used in (others | {feature}, others):
        chosen = [i for i, c in enumerate(columns) if set(c.features) <= used]
        part = X[:, chosen]
        anchor = fit_anchor(
            part[train],
            time[train],
            event[train],
            own,
            np.zeros(len(chosen), dtype=bool),
            folds=config.anchor.folds,
            seed=config.seed,
        )
        found.append(on_grid(own, anchor.cumulative(part[out]), grid))
    return np.stack(found)
