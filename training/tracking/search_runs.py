"""Runs in MLflow of a search: the study's run, and one nested in it for each trial."""

from __future__ import annotations

import hashlib
import math

import optuna
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from accomplice.data.cohort import Cohort
from accomplice.training.config import Config, with_settings
from accomplice.training.search.gain import best_score, sentence
from accomplice.training.search.scores import OPTIMISED
from accomplice.training.search.search import Tuned
from accomplice.training.search.space import KEYS
from accomplice.training.search.study import SCORES, propose_defaults
from accomplice.training.tracking.runs import (
    NOTE,
    STUDY_TAG,
    log_batch,
    log_cohort,
    params,
    source_tags,
    tags_of,
)
from accomplice.training.tracking.search_figures import study_figures
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.stores.lost import end_lost_runs, process_tag
from accomplice.training.tracking.views import run_page, save_trials_view, trials_page

#: Prefix of the attribute of an Optuna study, or of its first trial, that holds the id of its
#: MLflow run; the rest names the store.
PARENT = "mlflow_run"
#: Tag of a nested run with the id of its parent.
PARENT_TAG = "mlflow.parentRunId"


def open_parent(store: Store, cohort: Cohort, config: Config, study: optuna.Study) -> str:
    """Return the id of the run that holds a study's trials; the first session creates it.

    Workers that begin at the same moment create one each. The run noted in the first proposed trial
    of the defaults is kept, and the others are deleted.
    """
    client = MlflowClient()
    end_lost_runs()
    key = f"{PARENT}:{hashlib.sha256(store.tracking_uri.encode()).hexdigest()[:10]}"
    noted = [study.user_attrs, *(t.user_attrs for t in study.get_trials(deepcopy=False))]
    # Under any address of the store, which may have been moved.
    for run_id in (each[k] for each in noted for k in each if k.startswith(f"{PARENT}:")):
        if _is_active(client, run_id):
            return _reopened(client, run_id)
    made = client.create_run(
        store.experiment(cohort.study.name),
        run_name=f"study {study.study_name}",
        tags=tags_of(cohort, "study") | {STUDY_TAG: study.study_name},
    )
    run_id = str(made.info.run_id)
    elected = propose_defaults(study, config, {key: run_id}).get(key)
    if elected is not None and elected != run_id and _is_active(client, elected):
        client.delete_run(run_id)
        return _reopened(client, elected)
    study.set_user_attr(key, run_id)
    log_cohort(run_id, cohort)
    log_batch(run_id, params(cohort, config))
    return run_id


def _reopened(client: MlflowClient, run_id: str) -> str:
    """Mark a run as running, also in this process; return its id."""
    client.update_run(run_id, "RUNNING")
    for key, value in process_tag().items():
        client.set_tag(run_id, key, value)
    return str(run_id)


def _is_active(client: MlflowClient, run_id: str) -> bool:
    try:
        return str(client.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def log_trial(
    store: Store, cohort: Cohort, config: Config, parent: str, trial: optuna.trial.FrozenTrial
) -> None:
    """Log a finished trial as a run nested in ``parent``, the id of the study's run.

    The trial's settings replace those of ``config``.
    """
    client = MlflowClient()
    began = trial.datetime_start
    made = client.create_run(
        store.experiment(cohort.study.name),
        start_time=None if began is None else int(began.timestamp() * 1000),
        run_name=f"trial {trial.number}",
        tags={"stage": "trial", PARENT_TAG: parent, **source_tags("trial")},
    )
    scores = {name: float(values[0]) for name, values in trial.user_attrs[SCORES].items()}
    scores = {name: value for name, value in scores.items() if math.isfinite(value)}
    scores["net_share"] = float(trial.user_attrs["net_share"])
    drawn = with_settings(config, trial.params)
    log_batch(made.info.run_id, params(cohort, drawn), scores)
    client.set_terminated(made.info.run_id)


def log_search(run_id: str, tuned: Tuned, final: str) -> None:
    """Log the end of a search: its choice, description, figures and view.

    Nothing is logged if time ran out before the defaults were judged.

    Args:
        run_id: id of the study's run.
        tuned: the finished search.
        final: id of the final model's run.
    """
    choice, study, objective = tuned.choice, tuned.study, tuned.config.search.objective
    if choice is None:
        return
    client = MlflowClient()
    metrics = {f"best_{k}": float(v) for k, v in choice.trial.params.items()}
    scores = choice.trial.user_attrs[SCORES]
    metrics |= {f"best_{k}": scores[k][0] for k in ("ibs", "uno_c")}
    metrics["best_trial"] = float(choice.trial.number)
    low, high = choice.gain.interval
    metrics |= {"expected_gain": choice.gain.mean, "gain_low": low, "gain_high": high}
    words = f"{tuned.trials} trials, each judged on the same folds"
    words += f"{best_score(study, objective)}; {sentence(choice, objective)}"
    experiment = str(client.get_run(run_id).info.experiment_id)
    words += f".\n\n[Trials in parallel coordinates]({trials_page(experiment)}) · "
    words += f"[final model, judged on other folds]({run_page(experiment, final)})"
    log_batch(run_id, metrics=metrics, tags={NOTE: words})
    for name, figure in study_figures(study, objective):
        client.log_figure(run_id, figure, f"figures/{name}")
    save_trials_view(experiment, run_id, study.study_name, list(KEYS), OPTIMISED[objective][0])
