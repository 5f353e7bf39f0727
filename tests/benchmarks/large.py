"""`train` of large cohorts, whole: time and peak memory, growth with patients, and one XGBoost fit.

Each run is the command `accomplice train` in a process of its own, from a table on the disk to the
logged run. Seconds are those of the processor as well as of the wall clock, since on a shared
machine the latter say little. Memory is the resident memory of the command and its processes.
XGBoost's is one fit under Cox's loss: depth 4, rate 0.05, early stopping on a fifth, one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml

from accomplice.data.arrays import Array, Bools
from tests.benchmarks.big_training import FEATURES, MIB, simulated

SIZES = (10_000, 100_000)
MILLION = 1_000_000
#: Patients and features of the wide cohort.
WIDE = (1000, 20_000)
#: Seconds between two looks at the memory.
PAUSE = 0.2


@dataclass(frozen=True)
class Taken:
    """What one command took."""

    wall: float
    """Seconds of the wall clock."""
    processor: float
    """Seconds of all processors, user and system."""
    memory: float
    """Most resident memory of the command and its processes, in bytes."""

    def __str__(self) -> str:
        return f"{self.wall:.0f} s, {self.processor:.0f} s of processors, {self.gib:.2f} GiB"

    @property
    def gib(self) -> float:
        """Memory in GiB."""
        return self.memory / MIB / 1024


def main(argv: Sequence[str] = ()) -> None:
    """Print times, memory, growth and the ratio to XGBoost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="train 10⁶ patients too: an hour")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of patients")
    options = parser.parse_args(argv)
    sizes = [*options.sizes, *([MILLION] if options.million else [])]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            found[n] = trained(long_study(Path(folder), n))
            print(f"train, {n} patients x {FEATURES} features: {found[n]}", flush=True)
        rows, columns = WIDE
        print(f"train, {rows} x {columns}: {trained(wide_study(Path(folder), rows, columns))}")
    if len(sizes) > 1:
        seconds = [found[n].processor for n in sizes]
        exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        print(
            f"processor time grows as n^{exponent:.2f}; last step {seconds[-1] / seconds[-2]:.1f}"
        )
    if find_spec("xgboost") is None:
        print("not held against XGBoost, which is not installed")
        return
    n = max(size for size in sizes if size < MILLION)
    peer = xgboost_seconds(n)
    ratio = found[n].processor / peer
    print(f"one XGBoost fit of {n} patients: {peer:.1f} s; train takes {ratio:.0f} times as long")


def long_study(folder: Path, n: int) -> Path:
    """Write a table of n patients with its study file, and return the latter."""
    cohort = simulated(n)
    frame = pd.DataFrame(cohort.values.round(4), columns=list(cohort.study.features))
    return _written(folder, f"long{n}", frame, cohort.time, cohort.event)


def wide_study(folder: Path, n: int, columns: int) -> Path:
    """Write a table of many columns, of which five matter, with its study file."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n, columns))
    death = rng.exponential(40 * np.exp(-0.4 * values[:, :5].sum(axis=1)))
    censoring = rng.uniform(1, 80, n)
    frame = pd.DataFrame(values.round(3), columns=[f"x{i}" for i in range(columns)])
    time = np.minimum(death, censoring)
    return _written(folder, f"wide{columns}", frame, time, death <= censoring)


def _written(folder: Path, name: str, frame: pd.DataFrame, time: Array, event: Bools) -> Path:
    """Write table and study file; features whose name begins with ``xd`` are densities."""
    outcome = pd.DataFrame({"id": np.arange(len(frame)), "time": time.round(3), "event": event * 1})
    outcome["time"] = outcome["time"].clip(lower=0.001)
    pd.concat([outcome, frame], axis=1).to_csv(folder / f"{name}.csv", index=False)
    modalities: dict[str, dict[str, dict[str, str]]] = {}
    for column in map(str, frame):
        kind = "density" if column.startswith("xd") else "number"
        modalities.setdefault(kind, {})[column] = {"kind": kind}
    raw = {
        "name": name,
        "source": {"reader": "table", "files": [f"{name}.csv"]},
        "id": "id",
        "endpoints": {"survival": {"os": {"time": "time", "event": "event"}}},
        "modalities": modalities,
    }
    study = folder / f"{name}.yaml"
    study.write_text(yaml.safe_dump(raw, sort_keys=False))
    return study


def trained(study: Path) -> Taken:
    """Run ``accomplice train`` on a study file, and return what it took.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    command = [
        sys.executable,
        "-m",
        "accomplice",
        "train",
        study.name,
        "--out",
        f"{study.stem}-out",
    ]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{study.with_suffix('.db')}"}
    # The checkout stays importable from the study's folder.
    paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **store, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    began, most = time.perf_counter(), 0
    process = subprocess.Popen(
        command, cwd=study.parent, env=environment, stdout=subprocess.DEVNULL
    )
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        most = max(most, _resident(process.pid))
        time.sleep(PAUSE)
    wall, (_, status, usage) = time.perf_counter() - began, ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Taken(wall, usage.ru_utime + usage.ru_stime, most)


def _resident(pid: int) -> int:
    """Return the resident memory of a process and its children, in bytes."""
    total = 0
    try:
        whole = psutil.Process(pid)
        for each in (whole, *whole.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def xgboost_seconds(n: int) -> float:
    """Return the processor time of one XGBoost fit to n patients of :func:`long_study`."""
    import xgboost

    cohort = simulated(n)
    label = np.where(cohort.event, cohort.time, -cohort.time)
    held_out = np.arange(n) % 5 == 0
    began = time.process_time()
    parts = [xgboost.DMatrix(cohort.values[r], label[r], nthread=1) for r in (~held_out, held_out)]
    settings = {"objective": "survival:cox", "max_depth": 4, "eta": 0.05, "nthread": 1}
    xgboost.train(
        settings,
        parts[0],
        num_boost_round=1000,
        evals=[(parts[1], "held_out")],
        early_stopping_rounds=20,
        verbose_eval=False,
    )
    return time.process_time() - began


if __name__ == "__main__":
    main(sys.argv[1:])
