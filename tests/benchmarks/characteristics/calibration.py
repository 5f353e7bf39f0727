"""How often smooth calibration and the case mix's concordance say what is so, and what is not.

Patients have a known hazard, and predictions that are the truth, too extreme or too alike. The
smooth curve's band should hold the truth in 95 % of cohorts, wherever hazards are proportional or
not and whoever is censored; the ICI of right predictions should stay below its chance level in
95 %. A model that is right should be said to rank less well than its case mix lets expect in 2.5 %
(one side of a 95 % interval) whether the cohort is as varied as in training or not; a model whose
effects are weaker here, often.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.cli.terminal import shown
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.review import expected_concordance
from accomplice.training.metrics.smooth_calibration import smooth_calibration
from accomplice.training.validation.validation import difference

GRID = TimeGrid(np.linspace(0.0, 60.0, 13))
#: Months at which calibration is judged.
MONTHS = (12.0, 36.0, 60.0)
#: Cohorts of each cell of the curve, pairs of cohorts of the case mix, and bootstrap draws of each.
COHORTS, PAIRS, DRAWS = 400, 200, 100


@dataclass(frozen=True)
class World:
    """A way in which hazards and follow-up arise, and what is predicted."""

    slope: float = 1.0
    """Slope of the true on the predicted log-hazard."""
    fading: bool = False
    """Whether effects fade to a third over 60 months, as is predicted too."""
    dependent: bool = False
    """Whether patients at high risk are followed for half the time."""
    spread: float = 0.8
    """Standard deviation of the predicted log-hazard."""

    def curves(self, z: Array, slope: float) -> Array:
        """Return cumulative hazards (n, j + 1) of log-hazards ``slope * z``."""
        middle = (GRID.edges[1:] + GRID.edges[:-1]) / 2
        effect = slope * (1 - middle / 90 if self.fading else np.ones_like(middle))
        increments = 0.012 * np.diff(GRID.edges) * np.exp(z[:, None] * effect)
        return np.c_[np.zeros(len(z)), increments.cumsum(axis=1)]

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Array, Bools, Array, Array]:
        """Return time, event, and predicted and true cumulative hazards (n, j + 1)."""
        z = rng.normal(0, self.spread, n)
        said, true = self.curves(z, 1.0), self.curves(z, self.slope)
        target = rng.exponential(size=n)
        pairs = zip(target, true, strict=True)
        death = np.array([np.interp(h, curve, GRID.edges, right=1e3) for h, curve in pairs])
        left = rng.uniform(20, 110, n)
        if self.dependent:
            left = np.where(z < 0, left, left * 0.5)
        time = np.minimum(np.minimum(death, left), 60.0)
        return time, (death <= left) & (death <= 60.0), said, true


#: Worlds in which predictions are the truth.
RIGHT = {
    "proportional hazards": World(),
    "effects that fade": World(fading=True),
    "censoring by risk": World(dependent=True),
}

#: Worlds in which a model is judged that was right in training, with a spread of 0.8.
CASE_MIX = {
    "as varied, model right": World(),
    "more alike, model right": World(spread=0.5),
    "more varied, model right": World(spread=1.1),
    "as varied, effects weaker by half": World(slope=0.5),
    "more alike, effects weaker by half": World(slope=0.5, spread=0.5),
}


def band(world: World, n: int, cohorts: int) -> dict[float, tuple[float, float]]:
    """Return month -> how often the band holds the true curve, and the ICI is beyond chance."""
    found: dict[float, list[tuple[bool, bool]]] = {month: [] for month in MONTHS}
    with shown("band") as tick:
        for seed in range(cohorts):
            tick("cohorts", seed, cohorts)
            time, event, said, true = world.draw(n, np.random.default_rng([n, seed]))
            for month in MONTHS:
                at = np.array([month])
                whole, truth = (GRID.at(c, at)[:, 0] for c in (said, true))
                expected = GRID.at_own(said, np.minimum(time, month))
                smooth = smooth_calibration(event & (time <= month), expected, whole)
                if smooth is None:
                    continue
                order = np.argsort(-whole)
                curve = np.interp(smooth.predicted, *np.exp([-whole[order], -truth[order]]))
                held = bool(((smooth.low <= curve) & (curve <= smooth.high)).all())
                found[month].append((held, smooth.ici > smooth.ici_by_chance))
    return {
        month: (float(np.mean([h for h, _ in each])), float(np.mean([a for _, a in each])))
        for month, each in found.items()
        if each
    }


def lower(
    world: World, n: int, trained: int, cohorts: int, draws: int
) -> tuple[float, float, float]:
    """Return how often C is certainly lower than in training, also beyond the case mix; mean fall.

    Args:
        world: where the model is judged on n patients; in training it was right.
        n: patients that it is judged on.
        trained: patients on whom its training figures are.
        cohorts: pairs of cohorts.
        draws: bootstrap draws of each.
    """
    said = []
    with shown("case mix") as tick:
        for seed in range(cohorts):
            tick("cohorts", seed, cohorts)
            rng = np.random.default_rng([n, seed])
            there = _judged(World(), trained, draws, rng)
            here = _judged(world, n, draws, rng)
            change, beyond = (difference(*pair) for pair in zip(here, there, strict=True))
            said.append((change.high < 0, beyond.high < 0, change.value))
    return tuple(np.mean(said, axis=0).tolist())  # type: ignore[return-value]


def _judged(
    world: World, n: int, draws: int, rng: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """Return Uno's C of a cohort, and the observed less the expected C."""
    time, event, curves, _ = world.draw(n, rng)
    followed = BootstrappedOutcome.of(time, event, 60.0, draws, n)
    risk = log_risk(curves)
    expected = expected_concordance(followed, risk, GRID, curves)
    return Estimate.of_draws(followed.uno_c(risk)[0]), expected.excess


def main(arguments: Sequence[str] | None = None) -> None:
    """Print coverage of the band, false alarms of the ICI, and verdicts on the case mix."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    print(f"smooth calibration, {COHORTS} cohorts a line; months {MONTHS}")
    print("band holds the truth, ICI of right predictions beyond chance")
    for name, world in RIGHT.items():
        for n in (200, 400, 1000):
            cells = band(world, n, COHORTS).values()
            held, beyond = (
                " / ".join(f"{v:.1%}" for v in each) for each in zip(*cells, strict=True)
            )
            print(f"  {name}, {n} patients: {held}; {beyond}")
    print("ICI beyond chance where it should be")
    for slope in (0.7, 1.5):
        for n in (200, 400, 800):
            cells = band(World(slope=slope), n, COHORTS).values()
            print(f"  slope {slope}, {n} patients: " + " / ".join(f"{b:.1%}" for _, b in cells))
    print(
        "C certainly lower than in training (1000 patients), and beyond the case mix; mean change"
    )
    for name, world in CASE_MIX.items():
        for n in (200, 400, 1000):
            raw, beyond, fall = lower(world, n, 1000, PAIRS, DRAWS)
            print(f"  {name}, {n} patients: {raw:.1%}; {beyond:.1%}; {fall:+.3f}")


if __name__ == "__main__":
    main()
