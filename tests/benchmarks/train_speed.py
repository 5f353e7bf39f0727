"""``train``, ``predict`` and ``data init`` against what they cannot do without, in one run.

``train`` is the whole command, from its start to the printed verdict, in two processes where there
are two processors. It is held against the bare imports of torch, Lightning and MLflow, the fits of
all endpoints, and their patients' intervals, one after another. ``predict`` of one row and ``data
init`` are held against ``import pandas``. The cohort is TCGA's stomach cancer where the folder of
real cohorts is at hand, else the synthetic one.

Seconds are of a clock, which other work on the machine moves; the processor's are beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psutil

from accomplice.data.example_patient import example_patient
from accomplice.data.study import load_study
from tests.benchmarks.cohorts import GASTRIC, gastric_folder, missing

ROOT = Path(__file__).parents[2]
#: Runs of a short command, of which the fastest counts.
RUNS = 5
#: Imports that ``train`` cannot do without.
BARE = "import torch, pytorch_lightning, mlflow"
#: Fit of all survival endpoints and their patients' intervals; prints the seconds of each.
FIT = """
import sys, time
from pathlib import Path
import accomplice.training.fitting.network
from accomplice.data.loading import load_endpoints
from accomplice.training.config import Config
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.fitting.survival_interval import fit_survival_interval
config, spent = Config(), [0.0, 0.0]
cohort = load_endpoints(Path(sys.argv[1]))
for each in [cohort, *cohort.further.values()][: int(sys.argv[2])]:
    began = time.perf_counter()
    prepared = prepare(each, config)
    fit(prepared, config)
    fitted = time.perf_counter()
    fit_survival_interval(prepared, config)
    spent = [spent[0] + fitted - began, spent[1] + time.perf_counter() - fitted]
print(*spent)
"""


class Spent(NamedTuple):
    """Seconds of a command, and what it printed."""

    wall: float
    processor: float
    said: str


def spent(*command: Any, folder: Path) -> Spent:
    """Run Python once with these arguments, its runs in a store of the folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    before, began = _of_children(), time.perf_counter()
    made = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=env, capture_output=True, text=True
    )
    wall = time.perf_counter() - began
    if made.returncode:
        raise RuntimeError(f"{command}: {made.stderr}")
    return Spent(wall, _of_children() - before, made.stdout)


def fastest(*command: Any, folder: Path) -> Spent:
    """Run a short command ``RUNS`` times; return its least seconds of each kind."""
    found = [spent(*command, folder=folder) for _ in range(RUNS)]
    return Spent(min(s.wall for s in found), min(s.processor for s in found), found[0].said)


def _of_children() -> float:
    """Return the processor's seconds of this process's ended children."""
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def drafted(folder: Path) -> tuple[str, tuple[Any, ...]]:
    """Return the cohort's name and the command that drafts its study file ``study.yaml``."""
    name = "TCGA-STAD"
    if missing(name) is None:
        table: Path = gastric_folder() / GASTRIC[name][0]
    else:
        name, table = "synthetic", folder / "synthetic" / "cohort.csv"
        spent(*("-m", "accomplice", "data", "synth", "--out", table.parent), folder=folder)
    outcome = () if table.is_dir() else ("--time", "os_months", "--event", "os_event")
    draft = ("-m", "accomplice", "data", "init", table, *outcome, "--out", "study.yaml", "--force")
    return name, draft


def main() -> None:
    """Print the ratios."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        cohort, draft = drafted(folder)
        pandas = fastest("-c", "import pandas", folder=folder)
        init = fastest(*draft, folder=folder)
        bare = fastest("-c", BARE, folder=folder)
        study = load_study(folder / "study.yaml")
        patient = example_patient(study, most=len(study.features)) | {study.id: "p1"}
        rows = [",".join(patient), ",".join(map(str, patient.values()))]
        (folder / "one.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        endpoints = len(study.endpoints.survival)
        for n in sorted({1, endpoints}):
            fit, interval = map(
                float, spent("-c", FIT, "study.yaml", n, folder=folder).said.split()
            )
            only = () if n > 1 else ("--set", "further_endpoints=false")
            train = spent(
                *("-m", "accomplice", "train", "study.yaml", "--out", "model", "--force", *only),
                folder=folder,
            )
            least = bare.wall + fit + interval
            print(
                f"train, {cohort}, {n} of {endpoints} survival endpoints: {train.wall:.1f} s "
                f"({train.processor:.1f} s of processors); bare imports {bare.wall:.1f} s, fit "
                f"{fit:.1f} s, intervals {interval:.1f} s; ratio {train.wall / least:.2f}"
            )
        predict = fastest(
            *("-m", "accomplice", "predict", "model", "one.csv", "--times", "12"),
            *("--out", "predictions.csv"),
            folder=folder,
        )
        for verb, took in (("predict of one row", predict), ("data init", init)):
            print(
                f"{verb}: {took.wall:.2f} s ({took.processor:.2f} s of a processor); import pandas "
                f"{pandas.wall:.2f} s ({pandas.processor:.2f} s); ratio "
                f"{took.wall / pandas.wall:.2f} ({took.processor / pandas.processor:.2f})"
            )
