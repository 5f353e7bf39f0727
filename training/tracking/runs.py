"""Runs in MLflow: their parameters, metrics, tags, figures, dataset and model.

A run's values are sent in a few calls, since each call takes milliseconds.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import time as clock
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from accomplice.data.cohort import Cohort, Patients
from accomplice.data.files import written_beside
from accomplice.training.config import Config, flat
from accomplice.training.evaluation.record import read_review
from accomplice.training.models.manifest import digest_of
from accomplice.training.reports.figures.responses import response_figure
from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.reports.figures.treatment import treatment_figures
from accomplice.training.reports.model_card import model_card
from accomplice.training.reports.page import Page, render
from accomplice.training.reports.review.drawings import drawn
from accomplice.training.reports.review.page import review_page
from accomplice.training.reports.treatment import treatment_page
from accomplice.training.run import Trained
from accomplice.training.second_process import ALONE, SecondProcess
from accomplice.training.tracking.registry import Logged, log_model
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.stores.address import WRITTEN_BY
from accomplice.training.tracking.stores.lost import end_lost_runs, process_tag
from accomplice.training.tracking.stores.moved import STUDY_FILE
from accomplice.training.tracking.stores.recorded import DIGEST
from accomplice.training.tracking.summary import alarm_tags, columns, headline, note
from accomplice.training.tracking.views import save_models_view

#: Tag that MLflow shows as the description of a run.
NOTE = "mlflow.note.content"
#: Tag of a run with the name of its Optuna study.
STUDY_TAG = "optuna_study"
#: Characters of a cohort's fingerprint that MLflow shows as the digest of the dataset.
DIGEST_LENGTH = 12
#: Empty mapping as a default argument.
EMPTY: Mapping[str, Any] = MappingProxyType({})
#: Stage of a run -> the command that makes it, where the two names differ.
VERBS = {"study": "tune", "trial": "tune", "final": "tune"}


@contextmanager
def run(
    store: Store,
    patients: Patients,
    stage: str,
    name: str,
    study: str | None = None,
    experiment: str | None = None,
) -> Iterator[str]:
    """Open a run, yield its id, and end it with the block as :func:`ended` does.

    Args:
        store: the tracking store.
        patients: the patients of the run.
        stage: stage of the work, such as ``train``.
        name: name of the run.
        study: name of the Optuna study in which its settings were tuned; None without one.
        experiment: name of its experiment; by default that of the patients' study.
    """
    client = MlflowClient()
    end_lost_runs()
    tags = tags_of(patients, stage) | ({} if study is None else {STUDY_TAG: study})
    where = store.experiment(experiment or patients.study.name)
    run_id = str(client.create_run(where, run_name=name, tags=tags).info.run_id)
    with ended(run_id):
        yield run_id


@contextmanager
def ended(run_id: str) -> Iterator[None]:
    """End a run when the block ends: as finished, as failed, or as killed after Ctrl-C."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        MlflowClient().set_terminated(run_id, status)


def tags_of(patients: Patients, stage: str) -> dict[str, str]:
    """Return the tags by which a run can be searched."""
    return {
        "stage": stage,
        "endpoint": patients.target,
        "synthetic": str(patients.study.synthetic).lower(),
        "cohort_fingerprint": patients.fingerprint(),
        WRITTEN_BY: mlflow.__version__,
        **source_tags(stage),
    }


def source_tags(stage: str) -> dict[str, str]:
    """Return the tags of the user, the command and the process of a run."""
    tags = {
        **process_tag(),
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
    second: SecondProcess = ALONE,
) -> Logged:
    """Log a final fit: parameters, metrics, note, dataset, figures, registered model.

    Args:
        store: the open store.
        run_id: id of an open run.
        patients: the training patients.
        config: settings of the run.
        trained: the fitted models.
        folder: folder of their bundle.
        study: study file, from which ``compare`` loads the patients again; None if unknown.
        second: process that draws a part of the figures.
    """
    provenance = trained.bundle.provenance
    cuts, commit = provenance.get("cut_short", ()), provenance["git_commit"]
    primary = trained.primary
    log_cohort(run_id, patients)
    log_batch(
        run_id,
        params(patients, config),
        # The metrics are logged with the model.
        tags={
            NOTE: note(trained),
            **alarm_tags(trained),
            DIGEST: digest_of(folder),
            "fit_id": provenance["fit_id"],
            **({} if commit is None else {"mlflow.source.git.commit": commit}),
            **({"cut_short": "; ".join(cuts)} if cuts else {}),
            # A path means nothing on another machine.
            **({STUDY_FILE: str(study.absolute())} if study and store.embedded else {}),
        },
    )
    log_figures(run_id, trained, second)
    client = MlflowClient()
    client.log_dict(run_id, dict(trained.bundle.metrics), "evaluation.json")
    if primary is not None:
        client.log_dict(run_id, {"validation_loss": primary.fitted.history}, "history.json")
    logged = log_model(store, run_id, trained, folder)
    save_models_view(logged.experiment_id, columns(headline(trained)))
    return logged


def params(patients: Patients, config: Config) -> dict[str, object]:
    """Return a run's parameters, which have the same names in every run of a study.

    Numbers are rounded, since MLflow truncates long texts, exponents included; the bundle has them
    unrounded.
    """
    return {
        **{key: f"{v:.4g}" if isinstance(v, float) else v for key, v in flat(config).items()},
        "endpoint": patients.target,
        **patients.counts,
        "features": len(patients.study.features),
        "modalities": len(patients.study.blocks),
    }


def log_cohort(run_id: str, patients: Patients, context: str = "training") -> None:
    """Log the cohort of a run by name, digest and counts, without patients' values."""
    dataset = Dataset(
        name=patients.study.name,
        digest=patients.fingerprint()[:DIGEST_LENGTH],
        source_type="local",
        source="{}",
        schema=None,
        profile=json.dumps(patients.counts),
    )
    tag = InputTag("mlflow.data.context", context)
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset, [tag])])


def log_figures(run_id: str, trained: Trained, second: SecondProcess = ALONE) -> None:
    """Log the run's figures (PNG), report page, model card, and the treatment's numbers and page.

    The figures of survival and of the treatment show the primary endpoint.

    Args:
        run_id: id of an open run.
        trained: the fitted models.
        second: process that draws a part of the figures.
    """
    client, synthetic = MlflowClient(), trained.bundle.study.synthetic
    review, svg = read_review(trained.bundle.metrics), {}
    if review is not None:
        tasks = {name: second.submit(drawn, name, review) for name in DRAWS}
        # The last first: the second process has begun with the first.
        made = {name: task.result() for name, task in reversed(tasks.items())}
        with TemporaryDirectory() as folder:
            for name, both in made.items():
                if both is not None:
                    Path(folder, f"{name}.png").write_bytes(both.png)
                    svg[name] = both.svg
            client.log_artifacts(run_id, folder, "figures")
    if trained.primary is not None:
        evidence = trained.primary.evidence
        if evidence is not None:
            for name, figure in treatment_figures(evidence, synthetic):
                client.log_figure(run_id, figure, f"figures/{name}")
            client.log_dict(run_id, evidence.to_json(), "treatment.json")
            page = treatment_page(evidence, trained.bundle.study.name, synthetic=synthetic)
            client.log_text(run_id, page, "treatment.html")
    for endpoint, each in trained.responses.items():
        figure = response_figure(each.evaluation, each.label, each.probability, endpoint, synthetic)
        client.log_figure(run_id, figure, f"figures/response_{endpoint}.png")
    client.log_text(run_id, render(review_page(trained.bundle, drawn=svg)), "report.html")
    client.log_text(run_id, model_card(trained.bundle), "model_card.md")


def log_report(
    run_id: str,
    cohort: Cohort,
    page: Page,
    numbers: str,
    out: Path,
    *,
    parameters: Mapping[str, object],
    metrics: Mapping[str, float],
    words: str,
    context: str = "report",
    tags: Mapping[str, str] = EMPTY,
) -> None:
    """Write a report on a cohort and a .json with its numbers; log both to a run.

    Args:
        run_id: id of an open run.
        cohort: patients of the report.
        page: the report.
        numbers: its numbers as JSON text.
        out: path of the page; the numbers go to a .json beside it.
        parameters: parameters of the request.
        metrics: metric -> value; NaN is left out.
        words: description of the run, in Markdown.
        context: use of the cohort, as MLflow's dataset context.
        tags: further tags of the run.
    """
    html = render(page)
    with written_beside(out, numbers) as part:
        part.write_text(html, encoding="utf-8")
    log_cohort(run_id, cohort, context)
    log_batch(run_id, {**parameters, **cohort.counts}, metrics, {NOTE: words, **tags})
    for path, text in ((out, html), (out.with_suffix(".json"), numbers)):
        MlflowClient().log_text(run_id, text, path.name)


def log_batch(
    run_id: str,
    parameters: Mapping[str, object] = EMPTY,
    metrics: Mapping[str, float] = EMPTY,
    tags: Mapping[str, str] = EMPTY,
) -> None:
    """Log parameters, metrics except NaN, and tags in one call."""
    now = int(clock.time() * 1000)
    MlflowClient().log_batch(
        run_id,
        metrics=[Metric(k, v, now, 0) for k, v in metrics.items() if v == v],
        params=[Param(k, str(v)) for k, v in parameters.items()],
        tags=[RunTag(k, v) for k, v in tags.items()],
        synchronous=True,  # whatever MLFLOW_ENABLE_ASYNC_LOGGING says
    )
