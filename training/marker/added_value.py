"""Added value of one feature: a ridge Cox model with the feature against the same model without it.

Discrimination, prediction error and net benefit are compared out of fold, on the same patients,
folds and bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.config import Config
from accomplice.training.estimators.censoring import censoring_of
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

#: Name of the model without the feature in the evaluation.
WITHOUT = "without"
#: Month at which net benefit is estimated, or the judged horizon if that is earlier.
DECISION_TIME = 60.0


@dataclass(frozen=True)
class AddedValue:
    """Comparison of a model with a feature and the same model without it."""

    evaluation: Evaluation
    """Evaluation of the model with the feature (``model``) and of that without (``without``)."""
    decision: Decision
    """Net benefit of both models, and the paired gain by the feature."""

    @property
    def gains(self) -> dict[str, Estimate]:
        """Gain by the feature in each deciding metric (``uno_c``, ``ibs``); above 0 is better."""
        return self.evaluation.gains[WITHOUT]

    @property
    def certain(self) -> bool:
        """Whether the 95 % interval of some gain is above 0, and that of none below 0."""
        gains = self.gains.values()
        return any(g.low > 0 for g in gains) and not any(g.high < 0 for g in gains)


def added_value(
    cohort: Cohort, feature: str, others: Collection[str], config: Config, tick: Tick = silent
) -> AddedValue:
    """Estimate the added value of a feature.

    Args:
        cohort: patients with a known value of the feature.
        feature: name of the feature that is judged.
        others: names of the features that both models have.
        config: run configuration; its folds, grid, bootstraps, seed and the ridge Cox model's inner
            folds are used.
        tick: progress callback.

    Raises:
        InputError: the cohort cannot be divided into folds; see :func:`folds.assign_folds`.
    """
    time, event = cohort.outcome
    fold = assign_folds(cohort, time, event, config)
    grid = _grid(time, event, cohort.horizon, config)
    curves = np.zeros((2, len(fold), len(time), grid.bins + 1))
    total, done = sum(int(f.max()) + 1 for f in fold), 0
    for r, assignment in enumerate(fold):
        for k in range(int(assignment.max()) + 1):
            out = assignment == k
            curves[:, r, out] = _fold_curves(
                cohort, time, event, out, feature, set(others), grid, config
            )
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
        chosen=censoring_of(cohort, time, event),
    )
    followed = BootstrappedOutcome.of(
        time,
        event,
        evaluation.horizon,
        config.evaluation.bootstraps,
        config.seed,
        evaluation.censoring.weights,
    )
    months = (min(DECISION_TIME, evaluation.horizon),)
    both = {MODEL: with_it, WITHOUT: without}
    return AddedValue(evaluation, *decisions(followed, grid, both, WITHOUT, months))


def _grid(time: Array, event: Bools, horizon: float, config: Config) -> TimeGrid:
    """Return time bins with about equally many events."""
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
    """Return the cumulative hazards (2, m, j + 1) of the m held-out patients.

    The first are of the model with the feature, the second of that without it; ``out`` (n,) marks
    the held-out patients.
    """
    train = ~out
    values, centre = cohort.values, cohort.centre
    preprocessor = Preprocessor.fit(
        cohort.study, values[train], None if centre is None else centre[train], bins=1
    )
    X, columns = preprocessor.linear(values, centre), preprocessor.linear_columns()
    own = _grid(time[train], event[train], cohort.take(train).horizon, config)
    found = []
    for used in (others | {feature}, others):
        read = set(preprocessor.read_for(used))
        chosen = [i for i, c in enumerate(columns) if set(c.features) <= read]
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
