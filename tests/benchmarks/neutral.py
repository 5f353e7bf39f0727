"""`accomplice train` beside 21 tuned learners, by the folds and scores of a neutral benchmark.

The published figures are those of Burk et al., "A Large-Scale Neutral Comparison Study of Survival
Models on Low-Dimensional Data" (arXiv 2406.04098v2): Harrell's C of each learner tuned for it, and
the integrated survival Brier score (ISBS) of each tuned for that. Ours has its default settings.
Results are kept in `.bench/`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from accomplice.data.arrays import Array, Bools
from accomplice.training.cli.terminal import shown
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.metrics.concordance import harrell_c
from tests.benchmarks.accuracy import OURS, Cache, show
from tests.benchmarks.cohorts import EVENT, TIME
from tests.benchmarks.ours import ROOT, ours
from tests.benchmarks.summary import Block, Result, ranks

FOLDER = ROOT.parent / "shared" / "neutral"
CACHE = ROOT / ".bench" / "neutral.jsonl"
#: Measure -> heading, and the sign that makes larger values worse.
MEASURES = {"harrell_c": ("Harrell's C", -1), "isbs": ("ISBS", 1)}
#: Part of the test patients who have left the risk set at the last time of the ISBS.
LEFT = 0.8
#: Lower bound of the censoring distribution by which squared errors are divided.
LEAST = 1e-3


@dataclass(frozen=True)
class Task:
    """A task's patients, and the folds that were published."""

    name: str
    frame: pd.DataFrame
    """Time, event and features of all patients."""
    folds: dict[int, Array]
    """Fold -> its test rows."""

    def split(self, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the training and test rows of a fold."""
        out = np.isin(np.arange(len(self.frame)), self.folds[fold])
        return self.frame[~out].reset_index(drop=True), self.frame[out].reset_index(drop=True)


def read_task(folder: Path, name: str) -> Task:
    """Read a task and its folds."""
    frame = pd.read_csv(folder / f"{name}.csv").rename(columns={"status": EVENT})
    folds = pd.read_csv(folder / "folds.csv.gz").query("task == @name")
    return Task(name, frame, {int(k): g["row"].to_numpy() for k, g in folds.groupby("fold")})


def published(folder: Path) -> pd.DataFrame:
    """Return the published scores (task, learner, fold, measure, value), each as tuned for it."""
    raw = pd.read_csv(folder / "published.csv.gz")
    parts = [
        raw[raw["tune_measure"].str.split(",").map(lambda tuned, m=m: m in tuned)]
        .rename(columns={m: "value"})
        .assign(measure=m)
        for m in MEASURES
    ]
    return pd.concat(parts)[["task", "learner", "fold", "measure", "value"]]


def isbs_times(time: Array) -> Array:
    """Return the distinct times (t,) of n patients, up to the first with more than ``LEFT`` gone.

    Gone are those whose own time is earlier.
    """
    times, count = np.unique(time, return_counts=True)
    gone = (np.cumsum(count) - count) / len(time) > LEFT
    return times[: int(gone.argmax()) + 1] if gone.any() else times


def isbs(known: pd.DataFrame, test: pd.DataFrame, survival: Array, times: Array) -> float:
    """Return the mean of Graf's score over time.

    Censoring is estimated by Kaplan-Meier among the training rows; squared errors of events are
    weighted at the patient's own time, those of survivors at the time of the prediction.

    Args:
        known: training rows.
        test: n test rows.
        survival: (n, t) predicted survival of the test rows.
        times: (t,) of :func:`isbs_times`.
    """
    (own, event), (time, seen) = outcome(test), outcome(known)
    still = KaplanMeier.fit(time, ~seen).at
    dead = (own[:, None] <= times) & event[:, None]
    alive = own[:, None] > times
    error = np.where(dead, survival**2 / np.maximum(still(own), LEAST)[:, None], 0.0)
    error += np.where(alive, (1 - survival) ** 2 / np.maximum(still(times), LEAST), 0.0)
    return float(np.trapezoid(error.mean(axis=0), times) / (times[-1] - times[0]))


def outcome(frame: pd.DataFrame) -> tuple[Array, Bools]:
    """Return time (n,) and event (n,) of a frame."""
    return frame[TIME].to_numpy(dtype=float), frame[EVENT].to_numpy() == 1


def measure(task: Task, fold: int) -> Result:
    """Train on a fold's training rows and score its test rows; an error is a result too."""
    train, test = task.split(fold)
    began = time.perf_counter()
    times = isbs_times(outcome(test)[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predict = ours(train)
            seconds = time.perf_counter() - began
            risk, survival = predict(test, times)
        own, event = outcome(test)
        scores = {"harrell_c": harrell_c(event, own, risk)}
        scores["isbs"] = isbs(train, test, survival, times)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {**scores, "seconds": round(seconds, 2)}


def run(tasks: Sequence[Task], folds: int, cache: Cache) -> pd.DataFrame:
    """Return our scores (task, learner, fold, measure, value); measure those that are not kept."""
    wanted = [(task, fold) for task in tasks for fold in sorted(task.folds)[:folds]]
    rows = []
    with shown("neutral") as tick:
        for done, (task, fold) in enumerate(wanted):
            tick("fits", done, len(wanted))
            found = cache.get(task.name, fold, OURS)
            if found is None:
                found = measure(task, fold)
                cache.add(task.name, fold, OURS, found)
            if "error" in found:
                print(f"failed on {task.name}, fold {fold}: {found['error']}", file=sys.stderr)
            rows += [(task.name, OURS, fold, m, found[m]) for m in MEASURES if m in found]
    return pd.DataFrame(rows, columns=["task", "learner", "fold", "measure", "value"])


def summary(ours_: pd.DataFrame, others: pd.DataFrame) -> list[Block]:
    """Return tables of our scores beside the published ones of the same folds.

    Learners are ranked by their mean over a task's folds; ranks are averaged over tasks. The p
    value beside a learner is Wilcoxon's of the tasks' differences to ours.
    """
    folds = ours_[["task", "fold"]].drop_duplicates()
    both = pd.concat([ours_, others.merge(folds, on=["task", "fold"])])
    blocks = []
    for name, (heading, sign) in MEASURES.items():
        wide = both[both["measure"] == name].pivot_table(
            index="task", columns="learner", values="value", aggfunc="mean"
        )
        wide = wide.dropna(axis=1)
        rank = pd.DataFrame(ranks(sign * wide.to_numpy()), wide.index, wide.columns)
        rows = []
        for learner, mean in rank.mean().sort_values().items():
            apart = sign * (wide[learner] - wide[OURS]).to_numpy()
            p = wilcoxon(apart).pvalue if learner != OURS and len(apart) > 1 else np.nan
            better = f"{int((apart > 0).sum())} of {len(apart)}" if learner != OURS else ""
            text = f"{p:.3f}" if np.isfinite(p) else ""
            rows.append((str(learner), f"{mean:.2f}", better, text))
        title = f"{heading}: mean rank of {len(wide.columns)} over {len(wide)} tasks"
        blocks.append(Block(title, ("learner", "rank", "ours is better", "p"), tuple(rows)))
        best = (sign * wide.drop(columns=OURS)).idxmin(axis=1)
        lines = [
            (
                str(t),
                f"{wide.at[t, OURS]:.4f}",
                f"{rank.at[t, OURS]:g}",
                best[t],
                f"{wide.at[t, best[t]]:.4f}",
            )
            for t in wide.index
        ]
        header = ("task", "ours", "rank", "best of the others", "its score")
        blocks.append(Block(f"{heading} by task", header, tuple(lines)))
    return blocks


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.neutral", description=__doc__)
    parser.add_argument("--folds", type=int, default=3, help="of each task, the first ones (3)")
    parser.add_argument("--tasks", help="names, with commas between; all if absent")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the tasks")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where results are kept")
    given = parser.parse_args(arguments)
    if not given.folder.is_dir():
        print(f"neutral: left out: no folder {given.folder.name} with the tasks")
        return
    known = sorted(path.stem for path in given.folder.glob("*.csv"))
    names = given.tasks.split(",") if given.tasks else known
    if unknown := set(names) - set(known):
        parser.error(f"no task {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    tasks = [read_task(given.folder, name) for name in names]
    found = run(tasks, given.folds, Cache(given.cache))
    if len(found):
        show(summary(found, published(given.folder)))


if __name__ == "__main__":
    main()
