"""Whether `accomplice tune` is worth its time: the gain on test patients, and the gain it expected.

On each split the settings that a search of 50 trials ends with are trained and compared with the
defaults, both on the folds of the final model. Where the search keeps the defaults the gain is 0.
Results are kept in `.bench/`, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.coding import code
from accomplice.data.cohort import Cohort
from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.loading import load_cohort, read_patients
from accomplice.training.cli.terminal import shown
from accomplice.training.config import Config, configure
from accomplice.training.databases import sqlite_uri
from accomplice.training.estimators.hazard import log_risk, survival
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.search.gain import OTHER_FOLDS
from accomplice.training.search.scores import OPTIMISED
from accomplice.training.search.search import tune
from accomplice.training.search.shared_fits import SharedFits
from accomplice.training.search.study import SCORES, of_defaults, open_study
from accomplice.training.tracking.experiment import on_other_folds
from tests.benchmarks import cohorts
from tests.benchmarks.accuracy import Cache, available, show
from tests.benchmarks.cohorts import EVENT, TIME, features
from tests.benchmarks.ours import ROOT
from tests.benchmarks.scoring import eval_times, score
from tests.benchmarks.summary import Block, Result

CACHE = ROOT / ".bench" / "tuning.jsonl"
#: Name of the compared pair in the cache; results of other code are stale.
PAIR = "ours"
TRIALS = 50
#: Cohorts whose columns are in the thousands take hours.
WIDE = ("AML_Bull", "vdv", "gse4335")
COHORTS = tuple(name for name in cohorts.COHORTS if name not in WIDE)


def as_cohort(train: pd.DataFrame, test: pd.DataFrame) -> tuple[Cohort, Array]:
    """Return the training rows as a cohort, and the coded features (m, p) of the test rows."""
    with tempfile.TemporaryDirectory() as folder:
        table, study, rows = (Path(folder, name) for name in ("c.csv", "study.yaml", "p.csv"))
        train.to_csv(table, index=False)
        study.write_text(render_study(draft_study(table, time=TIME, event=EVENT, out=study)))
        cohort = load_cohort(study)
        features(test).to_csv(rows, index=False)
        return cohort, code(cohort.study, read_patients(rows, cohort.study)).values


def scored(
    cohort: Cohort, config: Config, values: Array, train: pd.DataFrame, test: pd.DataFrame
) -> dict[str, float]:
    """Train with some settings and score the test rows."""
    ensemble = fit(prepare(cohort, config), config).ensemble
    cumulative = ensemble.cumulative(values)
    times = eval_times(train, test)
    curves = survival(ensemble.grid.at(cumulative, np.minimum(times, ensemble.grid.horizon)))
    return score(train, test, log_risk(cumulative), curves, times)


def measure(name: str, repeat: int, trials: int = TRIALS) -> Result:
    """Search on the training rows of a split, and compare on its test rows."""
    train, test = cohorts.load_split(name, repeat)
    cohort, values = as_cohort(train, test)
    config, began = configure(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        study = open_study("bench", sqlite_uri(Path(folder, "optuna.db")))
        tuned = tune(SharedFits(cohort, config), config, study, trials, lambda *_: None)
        first, choice = of_defaults(study), tuned.choice
        assert first is not None
        assert choice is not None
        deciding = OPTIMISED[config.search.objective][0]
        base = float(first.user_attrs[SCORES][deciding][0])
        again = [k for k in study.user_attrs if k.startswith(OTHER_FOLDS)]
    low, high = choice.gain.interval
    found: Result = {
        "left": choice.trial.number != first.number,
        "trials": tuned.trials,
        "finalists": len(again),
        "expected": choice.gain.mean / base,
        "low": low / base,
        "high": high / base,
        "seconds": round(time.perf_counter() - began, 1),
        "settings": {k: v for k, v in choice.trial.params.items() if first.params.get(k) != v},
    }
    if choice.runner_up is not None:
        found |= {"runner_up": choice.runner_up.mean / base, "chance": choice.runner_up.chance}
    if not found["left"]:
        return {**found, "gain": 0.0, "gain_c": 0.0}
    ours = scored(cohort, on_other_folds(tuned.config), values, train, test)
    defaults = scored(cohort, on_other_folds(config), values, train, test)
    return {
        **found,
        "gain": 1 - ours["ibs"] / defaults["ibs"],
        "gain_c": ours["c"] - defaults["c"],
    }


def run(names: Iterable[str], repeats: int, cache: Cache) -> dict[str, list[Result]]:
    """Return the results of the cohorts' splits; measure those that are not kept."""
    splits = [(name, repeat) for name in names for repeat in range(repeats)]
    made: dict[str, list[Result]] = {}
    with shown("tuning") as tick:
        for done, (name, repeat) in enumerate(splits):
            tick("splits", done, len(splits))
            found = cache.get(name, repeat, PAIR)
            if found is None:
                found = measure(name, repeat)
                cache.add(name, repeat, PAIR, found)
            made.setdefault(name, []).append(found)
    return made


def summary(results: dict[str, list[Result]]) -> list[Block]:
    """Return the table of cohorts, and the figures over all of them."""
    rows, gains, left, held = [], [], [], []
    for name, own in results.items():
        keys = ("expected", "low", "high", "gain", "gain_c", "trials")
        mean = {k: float(np.mean([row[k] for row in own])) for k in keys}
        leaves = sum(bool(row["left"]) for row in own)
        gains.append(mean["gain"])
        held.append(mean["low"] <= mean["gain"] <= mean["high"])
        if leaves:
            left.append(mean["gain"])
        percent = {k: f"{100 * mean[k]:.2f}" for k in keys}
        rows.append(
            (
                name,
                f"{leaves} of {len(own)}",
                percent["expected"],
                f"{percent['low']} to {percent['high']}",
                percent["gain"],
                f"{mean['gain_c']:.4f}",
                f"{mean['trials']:.0f}",
            )
        )
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
    figures = {
        "cohorts on which the defaults are left": f"{len(left)} of {len(gains)}",
        "better there": f"{sum(gain > 0 for gain in left)}",
        "mean gain, %": f"{100 * np.mean(gains):.3f} (standard error {100 * error:.3f})",
        "worst cohort, %": f"{100 * min(gains):.2f}",
        "gain within the expected 80 % interval": f"{sum(held)} of {len(held)}",
    }
    header = ("cohort", "left", "expected %", "80 % interval", "gain %", "gain in C", "trials")
    return [
        Block(
            "Gain in integrated Brier score of tune over train, means of splits",
            header,
            tuple(rows),
        ),
        Block("Over the cohorts", ("figure", "value"), tuple(figures.items())),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", default=",".join(COHORTS))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    names = available(given.cohorts.split(","), cohorts.missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = run(names, given.repeats, Cache(CACHE))
    show(summary(results))


if __name__ == "__main__":
    main(sys.argv[1:])
