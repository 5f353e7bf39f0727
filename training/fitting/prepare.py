"""First part of a fit: the division into folds, and each fold's learners except the network.

The module needs no torch: only the network does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accomplice.data.arrays import Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.preprocessor import Inputs, Preprocessor
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.censoring import ChosenCensoring, censoring_of
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.fitting.folds import assign_folds
from accomplice.training.learners.learner import TrainingData
from accomplice.training.learners.registry import LEARNERS
from accomplice.training.models.fold_model import FoldModel
from accomplice.training.progress import Tick, silent
from accomplice.training.second_process import ALONE, SecondProcess


@dataclass(frozen=True)
class Prepared:
    """State of a fit before the network is trained.

    Of the network's settings it depends on ``net.embedding_bins`` only.
    """

    cohort: Cohort
    """The n patients, in the order of their identifiers."""
    blind: Cohort
    """The same patients without their treatment, on whom the learners are fitted."""
    fold: Ints
    """(repeats, n) held-out fold of each patient."""
    models: tuple[FoldModel, ...]
    """(k,) models of each repeat and fold: all folds of the first repeat, then of the next."""
    grid: TimeGrid
    """Common time bins, at whose edges the curves of all folds are computed."""
    by_centre: bool = False
    """Whether each fold is a centre, or several small ones."""

    @property
    def group(self) -> Ints:
        """(n,) label of each patient: out-of-fold risks are compared within a label.

        It is the first repeat's fold: the mean risk predicted by a fold's models is lower where its
        held-out patients had, by chance, worse outcomes, which would bias a pooled concordance.
        Where folds are centres there is one label, since their mean risks differ mainly by case
        mix, which the model predicts.
        """
        return np.zeros_like(self.fold[0]) if self.by_centre else self.fold[0]

    def inputs(self, k: int, rows: Ints, precision: type[np.floating] = np.float64) -> Inputs:
        """Return some patients' preprocessed inputs for one fold's models.

        They are made on demand: those of all patients and folds would fill the memory.

        Args:
            k: position of the fold in ``models``.
            rows: (m,) positions of the patients in the cohort.
            precision: floating-point type of the inputs.
        """
        centre = None if self.blind.centre is None else self.blind.centre[rows]
        preprocessor = self.models[k].preprocessor
        return preprocessor.transform(self.blind.values[rows], centre, precision)

    @cached_property
    def censoring(self) -> ChosenCensoring:
        """Distribution of the censoring time by which the patients are weighted."""
        return censoring_of(self.cohort, *self.cohort.outcome)

    @property
    def held_out(self) -> Bools:
        """(k, n) whether the patient is held out of the models of each repeat and fold."""
        repeats, _ = self.fold.shape
        folds = len(self.models) // repeats
        return np.concatenate([[f == k for k in range(folds)] for f in self.fold])


def prepare(
    cohort: Cohort,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    second: SecondProcess = ALONE,
) -> Prepared:
    """Divide the patients into folds, and fit each fold's learners except the network.

    Args:
        cohort: patients with their outcomes.
        config: run configuration.
        tick: progress callback.
        budget: time budget, shared by the folds.
        second: process that fits a part of the folds.

    Raises:
        InputError: the cohort cannot be divided into folds; see :func:`folds.assign_folds`.
    """
    cohort = cohort.in_order()
    (time, event), blind = cohort.outcome, cohort.prognostic()
    fold = assign_folds(cohort, time, event, config)
    training = [np.flatnonzero(a != k) for a in fold for k in range(int(a.max()) + 1)]
    models: dict[int, FoldModel] = {}
    if second.runs:
        tasks = [second.submit(_fit_fold, blind, train, config, UNLIMITED) for train in training]
        # The last first: the second process has begun with the first.
        for k in reversed(range(len(tasks))):
            models[k] = tasks[k].result()
            tick("folds", len(models), len(training))
    for k in range(len(models), len(training)):
        own = budget.share(1 / (len(training) - k))
        models[k] = _fit_fold(blind, training[k], config, own)
        tick("folds", len(models), len(training))
    grid = time_grid(cohort, config)
    ordered = tuple(models[k] for k in range(len(training)))
    return Prepared(cohort, blind, fold, ordered, grid, config.folds.by == "centre")


def time_grid(cohort: Cohort, config: Config) -> TimeGrid:
    """Return time bins with about equally many of the patients' events."""
    return TimeGrid.fit(*cohort.outcome, cohort.horizon, config.grid.bins, config.grid.events_each)


def fit_preprocessor(cohort: Cohort, train: Ints, config: Config) -> Preprocessor:
    """Fit the preprocessing on a fold's training patients.

    Args:
        cohort: all n patients, without the treatment.
        train: (m,) positions of the fold's training patients.
        config: run configuration.
    """
    centre = None if cohort.centre is None else cohort.centre[train]
    bins = config.net.embedding_bins
    return Preprocessor.fit(cohort.study, cohort.values[train], centre, bins, cohort.values)


def training_data(preprocessor: Preprocessor, patients: Cohort, config: Config) -> TrainingData:
    """Return a fold's training patients in the form that learners are fitted to.

    Args:
        preprocessor: the fold's preprocessing.
        patients: the fold's training patients, without the treatment.
        config: run configuration.
    """
    first = next(iter(patients.study.blocks))
    markers = np.array([c.modality != first for c in preprocessor.linear_columns()])
    X = preprocessor.linear(patients.values, patients.centre)
    return TrainingData(X, *patients.outcome, time_grid(patients, config), markers)


def _fit_fold(cohort: Cohort, train: Ints, config: Config, budget: Budget) -> FoldModel:
    """Fit preprocessing, time bins and learners on the rows of one fold's training patients."""
    preprocessor = fit_preprocessor(cohort, train, config)
    data = training_data(preprocessor, cohort.take(train), config)
    learners = {
        name: learner.fit(data, config, budget.share(learner.TIME))
        for name, learner in LEARNERS.items()
        if learner.used(config)
    }
    return FoldModel(preprocessor, data.grid, learners)
