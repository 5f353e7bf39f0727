"""The endpoint under load: beside MLflow's server and a bare FastAPI route of the same model.

All three run on this machine, one worker and one thread each, and are asked in turn, round by
round, so that whatever else the machine does falls on all of them. Beside the rates stands the
processor time that an answer costs its server, which other work moves far less. Our answers hold
more: the curve and its interval.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from accomplice.serving.deployment.server import quiet_environment, serve_command
from accomplice.training.bundle import Bundle
from accomplice.training.processes import end, free_port
from tests.benchmarks.load import HOST, Check, Load, load, worker

ROOT = Path(__file__).parents[2]
#: Whole seconds of a round, and rounds.
SECONDS, ROUNDS = 4.0, 3
#: Patients of a request to the list endpoint.
LISTED = 1000
#: Requests over which memory is watched.
SOAK = 200_000
#: What the model is called in the registry.
MODEL = "models:/accomplice-synthetic-gastric/1"
#: Of the trained model; how well it predicts does not matter here, its size does.
SETTINGS = ("evaluation.bootstraps=20", "evaluation.explanations=false")


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    ready: float
    """Seconds from its start until it was ready."""


@contextlib.contextmanager
def started(
    name: str, argv: Sequence[str], env: Mapping[str, str], port: int, path: str, folder: Path
) -> Iterator[Server]:
    """Run a server for as long as the block lasts, ready when ``path`` answers with 200."""
    log = folder / f"{name}.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(argv),
            env={**env, "BENTOML_HOME": str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 90
        while not answers(port, path):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.02)
        yield Server(name, port, process, log, time.perf_counter() - began)
    finally:
        end(process)


def answers(port: int, path: str) -> bool:
    """Return whether a server says 200 to a GET."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def ours(bundle: Path, folder: Path, **environment: str) -> Iterator[Server]:
    """Serve a bundle as ``accomplice serve`` does."""
    port = free_port()
    argv, env = serve_command(bundle, port)
    with started("ours", argv, env | environment, port, "/readyz", folder) as server:
        yield server


@contextlib.contextmanager
def mlflow_server(store: Path, folder: Path) -> Iterator[Server]:
    """Serve the registered model as MLflow does."""
    port = free_port()
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "-m", MODEL]
    argv += ["--host", HOST, "--port", str(port), "--env-manager", "local"]
    env = quiet_environment() | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlruns' / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": str(ROOT),
    }
    with started("mlflow", argv, env, port, "/ping", folder) as server:
        yield server


@contextlib.contextmanager
def fastapi_server(bundle: Path, folder: Path) -> Iterator[Server]:
    """Serve the bare route, without an access log."""
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "tests.benchmarks.plain_api:app"]
    argv += ["--host", HOST, "--port", str(port), "--log-level", "warning"]
    env = quiet_environment() | {"ACCOMPLICE_BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)}
    with started("fastapi", argv, env, port, "/readyz", folder) as server:
        yield server


def trained(folder: Path) -> Path:
    """Train a model on the synthetic cohort and register it; return its bundle."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = "from accomplice.training.cli.main import main; main()"
    for argv in (
        ["data", "synth", "--out", "cohort", "--n", "400"],
        ["train", "cohort/study.yaml", "--out", "bundle"]
        + [part for setting in SETTINGS for part in ("--set", setting)],
    ):
        command = [sys.executable, "-c", run, *argv]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    return folder / "bundle"


def patients(folder: Path, bundle: Bundle) -> list[dict[str, Any]]:
    """Return the synthetic cohort's patients as requests have them."""
    study = bundle.study
    names = [feature.column or name for name, feature in study.features.items()]
    names += [name for name in (study.id, study.centre) if name is not None]
    table = pd.read_csv(folder / "cohort" / "cohort.csv", dtype={study.id: str})
    found: list[dict[str, Any]] = json.loads(table[names].to_json(orient="records"))
    return [{k: v for k, v in patient.items() if v is not None} for patient in found]


def checker(bundle: Bundle, asked: Sequence[Mapping[str, Any]]) -> Check:
    """Return a check of /predict's answers against the bundle's own of the same patients."""
    expected = bundle.predict(pd.DataFrame(list(asked)))
    names = [name for name in expected if expected[name].dtype.kind == "f"]
    values, ids = expected[names].to_numpy(), expected["patient_id"].tolist()

    def check(place: int, status: int, body: bytes) -> bool:
        if status != 200:
            return status == 429
        answer = json.loads(body)
        said = [np.nan if answer[name] is None else answer[name] for name in names]
        same = np.allclose(said, values[place], atol=1e-6, rtol=0, equal_nan=True)
        return bool(same) and answer["patient_id"] == ids[place]

    return check


def memory(process: psutil.Process) -> float:
    """Resident memory in MB."""
    return process.memory_info().rss / 2**20


def beside_others(
    folder: Path, path: Path, asked: Sequence[dict[str, Any]], seconds: float
) -> None:
    """Print rates and latencies of the three servers."""
    one = [json.dumps({"patient": patient}).encode() for patient in asked]
    rows = [json.dumps({"dataframe_records": [patient]}).encode() for patient in asked]
    with (
        ours(path, folder) as own,
        mlflow_server(folder, folder) as mlflow,
        fastapi_server(path, folder) as fastapi,
    ):
        asks = {own: ("/predict", one), mlflow: ("/invocations", rows), fastapi: ("/predict", one)}
        for server, (route, bodies) in asks.items():
            load(server.port, route, bodies, 4, 1.0)  # first calls
        for clients in (1, 16):
            found = {server.name: Load() for server in asks}
            rates: dict[str, list[float]] = {server.name: [] for server in asks}
            for _ in range(ROUNDS):
                for server, (route, bodies) in asks.items():
                    pid = server.process.pid
                    run = load(server.port, route, bodies, clients, seconds, server=pid)
                    found[server.name] += run
                    rates[server.name].append(run.rate)
            for name, run in found.items():
                show(f"{name}, {clients} clients", run)
            for name, least in (("mlflow", 3.0), ("fastapi", 0.5)):
                pairs = zip(rates["ours"], rates[name], strict=True)
                ratio = float(np.median([a / b for a, b in pairs]))
                cost = found[name].cost / found["ours"].cost
                verdict = "reached" if ratio >= least else "MISSED"
                print(
                    f"  ours / {name}: {ratio:.2f} of the requests/s (wanted {least:g}: {verdict}),"
                    f" {cost:.2f} by processor time"
                )
            if clients == 1:
                tail = found["ours"].quantile(0.99) / found["ours"].quantile(0.5)
                print(f"  ours: p99 / p50 = {tail:.1f} (wanted at most 5)")
        run = load(own.port, "/predict", one, 64, seconds, server=own.process.pid)
        show("ours, 64 clients", run)


def show(name: str, run: Load) -> None:
    """Print one line of a run."""
    others = {status: count for status, count in run.statuses.items() if status != 200}
    print(
        f"  {name}: {run.rate:.0f} requests/s, p50 {run.quantile(0.5):.1f} ms, p99 "
        f"{run.quantile(0.99):.1f} ms, {run.cost:.2f} ms of the server's processor each, "
        f"asking {100 * run.asking / run.seconds:.0f} % of a core"
        + (f", OTHERS {others}" if others else ""),
        flush=True,
    )


def lists(folder: Path, path: Path, asked: Sequence[dict[str, Any]], seconds: float) -> None:
    """Print what the list endpoint does, and what a single patient waits beside it."""
    many = (list(asked) * (LISTED // len(asked) + 1))[:LISTED]
    body = json.dumps({"patients": many}).encode()
    with ours(path, folder) as server:
        load(server.port, "/predict_batch", [body], 1, 1.0)
        for clients in (1, 2):
            pid = server.process.pid
            run = load(server.port, "/predict_batch", [body], clients, 2 * seconds, server=pid)
            print(
                f"  list of {LISTED}, {clients} clients: {LISTED * run.rate:.0f} patients/s "
                f"(wanted 10000), {run.answering / max(run.answered, 1):.3f} processor seconds "
                f"per {LISTED}, p50 {run.quantile(0.5):.0f} ms",
                flush=True,
            )


def overload(
    folder: Path, path: Path, asked: Sequence[dict[str, Any]], seconds: float, soak: int
) -> None:
    """Print what twice as many clients as allowed get, and what memory does meanwhile."""
    one = [json.dumps({"patient": patient}).encode() for patient in asked]
    check = checker(Bundle.load(path), asked)
    with ours(path, folder, ACCOMPLICE_CONCURRENCY="32") as server:
        print(f"  ready after {server.ready:.1f} s (wanted 5)")
        pid = server.process.pid
        process = worker(pid)
        print(f"  worker {memory(process):.0f} MB when ready (wanted below 450)")
        load(server.port, "/predict", one, 16, 2.0)
        before = memory(process)
        run = load(server.port, "/predict", one, 64, seconds, check=check, server=pid)
        show("64 clients, 32 allowed", run)
        verdict = "only 200 and 429" if set(run.statuses) <= {200, 429} else "OTHER STATUSES"
        print(f"  {dict(run.statuses)}: {verdict}; {run.wrong} wrong answers")
        print(f"  worker {before:.0f} -> {memory(process):.0f} MB")
        done = 0
        while soak and done < soak:
            run = load(server.port, "/predict", one, 32, 30.0, most=soak - done, check=check)
            done += sum(run.statuses.values())
            print(
                f"  {done} requests: worker {memory(process):.0f} MB, {run.wrong} wrong", flush=True
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a round")
    parser.add_argument("--overload", type=float, default=60.0, help="seconds of overload")
    parser.add_argument(
        "--soak", type=int, default=SOAK, help="requests over which memory is watched"
    )
    parser.add_argument("--folder", type=Path, help="where an earlier run left its model")
    parser.add_argument("--only", choices=("others", "lists", "overload"))
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as made:
        folder = given.folder or Path(made)
        folder.mkdir(exist_ok=True)
        path = folder / "bundle"
        if not path.is_dir():
            trained(folder)
        asked = patients(folder, Bundle.load(path))[:200]
        print(f"the endpoint under load; the machine's own load: {os.getloadavg()[0]:.1f}")
        if given.only in (None, "others"):
            beside_others(folder, path, asked, given.seconds)
        if given.only in (None, "lists"):
            lists(folder, path, asked, given.seconds)
        if given.only in (None, "overload"):
            overload(folder, path, asked, given.overload, given.soak)


if __name__ == "__main__":
    main()
