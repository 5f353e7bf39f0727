"""Judge out-of-fold predictions: discrimination, Brier score, calibration, and paired differences.

Primary are the integrated Brier score and Uno's C, each to the judged horizon. Differences against
the baselines are paired: the same bootstrap draw of patients scores both models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.cohort import round_off
from training.baselines import baseline_curves
from training.budget import UNLIMITED, Budget
from training.bundle import log_risk
from training.concordance import harrell_c, uno_c
from training.config import Config
from training.fit import Fitted, truncate
from training.hazard import TimeGrid, survival
from training.metrics import (
    KaplanMeier,
    UndefinedMetricError,
    bootstrap_interval,
    brier_contributions,
    censoring,
    time_average,
)
from training.progress import Tick, silent
from training.reliability import calibration_at, d_calibration
from training.stack import LEARNERS

Array = NDArray[np.float64]

MODEL = "model"
#: Part of the patients that must still be followed at the judged horizon.
STILL_FOLLOWED = 0.1
#: Times at which the Brier score is taken.
POINTS = 50
#: Bootstrap draws that there are at least, however little time is left, and that tell how long one
#: takes.
FEWEST_DRAWS, TIMED_DRAWS = 20, 2


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval; NaN where the patients do not determine it."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


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
    survival: dict[str, Array]
    """By model: (n, t) out-of-fold survival."""
    risk: Array
    """(n,) out-of-fold risk of the stacked model."""
    bootstraps: int
    """Draws behind each interval."""

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

        def plain(estimate: Estimate) -> dict[str, float | None]:
            return {k: _known(v) for k, v in vars(estimate).items()}

        return {
            "protocol": "out of fold; 95 % bootstrap intervals; differences paired",
            "patients": self.patients,
            "events": self.events,
            "horizon": self.horizon,
            "bootstraps": self.bootstraps,
            "calibration": {
                "time": self.calibration_time,
                "slope": _known(self.calibration_slope),
                "d_calibration_p": _known(self.d_calibration_p),
            },
            "models": {
                name: {m: plain(getattr(s, m)) for m in ("uno_c", "harrell_c", "ibs")}
                for name, s in self.scores.items()
            },
            "gains": {b: {m: plain(e) for m, e in g.items()} for b, g in self.gains.items()},
        }


#: Metric -> what people call it.
NAMES = {"uno_c": "Uno's C", "harrell_c": "Harrell's C", "ibs": "integrated Brier score"}


def evaluate(
    fitted: Fitted, config: Config, tick: Tick = silent, budget: Budget = UNLIMITED
) -> Evaluation:
    """Judge a fit by its out-of-fold predictions, beside its learners and the baselines."""
    tick("evaluation", 0, 2)
    prepared = fitted.prepared
    time, event = truncate(prepared.cohort)
    curves = {MODEL: fitted.cumulative}
    curves |= dict(zip(LEARNERS, fitted.learners, strict=True))
    baselines = baseline_curves(prepared, config)
    tick("evaluation", 1, 2)
    judged = judge(
        time,
        event,
        prepared.fold[0],
        prepared.grid,
        curves,
        baselines,
        config.evaluation.bootstraps,
        config.seed,
        budget,
    )
    tick("evaluation", 2, 2)
    return judged


def quick_scores(fitted: Fitted) -> dict[str, float]:
    """Return the out-of-fold ``ibs`` and ``uno_c`` of a fit without intervals."""
    time, event = truncate(fitted.prepared.cohort)
    grid = fitted.prepared.grid
    horizon = judged_horizon(time, event, grid.horizon)
    times = np.linspace(0, horizon, POINTS + 1)[1:]
    judge = _Judge(
        time,
        event,
        within(log_risk(fitted.cumulative), fitted.prepared.fold[0]),
        survival(grid.at(fitted.cumulative, times)),
        times,
        censoring(time, event),
        horizon,
    )
    everyone = np.arange(len(time))
    ibs = float(time_average(judge.contributions(), times).mean())
    return {"ibs": ibs, "uno_c": _or_nan(lambda: judge.uno(everyone))}


def judge(
    time: Array,
    event: NDArray[np.bool_],
    fold: NDArray[np.int_],
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
    times = np.linspace(0, horizon, POINTS + 1)[1:]
    weights = censoring(time, event)
    models = curves | baselines
    risks = {name: log_risk(c) for name, c in models.items()}
    surviving = {name: survival(grid.at(c, times)) for name, c in models.items()}
    judged = {
        name: _Judge(time, event, within(risks[name], fold), s, times, weights, horizon)
        for name, s in surviving.items()
    }

    def resampled(draws: int) -> tuple[dict[str, Scores], dict[str, dict[str, Estimate]]]:
        return (
            {name: j.scores(draws, seed) for name, j in judged.items()},
            {b: judged[MODEL].gain(judged[b], draws, seed) for b in baselines},
        )

    draws = bootstraps
    if budget.limited and bootstraps > FEWEST_DRAWS:
        before = budget.spent
        resampled(TIMED_DRAWS)
        # The figure itself costs as much as one draw.
        each = max((budget.spent - before) / (TIMED_DRAWS + 1), 1e-9)
        draws = int(np.clip(budget.left() / each - 1, FEWEST_DRAWS, bootstraps))
        if draws < bootstraps:
            budget.cut("evaluation", draws, f"{bootstraps} bootstraps")
    scores, gains = resampled(draws)
    middle = horizon / 2
    at_middle = survival(grid.at(curves[MODEL], np.array([middle])))[:, 0]
    own = survival(grid.at_own(curves[MODEL], time))
    return Evaluation(
        patients=len(time),
        events=int(event.sum()),
        horizon=horizon,
        times=times,
        scores=scores,
        gains=gains,
        calibration_time=middle,
        calibration_slope=_or_nan(
            lambda: calibration_at(event, time, at_middle, middle, weights).slope
        ),
        d_calibration_p=_or_nan(lambda: d_calibration(event, own).p_value),
        survival=surviving,
        risk=risks[MODEL],
        bootstraps=draws,
    )


def within(risk: Array, fold: NDArray[np.int_]) -> Array:
    """Return each patient's risk (n,) against the mean of their fold (n,)."""
    mean = np.bincount(fold, risk) / np.maximum(np.bincount(fold), 1)
    # Rounded, so that one risk for a whole fold stays one risk.
    return np.asarray(np.round(risk - mean[fold], 12))


def judged_horizon(time: Array, event: NDArray[np.bool_], horizon: float) -> float:
    """Last time at which a tenth of the patients is still followed, and some could be censored."""
    last = round_off(float(np.quantile(time, 1 - STILL_FOLLOWED)), up=False)
    # There must be an event to judge by; at the last follow-up the weights end.
    return min(horizon, max(last, float(time[event].min())), float(np.nextafter(time.max(), 0)))


@dataclass(frozen=True)
class _Judge:
    """One model's predictions with all that scores them."""

    time: Array
    event: NDArray[np.bool_]
    risk: Array
    survival: Array
    times: Array
    weights: KaplanMeier
    horizon: float

    def uno(self, rows: NDArray[np.int_]) -> float:
        return uno_c(self.event[rows], self.time[rows], self.risk[rows], self.weights, self.horizon)

    def harrell(self, rows: NDArray[np.int_]) -> float:
        return harrell_c(self.event[rows], self.time[rows], self.risk[rows])

    def contributions(self) -> Array:
        return brier_contributions(self.event, self.time, self.survival, self.times, self.weights)

    def scores(self, bootstraps: int, seed: int) -> Scores:
        each = self.contributions()
        average = time_average(each, self.times)
        return Scores(
            uno_c=_estimate(self.uno, len(self.time), bootstraps, seed),
            harrell_c=_estimate(self.harrell, len(self.time), bootstraps, seed),
            ibs=_estimate(lambda rows: float(average[rows].mean()), len(average), bootstraps, seed),
            brier=each.mean(axis=0),
        )

    def gain(self, other: _Judge, bootstraps: int, seed: int) -> dict[str, Estimate]:
        """Gain over another model; above 0 is better."""
        n = len(self.time)
        saved = time_average(other.contributions() - self.contributions(), self.times)
        return {
            "uno_c": _estimate(lambda r: self.uno(r) - other.uno(r), n, bootstraps, seed),
            "ibs": _estimate(lambda r: float(saved[r].mean()), n, bootstraps, seed),
        }


def _estimate(
    statistic: Callable[[NDArray[np.int_]], float], n: int, draws: int, seed: int
) -> Estimate:
    try:
        value = statistic(np.arange(n))
        return Estimate(value, *bootstrap_interval(statistic, n, draws, seed))
    except UndefinedMetricError:
        return Estimate(math.nan)


def _or_nan(compute: Callable[[], float]) -> float:
    try:
        return compute()
    except UndefinedMetricError:
        return math.nan


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
