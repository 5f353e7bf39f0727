"""Runs of killed processes are ended; those of live ones, and of other machines, go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from accomplice.training.processes import this_process
from accomplice.training.tracking.store import open_store
from accomplice.training.tracking.stores.lost import PROCESS_TAG, end_lost_runs, process_tag


def ended_process() -> dict[str, str]:
    code = (
        "from accomplice.training.tracking.stores.lost import process_tag as t; print(*t().items())"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    key, value = made.stdout.strip().strip("()").replace("'", "").split(", ")
    return {key: value}


def test_runs_end_with_their_processes(tmp_path: Path):
    store, client, lost = open_store(tmp_path), MlflowClient(), ended_process()
    assert process_tag().keys() != lost.keys()
    elsewhere = {f"{PROCESS_TAG}0123456789ab.7": "1"}
    tags = {
        "lost": lost,
        "here": process_tag(),
        "shared": lost | process_tag(),
        "elsewhere": elsewhere,
        "both": lost | elsewhere,
        "none": {},
    }
    made = {
        name: client.create_run(store.experiment("x"), tags=each).info.run_id
        for name, each in tags.items()
    }
    done = client.create_run(store.experiment("x"), tags=lost).info.run_id
    client.set_terminated(done)
    end_lost_runs()
    status = {name: client.get_run(run).info.status for name, run in made.items()}
    assert status == dict.fromkeys(made, "RUNNING") | {"lost": "KILLED"}
    assert client.get_run(done).info.status == "FINISHED"
    assert this_process().split(".")[0] in next(iter(process_tag()))
