"""Write runs to MLflow: flat parameters, a few stable metrics, figures, the dataset, the model.

Everything of a run is collected and sent in a few calls: one call a metric costs milliseconds each.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import time as clock
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow
import optuna
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState

from accomplice.data.cohort import Cohort, Patients
from accomplice.training.config import Config, flat, with_settings
from accomplice.training.evaluation.record import read_review
from accomplice.training.models.manifest import digest_of
from accomplice.training.reports.figures.responses import response_figure
from accomplice.training.reports.figures.review import review_figures
from accomplice.training.reports.figures.treatment import treatment_figures
from accomplice.training.reports.model_card import model_card
from accomplice.training.reports.page import render
from accomplice.training.reports.review.page import review_page
from accomplice.training.reports.treatment import treatment_page
from accomplice.training.run import Trained
from accomplice.training.tracking.address import WRITTEN_BY
from accomplice.training.tracking.contenders import STUDY_FILE
from accomplice.training.tracking.registry import Logged, log_model
from accomplice.training.tracking.search_figures import study_figures
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.summary import columns, headline, leak_tags, note, treatment_tags
from accomplice.training.tracking.views import (
    run_page,
    save_models_view,
    save_trials_view,
    trials_page,
)
from accomplice.training.tune import SPACE, best_of, judged, of_defaults, propose_defaults

#: Attribute of an Optuna study, or of its first trial, that holds the id of its MLflow run; which
#: store's follows.
PARENT = "mlflow_run"
NOTE = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"
STUDY_TAG = "optuna_study"
#: Characters of a cohort's fingerprint that are shown beside its name.
SHOWN = 12
#: Stages of a run that are not a verb of their own.
VERBS = {"study": "tune", "trial": "tune", "final": "tune", "external": "evaluate"}


@contextmanager
def run(
    store: Store,
    patients: Patients,
    stage: str,
    name: str,
    study: str | None = None,
    experiment: str | None = None,
) -> Iterator[str]:
    """Open a run; it ends as finished, failed, or killed by Ctrl-C.

    Args:
        store: the tracking store.
        patients: whom it is about.
        stage: of the work, such as ``train``.
        name: of the run.
        study: name of the Optuna study that its settings are from.
        experiment: that it belongs to; that of the patients' study if absent.
    """
    client = MlflowClient()
    tags = tags_of(patients, stage) | ({} if study is None else {STUDY_TAG: study})
    where = store.experiment(experiment or patients.study.name)
    opened = client.create_run(where, run_name=name, tags=tags)
    run_id = str(opened.info.run_id)
    try:
        yield run_id
    except KeyboardInterrupt:
        client.set_terminated(run_id, "KILLED")
        raise
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def tags_of(patients: Patients, stage: str) -> dict[str, str]:
    """Return what a run can be searched for."""
    return {
        "stage": stage,
        "endpoint": patients.target,
        "synthetic": str(patients.study.synthetic).lower(),
        "cohort_fingerprint": patients.fingerprint(),
        WRITTEN_BY: mlflow.__version__,
        **origin(stage),
    }


def origin(stage: str) -> dict[str, str]:
    """Return MLflow's own tags of who made a run, and by what."""
    tags = {
        "mlflow.source.name": f"accomplice {VERBS.get(stage, stage)}",
        "mlflow.source.type": "LOCAL",
    }
    with contextlib.suppress(KeyError, OSError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def log_training(
    store: Store,
    run_id: str,
    patients: Patients,
    config: Config,
    trained: Trained,
    folder: Path,
    study: Path | None = None,
) -> Logged:
    """Log all of a final fit: parameters, metrics, note, dataset, figures, registered model.

    Args:
        store: that is open.
        run_id: of an open run.
        patients: trained on.
        config: of the run.
        trained: what it made.
        folder: of its bundle.
        study: file that describes the patients, by which ``compare`` finds them again.
    """
    provenance = trained.bundle.provenance
    cuts, commit = provenance.get("cut_short", ()), provenance["git_commit"]
    primary = trained.primary
    log_cohort(run_id, patients)
    _log_batch(
        run_id,
        params(patients, config),
        {},  # they are logged with the model
        {
            NOTE: note(trained),
            **leak_tags(trained),
            **treatment_tags(None if primary is None else primary.evidence),
            "bundle_digest": digest_of(folder),
            "fit_id": provenance["fit_id"],
            **({} if commit is None else {"mlflow.source.git.commit": commit}),
            **({"cut_short": "; ".join(cuts)} if cuts else {}),
            # Where a file lies is of use on this machine alone.
            **({STUDY_FILE: str(study.absolute())} if study and store.embedded else {}),
        },
    )
    log_figures(run_id, trained)
    client = MlflowClient()
    client.log_dict(run_id, dict(trained.bundle.metrics), "evaluation.json")
    if primary is not None:
        client.log_dict(run_id, {"validation_loss": primary.fitted.history}, "history.json")
    logged = log_model(store, run_id, trained, folder)
    save_models_view(logged.experiment_id, columns(headline(trained)))
    return logged


def params(patients: Patients, config: Config) -> dict[str, object]:
    """Return the parameters of a run, the same names in every run of a study.

    Numbers are rounded, since MLflow cuts long ones off, exponents and all; the bundle has them
    whole.
    """
    return {
        **{key: f"{v:.4g}" if isinstance(v, float) else v for key, v in flat(config).items()},
        "endpoint": patients.target,
        **patients.counts,
        "features": len(patients.study.features),
        "modalities": len(patients.study.blocks),
    }


def log_cohort(run_id: str, patients: Patients, context: str = "training") -> None:
    """Record which cohort a run used: name, digest and shape, no values."""
    tag = InputTag("mlflow.data.context", context)
    MlflowClient().log_inputs(run_id, [DatasetInput(_dataset(patients), [tag])])


def _dataset(patients: Patients) -> Dataset:
    return Dataset(
        name=patients.study.name,
        digest=patients.fingerprint()[:SHOWN],
        source_type="local",
        source="{}",
        schema=None,
        profile=json.dumps(patients.counts),
    )


def log_figures(run_id: str, trained: Trained) -> None:
    """Log the run's figures as PNG files, and in words beside them its page and model card.

    Of the survival endpoints the primary one is drawn.
    """
    client, synthetic = MlflowClient(), trained.bundle.study.synthetic
    review, drawn = read_review(trained.bundle.metrics), {}
    if review is not None:
        for name, figure in review_figures(review):
            client.log_figure(run_id, figure, f"figures/{name}")
            # The page takes the figure as it is laid out now, which halves the cost of drawing it.
            figure.set_layout_engine("none")
            drawn[name.removesuffix(".png")] = figure
    if trained.primary is not None:
        found = trained.primary.evidence
        if found is not None:
            for name, figure in treatment_figures(found, synthetic):
                client.log_figure(run_id, figure, f"figures/{name}")
            client.log_dict(run_id, found.to_json(), "treatment.json")
            page = treatment_page(found, trained.bundle.study.name, synthetic=synthetic)
            client.log_text(run_id, page, "treatment.html")
    for endpoint, each in trained.responses.items():
        figure = response_figure(each.evaluation, each.label, each.probability, endpoint, synthetic)
        client.log_figure(run_id, figure, f"figures/response_{endpoint}.png")
    client.log_text(run_id, render(review_page(trained.bundle, drawn=drawn)), "report.html")
    client.log_text(run_id, model_card(trained.bundle), "model_card.md")


def log_report(
    run_id: str,
    cohort: Cohort,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    words: str,
    files: Mapping[str, str],
    context: str = "report",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log a report on a cohort: what was asked, headline metrics, a note, and its files.

    Args:
        run_id: of an open run.
        cohort: that it is about.
        parameters: what was asked.
        metrics: finite ones.
        words: the run's note, in Markdown.
        files: name -> text.
        context: what the cohort is to the run.
        tags: further ones.
    """
    log_cohort(run_id, cohort, context)
    _log_batch(run_id, {**parameters, **cohort.counts}, metrics, {NOTE: words, **(tags or {})})
    client = MlflowClient()
    for name, text in files.items():
        client.log_text(run_id, text, name)


def open_parent(store: Store, cohort: Cohort, config: Config, study: optuna.Study) -> str:
    """Return the run under which a study's trials are nested, making it at the first session.

    Of workers that begin together each makes one. The first proposal of the defaults' trial carries
    the one that stays.
    """
    client = MlflowClient()
    key = f"{PARENT}:{hashlib.sha256(store.tracking_uri.encode()).hexdigest()[:10]}"
    proposed = [t for t in study.get_trials(deepcopy=False) if key in t.user_attrs]
    known = [study.user_attrs.get(key), *(t.user_attrs[key] for t in proposed)]
    for run_id in known:
        if run_id is not None and _is_there(client, run_id):
            client.update_run(run_id, "RUNNING")
            return str(run_id)
    made = client.create_run(
        store.experiment(cohort.study.name),
        run_name=f"study {study.study_name}",
        tags=tags_of(cohort, "study") | {STUDY_TAG: study.study_name},
    )
    run_id = str(made.info.run_id)
    elected = propose_defaults(study, config, {key: run_id}).get(key)
    if elected is not None and elected != run_id and _is_there(client, elected):
        client.delete_run(run_id)
        return str(elected)
    study.set_user_attr(key, run_id)
    log_cohort(run_id, cohort)
    _log_batch(run_id, params(cohort, config), {}, {})
    return run_id


def _is_there(client: MlflowClient, run_id: str) -> bool:
    try:
        return str(client.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def log_trial(
    store: Store, cohort: Cohort, config: Config, parent: str, trial: optuna.trial.FrozenTrial
) -> None:
    """Log one judged trial, drawn around ``config``, as a run nested under its study.

    Its tag ``trial`` says complete or pruned; a pruned one was not scored.
    """
    client = MlflowClient()
    began = trial.datetime_start
    made = client.create_run(
        store.experiment(cohort.study.name),
        start_time=None if began is None else int(began.timestamp() * 1000),
        run_name=f"trial {trial.number}",
        tags={
            "stage": "trial",
            "trial": trial.state.name.lower(),
            PARENT_TAG: parent,
            **origin("trial"),
        },
    )
    names = ("ibs", "uno_c", "net_share")
    scores = {n: float(trial.user_attrs[n]) for n in names if n in trial.user_attrs}
    scores["epochs"] = float(len(trial.intermediate_values))
    drawn = with_settings(config, trial.params)
    _log_batch(made.info.run_id, params(cohort, drawn), scores, {})
    client.set_terminated(made.info.run_id)


def close_parent(run_id: str, status: str) -> None:
    """End a study's run before its time."""
    MlflowClient().set_terminated(run_id, status)


def finish_parent(run_id: str, study: optuna.Study, final: str) -> None:
    """Write the best trial and the study's figures on its run, and end it.

    Args:
        run_id: of the study's run.
        study: that has ended.
        final: id of the run of the final model.
    """
    client = MlflowClient()
    best = best_of(study)
    if best is None:
        client.set_terminated(run_id)
        return
    metrics = {f"best_{k}": float(v) for k, v in best.params.items()}
    metrics |= {f"best_{k}": best.user_attrs[k] for k in ("ibs", "uno_c")}
    metrics["best_trial"] = float(best.number)
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    first = of_defaults(study)
    pruned = judged(study) - len(done)
    words = (
        f"{judged(study)} trials, each judged on the same folds, {pruned} of them given up early; "
        f"best: trial {best.number}, integrated Brier score {best.value:.4f}"
    )
    if first is not None:
        words += f"; the defaults {first.value:.4f}"
    experiment = str(client.get_run(run_id).info.experiment_id)
    words += f".\n\n[Trials in parallel coordinates]({trials_page(experiment)}) · "
    words += f"[final model, judged on other folds]({run_page(experiment, final)})"
    _log_batch(run_id, {}, metrics, {NOTE: words})
    for name, figure in study_figures(study):
        client.log_figure(run_id, figure, f"figures/{name}")
    save_trials_view(experiment, run_id, study.study_name, list(SPACE), "ibs")
    client.set_terminated(run_id)


def _log_batch(
    run_id: str,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    tagged: Mapping[str, str],
) -> None:
    now = int(clock.time() * 1000)
    MlflowClient().log_batch(
        run_id,
        metrics=[Metric(k, v, now, 0) for k, v in metrics.items() if v == v],
        params=[Param(k, str(v)) for k, v in parameters.items()],
        tags=[RunTag(k, v) for k, v in tagged.items()],
        synchronous=True,  # whatever MLFLOW_ENABLE_ASYNC_LOGGING says
    )
