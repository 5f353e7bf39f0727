"""Whether figures stay true where censoring depends on centre, treatment or features.

Predictions are the truth, so a calibration slope should be 1 and the Brier score the true one. The
mean gain of the treatment is judged from a Cox model of the features, out of fold, that knows
neither the centre nor the treatment. Months are those that are judged: to which a fifth of each
group is followed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.splits import stratified_folds
from accomplice.training.config import configure
from accomplice.training.estimators.censoring import censoring_of
from accomplice.training.estimators.cox import RiskSets, baseline_hazard, fit_cox
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import slopes
from accomplice.training.evaluation.scores import judge
from accomplice.training.metrics.brier import brier_contributions
from accomplice.training.models.predictions import MODEL
from accomplice.training.treatment import judging
from accomplice.training.treatment.cross_fitted import cross_fit
from tests.benchmarks.characteristics import simulated
from tests.benchmarks.characteristics.simulated import HORIZON, LANDMARK, SHAPE

SCALE, HR = 0.45, 0.7
FEATURES = ("age", "nodes", "year", "marker")
MONTHS = (12.0, 24.0, 36.0, 48.0)
GRID = TimeGrid(np.linspace(0.0, HORIZON, 61))
STUDY = simulated.study(
    {"clinical": dict.fromkeys(FEATURES, simulated.NUMBER)},
    centre="centre",
    baselines={"clinical": ["age", "nodes"]},
)


class World(NamedTuple):
    """A simulated cohort, and what is true of its patients."""

    cohort: Cohort
    log_hz: Array
    """(n,) log-hazard without the treatment."""
    treated: Array
    """(n,) 1 or 0."""

    def survival(self, month: float, treated: Array | float) -> Array:
        """Return survival (n,) at a month, with the treatment or without."""
        hazard = np.exp(self.log_hz + np.log(HR) * treated)
        return np.asarray(np.exp(-SCALE * (month / HORIZON) ** SHAPE * hazard))


def _by_centre(late: Array, rng: np.random.Generator) -> Array:
    n = len(late)
    return np.where(late, rng.uniform(10, 62, n), rng.uniform(60, 110, n))


#: Dependence -> whether the late centre is sicker, and by year how much the hazard falls.
WORLDS = {
    "independent": (0.9, 0.0),
    "centre": (0.9, 0.0),
    "centre, alike in risk": (0.0, 0.0),
    "treatment": (0.9, 0.0),
    "centre and treatment": (0.9, 0.0),
    "age": (0.9, 0.0),
    "calendar year": (0.0, 0.15),
    "calendar year, alike in risk": (0.0, 0.0),
}


def world(kind: str, n: int, rng: np.random.Generator) -> World:
    """Draw n patients, whose censoring depends on what is named by ``kind``, of `WORLDS`."""
    sicker, falling = WORLDS[kind]
    age, nodes, marker = rng.standard_normal((3, n))
    year, late = rng.uniform(0, 10, n), rng.random(n) < 0.5
    treated = rng.random(n) < expit(0.3 - 0.5 * age + 0.4 * nodes)
    log_hz = 0.4 * age + 0.5 * nodes + sicker * late - falling * (year - 5)
    hazard = SCALE * np.exp(log_hz + np.log(HR) * treated)
    death = HORIZON * (rng.standard_exponential(n) / hazard) ** (1 / SHAPE)
    end = rng.uniform(30, 110, n)
    if kind.startswith("centre"):
        end = _by_centre(late, rng)
    if kind.startswith("calendar"):
        end = np.minimum(120 - 10 * year + rng.uniform(0, 5, n), 110)
    if "treatment" in kind:
        end = np.minimum(end, rng.exponential(np.where(treated, 400, 50)))
    if kind == "age":
        end = np.minimum(end, rng.exponential(80 * np.exp(-0.8 * age)))
    columns = dict(zip(FEATURES, (age, nodes, year, marker), strict=True))
    frame = pd.DataFrame(columns).assign(
        centre=np.where(late, "late", "early"),
        treated=np.where(treated, "yes", "no"),
        time=np.maximum(np.minimum(death, end), 0.01),
        event=(death <= end).astype(int),
    )
    return World(build_cohort(STUDY, frame), log_hz, treated.astype(float))


def calibrated(made: World, *, alike: bool = False) -> dict[str, float]:
    """Return the errors of a perfect model's figures, and the last month that is judged.

    Args:
        made: the cohort and its truth.
        alike: whether all patients are weighed by one distribution of the censoring time.
    """
    time, event = made.cohort.outcome
    hazards = SCALE * (GRID.edges / HORIZON) ** SHAPE
    curves = hazards * np.exp(made.log_hz + np.log(HR) * made.treated)[:, None]
    chosen = censoring_of(made.cohort, time, event)
    judged = judge(
        time,
        event,
        np.zeros(len(time), dtype=int),
        GRID,
        {MODEL: curves},
        {},
        0,
        0,
        chosen=None if alike else chosen,
    )
    found = {"month": judged.horizon}
    weights = judged.censoring.weights
    followed = BootstrappedOutcome.of(time, event, judged.horizon, 0, 0, weights)
    for month in MONTHS:
        if month <= min(judged.horizon, chosen.reach):
            alive = made.survival(month, made.treated)
            scored = brier_contributions(event, time, alive[:, None], np.array([month]), weights)
            found |= {
                f"slope at {month:g}": float(slopes(followed, alive, month)[0]),
                f"Brier error at {month:g}": scored.mean() - (alive * (1 - alive)).mean(),
                f"O/E at {month:g}": float(followed.observed_expected(alive, month)[0]),
            }
    return found


def gained(made: World, seed: int) -> dict[str, float]:
    """Return the error of the mean gain in percentage points, and whether its interval holds it."""
    cohort = made.cohort
    (time, event), blind = cohort.outcome, cohort.prognostic()
    fold = stratified_folds(event, time, 5, seed)
    cumulative, fitted = np.empty((len(time), GRID.bins + 1)), []
    for k in range(5):
        rows = fold != k
        fitted.append(Preprocessor.fit(blind.study, blind.values[rows], None, bins=1))
        X = fitted[k].linear(blind.values)
        beta = fit_cox(X[rows], RiskSets(time[rows], event[rows]), np.full(X.shape[1], 1.0))
        base = baseline_hazard(X[rows] @ beta, time[rows], event[rows], GRID)
        cumulative[~rows] = base * np.exp(X[~rows] @ beta)[:, None]
    config = configure([f"seed={seed}"])
    crossed = cross_fit(cohort, fitted, fold, cumulative, GRID, config.effect, seed)
    assert not isinstance(crossed, str), crossed
    judged = judging.evidence(crossed, config)
    assert judged is not None
    rows = cohort.time > LANDMARK
    at = judged.horizon
    arms = [(made.survival(at, a) / made.survival(LANDMARK, a))[rows].mean() for a in (1.0, 0.0)]
    gain = float(arms[0] - arms[1])
    return {
        "month of the gain": at,
        "gain error": 100 * (judged.ate.value - gain),
        "interval holds the gain": float(judged.ate.low <= gain <= judged.ate.high),
    }


def figures(kind: str, patients: int, cohorts: int, *, gains: bool = True) -> pd.DataFrame:
    """Return the figures of each cohort of a world, a row each, and the variables weighed by."""
    rows = []
    for seed in range(cohorts):
        made = world(kind, patients, np.random.default_rng([seed, patients, len(kind)]))
        time, event = made.cohort.outcome
        by = " and ".join(censoring_of(made.cohort, time, event).by) or "one curve"
        rows.append({"by": by, **calibrated(made), **(gained(made, seed) if gains else {})})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=40, help="simulated a line (40)")
    parser.add_argument("--patients", type=int, default=1000, help="of a cohort (1000)")
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), help=", ".join(WORLDS))
    given = parser.parse_args(arguments)
    print(f"dependent censoring, {given.cohorts} cohorts of {given.patients}; means (errors)")
    for kind in given.worlds:
        made = figures(kind, given.patients, given.cohorts)
        by = ", ".join(f"{k} {v}" for k, v in Counter(made.pop("by")).most_common())
        means, errors = made.mean(), made.sem()
        cells = "; ".join(f"{k} {means[k]:.3f} ({errors[k]:.3f})" for k in made.columns)
        print(f"  {kind}: weighed by {by}; {cells}", flush=True)


if __name__ == "__main__":
    main()
