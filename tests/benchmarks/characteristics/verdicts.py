"""How often verdicts of a review and of the marker report are said, where it is so and where not.

All predictions are known functions of the true log-hazard, so that no model is fitted; patients are
those of ``characteristics.gate``. The first lines of a verdict are false alarms.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import build_cohort
from accomplice.data.study import parse_study
from accomplice.training.estimators.hazard import log_risk, survival
from accomplice.training.estimators.hazard_ratios import HazardRatio, pool
from accomplice.training.estimators.kaplan_meier import judged_horizon
from accomplice.training.estimators.policy import SIGNIFICANT
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import (
    calibrated_jointly,
    expected_events,
    judged_months,
)
from accomplice.training.evaluation.net_benefit import decisions
from accomplice.training.evaluation.subgroups import Scored, adjusted
from accomplice.training.marker.treatment import treatment_effect
from accomplice.training.metrics.calibration import d_calibration
from accomplice.training.models.predictions import MODEL
from tests.benchmarks.characteristics.gate import (
    BASE,
    GRID,
    HORIZON,
    RATE,
    SHAPE,
    World,
    predicted,
    world,
)

#: Draws of a bootstrap.
DRAWS = 200
SIZES = (200, 400, 1000)
BASELINE = "baseline"


def share(said: Callable[[np.random.Generator], bool], cohorts: int, *seed: int) -> float:
    """Return the part of the cohorts, each of its own seed, in which a verdict is said."""
    return float(np.mean([said(np.random.default_rng([*seed, k])) for k in range(cohorts)]))


def followed(patients: World, draws: int, rng: np.random.Generator) -> BootstrappedOutcome:
    """Return the patients' outcomes with bootstrap draws."""
    time, event = patients.time, patients.event
    horizon = judged_horizon(time, event, HORIZON)
    return BootstrappedOutcome.of(time, event, horizon, draws, int(rng.integers(2**31)))


def calibration_off(n: int, slope: float) -> Callable[[np.random.Generator], bool]:
    """Return whether predictions of a true slope are called off."""

    def said(rng: np.random.Generator) -> bool:
        patients = world(n, rng)
        curves = np.exp(patients.log_hz / slope)[:, None] * BASE
        found = calibrated_jointly(followed(patients, 1, rng), GRID, curves)
        return found is not None and found.p < SIGNIFICANT

    return said


def decisions_gain(n: int, noise: float) -> Callable[[np.random.Generator], bool]:
    """Return whether decisions are said to gain or lose over a baseline with noise 0.8."""

    def said(rng: np.random.Generator) -> bool:
        patients = world(n, rng)
        curves = {
            name: predicted(patients.log_hz, patients.log_hz + sd * rng.standard_normal(n))
            for name, sd in ((MODEL, noise), (BASELINE, 0.8))
        }
        outcome = followed(patients, DRAWS, rng)
        found = decisions(outcome, GRID, curves, BASELINE, judged_months(outcome))
        return found[0].overall.above > 0 or found[0].overall.below < 0

    return said


def groups_of(n: int, rng: np.random.Generator) -> dict[str, Bools]:
    """Return the members (n,) of 13 groups by five features, without stages."""
    age, centre = rng.standard_normal(n), rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    sex, msi = rng.random(n) < 0.4, rng.random(n) < 0.25
    split = {"old": age > 0, "young": age <= 0, "f": sex, "m": ~sex, "msi": msi, "mss": ~msi}
    return split | {f"centre {k}": centre == k for k in range(4)}


def stages(n: int, rng: np.random.Generator) -> tuple[World, dict[str, Bools]]:
    """Draw patients whose stage decides most of their hazard, and their groups."""
    stage = rng.choice(3, n, p=[0.3, 0.4, 0.3])
    log_hz = 0.9 * (stage - 1) + 0.5 * rng.standard_normal(n)
    death = (rng.standard_exponential(n) / (RATE * np.exp(log_hz))) ** (1 / SHAPE) * HORIZON
    left = np.minimum(rng.uniform(30, 100, n), HORIZON)
    patients = World(log_hz, np.minimum(death, left), death <= left)
    return patients, groups_of(n, rng) | {f"stage {k}": stage == k for k in range(3)}


def subgroup_worse(n: int, group: str = "", kept: float = 1.0) -> Callable[..., bool]:
    """Return whether a group is said to be worse than promised, in a world of ``stages``.

    Args:
        n: patients.
        group: group whose predictions are mixed with noise; empty for none.
        kept: correlation of its predictions with the truth.
    """

    def said(rng: np.random.Generator) -> bool:
        patients, groups = stages(n, rng)
        log_hz = patients.log_hz.copy()
        if group:
            rows = groups[group]
            away = log_hz[rows] - log_hz[rows].mean()
            noise = away.std() * rng.standard_normal(rows.sum())
            log_hz[rows] += (kept - 1) * away + math.sqrt(1 - kept**2) * noise
        curve = np.exp(log_hz)[:, None] * BASE
        outcome = followed(patients, 1, rng)
        none = np.full(n, np.nan)
        alive = survival(curve[:, 6])
        events = expected_events(outcome, GRID, curve)
        scored = Scored(outcome, log_risk(curve), none, none, alive, HORIZON / 2, *events)
        found = [scored.judge(rows) for rows in groups.values() if scored.enough(rows)]
        names = ("ranking_p",) if group else ("ranking_p", "level_p")
        return any(
            g[p] < SIGNIFICANT for g in adjusted(found, ("ranking_p", "level_p")) for p in names
        )

    return said


def centres_disagree(centres: int, spread: float) -> Callable[[np.random.Generator], bool]:
    """Return whether centres whose log hazard ratios spread so are said to disagree."""

    def said(rng: np.random.Generator) -> bool:
        se = 1 / np.sqrt(rng.integers(20, 100, centres))
        log = rng.normal(0.2, np.hypot(se, spread))
        ratios = [HazardRatio.of(float(v), float(s), 100, 40) for v, s in zip(log, se, strict=True)]
        return pool(ratios).p < SIGNIFICANT

    return said


def treatment_alarm(n: int, hr: float, immortal: bool = False) -> Callable[..., bool]:
    """Return whether a randomised treatment, or one with immortal time, gives an alarm."""
    study = parse_study(
        {
            "name": "simulated",
            "synthetic": True,
            "source": {"reader": "table", "files": ["simulated.csv"]},
            "endpoints": {"survival": {"os": {"time": "time", "event": "event"}}},
            "treatment": {
                "column": "act",
                "treated": ["yes"],
                "untreated": ["no"],
                "landmark": 2.0,
                "eligible": {"stage": ["II", "III"]},
                "expected_hr": [0.55, 1.0],
                "expected_hr_source": "simulated",
            },
            "modalities": {
                "clinical": {
                    "age": {"kind": "number"},
                    "stage": {"kind": "ordinal", "levels": ["I", "II", "III", "IV"]},
                }
            },
            "baselines": {"clinical": ["age", "stage"]},
        },
        "simulated",
    )

    def said(rng: np.random.Generator) -> bool:
        age, stage = rng.normal(62, 10, n), rng.choice(4, n, p=[0.13, 0.33, 0.44, 0.10])
        treated = rng.random(n) < 0.5
        log_hz = 0.03 * (age - 62) + np.array([-0.9, 0.0, 0.6, 1.2])[stage]
        time = rng.standard_exponential(n) * 90 / np.exp(log_hz + math.log(hr) * treated)
        if immortal:
            treated &= time > rng.uniform(1, 4, n)
        left = rng.uniform(24, 90, n)
        frame = pd.DataFrame(
            {
                "age": age,
                "stage": np.array(["I", "II", "III", "IV"])[stage],
                "act": np.where(treated, "yes", "no"),
                "time": np.maximum(np.minimum(time, left), 0.05),
                "event": (time <= left).astype(int),
            }
        )
        cohort = build_cohort(study, frame)
        coded = cohort.values[:, list(cohort.study.features).index("stage")]
        clinical = np.column_stack([(age - 62) / 10, *(coded == k for k in (1, 2, 3))])
        found = treatment_effect(cohort, {"clinical": [clinical]})
        return not isinstance(found, str) and found.alarm

    return said


def not_uniform(n: int, rate: float, change: Callable[[Array], Array]) -> Callable[..., bool]:
    """Return whether D-calibration rejects changed hazards; ``rate`` decides the events."""

    def said(rng: np.random.Generator) -> bool:
        hazard = rate * np.exp(0.9 * rng.standard_normal(n))
        death = (rng.standard_exponential(n) / hazard) ** (1 / SHAPE) * HORIZON
        left = np.minimum(rng.uniform(24, 90, n), HORIZON)
        time = np.minimum(death, left)
        alive = np.exp(-change(hazard / rate) * rate * (time / HORIZON) ** SHAPE)
        return d_calibration(death <= left, alive).p_value < SIGNIFICANT

    return said


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500, help="simulated a figure (500)")
    cohorts = parser.parse_args(arguments).cohorts

    def line(
        name: str, said: dict[str, Callable[[np.random.Generator], bool]], *, so: bool = False
    ) -> None:
        # Where it is so, fewer cohorts do.
        found = (f"{key} {share(each, cohorts // (1 + so), 1):.1%}" for key, each in said.items())
        print(f"  {name}: {'; '.join(found)}", flush=True)

    print(f"verdicts: said in {cohorts} cohorts a figure where it is not so, then where it is so")
    for slope in (1.0, 0.7, 1.5):
        line(
            f"calibration is off, slope {slope:g}",
            {f"n={n}": calibration_off(n, slope) for n in (120, 200, 400, 800)},
            so=slope != 1,
        )
    for spread in (0.0, 0.3, 0.6):
        line(
            f"centres disagree, tau {spread:g}",
            {f"{k} centres": centres_disagree(k, spread) for k in (2, 4, 8)},
            so=spread > 0,
        )
    line("subgroup worse, none is", {f"n={n}": subgroup_worse(n) for n in SIZES})
    for group, kept in (("f", 0.4), ("centre 1", 0.0), ("stage 1", 0.2)):
        line(
            f"subgroup ranked less well, {group} correlated {kept:g}",
            {f"n={n}": subgroup_worse(n, group, kept) for n in SIZES},
            so=True,
        )
    for noise in (0.8, 0.4):
        line(
            f"decisions gain or lose, noise {noise:g} against 0.8",
            {f"n={n}": decisions_gain(n, noise) for n in SIZES},
            so=noise != 0.8,
        )
    for hr in (1.0, 0.75):
        line(
            f"treatment alarm, randomised, hazard ratio {hr:g}",
            {f"n={n}": treatment_alarm(n, hr) for n in SIZES},
            so=hr != 1,
        )
    immortal = {f"n={n}": treatment_alarm(n, 0.75, True) for n in SIZES}
    line("treatment alarm, immortal time", immortal, so=True)
    for events, rate in (("35 %", 0.45), ("93 %", 6.0)):
        for name, change in (
            ("right", lambda h: h),
            ("slope 0.6", lambda h: h ** (1 / 0.6)),
            ("slope 1.7", lambda h: h ** (1 / 1.7)),
            ("hazards 1.3 times", lambda h: 1.3 * h),
        ):
            line(
                f"D-calibration, {events} events, {name}",
                {f"n={n}": not_uniform(n, rate, change) for n in (300, 1000)},
                so=name != "right",
            )


if __name__ == "__main__":
    main()
