"""Addresses of MLflow's pages, and saved views of them.

By default MLflow shows a table of runs without metrics. A view sets the runs, columns and charts of
a page. MLflow keeps views, also those that a user saves, in tags of the experiment.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient

from accomplice.training.processes import HOST

#: Prefix of a tag that holds a view; the rest of the tag is the view's key in links.
TAG = "mlflow.sharedViewState."
#: Key of the view of an experiment's runs except trials, which is named ``Models``.
MODELS = "models"
#: Key of the view of a study's trials.
TRIALS = "trials"
#: First columns of each MLflow table -> their width in pixels.
FIRST = {"attributes.`Run Name`": 290, "runDateAndNestInfo": 145}
#: Query that opens a page in the model-training view, not that for language models.
WORKFLOW = "workflowType=machine_learning"
#: Default port of ``accomplice ui``.
PORT = 5000


def address(page: str, port: int = PORT, token: str = "") -> str:
    """Return the address of a page, by its path, on the tracking server or ``accomplice ui``.

    Args:
        page: path of the page, from a function of this module.
        port: port of ``accomplice ui``.
        token: its secret; without it, the address opens in a browser that has seen the secret.
    """
    server = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if not server.scheme.startswith("http"):
        return f"http://{HOST}:{port}/{f'?token={token}' if token else ''}{page}"
    # Without user and password.
    return f"{server.scheme}://{server.netloc.rpartition('@')[2]}{server.path.rstrip('/')}/{page}"


def run_page(experiment: str, run_id: str) -> str:
    """Return the path of a run's page.

    Args:
        experiment: id of the experiment.
        run_id: id of the run.
    """
    return f"#/experiments/{experiment}/runs/{run_id}?{WORKFLOW}"


def runs_page(experiment: str, *, view: bool = True) -> str:
    """Return the path of an experiment's table of runs, by default in the view of models.

    Args:
        experiment: id of the experiment.
        view: whether the page opens in that view; else in MLflow's default one.
    """
    shown = f"viewStateShareKey={MODELS}&" if view else ""
    return f"#/experiments/{experiment}/runs?{shown}{WORKFLOW}"


def trials_page(experiment: str) -> str:
    """Return the path of the page with the last study's trials in parallel coordinates."""
    chart = f"viewStateShareKey={TRIALS}&compareRunsMode=CHART"
    return f"#/experiments/{experiment}/runs?{chart}&{WORKFLOW}"


def version_page(model: str, version: str) -> str:
    """Return the path of the page of a registered model's version.

    Args:
        model: name of the registered model.
        version: number of the version.
    """
    return f"#/models/{model}/versions/{version}?{WORKFLOW}"


def save_models_view(experiment: str, metrics: Sequence[str]) -> None:
    """Save a view of an experiment's runs except trials, by rising value of one metric.

    It is the first error among the metrics, whose name ends in ``ibs`` or ``brier``, or the first
    metric if none is an error. An existing view is kept, since a user may have changed it.

    Args:
        experiment: id of the experiment.
        metrics: names of the metrics in the table's columns, at least one.
    """
    client = MlflowClient()
    if TAG + MODELS in client.get_experiment(experiment).tags:
        return
    errors = [name for name in metrics if name.endswith(("ibs", "brier"))]
    state = _state(
        where="tags.stage != 'trial'",
        by=(errors or list(metrics))[0],
        columns=[*(f"metrics.`{name}`" for name in metrics), "attributes.`Dataset`"],
    )
    client.set_experiment_tag(experiment, TAG + MODELS, _tag("Models", state))


def save_trials_view(
    experiment: str, parent: str, study: str, settings: Sequence[str], score: str
) -> None:
    """Save a view of a study's trials: a table, the best first, and parallel coordinates.

    Args:
        experiment: id of the experiment.
        parent: id of the study's run.
        study: name of the study.
        settings: names of the tuned parameters.
        score: name of the metric that is minimised.
    """
    section = "trials"
    chart = {
        "type": "PARALLEL",
        "uuid": "trials-parallel",
        "metricSectionId": section,
        "displayName": f"Settings and {score}",
        "selectedParams": list(settings),
        "selectedMetrics": [score],
        "showAllRuns": False,
        "deleted": False,
        "isGenerated": False,
    }
    state = _state(
        where=f"tags.`mlflow.parentRunId` = '{parent}'",
        by=score,
        columns=[f"metrics.`{score}`", *(f"params.`{name}`" for name in settings)],
    )
    state |= {
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [chart],
        "compareRunSections": [
            {
                "uuid": section,
                "name": "Trials",
                "display": True,
                "isReordered": False,
                "deleted": False,
                "isGenerated": False,
                "columns": 1,
                "cardHeight": 600,
            }
        ],
    }
    MlflowClient().set_experiment_tag(experiment, TAG + TRIALS, _tag(f"Trials of {study}", state))


def _state(where: str, by: str, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "searchFilter": where,
        "orderByKey": f"metrics.`{by}`",
        "orderByAsc": True,
        "selectedColumns": list(columns),
        # By default MLflow sorts columns by name and truncates their names.
        "columnOrder": [*FIRST, *columns],
        "columnWidths": FIRST | {column: _width(column) for column in columns},
    }


def _width(column: str) -> int:
    """Return a column's width in pixels, by its name."""
    if column.startswith("attributes"):
        return 205
    return max(7 * len(column.split("`")[1]) + 36, 88)


def _tag(name: str, state: dict[str, Any]) -> str:
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )
