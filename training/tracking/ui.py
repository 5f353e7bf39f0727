"""MLflow's pages on the project's store, or Optuna's dashboard on its studies."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment

from accomplice.data.errors import InputError
from accomplice.training.processes import HOST, check_free
from accomplice.training.tracking.promotion import champion_of
from accomplice.training.tracking.registry import model_name
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.stores.lost import end_lost_runs
from accomplice.training.tracking.views import (
    MODELS,
    TAG,
    TRIALS,
    address,
    run_page,
    runs_page,
    trials_page,
    version_page,
)
from accomplice.training.tune import check_storage

#: Environment of MLflow's server: without it eight job workers that are not needed are started,
#: usage is reported, and dependencies give warnings.
QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
}

#: Environment variables that configure an MLflow server. They are not passed on, since the printed
#: addresses would be wrong with them.
OTHER_SERVERS = re.compile(
    "_?MLFLOW_(ARTIFACTS_.*|DEFAULT_ARTIFACT_ROOT|EXPOSE_PROMETHEUS|GUNICORN_OPTS|HOST|PORT"
    "|READ_REPLICA_.*|SERVE_ARTIFACTS|SERVER_.*|STATIC_PREFIX|UVICORN_OPTS|WORKERS|WORKSPACE.*)"
)


def run_ui(store: Store, port: int) -> None:
    """Print the addresses of the main pages, and become MLflow's server on 127.0.0.1.

    Runs whose processes were killed are ended first. The server replaces this process; MLflow ends
    its worker itself. With a tracking server, which shows the pages itself, the addresses are only
    printed.

    Args:
        store: the open store.
        port: port to listen on.

    Raises:
        InputError: the port is taken or needs privileges.
    """
    end_lost_runs()
    if store.is_server:
        print("\n".join(links(port)))
        return
    check_free(port)
    print("\n".join(links(port)), flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    # Not as arguments, which all users can read: a database's address may hold a password.
    stores = {
        "MLFLOW_BACKEND_STORE_URI": store.tracking_uri,
        "MLFLOW_REGISTRY_STORE_URI": mlflow.get_registry_uri(),
    }
    env = {k: v for k, v in os.environ.items() if not OTHER_SERVERS.fullmatch(k)}
    os.execve(sys.executable, command, {**env, **QUIET, **stores})


def run_dashboard(storage: str, port: int) -> None:
    """Serve Optuna's dashboard on 127.0.0.1 until Ctrl-C.

    Args:
        storage: address of the database of Optuna's studies.
        port: port to listen on.

    Raises:
        InputError: the dashboard is not installed, the port is taken or needs privileges, or the
            storage cannot be opened.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError(
            "--optuna: Optuna's dashboard is not installed: pip install 'accomplice[dashboard]'"
        )
    check_free(port)
    check_storage(storage)
    from optuna_dashboard import wsgi

    with make_server(HOST, port, wsgi(storage), handler_class=_Quiet) as server:
        print(f"studies: http://{HOST}:{server.server_port}/dashboard", flush=True)
        server.serve_forever()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log no request."""


def links(port: int) -> list[str]:
    """Return lines of text with the addresses of each experiment's main pages.

    MLflow's experiment ``Default`` is left out. Without another, one line says how to log a run.
    """
    lines = [
        line
        for each in MlflowClient().search_experiments()
        if each.name != "Default"
        for line in (
            each.name,
            *(f"  {name:<10}{address(page, port)}" for name, page in _pages(each)),
        )
    ]
    return lines or ["nothing is logged yet: accomplice train STUDY"]


def _pages(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield name and path of each main page: runs, and latest study, trials and champion if any."""
    client, key = MlflowClient(), str(experiment.experiment_id)
    yield "runs", runs_page(key, view=TAG + MODELS in experiment.tags)
    last = client.search_runs([key], "tags.stage = 'study'", max_results=1)
    if last:
        yield "study", run_page(key, last[0].info.run_id)
    if TAG + TRIALS in experiment.tags:
        yield "trials", trials_page(key)
    name = model_name(experiment.name)
    champion = champion_of(client, name)
    if champion is not None:
        yield "champion", version_page(name, str(champion.version))
