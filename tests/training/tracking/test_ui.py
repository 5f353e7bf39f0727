from __future__ import annotations

import socket

import pytest
from mlflow import MlflowClient

from accomplice.data.errors import InputError
from accomplice.training.tracking import ui
from accomplice.training.tracking.store import Store, open_store
from accomplice.training.tracking.views import save_models_view


@pytest.fixture
def store(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    return open_store(tmp_path)


@pytest.fixture
def taken():
    """A port on which something listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_empty_store_says_what_to_do(store):
    assert ui.links(5000) == ["nothing is logged yet: accomplice train STUDY"]


def test_links_are_those_that_there_are(store):
    key, client = store.experiment("cohort"), MlflowClient()
    (name, runs) = ui.links(5055)
    assert name == "cohort"
    assert "127.0.0.1:5055/#/experiments/1/runs?workflowType=" in runs
    save_models_view(key, ["ibs"])
    older, newer = (
        client.create_run(key, start_time=at, tags={"stage": "study"}) for at in (1000, 2000)
    )
    client.create_registered_model("accomplice-cohort")
    version = client.create_model_version("accomplice-cohort", "nowhere", older.info.run_id)
    client.set_registered_model_alias("accomplice-cohort", "champion", version.version)
    _, runs, study, champion = ui.links(5055)
    assert "viewStateShareKey=models" in runs
    assert newer.info.run_id in study
    assert "/models/accomplice-cohort/versions/1?" in champion


def test_taken_port_is_named(store, taken):
    with pytest.raises(InputError, match=f"port {taken} is taken"):
        ui.run_ui(store, taken)


def test_tracking_server_shows_its_own_pages(store, taken, capsys):
    # The process would be replaced if this did not return.
    ui.run_ui(Store(store.root, "http://mlflow.example", embedded=False), taken)
    assert "nothing is logged yet" in capsys.readouterr().out


def test_becomes_a_server_of_two_processes_without_a_password_in_its_command(
    store, capsys, monkeypatch
):
    called = {}
    monkeypatch.setattr("os.execve", lambda *given: called.update(given=given))
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/elsewhere")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://storage.invalid")
    ui.run_ui(store, 0)
    _, command, environment = called["given"]
    assert command[1:4] == ["-m", "mlflow", "server"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--workers") + 1] == "1"
    assert not any("sqlite" in part for part in command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store.tracking_uri
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert "MLFLOW_STATIC_PREFIX" not in environment
    assert environment["MLFLOW_S3_ENDPOINT_URL"] == "http://storage.invalid"


def test_missing_dashboard_is_said_in_one_line(store, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'accomplice\[dashboard\]'") as caught:
        ui.run_dashboard(store.optuna, 0)
    assert "\n" not in str(caught.value)


def test_dashboard_s_storage_that_cannot_be_opened_is_said(store, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(InputError, match=r"--storage \(in Python storage\): cannot be opened"):
        ui.run_dashboard("sqlite:////no/such/folder/optuna.db", 0)
