from __future__ import annotations

import json

import pytest
from mlflow import MlflowClient

from accomplice.training.tracking import views
from accomplice.training.tracking.store import open_store


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    return open_store(tmp_path).experiment("cohort")


def view(experiment, key):
    """A view as MLflow's page reads it."""
    kept = json.loads(MlflowClient().get_experiment(experiment).tags[views.TAG + key])
    return kept["name"], json.loads(kept["state"])


def test_models_are_sorted_by_their_error(experiment):
    views.save_models_view(experiment, ["uno_c", "ibs", "ibs_gain"])
    name, state = view(experiment, views.MODELS)
    assert name == "Models"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`ibs`", True)
    shown = state["selectedColumns"]
    assert shown[:-1] == ["metrics.`uno_c`", "metrics.`ibs`", "metrics.`ibs_gain`"]
    assert state["columnOrder"] == [*views.FIRST, *shown]
    assert state["columnWidths"].keys() == set(state["columnOrder"])


def test_models_of_labels_alone_are_sorted_by_theirs(experiment):
    views.save_models_view(experiment, ["ici_auroc", "ici_brier"])
    assert view(experiment, views.MODELS)[1]["orderByKey"] == "metrics.`ici_brier`"


def test_view_that_a_reader_has_changed_stays(experiment):
    client = MlflowClient()
    client.set_experiment_tag(experiment, views.TAG + views.MODELS, "the reader's own")
    views.save_models_view(experiment, ["ibs"])
    assert client.get_experiment(experiment).tags[views.TAG + views.MODELS] == "the reader's own"


def test_trials_are_the_last_study_s(experiment):
    for parent in ("first", "second"):
        views.save_trials_view(experiment, parent, f"study {parent}", ["net.dropout"], "ibs")
    name, state = view(experiment, views.TRIALS)
    assert name == "Trials of study second"
    assert state["searchFilter"] == "tags.`mlflow.parentRunId` = 'second'"
    (chart,) = state["compareRunCharts"]
    (section,) = state["compareRunSections"]
    assert chart["type"] == "PARALLEL"
    assert (chart["selectedParams"], chart["selectedMetrics"]) == (["net.dropout"], ["ibs"])
    assert chart["metricSectionId"] == section["uuid"]


def test_pages_are_in_the_training_view():
    pages = [
        views.run_page("1", "abc"),
        views.runs_page("1"),
        views.runs_page("1", view=False),
        views.trials_page("1"),
        views.version_page("accomplice-x", "3"),
    ]
    assert all(page.startswith("#/") for page in pages)
    assert all(page.endswith("workflowType=machine_learning") for page in pages)
    assert len(set(pages)) == len(pages)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (None, "http://127.0.0.1:5000/#/x"),
        ("sqlite:////tmp/a.db", "http://127.0.0.1:5000/#/x"),
        ("https://mlflow.example/base/", "https://mlflow.example/base/#/x"),
        ("http://anna:secret@mlflow.example:8080", "http://mlflow.example:8080/#/x"),
    ],
)
def test_address_is_the_tracking_server_s_without_its_password(uri, expected, monkeypatch):
    if uri is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert views.address("#/x") == expected
