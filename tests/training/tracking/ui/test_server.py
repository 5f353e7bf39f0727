from __future__ import annotations

import socket
from asyncio import Protocol

import pytest

from accomplice.data.errors import InputError
from accomplice.training.processes import free_port
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.ui import server
from accomplice.training.tracking.ui.pages import MLFLOW


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No store is opened, and the environment holds no secret."""
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    monkeypatch.setattr(server, "end_lost_runs", lambda: None)
    monkeypatch.setattr(server, "links", lambda port, token="": [f"{port} {token}"])


@pytest.fixture
def taken():
    """A port on which something listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def store(folder, uri="sqlite://"):
    return Store(folder, uri, embedded=True)


def test_taken_port_is_named(tmp_path, taken):
    with pytest.raises(InputError, match=f"port {taken} is taken"):
        server.run_ui(store(tmp_path), taken, Protocol)


def test_tracking_server_shows_its_own_pages(tmp_path, taken, capsys):
    # Nothing would return if it served.
    server.run_ui(store(tmp_path, "http://mlflow.example"), taken, Protocol)
    assert capsys.readouterr().out == f"{taken} \n"


@pytest.mark.parametrize("secret", [True, False])
def test_links_are_printed_once_nobody_else_can_have_the_port(
    tmp_path, monkeypatch, capsys, secret
):
    served = {}
    monkeypatch.setattr(server, "mlflow_pages", lambda *stores: "MLflow")
    monkeypatch.setattr(server, "_serve", lambda *given: served.update(given=given))
    monkeypatch.setattr(
        server,
        "links",
        lambda port, token: [str(socket.create_connection(("127.0.0.1", port)).close())],
    )
    server.run_ui(store(tmp_path), free_port(), Protocol, secret=secret)
    guard, listener, http = served["given"]
    assert http is Protocol
    assert listener.fileno() == -1  # closed
    assert (guard.app, guard.allowed) == ("MLflow", MLFLOW)
    said = capsys.readouterr()
    assert bool(guard.token) is secret
    assert (f"MLFLOW_TRACKING_TOKEN={guard.token} " in said.out) is secret
    assert ("--open: everybody on this machine can read, change" in said.err) is not secret


def test_secret_is_new_each_time():
    first, second = (server.make_token(secret=True) for _ in range(2))
    assert first != second
    assert len(first) > 40


def test_secret_of_the_clients_is_taken(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "0123456789abcdef")
    assert server.make_token(secret=True) == "0123456789abcdef"


@pytest.mark.parametrize("weak", ["short", "0123456789 abcdef", "0123456789;abcdef"])
def test_weak_secret_is_refused_and_not_repeated(monkeypatch, weak):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", weak)
    with pytest.raises(InputError, match="at least 16 characters") as caught:
        server.make_token(secret=True)
    assert weak not in str(caught.value)


def test_missing_dashboard_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'accomplice\[dashboard\]'") as caught:
        server.run_dashboard("sqlite://", 0, Protocol)
    assert "\n" not in str(caught.value)


def test_dashboard_s_storage_that_cannot_be_opened_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(InputError, match=r"--storage \(in Python storage\): cannot be opened"):
        server.run_dashboard("sqlite:////no/such/folder/optuna.db", 0, Protocol)
