"""External validation of a model on another cohort.

Discrimination and calibration are judged separately: patients can be ranked well although the
probabilities are wrong, and only these can be updated without new training (Debray et al., "A new
framework to
enhance the interpretation of external validation studies of clinical prediction models", J Clin
Epidemiol 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError
from accomplice.training.bundle import Bundle
from accomplice.training.config import Config
from accomplice.training.estimators.intervals import Estimate, determined
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import Calibrated, calibrated, calibrated_jointly
from accomplice.training.evaluation.record import (
    ExpectedConcordance,
    Finding,
    Review,
    read_review,
)
from accomplice.training.evaluation.response import ResponseEvaluation
from accomplice.training.evaluation.review import review
from accomplice.training.evaluation.scores import Evaluation, judge_predicted
from accomplice.training.leakage.cohort_overlap import shared
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.metrics.table import deciding
from accomplice.training.models.predictions import MODEL, Predictions
from accomplice.training.progress import Tick, silent
from accomplice.training.validation.external import External, judge_labels, predict_cohort, why_few
from accomplice.training.validation.recalibration import Recalibration, recalibrate

#: Fractions of the judged horizon at which calibration is estimated; figures at the middle one are
#: logged.
MARKS = (0.25, 0.5, 0.75)
#: Name of the model as trained, in the comparison with its update.
BEFORE = "before the update"


@dataclass(frozen=True)
class Trained:
    """The model's out-of-fold figures in its training run."""

    study: str
    """Name of the training study."""
    synthetic: bool
    """Whether the training patients are simulated."""
    patients: int
    """Number of training patients."""
    figures: Mapping[str, Estimate]
    """Metric -> estimate, for the metrics that decide."""
    slope: float
    """Calibration slope at ``slope_month``."""
    slope_month: float
    """Month of ``slope``."""
    horizon: float
    """Judged horizon in months."""
    expected: ExpectedConcordance = field(default_factory=ExpectedConcordance)
    """Model-based concordance of the training patients; undefined in older bundles and for
    endpoints other than the first."""


@dataclass(frozen=True, eq=False)
class CheckedUpdate:
    """An update of the model, and its evaluation on held-out patients."""

    recalibration: Recalibration
    """The update and its held-out predictions."""
    evaluation: Evaluation
    """Evaluation of held-out predictions without the treatment, which the baselines lack too."""
    served: Evaluation
    """Evaluation of held-out predictions under the patients' treatment; its gains over ``BEFORE``
    are over the model as trained, under the treatment too."""
    calibration: tuple[Calibrated, ...]
    """Calibration of the held-out predictions at ``MARKS`` of the judged horizon."""
    joint: JointCalibration | None
    """Test of held-out predictions' calibration over all follow-up; None with too few events."""


@dataclass(frozen=True, eq=False, repr=False)
class Validation:
    """All results of an external validation."""

    external: External
    """Predictions of the model as trained."""
    trained: Trained
    evaluation: Evaluation
    """Evaluation of these predictions."""
    calibration: tuple[Calibrated, ...]
    """Calibration of these predictions at ``MARKS`` of the judged horizon."""
    responses: dict[str, ResponseEvaluation]
    """Binary endpoint -> the evaluation of its predictions."""
    unjudged: dict[str, str]
    """Other binary endpoint of the model -> the reason why it is not judged."""
    update: CheckedUpdate | None
    """The update of the model; None if no update was requested."""
    overlap: Finding
    """Finding on patients of the training cohort among those judged."""
    review: Review
    """Review of the predictions, as in a training run but without explanations and sentinels."""

    def __repr__(self) -> str:
        return f"<Validation on {self.cohort!r}>"

    @property
    def cohort(self) -> Cohort:
        """The judged patients, by their own study file."""
        return self.external.cohort

    @property
    def synthetic(self) -> bool:
        """Whether the patients of either cohort are simulated."""
        return self.trained.synthetic or self.cohort.study.synthetic

    @property
    def change_in_c(self) -> Estimate:
        """Uno's C in this cohort minus that of the training run."""
        return difference(self.evaluation.scores[MODEL].uno_c, self.trained.figures["uno_c"])

    @property
    def change_beyond_case_mix(self) -> Estimate:
        """Observed less model-based C in this cohort, minus the same in training if recorded.

        Below 0, patients are ranked less well than their case mix explains.
        """
        here, trained = self.review.expected_concordance.excess, self.trained.expected.excess
        return difference(here, trained) if trained.known else here


def validate(
    bundle: Bundle,
    endpoint: str,
    cohort: Cohort,
    config: Config,
    named: Mapping[str, str] | None = None,
    *,
    sketch: Mapping[str, Any] | None = None,
    update: bool = False,
    tick: Tick = silent,
) -> Validation:
    """Evaluate a model's predictions in another cohort and, if requested, an update of the model.

    Args:
        bundle: the model, trained on other patients.
        endpoint: survival endpoint of the bundle.
        cohort: other patients, with their outcomes.
        config: settings, of which seed and bootstraps are used.
        named: feature of the model -> feature of the cohort, for matches that the user gives.
        sketch: sketch of the training patients, as :func:`cohort_overlap.sketch` returns it; None
            if it is not known.
        update: whether the model is updated for this cohort, and the update checked on held-out
            patients.
        tick: progress callback.

    Raises:
        InputError: there are too few events to judge or update the model, or as
            :func:`match.match_patients`.
    """
    tick("prediction", 0, 1)
    few = why_few(cohort, bundle.survival[endpoint].horizon, EVENTS_TO_JUDGE)
    if few:
        raise InputError(few)
    external = predict_cohort(bundle, endpoint, cohort, named)
    tick("prediction", 1, 1)
    tick("evaluation", 0, 2)
    predicted = external.predicted
    evaluation = judge_predicted(predicted, config)
    tick("evaluation", 1, 2)
    (time, event), grid = predicted.outcome, predicted.grid
    months = tuple(evaluation.horizon * mark for mark in MARKS)
    followed = BootstrappedOutcome.of(
        time,
        event,
        evaluation.horizon,
        evaluation.bootstraps,
        config.seed,
        evaluation.censoring.weights,
    )
    calibration = calibrated(followed, grid, predicted.served, months)
    tick("evaluation", 2, 2)
    checked = None
    if update:
        blind = predicted.curves[MODEL]
        made = recalibrate(blind, external.with_treatment, time, event, grid, config.seed, tick)
        chosen = evaluation.censoring
        again = judge_predicted(after_update(predicted, made), config, chosen=chosen)
        after, before = {MODEL: made.held_out}, {BEFORE: predicted.served}
        under = replace(predicted, curves=after, served=made.held_out, baselines=before)
        served = judge_predicted(under, config, chosen=chosen)
        level, weight = made.within_folds
        at_months = calibrated(followed, grid, level, months, weight)
        joint = calibrated_jointly(followed, grid, level)
        checked = CheckedUpdate(made, again, served, at_months, joint)
    responses, unjudged = judge_labels(external, cohort, config)
    return Validation(
        external=external,
        trained=trained_figures(bundle, endpoint),
        evaluation=evaluation,
        calibration=calibration,
        responses=responses,
        unjudged=unjudged,
        update=checked,
        overlap=shared(sketch, cohort),
        review=review(predicted, evaluation, external.model.ensemble, config, tick),
    )


def after_update(predicted: Predictions, made: Recalibration) -> Predictions:
    """Return an update's held-out predictions; the model as trained is one of their baselines."""
    return replace(
        predicted,
        curves={MODEL: made.blind},
        served=made.held_out,
        baselines={**predicted.baselines, BEFORE: predicted.curves[MODEL]},
    )


def trained_figures(bundle: Bundle, endpoint: str) -> Trained:
    """Return the figures of one endpoint in the training run, from the bundle's metrics."""
    found: Mapping[str, Any] = bundle.metrics
    found = found.get("further", {}).get(endpoint, found)
    scores = found.get("models", {}).get(MODEL, {})

    review = read_review(found)

    def number(value: float | None) -> float:
        return math.nan if value is None else float(value)

    return Trained(
        study=bundle.study.name,
        synthetic=bundle.study.synthetic,
        patients=int(found.get("patients", 0)),
        figures={name: Estimate.from_json(scores.get(name)) for name in deciding()},
        slope=number(found.get("calibration", {}).get("slope")),
        slope_month=number(found.get("calibration", {}).get("time")),
        horizon=number(found.get("horizon")),
        expected=ExpectedConcordance() if review is None else review.expected_concordance,
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return the difference of two independent estimates, with an interval from theirs.

    With d the difference, l₁ to u₁ the interval of x₁ and l₂ to u₂ that of x₂, the ends are
    d − √((x₁ − l₁)² + (u₂ − x₂)²) and d + √((u₁ − x₁)² + (x₂ − l₂)²) (Zou and Donner, "Construction
    of confidence limits about effect measures: a general approach", Stat Med 2008).
    """
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - down, value + up)


def known_by_modality(validation: Validation) -> dict[str, tuple[int, int, float]]:
    """Return modality -> number of features found, number of all, share of patients with values."""
    study, matching = validation.external.bundle.study, validation.external.matching
    seen = ~np.isnan(matching.values)
    have = np.array([match.source is not None for match in matching.matches])
    return {
        name: (int(have[list(b)].sum()), len(b), float(seen[:, list(b)].any(axis=1).mean()))
        for name, b in study.blocks.items()
    }


def headline(validation: Validation) -> dict[str, float]:
    """Return metric -> value of a validation's run, without undetermined ones."""
    middle = len(MARKS) // 2
    scores = validation.evaluation.scores[MODEL]
    estimates: dict[str, Estimate] = {
        **scores.figures,
        "uno_c_change": validation.change_in_c,
        "uno_c_expected": validation.review.expected_concordance.uno_c,
        "uno_c_change_beyond_case_mix": validation.change_beyond_case_mix,
        "calibration_slope": validation.calibration[middle].slope,
        "observed_expected": validation.calibration[middle].observed_expected,
    }
    if validation.update is not None:
        after = validation.update.calibration[middle]
        estimates |= {
            "recalibrated_slope": after.slope,
            "recalibrated_observed_expected": after.observed_expected,
            "recalibrated_ibs": validation.update.served.scores[MODEL].ibs,
            "recalibrated_ibs_gain": validation.update.served.gains[BEFORE]["ibs"],
        }
    for name, response in validation.responses.items():
        estimates |= {f"{name}_auroc": response.estimates["auroc"]}
    found_features = float(len(validation.external.matching.found))
    return determined(estimates, {"features_found": found_features})


def external_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data, with the protocol of an external validation."""
    protocol = "external; 95 % bootstrap intervals; differences paired"
    return evaluation.to_json() | {"protocol": protocol}
