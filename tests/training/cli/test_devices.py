"""Training on two devices by the command line: the model of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from accomplice.data.synthetic import draw
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main

ROOT = Path(__file__).parents[3]
SMALL = (
    "folds.folds=2",
    "anchor.folds=2",
    "net.members=2",
    "net.max_epochs=4",
    "forest.trees=5",
    "boosting.max_rounds=5",
    "evaluation.bootstraps=5",
    "evaluation.explanations=false",
    "evaluation.peers=false",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """151 patients, who are no even number of shares or batches."""
    folder = tmp_path_factory.mktemp("devices")
    frame = draw(151, seed=3).frame[["age", "stage", "IL1R1", "os_months", "os_event"]]
    frame.to_csv(folder / "table.csv", index=False)
    drafted = ["--time", "os_months", "--event", "os_event", "--out", str(folder / "study.yaml")]
    assert main(["data", "init", str(folder / "table.csv"), *drafted]) == 0
    return folder / "study.yaml", frame


def trained(study, out, *settings):
    options = [part for setting in (*SMALL, *settings) for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "accomplice", "train", str(study), "--out", str(out), *options],
        cwd=out.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Bundle.load(out)


@pytest.mark.parametrize("batch", [4096, 32])
def test_two_devices_give_the_model_of_one(study, tmp_path, batch):
    path, frame = study
    predicted = []
    for devices in (1, 2):
        own = f"net.batch_size={batch}", f"trainer.devices={devices}", "trainer.accelerator=cpu"
        answer = trained(path, tmp_path / str(devices), *own).predict(frame, [12, 36])
        predicted.append(answer[["risk", "survival@12", "survival@36"]].to_numpy())
    np.testing.assert_allclose(*predicted, atol=1e-4)


def interruptible(study, folder):
    """Start a command that trains on two devices until it is stopped, in a session of its own."""
    long = "net.max_epochs=100000", "net.patience=100000", "trainer.devices=2"
    settings = [*SMALL, *long, "trainer.accelerator=cpu"]
    options = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "accomplice", "train", str(study[0]), "--out", "model"]
    return subprocess.Popen(
        [*command, *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_by_the_terminal_while_the_others_import_is_one_line(study, tmp_path):
    with interruptible(study, tmp_path) as process:
        own, until, started = psutil.Process(process.pid), time.monotonic() + 300, []
        while len(started) < 2:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until, "the processes of the devices do not start"
            time.sleep(0.01)
            children = own.children(recursive=True)
            started = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert said == "accomplice: stopped\n"
    assert psutil.wait_procs(started, timeout=60)[1] == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_of_the_command_ends_the_other_processes_too(study, tmp_path):
    with interruptible(study, tmp_path) as process:
        own, until, started = psutil.Process(process.pid), time.monotonic() + 300, []
        # Where they speak to each other they have started.
        while sum(bool(p.net_connections()) for p in started) < 2:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until, "the processes of the devices do not start"
            time.sleep(0.1)
            started = own.children(recursive=True)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert process.returncode in (130, -signal.SIGINT)
    assert said.splitlines()[-1] == "accomplice: stopped"
    assert psutil.wait_procs(started, timeout=60)[1] == []
    assert not (tmp_path / "model").exists()
