"""Out-of-fold predictions of settings, with every learner fitted once for all trials.

A learner depends on its own settings and on those of the time bins, the network also on the
anchor's, whose coefficients scale its inputs. A trial fits the learners whose settings no trial
before had.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar, cast

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.budget import UNLIMITED
from accomplice.training.config import Config, flat
from accomplice.training.estimators.censoring import censoring_of
from accomplice.training.estimators.hazard import TimeGrid, from_survival
from accomplice.training.fitting.fit import cross_fit_stacks, out_of_fold, stacked
from accomplice.training.fitting.folds import assign_folds
from accomplice.training.fitting.prepare import (
    Prepared,
    fit_preprocessor,
    time_grid,
    training_data,
)
from accomplice.training.learners.learner import Learner
from accomplice.training.learners.registry import LEARNERS, NET, stack_order
from accomplice.training.models.ensemble import on_grid
from accomplice.training.models.fold_model import FoldModel
from accomplice.training.models.forward import BatchedEnsemble
from accomplice.training.progress import silent
from accomplice.training.search.scores import Scores, TrialScores

#: Fits of a learner that are kept: those of the last settings that were asked for.
KEPT = 12
#: Patients predicted at once.
BLOCK = 8192

Made = TypeVar("Made")


def do_not_stop() -> None:
    """Default check of a trial: go on."""


class SharedFits:
    """Fits of the folds of a cohort, shared by all trials of a search.

    Args:
        cohort: the training patients.
        config: settings that are not searched; the seed and the folds are theirs.

    Raises:
        InputError: the cohort cannot be divided into folds; see :func:`folds.assign_folds`.
    """

    def __init__(self, cohort: Cohort, config: Config) -> None:
        self.cohort = cohort.in_order()
        self.blind = self.cohort.prognostic()
        self.config = config
        outcome = self.cohort.outcome
        self.fold = assign_folds(self.cohort, *outcome, config)
        self._kept: OrderedDict[tuple[Hashable, ...], object] = OrderedDict()
        whole = self._prepared(config, (), time_grid(self.cohort, config))
        self.scores = Scores(outcome, whole.grid.horizon, censoring_of(self.cohort, *outcome))
        self.group = whole.group

    def judge(self, config: Config, check: Callable[[], None] = do_not_stop) -> TrialScores:
        """Score settings by the stacked predictions out of fold.

        Args:
            config: the settings; folds and seed are those of the search.
            check: called after each fold's fit and each epoch of the network; it may raise.
        """
        used = [name for name, learner in LEARNERS.items() if learner.used(config)]
        grid = time_grid(self.cohort, config)
        curves = {name: self._survival(name, config, grid, check) for name in used}
        curves[NET] = self._net(config, grid, check)
        names = stack_order(used)
        learners = from_survival(np.stack([curves[name] for name in names]))
        fold = self.fold[0]
        stacks = cross_fit_stacks(fold, learners, *self.cohort.outcome, grid, config.stack)
        blind = stacked(fold, stacks, learners)
        share = float(np.mean([stack.weights[names.index(NET)] for stack in stacks]))
        return self.scores.of(grid, blind, self.group, share, config.search.objective)

    def _survival(
        self, name: str, config: Config, grid: TimeGrid, check: Callable[[], None]
    ) -> Array:
        """Return the survival (n, j + 1) that a learner other than the network predicts."""
        key = (f"{name} curves", *_settings(config, name, "grid"))
        return self._once(key, partial(self._predicted, name, config, grid, check))

    def _predicted(
        self, name: str, config: Config, grid: TimeGrid, check: Callable[[], None]
    ) -> Array:
        fits, preprocessors = self._fits(name, config, check), self._preprocessors(config)
        found = np.zeros((len(self.cohort), grid.bins + 1))
        for rows, preprocessor, (own, learner) in zip(
            self._held_out(), preprocessors, fits, strict=True
        ):
            for some in np.split(rows, range(BLOCK, len(rows), BLOCK)):
                patients = self.blind.take(some)
                X = preprocessor.linear(patients.values, patients.centre)
                found[some] += np.exp(-on_grid(own, learner.cumulative(X), grid))
        return found / len(self.fold)

    def _fits(
        self, name: str, config: Config, check: Callable[[], None]
    ) -> list[tuple[TimeGrid, Learner]]:
        """Return the time bins and the fitted learner of each repeat and fold.

        Those of the anchor are kept, since the network needs them; of others the curves alone are.
        """
        if name != next(iter(LEARNERS)):
            return self._fitted(name, config, check)
        key = (f"{name} fits", *_settings(config, name, "grid"))
        return self._once(key, partial(self._fitted, name, config, check))

    def _fitted(
        self, name: str, config: Config, check: Callable[[], None]
    ) -> list[tuple[TimeGrid, Learner]]:
        found = []
        for rows, preprocessor in zip(self._trained_on(), self._preprocessors(config), strict=True):
            data = training_data(preprocessor, self.blind.take(rows), config)
            found.append((data.grid, LEARNERS[name].fit(data, config, UNLIMITED)))
            check()
        return found

    def _net(self, config: Config, grid: TimeGrid, check: Callable[[], None]) -> Array:
        """Return the survival (n, j + 1) that the network predicts."""
        first = next(iter(LEARNERS))
        key = (NET, *_settings(config, NET, first, "grid"))
        return self._once(key, partial(self._predicted_by_net, config, grid, check))

    def _predicted_by_net(self, config: Config, grid: TimeGrid, check: Callable[[], None]) -> Array:
        # Torch and Lightning are imported here, since only training needs them.
        from accomplice.training.fitting.network import fit_net

        first = next(iter(LEARNERS))
        anchors = self._fits(first, config, check)
        models = tuple(
            FoldModel(preprocessor, own, {first: anchor})
            for preprocessor, (own, anchor) in zip(
                self._preprocessors(config), anchors, strict=True
            )
        )
        prepared = self._prepared(config, models, grid)
        net, _ = fit_net(prepared, config, silent, UNLIMITED, lambda *_: check())
        by_fold = BatchedEnsemble(models, net.networks(), grid).by_fold()
        place = by_fold[0].names.index(NET)
        return cast(Array, np.exp(-out_of_fold(prepared, by_fold)[place]))

    def _prepared(self, config: Config, models: tuple[FoldModel, ...], grid: TimeGrid) -> Prepared:
        by_centre = config.folds.by == "centre"
        return Prepared(self.cohort, self.blind, self.fold, models, grid, by_centre)

    def _preprocessors(self, config: Config) -> list[Preprocessor]:
        """Return the preprocessing of each repeat and fold."""
        return self._once(
            ("preprocessing", config.net.embedding_bins),
            lambda: [fit_preprocessor(self.blind, rows, config) for rows in self._trained_on()],
        )

    def _held_out(self) -> list[Ints]:
        """Return the held-out patients of each repeat and fold."""
        return [np.flatnonzero(own == k) for own in self.fold for k in np.unique(own)]

    def _trained_on(self) -> list[Ints]:
        """Return the training patients of each repeat and fold."""
        return [np.flatnonzero(own != k) for own in self.fold for k in np.unique(own)]

    def _once(self, key: tuple[Hashable, ...], make: Callable[[], Made]) -> Made:
        """Return what ``make`` returned for the key, if it is kept; else make and keep it."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return cast(Made, self._kept[key])
        made = make()
        self._kept[key] = made
        kind = [other for other in self._kept if other[0] == key[0]]
        if len(kind) > KEPT:
            del self._kept[kind[0]]
        return made

    def on_other_folds(self) -> SharedFits:
        """Return shared fits on folds that neither the search nor the final model has.

        The seeds of R repeats are s to s + R - 1, those of the final model s + R to s + 2R - 1.
        """
        seed = self.config.seed + 2 * self.config.folds.repeats
        return SharedFits(self.cohort, self.config.model_copy(update={"seed": seed}))


def _settings(config: Config, *parts: str) -> tuple[tuple[str, Hashable], ...]:
    """Return the settings of some parts, with their keys."""
    return tuple(
        (key, value) for key, value in flat(config).items() if key.partition(".")[0] in parts
    )
