"""Attacks on the pages of `accomplice ui` by other users of this machine and by their pages."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from accomplice.training.processes import end, free_port
from accomplice.training.tracking.store import open_store
from accomplice.training.tracking.ui.guard import COOKIE

#: What a client of MLflow sends: method, path, body.
CALLS = {
    "move the champion": (
        "POST",
        "/api/2.0/mlflow/registered-models/alias",
        {"name": "model", "alias": "champion", "version": "1"},
    ),
    "read the runs": ("POST", "/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": ["0"]}),
    "read an artifact": ("GET", "/get-artifact?path=model&run_id=x", None),
    "write an artifact": ("PUT", "/api/2.0/mlflow-artifacts/artifacts/model/net", {}),
    "name a folder of the system": (
        "POST",
        "/api/2.0/mlflow/experiments/create",
        {"name": "theirs", "artifact_location": "file:///etc"},
    ),
    "delete an experiment": (
        "POST",
        "/api/2.0/mlflow/experiments/delete",
        {"experiment_id": "0"},
    ),
    "ask by GraphQL": ("POST", "/graphql", {"query": '{test(inputString: "x") {output}}'}),
    "see the version": ("GET", "/version", None),
}
#: Ways to run commands, to send requests elsewhere and to start work, closed to everybody.
CLOSED = {
    "set the assistant's rights": (
        "PUT",
        "/ajax-api/3.0/mlflow/assistant/config",
        {"providers": {"claude_code": {"permissions": {"full_access": True}}}},
    ),
    "have the assistant work": (
        "POST",
        "/ajax-api/3.0/mlflow/assistant/message",
        {"message": "x", "experiment_id": "0", "context": {}},
    ),
    "ask the gateway": ("POST", "/gateway/mlflow/v1/chat/completions", {"model": "x"}),
    "keep a key": ("POST", "/api/3.0/mlflow/gateway/secrets/create", {"secret_name": "x"}),
    "start a job": ("POST", "/ajax-api/3.0/jobs/", {"job_name": "x", "params": {}}),
    "have a URL called": ("POST", "/api/2.0/mlflow/webhooks", {"name": "x", "url": "http://x"}),
    "register a tool server": ("POST", "/ajax-api/3.0/mlflow/mcp-servers", {"name": "x"}),
    "run a scorer": ("POST", "/ajax-api/3.0/mlflow/scorer/invoke", {}),
    "send spans": ("POST", "/v1/traces", {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder whose store has a registered model of one version."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        open_store(folder)
        client = MlflowClient()
        client.create_registered_model("model")
        client.create_model_version("model", "nowhere")
        yield folder


@pytest.fixture(scope="module")
def server(folder):
    """The process of `accomplice ui`, its port, and the secret that it prints."""
    port = free_port()
    command = [sys.executable, "-m", "accomplice", "ui", "--port", str(port)]
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": path, "HOME": str(folder)}
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            printed = process.stdout.readline() + process.stdout.readline()
            secret = printed.partition("MLFLOW_TRACKING_TOKEN=")[2].split()[0]
            yield process, port, secret
        finally:
            end(process)


def ask(port, method, path, body=None, headers=()):
    """Return status and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = {"Content-Type": "application/json", **dict(headers)}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.parametrize("call", [*CALLS.values(), *CLOSED.values()], ids=[*CALLS, *CLOSED])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer x"},
        {"Cookie": f"{COOKIE}=x"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_without_the_secret_nothing_answers(server, call, headers):
    status, text = ask(server[1], *call, headers)
    assert status == (403 if "Origin" in headers else 401)
    assert "accomplice ui" in text


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_paths_that_run_commands_are_closed_with_the_secret_too(server, folder, call):
    _, port, secret = server
    assert ask(port, *call, {"Authorization": f"Bearer {secret}"})[0] == 404
    assert not (folder / ".mlflow").exists()


def test_clients_with_the_secret_are_answered(server):
    _, port, secret = server
    for call in ("move the champion", "read the runs", "see the version"):
        status, text = ask(port, *CALLS[call], {"Authorization": f"Bearer {secret}"})
        assert status == 200, text


def test_secret_is_in_no_process_s_arguments_or_environment(server):
    process, _, secret = server
    for name in ("cmdline", "environ"):
        assert secret.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()


def test_listens_on_one_socket_and_is_one_process(server):
    process, port, _ = server
    ui = psutil.Process(process.pid)
    assert ui.children(recursive=True) == []
    listening = [each.laddr for each in ui.net_connections("all") if each.status == "LISTEN"]
    assert listening == [("127.0.0.1", port)]


def test_endless_header_is_cut_off(server):
    with socket.create_connection(("127.0.0.1", server[1]), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        with pytest.raises(ConnectionError):
            client.sendall(b"x" * 2**26)


def test_silent_connections_keep_nobody_away(server):
    process, port, secret = server
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
    for each in silent[::2]:
        each.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert ask(port, *CALLS["see the version"], {"Authorization": f"Bearer {secret}"})[0] == 200
    # Those of an address are limited, and the others are cut off in time.
    assert psutil.Process(process.pid).num_fds() < 330
    silent[-1].settimeout(30)
    assert silent[-1].recv(1) == b""
    for each in silent:
        each.close()


def test_ends_with_its_terminal(server):
    process, port, _ = server
    process.send_signal(signal.SIGHUP)
    process.wait(20)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
