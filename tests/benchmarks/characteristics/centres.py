"""Judging where folds are centres: perfect predictions' concordance, and a further centre's range.

Centres differ in case mix, which the model knows. Prints Uno's C of perfect predictions by the true
hazards, as judged with centres for folds, and as it would be with the mean of each centre's risks
taken off. Then centres also differ in a level that the model does not know: prints how often the
95 % interval of the mean over centres holds the true mean of log observed over expected, and how
often the prediction interval holds a further centre's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from accomplice.data.cohort import Cohort
from accomplice.data.splits import within
from accomplice.data.study import parse_study
from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.centres import across_centres
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD, Predictions
from tests.fixtures.known import STUDY

CENTRES, RATE, MONTH = 5, 1 / 40, 36.0
GRID = TimeGrid(np.linspace(0.0, 60.0, 61))
#: Standard deviation of the centres' levels that the model does not know.
LEVEL_SD = 0.3


def perfect(
    n: int, seed: int, centres: int = CENTRES, level_sd: float = 0.0, mix: float = 0.85
) -> Predictions:
    """Draw patients of centres and what a model says that knows all but the centres' levels.

    Args:
        n: number of patients.
        seed: seed of the draw.
        centres: number of centres.
        level_sd: standard deviation of the log-hazard's level between centres.
        mix: standard deviation of the mean risk between centres, which the model knows.
    """
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, centres, n)
    means = mix * np.linspace(-1.4, 1.4, centres)
    known = 0.7 * rng.standard_normal(n) + means[centre]
    hazard = RATE * np.exp(known + level_sd * rng.standard_normal(centres)[centre])
    death, left = rng.exponential(1 / hazard), rng.uniform(20, 90, n)
    curves = RATE * np.exp(known)[:, None] * GRID.edges
    cohort = Cohort(
        study=parse_study(STUDY, "centres"),
        ids=np.arange(n).astype(str),
        values=np.zeros((n, 6)),
        centre=np.char.add("c", centre.astype(str)),
        binary={},
        endpoint="os",
        time=np.minimum(np.minimum(death, left), 60.0),
        event=(death <= left) & (death <= 60),
    )
    return Predictions(
        cohort=cohort,
        protocol=OUT_OF_FOLD,
        group=np.zeros(n, dtype=int),
        grid=GRID,
        curves={MODEL: curves},
        baselines={},
        served=curves,
        again=lambda values, rows=None: curves,
    )


def concordances(n: int, seed: int) -> tuple[float, float, float]:
    """Return Uno's C by the true hazards, as judged, and with the centres' means taken off."""
    made = perfect(n, seed)
    followed = BootstrappedOutcome.of(*made.outcome, 60.0, 0, 0)
    hazard = made.curves[MODEL][:, 1]
    risk = within(log_risk(made.curves[MODEL]), made.group)
    off = within(risk, np.unique(made.cohort.centre, return_inverse=True)[1])
    true, judged, centred = (float(c[0]) for c in followed.uno_c(hazard, risk, off))
    return true, judged, centred


def expected(made: Predictions) -> float:
    """Return the log of observed over expected events at ``MONTH`` of a large centre."""
    time, event = made.outcome
    alive = survival(made.grid.at(made.served, np.array([MONTH])))[:, 0]
    observed = 1 - KaplanMeier.fit(time, event).at(np.array([MONTH]))[0]
    return float(np.log(observed / (1 - alive).mean()))


def coverage(centres: int, each: int, cohorts: int, draws: int = 100) -> tuple[float, float]:
    """Return how often the mean's interval, and the prediction interval, holds the truth."""
    others = np.array([expected(perfect(4000, s, 1, LEVEL_SD, 0.0)) for s in range(2000, 2400)])
    held = []
    for seed in range(cohorts):
        made = perfect(centres * each, seed, centres, LEVEL_SD, 0.0)
        followed = BootstrappedOutcome.of(*made.outcome, 60.0, draws, seed)
        alive = survival(made.grid.at(made.served, np.array([MONTH])))[:, 0]
        found = across_centres(made, followed, log_risk(made.served), alive, MONTH)
        if found is None:
            continue
        mean, further = (x["observed_expected"] for x in (found.mean, found.further))
        truth = np.exp(others.mean())
        inside = (further.low <= np.exp(others)) & (np.exp(others) <= further.high)
        held.append((mean.low <= truth <= mean.high, inside.mean()))
    return tuple(np.mean(held, axis=0).tolist())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the concordances and the coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=200)
    cohorts = parser.parse_args(arguments).cohorts
    found = np.mean([concordances(1000, seed) for seed in range(20)], axis=0)
    print("perfect predictions, case mix differs between 5 centres, 20 cohorts of 1000:")
    print("  Uno's C {:.3f}; as judged {:.3f}; centres' means taken off {:.3f}".format(*found))
    for centres in (3, 5, 10):
        mean, further = coverage(centres, 100, cohorts)
        print(
            f"{centres} centres of 100, {cohorts} cohorts, levels unknown to the model differ by "
            f"{LEVEL_SD:g}: the mean's interval holds it in {mean:.1%}, the prediction interval a "
            f"further centre in {further:.1%}"
        )


if __name__ == "__main__":
    main()
