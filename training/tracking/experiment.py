"""Fit, evaluation and log of one run, or of a search and the final run with its best settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from accomplice.data.cohort import Cohort, Patients
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.progress import Tick, silent
from accomplice.training.run import Trained, train
from accomplice.training.search.search import Tuned, do_nothing, tune
from accomplice.training.search.shared_fits import SharedFits
from accomplice.training.search.study import completed, open_study, study_name
from accomplice.training.second_process import ALONE, SecondProcess
from accomplice.training.tracking import runs, search_runs
from accomplice.training.tracking.sketches import log_sketch
from accomplice.training.tracking.store import Store

if TYPE_CHECKING:
    from accomplice.training.tracking.registry import Logged


def search(
    store: Store,
    cohort: Cohort,
    config: Config,
    trials: int,
    storage: str | None = None,
    name: str | None = None,
    out: Path | None = None,
    budget: Budget = UNLIMITED,
    study_file: Path | None = None,
    tick: Tick = silent,
    resumed: Callable[[optuna.Study], None] = do_nothing,
    tuned: Callable[[Tuned], None] = do_nothing,
    waiting: Callable[[int], None] = do_nothing,
) -> tuple[Trained, Path, Logged]:
    """Tune with a nested run for each trial, then train the final model on other folds.

    With ``folds.by=centre`` there are no other folds: the evaluation of the final model is then
    optimistic.

    Args:
        store: the tracking store.
        cohort: the training patients.
        config: the default settings.
        trials: number of judged trials that the study shall have, earlier ones included.
        storage: address of the database of Optuna's study; by default the store's.
        name: name of the study; by default made from cohort and settings.
        out: folder for the bundle, already checked; by default in the store.
        budget: time limit of search and final fit.
        study_file: file that describes the patients.
        tick: progress callback.
        resumed: called with the study if it has judged trials of an earlier session.
        tuned: called with the result of the search.
        waiting: called with the number of trials that still run in other workers at the end.

    Returns:
        The fitted models, the folder of their bundle, and the final run as logged.

    Raises:
        InputError: the cohort cannot be divided into folds, or Optuna's storage cannot be opened.
    """
    objective = config.search.objective
    fits = SharedFits(cohort, config)
    study = open_study(name or study_name(cohort, config), storage or store.optuna, objective)
    done = len(completed(study))
    if done:
        resumed(study)
    parent = search_runs.open_parent(store, cohort, config, study)

    def report(trial: optuna.trial.FrozenTrial, current: optuna.Study) -> None:
        search_runs.log_trial(store, cohort, config, parent, trial)
        tick("trials", min(len(completed(current)), trials), trials)

    tick("trials", min(done, trials), trials)
    with runs.ended(parent):
        models = 1 + len(cohort.further)
        result = tune(fits, config, study, trials, report, budget, models, waiting)
        tuned(result)
        made = fit_and_keep(
            *(store, cohort, on_other_folds(result.config), out, tick),
            stage="final",
            tuned=study.study_name,
            budget=budget,
            study_file=study_file,
        )
        search_runs.log_search(parent, result, made[2].run_id)
    return made


def on_other_folds(config: Config) -> Config:
    """Return settings by which no repeat of the folds has a seed of those of ``config``.

    The best of many trials is optimistic on the folds that chose it. The seeds of R repeats are s
    to s + R - 1, see :func:`folds.assign_folds`: these settings begin at s + R.

    Args:
        config: settings of the search, with the seed s; the folds of centres have no seed.
    """
    return config.model_copy(update={"seed": config.seed + config.folds.repeats})


def fit_and_keep(
    store: Store,
    patients: Patients,
    config: Config,
    out: Path | None = None,
    tick: Tick = silent,
    *,
    stage: str,
    name: str | None = None,
    tuned: str | None = None,
    budget: Budget = UNLIMITED,
    study_file: Path | None = None,
    second: SecondProcess = ALONE,
) -> tuple[Trained, Path, Logged]:
    """Fit and judge a model of each endpoint in a run of its own; write the bundle and log it.

    Args:
        store: the tracking store.
        patients: the training patients.
        config: settings of the run.
        out: folder for the bundle, already checked; by default in the store.
        tick: progress callback.
        stage: stage of the work, a tag of the run.
        name: name of the run; by default the stage, and the name of the Optuna study if given.
        tuned: name of the Optuna study that the settings are from; None without one.
        budget: time limit of the fit.
        study_file: file that describes the patients.
        second: process that does a part of the work; the result is the same.

    Returns:
        The fitted models, the folder of their bundle, and the run as logged.

    Raises:
        InputError: the patients cannot be divided into folds or, without a survival endpoint, have
            too few labels.
    """
    name = name or (stage if tuned is None else f"{stage} {tuned}")
    with runs.run(store, patients, stage, name, tuned) as run_id:
        trained = train(patients, config, tick, budget, second)
        bundle = trained.bundle
        folder = store.bundles / f"{bundle.study.name}-{bundle.provenance['fit_id']}"
        path = (out or folder).absolute()
        bundle.save(path, force=True)
        log_sketch(run_id, patients)
        logged = runs.log_training(
            store, run_id, patients, config, trained, path, study_file, second
        )
    return trained, path, logged
