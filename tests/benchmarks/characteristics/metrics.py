"""How often the intervals of a run's judging hold the truth, over simulated cohorts.

Patients come from a synthetic population whose hazards are known, so a concordance and the
integrated Brier score of any model are known without drawing anything: sums over the population,
and over its pairs. Two models with fixed mistakes are judged on small cohorts, each drawn and
censored anew, by `evaluation.scores.judge` as a run is. A 95 % interval should hold the truth in
95 % of the cohorts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.synthetic import draw
from accomplice.data.synthetic_survival import HORIZON, SCALE, SHAPE, weibull_survival
from accomplice.training.cli.terminal import shown
from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.scores import MODEL, Evaluation, judge
from accomplice.training.metrics.brier import brier_times, time_average

POPULATION = 3000
#: Cohorts, their patients, their folds, and the bootstrap draws of each.
COHORTS, PATIENTS, FOLDS, DRAWS = 600, 350, 5, 200
#: Coverage that is asked for, and how far off it may be.
LEVEL, OFF = 0.95, 0.03
#: First and last month at which a patient's study ends: the synthetic cohort's, and its `shifted`
#: variant's. There are about 124 and 66 events among 350 patients.
FOLLOW_UP = ((36.0, 110.0), (10.0, 39.0))
#: Mean months to dropping out.
LOST = 400.0
BASELINE = "baseline"
GRID = TimeGrid(np.linspace(0.0, HORIZON, 13))


@dataclass(frozen=True)
class Population:
    """People of known hazard, and what two imperfect models say of each."""

    log_hz: Array
    """(n,) the truth."""
    curves: dict[str, Array]
    """Model -> (n, j + 1) cumulative hazards on `GRID`."""

    @classmethod
    def make(cls, size: int = POPULATION) -> Population:
        """Draw the population; the models are least squares fits to the truth, then distorted."""
        drawn = draw(size, seed=1, missing=False)
        frame, truth = drawn.frame, drawn.truth
        clinical = pd.get_dummies(frame[["stage", "lauren"]]).assign(age=frame["age"])
        markers = truth[["caf", "cd163", "cd8a", "msi_high", "act"]]
        log_hz = truth["log_hz"].to_numpy()
        weak = _fitted(clinical.to_numpy(float), log_hz)
        strong = _fitted(np.column_stack([clinical, markers]).astype(float), log_hz)
        # The model is too extreme; the baseline ties many patients and expects too many deaths.
        said = {
            MODEL: log_hz.mean() + 1.3 * (strong - strong.mean()),
            BASELINE: np.round(weak, 1) + 0.15,
        }
        shape = SCALE * GRID.edges**SHAPE
        return cls(log_hz, {name: np.exp(lp)[:, None] * shape for name, lp in said.items()})

    def concordance(
        self, name: str, horizon: float, both_seen: Callable[[Array], Array] = np.ones_like
    ) -> float:
        """How often the earlier of two deaths, before the horizon, had the higher risk.

        Args:
            name: of the model.
            horizon: in months.
            both_seen: months (t,) -> how likely it is that neither is censored by then. If always
                1 it is Uno's C; Harrell's is of the pairs that censoring leaves.
        """
        nodes, weights = np.polynomial.legendre.leggauss(64)
        months = horizon * (nodes + 1) / 2
        density = SCALE * SHAPE * months ** (SHAPE - 1) * both_seen(months) * weights * horizon / 2
        # The first dies at t and the second lives: by the sum of their hazards alone, but a factor.
        hazard = np.exp(self.log_hz)
        total = np.geomspace(2 * hazard.min(), 2 * hazard.max(), 400)
        dies = weibull_survival(np.log(total)[:, None], months) @ density
        first = hazard[:, None] * np.interp(hazard[:, None] + hazard, total, dies)
        risk = np.round(log_risk(self.curves[name]), 12)
        higher = (risk[:, None] > risk) + 0.5 * (risk[:, None] == risk)
        return float((first * higher).sum() / first.sum())

    def ibs(self, name: str, horizon: float) -> float:
        """Integrated Brier score to the horizon, taken at the times that a run takes it at."""
        times = brier_times(horizon)
        predicted = survival(GRID.at(self.curves[name], times))
        alive = weibull_survival(self.log_hz[:, None], times)
        expected = alive * (1 - predicted) ** 2 + (1 - alive) * predicted**2
        return float(time_average(expected.mean(axis=0), times))

    def truth(self, horizon: float, follow_up: tuple[float, float]) -> dict[str, float]:
        """Return what each interval of a cohort that is judged to a horizon should hold."""
        c = {name: self.concordance(name, horizon) for name in self.curves}
        ibs = {name: self.ibs(name, horizon) for name in self.curves}
        first, last = follow_up

        def both_seen(months: Array) -> Array:
            still = np.clip((last - months) / (last - first), 0, 1)
            return np.asarray((still * np.exp(-months / LOST)) ** 2)

        return {
            "gain in Uno's C": c[MODEL] - c[BASELINE],
            "gain in IBS": ibs[BASELINE] - ibs[MODEL],
            "Uno's C": c[MODEL],
            "Harrell's C": self.concordance(MODEL, min(HORIZON, last), both_seen),
            "IBS": ibs[MODEL],
        }


def _fitted(X: Array, y: Array) -> Array:
    design = np.column_stack([np.ones(len(X)), X])
    return np.asarray(design @ np.linalg.lstsq(design, y, rcond=None)[0])


def judged(
    people: Population, n: int, follow_up: tuple[float, float], draws: int, seed: int
) -> Evaluation:
    """Judge both models on one cohort, drawn as `synthetic.draw_survival` draws it."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(people.log_hz), n)
    death = (rng.standard_exponential(n) / (SCALE * np.exp(people.log_hz[rows]))) ** (1 / SHAPE)
    lost = np.minimum(rng.uniform(*follow_up, n), rng.exponential(LOST, n))
    time = np.minimum(np.minimum(death, lost), HORIZON)
    event = (death <= lost) & (death <= HORIZON)
    curves = {name: curve[rows] for name, curve in people.curves.items()}
    baseline = {BASELINE: curves.pop(BASELINE)}
    return judge(time, event, rng.permutation(n) % FOLDS, GRID, curves, baseline, draws, seed)


def intervals(found: Evaluation) -> dict[str, Estimate]:
    """Return the judged intervals by the names of :meth:`Population.truth`."""
    gain, score = found.gains[BASELINE], found.scores[MODEL]
    return {
        "gain in Uno's C": gain["uno_c"],
        "gain in IBS": gain["ibs"],
        "Uno's C": score.uno_c,
        "Harrell's C": score.harrell_c,
        "IBS": score.ibs,
    }


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth, and on which side it missed."""

    truth: float
    """Mean over the cohorts, whose horizons may differ."""
    above: float
    """Part of the cohorts whose interval lies above the truth: they claim too much."""
    below: float
    cohorts: int

    @property
    def held(self) -> float:
        """Part of the cohorts whose interval holds the truth."""
        return 1 - self.above - self.below

    @property
    def error(self) -> float:
        """Standard error of ``held``, were the coverage as asked for."""
        return float(np.sqrt(LEVEL * (1 - LEVEL) / self.cohorts))


def coverage(
    people: Population, n: int, follow_up: tuple[float, float], draws: int, cohorts: int
) -> dict[str, Coverage]:
    """Judge many cohorts; tell of each interval how often it held the truth."""

    @cache
    def truth(tenths: int) -> dict[str, float]:
        return people.truth(tenths / 10, follow_up)

    rows: dict[str, list[tuple[float, bool, bool]]] = {}
    with shown("coverage") as tick:
        for seed in range(cohorts):
            tick("cohorts", seed, cohorts)
            found = judged(people, n, follow_up, draws, seed)
            true = truth(round(found.horizon * 10))
            for name, span in intervals(found).items():
                missed = (true[name], span.low > true[name], span.high < true[name])
                rows.setdefault(name, []).append(missed)
    return {name: Coverage(*np.mean(each, axis=0).tolist(), cohorts) for name, each in rows.items()}


def main() -> None:
    """Print the coverage of each interval."""
    people = Population.make()
    for first, last in FOLLOW_UP:
        began = perf_counter()
        found = coverage(people, PATIENTS, (first, last), DRAWS, COHORTS)
        print(
            f"\ncoverage of 95 % intervals: {COHORTS} cohorts of {PATIENTS} patients whose study "
            f"ended at {first:g} to {last:g} months, {DRAWS} draws each "
            f"({perf_counter() - began:.0f} s)"
        )
        for name, each in found.items():
            off = "" if abs(each.held - LEVEL) <= OFF else f"  off by more than {OFF:.0%}"
            print(
                f"  {name:16s}{each.held:7.1%} ± {each.error:.1%}   true {each.truth:.4f}, "
                f"interval above it in {each.above:.1%}, below in {each.below:.1%}{off}"
            )


if __name__ == "__main__":
    main()
