"""A marker's interaction with a treatment, and effects where confounders are missing.

Prints how often an interaction is claimed where there is none, also of a marker that is prognostic
while the treatment begins some months on, and where there is one; and bias and coverage of the 95 %
interval, with a confounder missing at random in three of ten, of the treatment's landmark hazard
ratio (a ridge Cox model as the only learner) and of the marker's adjusted hazard ratio.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.splits import stratified_folds
from accomplice.data.study import Study
from accomplice.training.config import configure
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.hazard_ratios import HazardRatio, fit_effects
from accomplice.training.estimators.imputation.multiple import pooled
from accomplice.training.learners.anchor import fit_anchor
from accomplice.training.marker.covariates import Adjustments, Covariates
from accomplice.training.marker.treatment import Modification, modification
from accomplice.training.marker.verdicts import of_modification
from accomplice.training.treatment.cross_fitted import CrossFitted, cross_fit
from accomplice.training.treatment.missing_confounders import MissingConfounders
from tests.benchmarks.characteristics import simulated
from tests.benchmarks.characteristics.simulated import HORIZON

STAGES = ["I", "II", "III"]
FEATURES: dict[str, dict[str, object]] = {
    "age": {"kind": "number"},
    "stage": {"kind": "ordinal", "levels": STAGES},
    "frailty": {"kind": "number"},
    "marker": {"kind": "number"},
}
CLINICAL = ("age", "stage", "frailty")


class World(NamedTuple):
    """Truth of the simulated patients; log-hazard ratios."""

    treatment: float = math.log(0.75)
    """Of the treatment, where the marker is at its mean."""
    interaction: float = 0.0
    """Change of the treatment's with one SD of the marker, or from the low to the high half."""
    by_halves: bool = False
    """Whether the marker changes the effect by halves."""
    marker: float = 0.0
    """Of the marker, per SD."""
    begins: float = 0.0
    """Month by which the treatment begins, from month 0.7 on; 0: at the start."""
    missing: float = 0.0
    """Part of the patients whose frailty is missing, more of the old and of the treated."""
    landmark: float = 2.0


def study(landmark: float) -> Study:
    """Return the study of the simulated cohorts."""
    return simulated.study(
        {
            "clinical": {name: FEATURES[name] for name in CLINICAL},
            "markers": {"marker": FEATURES["marker"]},
        },
        {"landmark": landmark},
        baselines={"clinical": list(CLINICAL)},
        interactions=[["treated", "marker"]],
    )


def patients(n: int, world: World, seed: int) -> Cohort:
    """Draw n patients, treated by age, stage and frailty."""
    rng = np.random.default_rng([n, seed])
    age, noise, other = rng.standard_normal((3, n))
    stage = rng.choice(3, n, p=[0.35, 0.4, 0.25])
    frailty = 0.3 * age + math.sqrt(1 - 0.3**2) * other
    marker = 0.4 * frailty + math.sqrt(1 - 0.4**2) * noise
    wants = rng.random(n) < expit(0.8 * (stage - 1) - 0.5 * age + 0.6 * frailty)
    scale = np.sign(marker) / 2 if world.by_halves else marker
    log_hr = world.treatment + world.interaction * scale
    log_hz = 0.3 * age + 0.6 * (stage - 1) + 0.6 * frailty + world.marker * marker
    untreated = rng.standard_exponential(n) * (30 if world.begins else 60) / np.exp(log_hz)
    start = rng.uniform(0.7, world.begins, n) if world.begins else np.zeros(n)
    treated = wants & (untreated > start)
    death = np.where(treated, start + (untreated - start) / np.exp(log_hr), untreated)
    lost = rng.uniform(24, 90, n)
    gone = rng.random(n) < _chances(0.8 * age + 0.8 * treated, world.missing)
    frame = pd.DataFrame(
        {
            "age": 62 + 10 * age,
            "stage": np.array(STAGES)[stage],
            "frailty": np.where(gone, np.nan, frailty),
            "marker": marker,
            "treated": np.where(treated, "yes", "no"),
            "time": np.maximum(np.minimum(death, lost), 0.05),
            "event": (death <= lost).astype(int),
        }
    )
    return build_cohort(study(world.landmark), frame)


def adjustments(cohort: Cohort) -> tuple[Array, Adjustments]:
    """Return the marker in standard deviations (n,), and the clinical features without gaps."""
    given = Covariates.of(cohort)
    x = given.z[:, list(cohort.study.features).index("marker")]
    return x, Adjustments.of(given, CLINICAL, None, x[:, None], seed=0)


def claimed(n: int, world: World, seed: int) -> bool:
    """Whether the report on one cohort claims an interaction, even with reserve."""
    cohort = patients(n, world, seed)
    x, beside = adjustments(cohort)
    found = modification(cohort, x, beside.columns(CLINICAL), 1.55)
    assert isinstance(found, Modification)
    return of_modification("marker", found).tone in ("yes", "caution")


def crossed(cohort: Cohort, seed: int) -> CrossFitted:
    """Return the treatment's effect, cross-fitted on a ridge Cox model's curves."""
    time, event = cohort.outcome
    fold, grid = stratified_folds(event, time, 5, seed), TimeGrid.fit(time, event, HORIZON)
    blind, cumulative = cohort.prognostic(), np.zeros((len(cohort), grid.bins + 1))
    preprocessors = []
    for k in range(5):
        inside: Bools = fold != k
        fitted = Preprocessor.fit(blind.study, blind.values[inside], None, bins=1)
        X, markers = fitted.linear(blind.values), np.zeros(len(fitted.linear_columns()), dtype=bool)
        anchor = fit_anchor(
            X[inside], time[inside], event[inside], grid, markers, folds=2, seed=seed
        )
        cumulative[~inside] = anchor.cumulative(X[~inside])
        preprocessors.append(fitted)
    effect = configure([]).effect
    found = cross_fit(cohort, preprocessors, fold, cumulative, grid, effect, seed)
    assert not isinstance(found, str), found
    return found


def of_treatment(n: int, world: World, seed: int) -> HazardRatio:
    """Return the treatment's landmark hazard ratio in one cohort."""
    found = crossed(patients(n, world, seed), seed)
    return MissingConfounders.of(found, seed).ratio(found, found.rows)


def of_marker(n: int, world: World, seed: int) -> HazardRatio:
    """Return the marker's hazard ratio in one cohort, adjusted for the clinical features."""
    cohort = patients(n, world._replace(treatment=0.0), seed)
    x, beside = adjustments(cohort)
    designs = beside.columns(CLINICAL)
    return pooled([fit_effects(x, *cohort.outcome, X).ratio(1) for X in designs])


def coverage(found: Iterable[HazardRatio], truth: float) -> tuple[float, float]:
    """Return the bias of the log, and how often the 95 % interval holds the truth, a log."""
    rows = [(r.log - truth, r.low <= math.exp(truth) <= r.high) for r in found]
    bias, holds = np.mean(np.array(rows, dtype=float), axis=0).tolist()
    return bias, holds


def _chances(log_odds: Array, mean: float) -> Array:
    """Return chances with a mean, from log-odds (n,) up to a constant."""
    if not mean:
        return np.zeros(len(log_odds))
    shifts = np.linspace(-6, 6, 241)
    return expit(
        log_odds + shifts[np.argmin(np.abs([expit(log_odds + s).mean() - mean for s in shifts]))]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500, help="simulated a line (500)")
    parser.add_argument("--gaps", type=int, default=200, help="simulated with gaps (200)")
    parser.add_argument("--sizes", type=int, nargs="*", default=(250, 600), help="patients")
    given = parser.parse_args(arguments)
    worlds = {
        "no interaction": World(),
        "none, prognostic marker, treatment begins in months 0.7 to 2": World(
            marker=0.53, begins=2
        ),
        "none, prognostic, begins to month 6, landmark 6": World(marker=0.53, begins=6, landmark=6),
        "ratio 1.4 per SD": World(interaction=math.log(1.4)),
        "ratio 1.8, high half over low": World(interaction=math.log(1.8), by_halves=True),
    }
    print(f"interaction claimed, part of {given.cohorts} cohorts")
    for name, world in worlds.items():
        for n in given.sizes:
            said = [claimed(n, world, seed) for seed in range(given.cohorts)]
            print(f"  {name}, {n} patients: {np.mean(said):.3f}", flush=True)
    print(f"a confounder missing in three of ten, {given.gaps} cohorts")
    gaps = World(missing=0.3, marker=0.3)
    kinds: dict[str, tuple[Callable[[int, World, int], HazardRatio], float]] = {
        "treatment's landmark hazard ratio": (of_treatment, gaps.treatment),
        "marker's adjusted hazard ratio": (of_marker, gaps.marker),
    }
    for name, (one, truth) in kinds.items():
        for n in (500, 1000):
            bias, holds = coverage((one(n, gaps, seed) for seed in range(given.gaps)), truth)
            print(f"  {name}, {n} patients: bias {bias:+.3f}, covers {holds:.3f}", flush=True)


if __name__ == "__main__":
    main()
