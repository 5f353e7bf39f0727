"""Review a survival model: everything that is judged of it, as one record without patients.

The parts lie in modules of their own; here they are given the same patients, the same bootstrap
draws, and what time there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.evaluation.bootstrap import FEW, FEWEST_EVENTS, BootstrappedOutcome
from accomplice.training.evaluation.calibration import (
    calibration,
    judged_months,
    middle_month,
    survival_at,
)
from accomplice.training.evaluation.instability import MOST_LOOKED_AT, instability
from accomplice.training.evaluation.modality_value import MOST_WITHHELD, modality_values, sample
from accomplice.training.evaluation.net_benefit import decisions
from accomplice.training.evaluation.record import Review
from accomplice.training.evaluation.scores import Evaluation
from accomplice.training.evaluation.subgroups import MOST_CENTRES, Scored, patterns, subgroups
from accomplice.training.evaluation.time_course import (
    auc_over_time,
    brier_over_time,
    marks_to,
    months_to,
    risk_groups,
)
from accomplice.training.models.ensemble import Ensemble
from accomplice.training.models.predictions import MODEL, Predicted
from accomplice.training.progress import Tick, silent

#: Patients on whom all but the scores and gains are judged; of more, a random sample.
MOST_REVIEWED = 100_000


def review(
    predicted: Predicted,
    evaluation: Evaluation,
    ensemble: Ensemble,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
) -> Review:
    """Judge predictions of patients whose outcome is known in all the ways of the record.

    Explanations and sentinels are left out; others add them.

    Args:
        predicted: what the model said.
        evaluation: of the same predictions; its scores, gains and number of draws are taken over.
        ensemble: of the model, for the instability.
        config: its seed is used.
        tick: told of each part.
        budget: parts that it has no time for are left empty, and the record says so.
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
        *predicted.outcome, evaluation.horizon, evaluation.bootstraps, config.seed
    )
    notes += _notes(predicted, followed)
    parts = _Parts(predicted, followed, evaluation, ensemble, config, tick, budget)
    made, skipped = _within(budget, tick, parts.steps())
    notes += [f"Not done for want of time: {name}." for name in skipped]
    cohort = predicted.cohort
    return Review(
        cohort=cohort.study.name,
        endpoint=cohort.endpoint,
        protocol=predicted.protocol,
        synthetic=cohort.study.synthetic,
        patients=evaluation.patients,
        events=evaluation.events,
        horizon=evaluation.horizon,
        bootstraps=evaluation.bootstraps,
        months=tuple(parts.months),
        marks=tuple(parts.marks),
        strongest=parts.strongest,
        scores={name: s.figures for name, s in evaluation.scores.items()},
        gains=evaluation.gains,
        d_calibration_p=evaluation.d_calibration_p,
        notes=tuple(notes),
        **made,
    )


def strongest_baseline(evaluation: Evaluation) -> str:
    """Return the baseline with the best integrated Brier score, or nothing if there is none."""
    scores = evaluation.scores
    return min(evaluation.gains, key=lambda name: scores[name].ibs.value, default="")


#: Name of a part, and what makes its fields of the record.
Step = tuple[str, Callable[[], dict[str, Any]]]


class _Parts:
    """The parts of a review, of the same patients and draws."""

    def __init__(
        self,
        predicted: Predicted,
        followed: BootstrappedOutcome,
        evaluation: Evaluation,
        ensemble: Ensemble,
        config: Config,
        tick: Tick,
        budget: Budget,
    ) -> None:
        self.predicted, self.followed, self.ensemble = predicted, followed, ensemble
        self.config, self.tick, self.budget = config, tick, budget
        self.strongest = strongest_baseline(evaluation)
        self.months, self.marks = months_to(followed.horizon), marks_to(followed.horizon)
        self.judged = judged_months(followed)
        self.middle = middle_month(self.judged, followed.horizon)
        self.own = predicted.curves[MODEL]
        self.curves = {MODEL: self.own, **predicted.baselines}
        self.risk = within(log_risk(self.own), predicted.group)

    def steps(self) -> list[Step]:
        """Every part, the quick ones first."""
        return [
            ("risk groups", self.groups),
            ("calibration", self.calibration),
            ("decision curves", self.decisions),
            ("scores over time", self.over_time),
            ("subgroups", self.subgroups),
            ("instability", self.instability),
            ("modalities", self.modalities),
        ]

    def groups(self) -> dict[str, Any]:
        group, months, marks = self.predicted.group, self.months, self.marks
        return {"risk_groups": risk_groups(self.followed, self.risk, group, months, marks)}

    def calibration(self) -> dict[str, Any]:
        grid, months = self.predicted.grid, self.judged
        return {"calibration": calibration(self.followed, grid, self.own, months)}

    def decisions(self) -> dict[str, Any]:
        grid, months = self.predicted.grid, self.judged
        found = decisions(self.followed, grid, self.curves, self.strongest, months)
        return {"decisions": found}

    def over_time(self) -> dict[str, Any]:
        followed, grid, group = self.followed, self.predicted.grid, self.predicted.group
        return {
            "brier": brier_over_time(followed, grid, self.curves, self.months),
            "auc": auc_over_time(followed, grid, self.curves, group, self.months),
        }

    def subgroups(self) -> dict[str, Any]:
        followed, grid, cohort = self.followed, self.predicted.grid, self.predicted.cohort
        brier = followed.brier_averages(grid, self.own)
        gain = brier * float("nan")
        if self.strongest:
            gain = followed.brier_averages(grid, self.curves[self.strongest]) - brier
        alive = survival_at(followed, grid, self.own, self.middle)
        scored = Scored(followed, self.risk, brier, gain, alive, self.middle)
        return {"subgroups": subgroups(scored, cohort), "patterns": patterns(scored, cohort)}

    def instability(self) -> dict[str, Any]:
        cohort, seed = self.predicted.cohort, self.config.seed
        return {"instability": instability(self.ensemble, cohort, self.middle, seed)}

    def modalities(self) -> dict[str, Any]:
        given = self.predicted, self.followed, self.config, self.tick, self.budget
        return {"modalities": modality_values(*given)}


def _within(budget: Budget, tick: Tick, steps: list[Step]) -> tuple[dict[str, Any], list[str]]:
    """Do the first step, and each further one while there is time; name those left out."""
    made: dict[str, Any] = {
        "risk_groups": (),
        "auc": {},
        "brier": {},
        "calibration": (),
        "decisions": (),
        "subgroups": (),
        "patterns": (),
        "modalities": (),
    }
    for done, (_, step) in enumerate(steps):
        if done and budget.limited and budget.left() <= 0:
            budget.cut("review", done, f"{len(steps)} parts")
            return made, [name for name, _ in steps[done:]]
        tick("review", done, len(steps))
        made |= step()
    tick("review", len(steps), len(steps))
    return made, []


def _notes(predicted: Predicted, followed: BootstrappedOutcome) -> list[str]:
    """Say what sizes have changed of the way that figures are made."""
    n, cohort, found = len(followed), predicted.cohort, []
    if n > FEW:
        found.append(
            f"Of more than {FEW} patients, intervals over time, of calibration and of groups are "
            f"bootstraps of {FEW} random blocks of patients."
        )
    if n > MOST_WITHHELD:
        found.append(f"Modalities are withheld from a random {MOST_WITHHELD} patients.")
    if n > MOST_LOOKED_AT:
        found.append(f"Instability is that of a random {MOST_LOOKED_AT} patients.")
    if cohort.centre is not None and len(set(cohort.centre.tolist()) - {""}) > MOST_CENTRES:
        found.append(f"Of the centres, the {MOST_CENTRES} largest are judged.")
    found.append(
        f"Groups and patterns with fewer than {FEWEST_EVENTS} events are not judged; such patterns "
        "are pooled where together they have as many."
    )
    return found
