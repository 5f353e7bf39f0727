"""How often each verdict is said where it is so, and where it is not, in simulated worlds.

Prints, by the true hazard ratio of a treatment that was given by recorded features, the advice to
fresh patients, the bias of the landmark hazard ratio and the coverage of its 95 % interval, and how
often nothing is favoured because of it. The range of trials is 0.5 to 1 throughout.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from accomplice.data.arrays import Array
from accomplice.data.cohort import build_cohort
from accomplice.training.config import configure
from accomplice.training.estimators.policy import WORTH
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.fitting.survival_model import survival_model
from accomplice.training.treatment.benefit import ABSTAINS, FAVOURS, FAVOURS_NONE, NO_CLEAR
from accomplice.training.treatment.judging import evidence
from tests.benchmarks.characteristics import simulated
from tests.benchmarks.characteristics.simulated import NUMBER, followed

HAZARD_RATIOS = (0.45, 0.7, 1.0, 1.5)
#: Feature -> its log-hazard ratio, and its log-odds of treatment.
CLINICAL = {"age": (0.5, -0.5), "nodes": (0.6, 0.4), "fitness": (0.4, -0.4)}
MARKERS = {"marker": (0.2, 0.0)} | {f"noise{i}": (0.0, 0.0) for i in range(5)}
FRESH = 1500


class World(NamedTuple):
    """A simulated cohort, and what is true of its patients."""

    frame: pd.DataFrame
    gain: Array
    """(n,) survival at the horizon with the treatment minus that without."""


STUDY = simulated.study(
    {
        "clinical": dict.fromkeys(CLINICAL, NUMBER),
        "markers": dict.fromkeys(MARKERS, NUMBER),
    },
    {"expected_hr": [0.5, 1.0], "expected_hr_source": "simulated"},
    interactions=[["treated", "marker"]],
    baselines={"clinical": list(CLINICAL)},
)


def world(n: int, hr: float, rng: np.random.Generator) -> World:
    """Draw n patients whose treatment, chosen by recorded features, has a hazard ratio ``hr``."""
    features = CLINICAL | MARKERS
    X = rng.standard_normal((n, len(features)))
    log_hr, log_odds = np.array(list(features.values())).T
    treated = rng.random(n) < expit(0.3 + X @ log_odds)
    rate = 0.8 * np.exp(X @ log_hr)
    frame = followed(pd.DataFrame(X, columns=list(features)), rate, treated, hr, rng)
    return World(frame, np.exp(-rate * hr) - np.exp(-rate))


def advice(n: int, hr: float, seed: int) -> dict[str, float]:
    """Train on one cohort and return the figures of its advice to fresh patients."""
    rng = np.random.default_rng([n, seed])
    cohort = build_cohort(STUDY, world(n, hr, rng).frame)
    config = configure([f"seed={seed}"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit(prepare(cohort, config), config)
    judged = evidence(fitted.effect, config)
    assert judged is not None
    fresh = world(FRESH, hr, rng)
    model = survival_model(fitted, distrust=judged.distrust)
    said = model.answer(build_cohort(STUDY, fresh.frame).values, None).advice
    assert said is not None
    kind = np.array([text.split(":")[0] for text in said.tolist()])
    favours = np.char.startswith(kind, f"{FAVOURS} ") & (kind != FAVOURS_NONE)
    found, gains = judged.hr["landmark"], fresh.gain > WORTH

    def share(rows: Array) -> float:
        return float(rows.mean()) if len(rows) else float("nan")

    return {
        "favours": share(favours),
        "favours none": share(kind == FAVOURS_NONE),
        "no clear benefit": share(kind == NO_CLEAR),
        "abstains": share(kind == ABSTAINS),
        "favoured of those who gain": share(favours[gains]),
        "gain of those told no clear benefit": share(gains[kind == NO_CLEAR]),
        "withheld": float(bool(judged.distrust)),
        "bias of log HR": float(np.log(found.value / hr)),
        "interval covers": float(found.low <= hr <= found.high),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=20, help="simulated a line (20)")
    parser.add_argument("--patients", type=int, default=1000, help="of a cohort (1000)")
    parser.add_argument("--hr", type=float, nargs="*", default=HAZARD_RATIOS, help="true ratios")
    given = parser.parse_args(arguments)
    print(f"advice in simulated worlds, {given.cohorts} cohorts of {given.patients}; means")
    for hr in given.hr:
        rows = [advice(given.patients, hr, seed) for seed in range(given.cohorts)]
        means = pd.DataFrame(rows).mean()
        print(f"  HR {hr:g}: " + "; ".join(f"{k} {v:.3f}" for k, v in means.items()), flush=True)


if __name__ == "__main__":
    main()
