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
from typing import Any, cast

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
from accomplice.training.estimators.kaplan_meier import censoring, judged_horizon
from accomplice.training.metrics.brier import brier_by_patient, brier_times
from accomplice.training.metrics.calibration import calibration_at, d_calibration
from accomplice.training.metrics.score import ModelOutput, Outcome, Score
from accomplice.training.metrics.table import METRICS, deciding, gains, label
from accomplice.training.models.predictions import MODEL, PEERS, Predicted

#: Bootstrap draws that there are at least, however little time is left, and that tell how long one
#: takes.
FEWEST_DRAWS, TIMED_DRAWS = 20, 2
#: Patients up to whom all draws are scored at once by their pairs.
FEW = 10_000
#: Patients from which on bootstrap draws no longer rank anew; see `concordance_contributions`.
MANY = 20_000


@dataclass(frozen=True)
class Scores:
    """How one model did; each metric of the table is an attribute too, such as ``uno_c``."""

    figures: dict[str, Estimate]
    """By metric."""
    brier: Array
    """(t,) Brier score at the evaluation's times."""

    def __getattr__(self, name: str) -> Estimate:
        """Return the figure of a metric."""
        try:
            return cast(Estimate, vars(self)["figures"][name])
        except KeyError:
            raise AttributeError(name) from None


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
    """Baseline -> gain of the model in each metric that decides; above 0 is better."""
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
            return f"adds value over {baseline} ({' and '.join(label(m) for m in better)})"
        if worse:
            return f"is worse than {baseline} ({' and '.join(label(m) for m in worse)})"
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
                name: {m: e.to_json() for m, e in s.figures.items()}
                for name, s in self.scores.items()
            },
            "gains": {b: {m: e.to_json() for m, e in g.items()} for b, g in self.gains.items()},
            "notes": list(self.notes),
        }


#: Metric -> its label.
NAMES = {name: metric.label for name, metric in METRICS.items()}


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
    outputs, by_time = {}, {}
    for name, c in models.items():
        outputs[name], by_time[name] = judged.output(within(risks[name], fold), grid, c)
    predicted = list(outputs.values())
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
    scores = {
        name: Scores({m: Estimate.of_draws(f) for m, f in each.items()}, by_time[name])
        for name, each in figures.items()
    }
    gained = {b: gains(figures[MODEL], figures[b], deciding()) for b in baselines}
    middle = horizon / 2
    at_middle = outputs[MODEL].survival
    own = survival(grid.at_own(curves[MODEL], time))
    return Evaluation(
        patients=len(time),
        events=int(event.sum()),
        horizon=horizon,
        times=brier_times(horizon),
        scores=scores,
        gains={b: {m: Estimate.of_draws(f) for m, f in each.items()} for b, each in gained.items()},
        calibration_time=middle,
        calibration_slope=or_nan(
            lambda: calibration_at(event, time, at_middle, middle, judged.weights).slope
        ),
        d_calibration_p=or_nan(lambda: d_calibration(event, own).p_value),
        survival=at_middle,
        risk=risks[MODEL],
        bootstraps=draws,
    )


class Judge(Outcome):
    """Outcomes, and how predictions are scored against them."""

    def output(self, risk: Array, grid: TimeGrid, cumulative: Array) -> tuple[ModelOutput, Array]:
        """Return what the metrics see of a model, and its Brier score at each time (t,)."""
        averages, by_time = brier_by_patient(self, grid, cumulative)
        middle = survival(grid.at(cumulative, np.array([self.horizon / 2])))[:, 0]
        return ModelOutput(risk, averages, middle), by_time

    def figures(self, model: ModelOutput) -> dict[str, float]:
        """Return each metric of all patients; NaN where they do not determine it."""
        whole = {score: score.whole(self, model) for score in _scores()}
        return {name: float(whole[m.score][m.part]) for name, m in METRICS.items()}

    def resample(
        self, models: Sequence[ModelOutput], draws: int, seed: int
    ) -> list[dict[str, Array]]:
        """Score models on the same bootstrap draws.

        Args:
            models: of m models.
            draws: of patients.
            seed: of the draws.

        Returns:
            For each model each metric's figures (1 + d,): of all patients, then of each draw.
        """
        scores, n = _scores(), len(self.time)
        drawn = resamples(n, draws, seed)
        if n <= FEW:
            counts = np.stack([np.bincount(rows, minlength=n) for rows in drawn]).astype(float)
            whole = [np.concatenate([s.whole(self, m) for s in scores]) for m in models]
            parts = [score.draws(self, models, counts) for score in scores]
            made = np.dstack([np.stack(whole), np.concatenate(parts, axis=1)])
        elif n > MANY:
            each = np.stack(
                [np.concatenate([s.contributions(self, m) for s in scores]) for m in models]
            )
            means = (each @ np.bincount(rows, minlength=n).astype(float) / n for rows in drawn)
            made = np.stack([each.mean(axis=-1), *means], axis=-1)
        else:
            made = np.stack(
                [
                    [
                        np.concatenate([s.whole(self.take(rows), m.take(rows)) for s in scores])
                        for m in models
                    ]
                    for rows in chain((np.arange(n),), drawn)
                ],
                axis=-1,
            )
        first, place = 0, {}
        for score in scores:
            place[score] = first
            first += score.parts
        return [
            {name: each[place[m.score] + m.part] for name, m in METRICS.items()} for each in made
        ]


def _scores() -> list[Score]:
    """Return what computes the table's metrics, each once."""
    return list(dict.fromkeys(metric.score for metric in METRICS.values()))
