"""How often the gate lets a challenger pass that is as good as the champion, or worse.

Predictions are the true log-hazard and noise, scaled to stay calibrated. A challenger's noise is
its own (errors are independent), or the champion's with more added.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.kaplan_meier import judged_horizon
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.comparison import Comparison, Side
from accomplice.training.evaluation.scores import estimates
from accomplice.training.metrics.table import METRICS, gains
from accomplice.training.tracking.gate import NOT_WORSE, Challenger, Task, decide

HORIZON, SHAPE, RATE, SPREAD = 60.0, 1.1, 0.9, 0.9
GRID = TimeGrid(np.linspace(0.0, HORIZON, 13))
BASE = RATE * (GRID.edges / HORIZON) ** SHAPE
#: Standard deviation of the champion's noise.
CHAMPION = 0.8
#: What is true of a challenger -> standard deviation of its noise.
WORTH = {"as good": 0.8, "C lower by .016": 1.0, "C lower by .031": 1.2, "C lower by .052": 1.5}
SIZES = (120, 250, 500, 1000)
UNKNOWN = Estimate(np.nan)
SIDE = Side({}, Calibrated(30.0, UNKNOWN, UNKNOWN))
TASK = Task("simulated", "os", synthetic=True)
CHALLENGER = Challenger("simulated", "os", True, UNKNOWN, "", {}, None, None)


class World(NamedTuple):
    """Patients of known log-hazard, and their follow-up."""

    log_hz: Array
    time: Array
    event: Bools


def world(n: int, rng: np.random.Generator, spread: float = SPREAD) -> World:
    """Draw n patients, followed for 30 to 100 months and to the horizon."""
    log_hz = spread * rng.standard_normal(n)
    death = (rng.standard_exponential(n) / (RATE * np.exp(log_hz))) ** (1 / SHAPE) * HORIZON
    left = np.minimum(rng.uniform(30, 100, n), HORIZON)
    return World(log_hz, np.minimum(death, left), death <= left)


def predicted(log_hz: Array, noisy: Array) -> Array:
    """Return cumulative hazards (n, j + 1) of noisy log-hazards, scaled to be calibrated."""
    return np.asarray(np.exp(noisy * log_hz.var() / noisy.var())[:, None] * BASE)


def compared(n: int, noise: float, own: bool, draws: int, rng: np.random.Generator) -> Comparison:
    """Compare a challenger with the champion on one cohort.

    Args:
        n: patients.
        noise: standard deviation of the challenger's noise.
        own: whether the noise is its own, in place of the champion's with more added.
        draws: bootstrap draws.
        rng: source of patients and noise.
    """
    log_hz, time, event = world(n, rng)
    champion = log_hz + CHAMPION * rng.standard_normal(n)
    extra = np.sqrt(max(noise**2 - CHAMPION**2, 0.0))
    added = noise * rng.standard_normal(n) if own else extra * rng.standard_normal(n)
    challenger = (log_hz if own else champion) + added
    judged = BootstrappedOutcome.of(
        time, event, judged_horizon(time, event, HORIZON), draws, int(rng.integers(2**31))
    )
    curves = [predicted(log_hz, each) for each in (challenger, champion)]
    outputs = [judged.output(log_risk(curve), GRID, curve)[0] for curve in curves]
    found = estimates(gains(*judged.figures(outputs), tuple(METRICS)))
    return Comparison(n, judged.events, judged.horizon, SIDE, SIDE, found, draws)


def shows_no_loss(comparison: Comparison) -> bool:
    """Return whether the gate's rule on losses against the champion holds."""
    rules = decide(CHALLENGER, TASK, comparison).rules
    return next(rule.holds for rule in rules if rule.name == NOT_WORSE)


def passes(n: int, noise: float, own: bool, cohorts: int, draws: int = 200) -> tuple[float, float]:
    """Return the part of the challengers that show no loss, and the loss in C that is not excluded.

    The latter is the mean over those that pass; the other arguments are those of ``compared``.
    """
    found = [
        compared(n, noise, own, draws, np.random.default_rng([n, int(100 * noise), own, k]))
        for k in range(cohorts)
    ]
    through = [each for each in found if shows_no_loss(each)]
    lost = [max(-each.gains["uno_c"].low, 0.0) for each in through]
    return len(through) / cohorts, float(np.mean(lost)) if lost else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500, help="simulated a figure (500)")
    parser.add_argument("--patients", type=int, nargs="*", default=SIZES, help="of a cohort")
    given = parser.parse_args(arguments)
    print(
        f"no loss against the champion is seen: part of {given.cohorts} challengers, and the mean"
    )
    print("loss in Uno's C that is not excluded for those that pass")
    for name, noise in WORTH.items():
        for own, errors in ((True, "errors independent"), (False, "the champion plus noise")):
            parts = [(n, *passes(n, noise, own, given.cohorts)) for n in given.patients]
            said = "; ".join(f"n={n} {part:.0%} ({lost:.3f})" for n, part, lost in parts)
            print(f"  {name}, {errors}: {said}", flush=True)


if __name__ == "__main__":
    main()
