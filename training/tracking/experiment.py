"""Fit, evaluate and log: one run, or a search and the final run with its best settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from accomplice.data.cohort import Cohort, Patients
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.fitting.prepare import prepare
from accomplice.training.progress import Tick, silent
from accomplice.training.run import Trained, train
from accomplice.training.tracking import runs
from accomplice.training.tracking.store import Store
from accomplice.training.tune import Tuned, do_nothing, judged, open_study, study_name, tune

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
    """Tune with nested runs, then train the final model on other folds than chose it.

    Args:
        store: the tracking store.
        cohort: to train on.
        config: the defaults.
        trials: of the study, earlier ones included.
        storage: of the Optuna study; the store's own if absent.
        name: of the study; by cohort and settings if absent.
        out: place of the bundle, checked; in the store if absent.
        budget: of search and final fit.
        study_file: that describes the patients.
        tick: progress callback.
        resumed: called with a study that has trials of an earlier session.
        tuned: called after the search.
        waiting: called where the last trials are other workers', with their number.
    """
    began = time.monotonic()
    prepared = prepare(cohort, config, tick)
    before = time.monotonic() - began
    study = open_study(name or study_name(cohort, config), storage or store.optuna, config.seed)
    done = judged(study)
    if done:
        resumed(study)
    parent = runs.open_parent(store, cohort, config, study)

    def report(trial: optuna.trial.FrozenTrial, current: optuna.Study) -> None:
        runs.log_trial(store, cohort, config, parent, trial)
        tick("trials", min(judged(current), trials), trials)

    tick("trials", min(done, trials), trials)
    with runs.ended(parent):
        models = 1 + len(cohort.further)
        result = tune(prepared, config, study, trials, report, budget, before, models, waiting)
        tuned(result)
        # The best of many trials is optimistic on the folds that chose it: evaluate it on others.
        final = result.config.model_copy(update={"seed": config.seed + 1})
        made = fit_and_keep(
            *(store, cohort, final, out, tick),
            stage="final",
            tuned=study.study_name,
            budget=budget,
            study_file=study_file,
        )
        runs.log_search(parent, study, made[2].run_id)
    return made


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
) -> tuple[Trained, Path, Logged]:
    """Fit and judge a model of each endpoint inside a run of its own, write the bundle, log it.

    Args:
        store: the tracking store.
        patients: to train on.
        config: of the run.
        out: place of the bundle, checked; in the store if absent.
        tick: progress callback.
        stage: of the work, as a tag of the run.
        name: of the run.
        tuned: name of the Optuna study that the configuration is from.
        budget: of the fit.
        study_file: that describes the patients.
    """
    name = name or (stage if tuned is None else f"{stage} {tuned}")
    with runs.run(store, patients, stage, name, tuned) as run_id:
        trained = train(patients, config, tick, budget=budget)
        bundle = trained.bundle
        folder = store.bundles / f"{bundle.study.name}-{bundle.provenance['fit_id']}"
        path = (out or folder).absolute()
        bundle.save(path, force=True)
        logged = runs.log_training(store, run_id, patients, config, trained, path, study_file)
    return trained, path, logged
