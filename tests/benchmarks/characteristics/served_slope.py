"""The calibration slope that a run states, against that of the served ensemble on fresh patients.

A run's slope is of out-of-fold predictions, each by the models of one fold; served is the mean over
all folds. Prints both at half the judged horizon, their mean difference with its standard error,
and the integrated Brier score on the fresh patients.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from accomplice.data.cohort import Cohort
from accomplice.training.config import Config, configure
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.scores import judge_predicted
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.out_of_fold import from_fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.fitting.survival_model import survival_model
from accomplice.training.metrics.calibration import calibration_at
from tests.benchmarks.characteristics.patient_interval import World, gastric, plain

#: Size of a cohort -> cohorts that are drawn.
COHORTS = {200: 20, 400: 12, 1000: 6}
WORLDS: dict[str, Callable[[int, int], World]] = {"plain": plain, "gastric": gastric}


def slopes(world: World, config: Config) -> tuple[float, float, float]:
    """Return the stated slope, the served one, and the served model's integrated Brier score."""
    fitted = fit(prepare(world.cohort, config), config)
    judged = judge_predicted(from_fit(fitted, config, []), config)
    answer = survival_model(fitted).answer(world.fresh.values, world.fresh.centre)
    own, error = on_fresh(world.fresh, answer.grid, answer.cumulative, judged.horizon)
    return judged.calibration_slope, own, error


def on_fresh(
    fresh: Cohort, grid: TimeGrid, cumulative: np.ndarray, horizon: float
) -> tuple[float, float]:
    """Return slope and integrated Brier score of cumulative hazards (n, j + 1) on patients."""
    time, event = fresh.outcome
    weights = censoring(time, event)
    alive = survival(grid.at(cumulative, np.array([horizon / 2])))[:, 0]
    followed = BootstrappedOutcome.of(time, event, horizon, 0, 0)
    slope = calibration_at(event, time, alive, horizon / 2, weights).slope
    return slope, float(followed.brier_averages(grid, cumulative).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the slopes of each world and size of cohort."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), choices=WORLDS)
    parser.add_argument("--sizes", nargs="*", type=int, default=list(COHORTS))
    parser.add_argument("--cohorts", type=int, help="number of cohorts of each size")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    for name in chosen.worlds:
        for n in chosen.sizes:
            rows = []
            for seed in range(chosen.cohorts or COHORTS[n]):
                settings = [f"seed={seed}", "evaluation.peers=false", "evaluation.bootstraps=1"]
                rows.append(slopes(WORLDS[name](n, seed), configure(settings)))
            stated, served, error = np.array(rows).T
            apart = stated - served
            print(
                f"{name} {n}: {len(rows)} cohorts, slope stated {stated.mean():.2f}, served "
                f"{served.mean():.2f}, difference {apart.mean():+.3f} ± "
                f"{apart.std(ddof=1) / np.sqrt(len(rows)):.3f}; IBS {error.mean():.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
