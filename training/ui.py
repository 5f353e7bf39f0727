"""MLflow's pages on the project's store."""

from __future__ import annotations

import os
import subprocess
import sys

from mlflow import MlflowClient

from data.errors import InputError
from training.processes import HOST, end, is_free, term_interrupts
from training.store import Store

#: The query that opens MLflow in its model-training view.
VIEW = "workflowType=machine_learning"


def run_ui(store: Store, port: int) -> None:
    """Serve MLflow on 127.0.0.1 until Ctrl-C, with the links that matter.

    Raises:
        InputError: the port is taken.
    """
    if not is_free(port):
        raise InputError(f"--port {port}: already in use: choose another")
    for line in links(port):
        print(line, flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", store.tracking_uri]
    # Without this MLflow starts eight job workers that nothing here uses.
    quiet = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # MLflow warns of its own dependencies, which its user cannot mend.
        "PYTHONWARNINGS": "ignore",
    }
    with term_interrupts():
        server = subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            return
        finally:
            end(server)


def links(port: int) -> list[str]:
    """Return the addresses of the experiments and registered models."""
    base = f"http://{HOST}:{port}/#"
    client = MlflowClient()
    found = [
        f"runs of {e.name}: {base}/experiments/{e.experiment_id}/runs?{VIEW}"
        for e in client.search_experiments()
        if e.name != "Default"
    ]
    found += [
        f"model {m.name}: {base}/models/{m.name}?{VIEW}" for m in client.search_registered_models()
    ]
    return found or ["nothing is logged yet: accomplice train STUDY"]
