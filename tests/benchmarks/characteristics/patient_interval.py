"""Coverage and width of the 80 % interval of a patient's survival, in simulated cohorts.

Prints, for the synthetic gastric cohort and for a plain world with an interaction, the share of
fresh patients whose true survival the interval holds at 12, 36 and 60 months and in each third of
predicted risk, and its mean width over the root mean square error of the prediction (2.56 where
all errors are normal with one known spread).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.study import Study, parse_study
from accomplice.data.synthetic import draw
from accomplice.data.synthetic_survival import weibull_survival
from accomplice.training.config import Config, configure
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.fitting.survival_interval import fit_survival_interval
from accomplice.training.fitting.survival_model import survival_model
from tests.benchmarks import benefit

MONTHS = np.array([12.0, 36.0, 60.0])
FRESH = 2000
#: Size of a cohort -> cohorts that are drawn.
COHORTS = {200: 20, 400: 20, 1000: 10}
LOG_HR = np.array([0.5, -0.4, 0.3, 0.25, 0.2, 0.0, 0.0, 0.0])


class World(NamedTuple):
    """A training cohort and fresh patients with their true survival."""

    cohort: Cohort
    fresh: Cohort
    truth: Array
    """(n, 3) true survival of the fresh patients at ``MONTHS``."""


def gastric(n: int, seed: int) -> World:
    """Draw the synthetic gastric cohort; fresh patients without gaps."""
    study = benefit.study()
    fresh = draw(FRESH, seed=seed + 5000, missing=False)
    log_hz = fresh.truth["log_hz"].to_numpy()
    truth = np.stack([weibull_survival(log_hz, month) for month in MONTHS], axis=1)
    cohort = build_cohort(study, draw(n, seed=seed).frame)
    return World(cohort, build_cohort(study, fresh.frame), truth)


def plain(n: int, seed: int) -> World:
    """Draw eight numbers, five of which decide, and one interaction."""
    rng, study = np.random.default_rng([n, seed]), plain_study()
    (own, _), (fresh, truth) = _plain(n, rng), _plain(FRESH, rng)
    return World(build_cohort(study, own), build_cohort(study, fresh), truth)


def plain_study() -> Study:
    """Return the study of :func:`plain`."""
    raw = {
        "name": "plain",
        "synthetic": True,
        "source": {"reader": "table", "files": ["plain.csv"]},
        "endpoints": {"survival": {"os": {"time": "time", "event": "event", "horizon": 60}}},
        "modalities": {"clinical": {f"x{i}": {"kind": "number"} for i in range(len(LOG_HR))}},
    }
    return parse_study(raw, "plain")


def _plain(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, Array]:
    X = rng.standard_normal((n, len(LOG_HR)))
    log_hz = X @ LOG_HR + 0.35 * X[:, 0] * (X[:, 1] > 0)
    time = 45 * (rng.standard_exponential(n) / np.exp(log_hz)) ** (1 / 1.2)
    left = np.minimum(rng.uniform(30, 90, n), rng.exponential(300, n))
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(len(LOG_HR))]).assign(
        time=np.maximum(np.minimum(time, left), 0.05), event=(time <= left).astype(int)
    )
    return frame, np.exp(-((MONTHS / 45) ** 1.2) * np.exp(log_hz)[:, None])


WORLDS: dict[str, Callable[[int, int], World]] = {"gastric": gastric, "plain": plain}


def coverage(world: World, config: Config) -> dict[str, float]:
    """Train on a world's cohort and return the figures of the fresh patients' intervals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare(world.cohort, config)
        fitted = fit(prepared, config)
    model = survival_model(fitted, interval=fit_survival_interval(prepared, config))
    answer = model.answer(world.fresh.values, world.fresh.centre)
    predicted, low, high = np.moveaxis(answer.curve(MONTHS.tolist()), -1, 0)
    held = (low <= world.truth) & (world.truth <= high)
    third = np.digitize(answer.risk, np.quantile(answer.risk, [1 / 3, 2 / 3]))
    error = np.sqrt(((predicted - world.truth) ** 2).mean(axis=0))
    found = {f"{month:g} months": held[:, j].mean() for j, month in enumerate(MONTHS)}
    for k, name in enumerate(("low", "middle", "high")):
        found[f"{name} risk"] = held[third == k].mean()
    return found | {"width / error": float(((high - low).mean(axis=0) / error).mean())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", nargs="*", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--patients", type=int, nargs="*", default=list(COHORTS))
    parser.add_argument("--cohorts", type=int, help="of each size; else as many as the docs say")
    given = parser.parse_args(arguments)
    print("80 % intervals of a patient's survival: part of fresh patients whose truth they hold")
    for name in given.world:
        for n in given.patients:
            seeds = range(given.cohorts or COHORTS.get(n, 10))
            rows = [coverage(WORLDS[name](n, s), configure([f"seed={s}"])) for s in seeds]
            means = pd.DataFrame(rows).mean()
            said = "; ".join(f"{key} {value:.2f}" for key, value in means.items())
            print(f"  {name}, {len(rows)} cohorts of {n}: {said}", flush=True)


if __name__ == "__main__":
    main()
