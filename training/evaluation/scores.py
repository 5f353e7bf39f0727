"""Judge predictions: discrimination, Brier score, calibration, and paired differences.

The predictions are out-of-fold ones, or those for another cohort. The primary metrics are the
integrated Brier score and Uno's C, both to the judged horizon. Differences from the baselines are
paired: both models are scored on the same bootstrap draws of patients (see `evaluation.bootstrap`).
Out of fold, the intervals of both are widened by what the training patients add to their variance
(see `evaluation.training_variance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.errors import enumerated
from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.censoring import ChosenCensoring, censoring_of
from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.intervals import Estimate, or_nan, plain
from accomplice.training.estimators.kaplan_meier import Censoring, censoring, judged_horizon
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import recentring_factors
from accomplice.training.evaluation.record import PROTOCOL
from accomplice.training.evaluation.training_variance import Allowance, Contributions
from accomplice.training.metrics.brier import brier_times
from accomplice.training.metrics.calibration import calibration_at, d_calibration
from accomplice.training.metrics.table import METRICS, deciding, gains, label
from accomplice.training.models.predictions import MODEL, PEERS, FoldCurves, Predictions

#: Minimum number of bootstrap draws, however little time is left (or all, if fewer are asked for);
#: they also measure the time of a draw.
FEWEST_DRAWS = 20
#: Name of the model under the patients' treatment.
SERVED = "model with the treatment"


@dataclass(frozen=True)
class Figures:
    """A model's metrics with their intervals; each is an attribute too, such as ``uno_c``."""

    figures: dict[str, Estimate]
    """Metric -> estimate."""

    def __getattr__(self, name: str) -> Estimate:
        """Return the estimate of a metric."""
        try:
            return cast(Estimate, vars(self)["figures"][name])
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Scores(Figures):
    """The metrics of one model, and its Brier score over time."""

    brier: Array
    """(t,) Brier score at the evaluation's ``times``."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of the predictions of a model, its learners and the baselines."""

    patients: int
    events: int
    horizon: float
    """Months to which the models are judged; see :func:`kaplan_meier.judged_horizon`."""
    times: Array
    """(t,) months at which the Brier score is taken."""
    scores: dict[str, Scores]
    """Scores of the stacked model, its learners and the baselines, by name."""
    gains: dict[str, dict[str, Estimate]]
    """Baseline -> deciding metric -> paired gain of the model; above 0 the model is better."""
    treatment: dict[str, Estimate]
    """Deciding metric -> paired gain of the predictions under the patients' treatment over those
    without it; empty where they are the same. The scores and gains above are without it."""
    calibration_time: float
    """Month at which the slope is taken: half the horizon."""
    calibration_slope: float
    """Calibration slope of the stacked model as served; NaN where undefined."""
    d_calibration_p: float
    """p value of D-calibration of the stacked model as served; NaN where undefined."""
    survival: Array
    """(n,) predicted survival of the stacked model, as served, at the calibration time."""
    risk: Array
    """(n,) predicted risk (log-hazard) of the stacked model, without the treatment."""
    bootstraps: int
    """Bootstrap draws for each interval."""
    censoring: ChosenCensoring
    """Distribution of the censoring time by which the n patients were weighted."""
    one_distribution: Mapping[str, float] = field(default_factory=dict)
    """Deciding metric and ``calibration_slope`` -> the model's value with one distribution for all
    patients; empty where that was used."""
    notes: tuple[str, ...] = ()
    """Baselines without predictions, and the reasons."""

    @property
    def reference(self) -> str | None:
        """Baseline of the headline gains: the last of the study file, or Kaplan-Meier without one.

        It is None if neither has predictions.
        """
        own = [baseline for baseline in self.gains if baseline not in PEERS]
        return own[-1] if own else None

    def verdict(self, baseline: str) -> str:
        """Return in words whether the model adds to a baseline."""
        gain = self.gains[baseline]
        better = [m for m, e in gain.items() if e.low > 0]
        worse = [m for m, e in gain.items() if e.high < 0]
        if better and not worse:
            return f"adds value over {baseline} ({enumerated(map(label, better))})"
        if worse:
            return f"is worse than {baseline} ({enumerated(map(label, worse))})"
        return f"adds nothing certain over {baseline}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, undefined ones as null; nothing by month or patient."""
        found: dict[str, Any] = plain(
            {
                "protocol": PROTOCOL,
                "patients": self.patients,
                "events": self.events,
                "horizon": self.horizon,
                "bootstraps": self.bootstraps,
                "calibration": {
                    "time": self.calibration_time,
                    "slope": self.calibration_slope,
                    "d_calibration_p": self.d_calibration_p,
                },
                "models": {name: each.figures for name, each in self.scores.items()},
                "gains": self.gains,
                "gains_by_treatment": self.treatment,
                "censoring": self.censoring.to_json() | {"alike": self.one_distribution},
                "notes": self.notes,
            }
        )
        return found


def judge_predicted(
    predicted: Predictions,
    config: Config,
    budget: Budget = UNLIMITED,
    chosen: ChosenCensoring | None = None,
) -> Evaluation:
    """Judge predictions against the patients' outcomes, as :func:`judge` does.

    Args:
        predicted: the predictions.
        config: settings, of which those of the evaluation and the seed are used.
        budget: time budget.
        chosen: distribution of the patients' censoring time; if absent, it is chosen here.
    """
    judged = judge(
        *predicted.outcome,
        predicted.group,
        predicted.grid,
        dict(predicted.curves),
        dict(predicted.baselines),
        config.evaluation.bootstraps,
        config.seed,
        budget,
        predicted.served,
        by_fold=predicted.by_fold,
        chosen=chosen or censoring_of(predicted.cohort, *predicted.outcome),
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
    served: Array | None = None,
    by_fold: FoldCurves | None = None,
    chosen: ChosenCensoring | None = None,
) -> Evaluation:
    """Judge predicted curves of a model, its learners and baselines against outcomes.

    Scores and gains are of predictions without the treatment, since the baselines have none;
    calibration is that of the predictions as served, with the folds recentred
    (:func:`calibration.recentred`).

    Concordance is computed from risks less the mean risk of the patient's fold: the level of a
    fold's model is lower where its held-out patients had worse outcomes, which would bias a pooled
    C.

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed; at least one was.
        fold: (n,) fold of each patient, from 0.
        grid: the j bins of the curves.
        curves: ``MODEL`` and its learners -> (n, j + 1) cumulative hazards.
        baselines: baseline -> (n, j + 1) cumulative hazards.
        bootstraps: number of draws for each interval.
        seed: seed of the draws.
        budget: time budget; where it does not last for all draws, fewer are made.
        served: (n, j + 1) the model's cumulative hazards under the treatment that the patients
            received; if absent, those without it.
        by_fold: predictions by each fold's models, where they are cross-fitted. The intervals of
            scores and gains are then those of the models fitted to such patients; without, they are
            those of these very predictions.
        chosen: distribution of the censoring time; if absent, the same for all patients.
    """
    chosen = chosen or ChosenCensoring(censoring(time, event))
    horizon = judged_horizon(time, event, grid.horizon, chosen.reach)
    judged = BootstrappedOutcome.of(time, event, horizon, bootstraps, seed, chosen.weights)
    models = curves | baselines
    outputs, by_time = {}, {}
    for name, c in models.items():
        outputs[name], by_time[name] = judged.output(within(log_risk(c), fold), grid, c)
    served = curves[MODEL] if served is None else served
    under_treatment = not np.array_equal(served, curves[MODEL])
    if under_treatment:
        outputs[SERVED], _ = judged.output(within(log_risk(served), fold), grid, served)
    predicted, draws = list(outputs.values()), bootstraps
    if budget.limited and bootstraps > FEWEST_DRAWS:
        before = budget.spent
        judged.first(FEWEST_DRAWS).figures(predicted)
        # The value in all patients costs as much as one draw.
        of_one = max((budget.spent - before) / (FEWEST_DRAWS + 1), 1e-9)
        draws = int(np.clip(budget.left() / of_one - 1, FEWEST_DRAWS, bootstraps))
        if draws < bootstraps:
            budget.cut("evaluation", draws, f"{bootstraps} bootstraps")
    figures = dict(zip(outputs, judged.first(draws).figures(predicted), strict=True))
    parts = {}
    if by_fold is not None:
        parts = {
            name: Contributions.of(judged, outputs[name], by_fold, curves, grid)
            for name, curves in by_fold.curves.items()
            if name in models
        }
    scores = {
        name: Scores(score_estimates(figures[name], parts.get(name)), by_time[name])
        for name in models
    }
    gained = {
        b: estimates(
            gains(figures[MODEL], figures[b], deciding()),
            parts[MODEL].allowances_of_gains(parts[b]) if {MODEL, b} <= parts.keys() else {},
        )
        for b in baselines
    }
    by_treatment = gains(figures[SERVED], figures[MODEL], deciding()) if under_treatment else {}
    middle = horizon / 2
    level = recentring_factors(served, fold)
    at_middle = survival(level * grid.at(served, np.array([middle]))[:, 0])
    at_time = survival(level * grid.at_own(served, time))

    def slope(weights: Censoring) -> float:
        return or_nan(lambda: calibration_at(event, time, at_middle, middle, weights).slope)

    one_distribution = {}
    if chosen.by:
        unweighted = BootstrappedOutcome.of(time, event, horizon, 0, seed)
        output, _ = unweighted.output(outputs[MODEL].risk, grid, curves[MODEL])
        (found,) = unweighted.figures([output])
        one_distribution = {name: float(found[name][0]) for name in deciding()}
        one_distribution["calibration_slope"] = slope(unweighted.weights)
    return Evaluation(
        patients=len(time),
        events=judged.events,
        horizon=horizon,
        times=brier_times(horizon),
        scores=scores,
        gains=gained,
        treatment=estimates(by_treatment),
        calibration_time=middle,
        calibration_slope=slope(chosen.weights),
        d_calibration_p=or_nan(lambda: d_calibration(event, at_time).p_value),
        survival=at_middle,
        risk=log_risk(curves[MODEL]),
        bootstraps=draws,
        censoring=chosen,
        one_distribution=one_distribution,
    )


def estimates(
    drawn: Mapping[str, Array], allowances: Mapping[str, Allowance] | None = None
) -> dict[str, Estimate]:
    """Return the estimate of each statistic from its values (1 + d,), by name.

    Args:
        drawn: name -> values.
        allowances: name -> adjustment of the bootstrap interval of a difference.
    """
    allowed = {} if allowances is None else allowances
    return {
        name: allowed.get(name, Allowance()).of_difference(Estimate.of_draws(values))
        for name, values in drawn.items()
    }


def score_estimates(drawn: Mapping[str, Array], part: Contributions | None) -> dict[str, Estimate]:
    """Return the estimate of each metric of a model from its values (1 + d,).

    Args:
        drawn: metric -> values.
        part: contributions under the models of each fold, of cross-fitted predictions.
    """
    if part is None:
        return estimates(drawn)
    allowed = part.allowances()
    return {
        name: allowed[name].of_metric(Estimate.of_draws(values), METRICS[name])
        for name, values in drawn.items()
    }
