"""Judge out-of-fold predictions: discrimination, Brier score, calibration, and paired differences.

Primary are the integrated Brier score and Uno's C, each to the judged horizon. Differences against
the baselines are paired: the same bootstrap draw of patients scores both models. Of few patients
all draws are scored at once by their pairs; of many a draw takes the mean of their contributions to
a C instead of ranking them anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.intervals import (
    Estimate,
    finite_or_none,
    or_nan,
    resamples,
)
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring, judged_horizon
from accomplice.training.metrics.brier import brier_contributions, time_average
from accomplice.training.metrics.calibration import calibration_at, d_calibration
from accomplice.training.metrics.concordance import concordance_contributions, concordances
from accomplice.training.metrics.concordance_draws import drawn_concordances
from accomplice.training.models.predictions import MODEL, PEERS, Predicted

#: Times at which the Brier score is taken.
POINTS = 50
#: Bootstrap draws that there are at least, however little time is left, and that tell how long one
#: takes.
FEWEST_DRAWS, TIMED_DRAWS = 20, 2
#: Patients up to whom all draws are scored at once by their pairs.
FEW = 10_000
#: Patients from which on bootstrap draws no longer rank anew; see `concordance_contributions`.
MANY = 20_000
#: Patients scored at a time.
CHUNK = 8192


@dataclass(frozen=True)
class Scores:
    """How one model did."""

    uno_c: Estimate
    harrell_c: Estimate
    ibs: Estimate
    brier: Array
    """(t,) Brier score at the evaluation's times."""


@dataclass(frozen=True)
class Evaluation:
    """Everything judged of one run."""

    patients: int
    events: int
    horizon: float
    """Months to which the models are judged."""
    times: Array
    """(t,) months at which the Brier score is taken."""
    scores: dict[str, Scores]
    """By model: the stacked model, its learners, the baselines."""
    gains: dict[str, dict[str, Estimate]]
    """Baseline -> gain of the model in ``uno_c`` and ``ibs``; above 0 is better in both."""
    calibration_time: float
    """Months at which slope and intercept are taken."""
    calibration_slope: float
    d_calibration_p: float
    survival: Array
    """(n,) out-of-fold survival of the stacked model at the calibration time."""
    risk: Array
    """(n,) out-of-fold risk of the stacked model."""
    bootstraps: int
    """Draws behind each interval."""
    notes: tuple[str, ...] = ()
    """What the model was not held against, and why."""

    @property
    def reference(self) -> str | None:
        """The baseline that headlines are over: the last the study file lists; never a peer."""
        own = [baseline for baseline in self.gains if baseline not in PEERS]
        return own[-1] if own else None

    def verdict(self, baseline: str) -> str:
        """Say in words whether the model adds to a baseline."""
        gain = self.gains[baseline]
        better = [m for m, e in gain.items() if e.low > 0]
        worse = [m for m, e in gain.items() if e.high < 0]
        if better and not worse:
            return f"adds value over {baseline} ({' and '.join(NAMES[m] for m in better)})"
        if worse:
            return f"is worse than {baseline} ({' and '.join(NAMES[m] for m in worse)})"
        return f"adds nothing certain over {baseline}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, undefined ones as null."""
        return {
            "protocol": "out of fold; 95 % bootstrap intervals; differences paired",
            "patients": self.patients,
            "events": self.events,
            "horizon": self.horizon,
            "bootstraps": self.bootstraps,
            "calibration": {
                "time": self.calibration_time,
                "slope": finite_or_none(self.calibration_slope),
                "d_calibration_p": finite_or_none(self.d_calibration_p),
            },
            "models": {
                name: {m: getattr(s, m).to_json() for m in ("uno_c", "harrell_c", "ibs")}
                for name, s in self.scores.items()
            },
            "gains": {b: {m: e.to_json() for m, e in g.items()} for b, g in self.gains.items()},
            "notes": list(self.notes),
        }


#: Metric -> what people call it.
NAMES = {"uno_c": "Uno's C", "harrell_c": "Harrell's C", "ibs": "integrated Brier score"}


def judge_predicted(predicted: Predicted, config: Config, budget: Budget = UNLIMITED) -> Evaluation:
    """Judge predictions of patients whose outcome is known; see :func:`judge`."""
    judged = judge(
        *predicted.outcome,
        predicted.group,
        predicted.grid,
        dict(predicted.curves),
        dict(predicted.baselines),
        config.evaluation.bootstraps,
        config.seed,
        budget,
    )
    return replace(judged, notes=predicted.notes)


def judge(
    time: Array,
    event: Bools,
    fold: Ints,
    grid: TimeGrid,
    curves: dict[str, Array],
    baselines: dict[str, Array],
    bootstraps: int,
    seed: int,
    budget: Budget = UNLIMITED,
) -> Evaluation:
    """Score cumulative hazards (n, j + 1) on a grid against outcomes (n,); see the module.

    Ranks are compared after each fold's (n,) mean risk is taken off: the level of a fold model
    falls where its held-out patients fared worse, which would bias a C pooled over folds. Where the
    budget does not last for all ``bootstraps`` there are fewer.
    """
    horizon = judged_horizon(time, event, grid.horizon)
    judged = Judge(time, event, censoring(time, event), horizon)
    models = curves | baselines
    risks = {name: log_risk(c) for name, c in models.items()}
    briers = {name: judged.brier(grid, c) for name, c in models.items()}
    predicted = [(within(risks[name], fold), briers[name][0]) for name in models]
    draws = bootstraps
    if budget.limited and bootstraps > FEWEST_DRAWS:
        before = budget.spent
        # Of few patients draws are scored together, and a single one says little.
        timed = FEWEST_DRAWS if len(time) <= FEW else TIMED_DRAWS
        judged.resample(predicted, timed, seed)
        # The figure itself costs as much as one draw.
        each = max((budget.spent - before) / (timed + 1), 1e-9)
        draws = int(np.clip(budget.left() / each - 1, FEWEST_DRAWS, bootstraps))
        if draws < bootstraps:
            budget.cut("evaluation", draws, f"{bootstraps} bootstraps")
    drawn = judged.resample(predicted, draws, seed)
    figures = dict(zip(models, drawn, strict=True))
    scores = {}
    for name, figure in figures.items():
        uno_c, harrell_c, ibs = map(Estimate.of_draws, figure)
        scores[name] = Scores(uno_c, harrell_c, ibs, briers[name][1])
    gains = {
        b: {
            "uno_c": Estimate.of_draws(figures[MODEL].uno_c - figures[b].uno_c),
            "ibs": Estimate.of_draws(figures[b].ibs - figures[MODEL].ibs),
        }
        for b in baselines
    }
    middle = horizon / 2
    at_middle = survival(grid.at(curves[MODEL], np.array([middle])))[:, 0]
    own = survival(grid.at_own(curves[MODEL], time))
    return Evaluation(
        patients=len(time),
        events=int(event.sum()),
        horizon=horizon,
        times=judged.times,
        scores=scores,
        gains=gains,
        calibration_time=middle,
        calibration_slope=or_nan(
            lambda: calibration_at(event, time, at_middle, middle, judged.weights).slope
        ),
        d_calibration_p=or_nan(lambda: d_calibration(event, own).p_value),
        survival=at_middle,
        risk=risks[MODEL],
        bootstraps=draws,
    )


def brier_averages(
    time: Array,
    event: Bools,
    weights: KaplanMeier,
    horizon: float,
    grid: TimeGrid,
    cumulative: Array,
) -> Array:
    """Return each patient's Brier score (n,), averaged over time to a horizon."""
    return Judge(time, event, weights, horizon).brier(grid, cumulative)[0]


class Figures(NamedTuple):
    """Figures (1 + d,) of a model: of all patients, then of each bootstrap draw."""

    uno_c: Array
    harrell_c: Array
    ibs: Array


@dataclass(frozen=True)
class Judge:
    """Outcomes, and how predictions are scored against them."""

    time: Array
    event: Bools
    weights: KaplanMeier
    horizon: float

    @property
    def times(self) -> Array:
        """Months (t,) at which the Brier score is taken."""
        return np.linspace(0, self.horizon, POINTS + 1)[1:]

    def brier(self, grid: TimeGrid, cumulative: Array) -> tuple[Array, Array]:
        """Brier score of each patient (n,), averaged over time, and at each time (t,)."""
        n, times = len(self.time), self.times
        averages, total = np.empty(n), np.zeros(len(times))
        # Survival of all patients at all times would take several times what a fit does.
        for start in range(0, n, CHUNK):
            rows = slice(start, start + CHUNK)
            curves = survival(grid.at(cumulative[rows], times))
            each = brier_contributions(
                self.event[rows], self.time[rows], curves, times, self.weights
            )
            averages[rows] = time_average(each, times)
            total += each.sum(axis=0)
        return averages, total / n

    def figures(self, rows: Ints, risk: Array, averages: Array) -> tuple[float, float, float]:
        """Return the `Figures` of some patients alone; NaN where they do not determine one."""
        event, time = self.event[rows], self.time[rows]
        found = concordances(event, time, risk[rows], self.weights, self.horizon)
        return found.uno, found.harrell, float(averages[rows].mean())

    def contributions(self, risk: Array, averages: Array) -> tuple[Array, Array, Array]:
        """Return each patient's part (n,) in the `Figures`, which are its means."""
        found = concordance_contributions(self.event, self.time, risk, self.weights, self.horizon)
        return found.uno, found.harrell, averages

    def resample(
        self, models: Sequence[tuple[Array, Array]], draws: int, seed: int
    ) -> list[Figures]:
        """Score models on the same draws.

        Args:
            models: risk (n,) and averages (n,) of each.
            draws: of patients.
            seed: of the draws.
        """
        n = len(self.time)
        drawn = resamples(n, draws, seed)
        if n <= FEW:
            return self._few(models, [np.bincount(rows, minlength=n) for rows in drawn])
        if n > MANY:
            parts = np.concatenate([self.contributions(*model) for model in models])
            made = [parts.mean(axis=1)]
            made += [parts @ np.bincount(rows, minlength=n).astype(float) / n for rows in drawn]
        else:
            made = [
                np.concatenate([self.figures(rows, *model) for model in models])
                for rows in chain((np.arange(n),), drawn)
            ]
        return [Figures(*each) for each in np.split(np.stack(made, axis=1), len(models))]

    def _few(self, models: Sequence[tuple[Array, Array]], counts: Sequence[Ints]) -> list[Figures]:
        """Score models on all draws at once, from how often each draw holds each patient."""
        held, everybody = np.stack(counts).astype(float), np.arange(len(self.time))
        risks = np.stack([risk for risk, _ in models])
        drawn = drawn_concordances(self.event, self.time, risks, self.weights, self.horizon, held)
        found = []
        for (risk, averages), (harrell, uno) in zip(models, drawn, strict=True):
            whole = self.figures(everybody, risk, averages)
            each = uno, harrell, held @ averages / len(averages)
            found.append(Figures(*(np.append(w, e) for w, e in zip(whole, each, strict=True))))
        return found
