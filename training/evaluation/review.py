"""Review of a survival model: its whole evaluation as one record without patients.

All parts share the patients, the bootstrap draws and the time budget. Scores and gains are taken
from the evaluation. All parts but calibration (slopes, observed over expected events) are of
predictions without the treatment, which the baselines do not use either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from accomplice.data.arrays import Array
from accomplice.data.errors import enumerated
from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import FEW, BootstrappedOutcome
from accomplice.training.evaluation.calibration import (
    calibrated_jointly,
    calibration,
    expected_events,
    judged_months,
    middle_month,
    recentred,
    survival_at,
)
from accomplice.training.evaluation.centres import across_centres
from accomplice.training.evaluation.instability import MOST_PATIENTS, instability
from accomplice.training.evaluation.modality_value import MOST_WITHHELD, modality_values, sample
from accomplice.training.evaluation.net_benefit import decisions
from accomplice.training.evaluation.record import ExpectedConcordance, Review
from accomplice.training.evaluation.scores import Evaluation
from accomplice.training.evaluation.subgroups import MOST_CENTRES, Scored, patterns, subgroups
from accomplice.training.evaluation.time_course import (
    auc_over_time,
    brier_over_time,
    marks_to,
    months_to,
    risk_groups,
)
from accomplice.training.metrics.model_based_concordance import model_based_contributions
from accomplice.training.metrics.table import deciding, label
from accomplice.training.models.ensemble import Ensemble
from accomplice.training.models.predictions import MODEL, Predictions
from accomplice.training.progress import Tick, silent

#: Maximum number of patients in all parts but scores, gains and D-calibration; of more, a random
#: sample is taken.
MOST_REVIEWED = 100_000


def review(
    predicted: Predictions,
    evaluation: Evaluation,
    ensemble: Ensemble,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
) -> Review:
    """Return the record of a model's evaluation, without explanations and sentinels.

    Args:
        predicted: out-of-fold or external predictions.
        evaluation: evaluation of the same predictions; scores, gains, D-calibration, the horizon
            and the numbers of patients, events and draws are taken from it.
        ensemble: ensemble of the model, for the instability.
        config: settings, of which the seed is used.
        tick: progress callback.
        budget: time budget; when it ends, remaining parts other than the first stay empty and are
            listed in the notes.
    """
    whole, notes = predicted, list(predicted.notes)
    rows = sample(len(predicted.cohort), MOST_REVIEWED, config.seed)
    if rows is not None:
        predicted = predicted.take(rows)
        notes.append(
            f"Of {len(whole.cohort)} patients a random {MOST_REVIEWED} are reviewed; scores, gains "
            "and D-calibration are of all."
        )
    followed = BootstrappedOutcome.of(
        *predicted.outcome,
        evaluation.horizon,
        evaluation.bootstraps,
        config.seed,
        evaluation.censoring.weights if rows is None else evaluation.censoring.weights.take(rows),
    )
    notes += [on_censoring(evaluation), *_notes(predicted, followed)]
    cohort, group, grid = predicted.cohort, predicted.group, predicted.grid
    curve, level = predicted.curves[MODEL], recentred(predicted.served, group)
    risk = within(log_risk(curve), group)
    curves = {MODEL: curve, **predicted.baselines}
    strongest = strongest_baseline(evaluation)
    months, marks = months_to(followed.horizon), marks_to(followed.horizon)
    judged = judged_months(followed)
    middle = middle_month(judged, followed.horizon)
    alive = survival_at(followed, grid, level, middle)

    def by_group() -> dict[str, Any]:
        brier = followed.brier_averages(grid, curve)
        gain = brier * math.nan
        if strongest:
            gain = followed.brier_averages(grid, curves[strongest]) - brier
        expected, log_hz = expected_events(followed, grid, level)
        scored = Scored(followed, risk, brier, gain, alive, middle, expected, log_hz)
        return {
            "subgroups": subgroups(scored, cohort),
            "centres": across_centres(predicted, followed, risk, alive, middle),
            "patterns": patterns(scored, cohort),
        }

    # The quick parts first.
    steps: dict[str, Callable[[], dict[str, Any]]] = {
        "risk groups": lambda: {
            "risk_groups": risk_groups(followed, risk, group, months, marks),
            "expected_concordance": expected_concordance(followed, risk, grid, curve),
        },
        "calibration": lambda: {
            "calibration": calibration(followed, grid, level, judged),
            "joint_calibration": calibrated_jointly(followed, grid, level),
        },
        "decision curves": lambda: {
            "decisions": decisions(followed, grid, curves, strongest, judged)
        },
        "scores over time": lambda: {
            "brier": brier_over_time(followed, grid, curves, months),
            "auc": auc_over_time(followed, grid, curves, group, months),
        },
        "subgroups": by_group,
        "instability": lambda: {"instability": instability(ensemble, cohort, middle, config.seed)},
        "modalities": lambda: {
            "modalities": modality_values(predicted, followed, config, tick, budget)
        },
    }
    made, skipped = _within(budget, tick, steps)
    notes += [f"Not done for want of time: {name}." for name in skipped]
    return Review(
        cohort=cohort.study.name,
        endpoint=cohort.endpoint,
        protocol=predicted.protocol,
        synthetic=cohort.study.synthetic,
        patients=evaluation.patients,
        events=evaluation.events,
        horizon=evaluation.horizon,
        bootstraps=evaluation.bootstraps,
        months=tuple(months),
        marks=tuple(marks),
        strongest=strongest,
        scores={name: s.figures for name, s in evaluation.scores.items()},
        gains=evaluation.gains,
        gains_by_treatment=evaluation.treatment,
        d_calibration_p=evaluation.d_calibration_p,
        notes=tuple(notes),
        **made,
    )


def expected_concordance(
    followed: BootstrappedOutcome, risk: Array, grid: TimeGrid, cumulative: Array
) -> ExpectedConcordance:
    """Compare Uno's C of a model's risks with its model-based concordance, both to the horizon.

    Args:
        followed: outcomes of n patients, and bootstrap draws.
        risk: (n,) log-hazard risk by which patients are ranked.
        grid: the j bins of the curves.
        cumulative: (n, j + 1) the model's cumulative hazards at the grid's edges.
    """
    try:
        parts = model_based_contributions(risk, grid, cumulative, followed.horizon)
    except UndefinedMetricError:
        return ExpectedConcordance()
    expected = followed.draws.mean(parts)
    observed = followed.uno_c(risk)[0]
    return ExpectedConcordance(
        uno_c=Estimate.of_draws(expected), excess=Estimate.of_draws(observed - expected)
    )


def strongest_baseline(evaluation: Evaluation) -> str:
    """Return the baseline with the best integrated Brier score; empty if there is none."""
    scores = evaluation.scores
    return min(evaluation.gains, key=lambda name: scores[name].ibs.value, default="")


def _within(
    budget: Budget, tick: Tick, steps: Mapping[str, Callable[[], dict[str, Any]]]
) -> tuple[dict[str, Any], list[str]]:
    """Return the parts of the first step, and of further ones while time is left.

    Returns:
        The parts, empty for steps not done; and the names of these steps.
    """
    parts = ("risk_groups", "calibration", "decisions", "subgroups", "patterns", "modalities")
    made: dict[str, Any] = {"auc": {}, "brier": {}} | dict.fromkeys(parts, ())
    for done, step in enumerate(steps.values()):
        if done and budget.limited and budget.left() <= 0:
            budget.cut("review", done, f"{len(steps)} parts")
            return made, [*steps][done:]
        tick("review", done, len(steps))
        made |= step()
    tick("review", len(steps), len(steps))
    return made, []


def on_censoring(evaluation: Evaluation) -> str:
    """Return a note on the censoring weights, and on the model's figures with and without them."""
    chosen, p = evaluation.censoring, evaluation.censoring.p_in_words
    if not chosen.by:
        if not chosen.p:
            return "Too few patients are lost to follow-up to ask on what that depends"
        if not chosen.decided_by:
            return (
                f"No sign that follow-up depends on what is recorded ({p}): one distribution of "
                "censoring"
            )
        return (
            f"Follow-up depends on {enumerated(chosen.decided_by)} ({p}), but by what predicts the "
            "event it does not clearly differ: patients are weighed for censoring by one "
            "distribution for all"
        )
    figures = {name: evaluation.scores[MODEL].figures[name].value for name in deciding()}
    figures["calibration_slope"] = evaluation.calibration_slope
    moved = ", ".join(
        f"{'calibration slope' if name == 'calibration_slope' else label(name)} {value:.3f} in "
        f"place of {figures[name]:.3f}"
        for name, value in evaluation.one_distribution.items()
    )
    return (
        f"Follow-up differs by {enumerated(chosen.by)} ({p}): patients are weighed for censoring "
        f"among those alike in it. Figures end at month {evaluation.horizon:.4g}; "
        + (
            "beyond, fewer than a fifth of some group would be followed. "
            if math.isfinite(chosen.reach)
            else "a fifth of each group is followed beyond. "
        )
        + f"By one distribution for all they would be: {moved}"
    )


def _notes(predicted: Predictions, followed: BootstrappedOutcome) -> list[str]:
    """Return notes on samples and blocks of patients, and on groups too small to be judged."""
    n, cohort, found = len(followed), predicted.cohort, []
    if n > FEW:
        found.append(
            f"Of more than {FEW} patients, intervals are bootstraps of {FEW} random blocks of "
            "patients."
        )
    if n > MOST_WITHHELD:
        found.append(f"Modalities are withheld from a random {MOST_WITHHELD} patients.")
    if n > MOST_PATIENTS:
        found.append(f"Instability is that of a random {MOST_PATIENTS} patients.")
    if cohort.centre is not None and len(set(cohort.centre.tolist()) - {""}) > MOST_CENTRES:
        found.append(f"Of the centres, the {MOST_CENTRES} largest are judged.")
    found.append(
        f"Groups and patterns with fewer than {EVENTS_TO_JUDGE} events are not judged; such "
        "patterns are pooled where together they have as many."
    )
    return found
