"""The record of a review: a model's evaluation as plain numbers, without any patient.

It is kept in the bundle, from which alone the page, the figures and the model card are made.
Everything is a sum over patients; curves are taken at fixed months, never at a patient's own.
Undefined numbers are NaN here and null in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from accomplice.data.errors import InputError
from accomplice.training.estimators.intervals import Estimate, Number
from accomplice.training.metrics.joint_calibration import JointCalibration

#: Key of the record in a bundle's metrics.
REVIEW = "review"

Numbers = tuple[Number, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Curve(_Part):
    """Something over time or thresholds (t,), with its 95 % band: pointwise unless said."""

    value: Numbers
    low: Numbers = ()
    high: Numbers = ()

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """(t,) values with their intervals, where there is a band."""
        return tuple(map(Estimate, self.value, self.low, self.high))


class RiskGroup(_Part):
    """Kaplan-Meier survival of a group of predicted risk."""

    name: str
    patients: int
    events: int
    survival: Curve
    """At the review's ``months``."""
    at_risk: tuple[int, ...]
    """Patients followed at least to each of the review's ``marks``."""


class CalibrationAt(_Part):
    """Predicted against observed survival at one month."""

    month: Number
    slope: Estimate
    """1 if calibrated; below 1 predictions are too extreme."""
    observed_expected: Estimate
    """Observed over predicted risk of the event; above 1, risks are predicted too low."""
    predicted: Numbers
    """(g,) mean predicted survival of groups of rising prediction."""
    observed: Numbers
    """(g,) their Kaplan-Meier survival."""
    low: Numbers
    high: Numbers
    size: tuple[int, ...]
    """(g,) patients."""


class Decision(_Part):
    """Net benefit of acting on patients above a threshold of predicted risk at one month."""

    month: Number
    thresholds: Numbers
    """(t,) predicted risks from which on one would act."""
    benefit: dict[str, Numbers]
    """Model or baseline -> net benefit (t,)."""
    everybody: Numbers
    """(t,) net benefit of acting on all patients; of acting on none it is 0."""
    gain: Curve
    """(t,) of the model over the strongest baseline, paired; its band holds at all thresholds and
    months at once."""


class Subgroup(_Part):
    """The model's metrics in a subgroup."""

    feature: str
    """``all``, ``centre``, or a feature's name."""
    level: str
    patients: int
    events: int
    uno_c: Estimate
    ibs: Estimate
    observed_expected: Estimate
    """At the judged month in the middle."""
    ibs_gain: Estimate
    """Over the strongest baseline, paired; above 0 the model is better."""


class Pattern(_Part):
    """The model's metrics among patients with the same missing modalities."""

    missing: tuple[str, ...]
    patients: int
    events: int
    uno_c: Estimate
    ibs: Estimate
    observed_expected: Estimate


class ModalityValue(_Part):
    """Paired loss where a modality is withheld from the patients who have it."""

    modality: str
    patients: int
    """With any of it; the loss is judged on them."""
    uno_c_loss: Estimate
    """Above 0 the modality helps."""
    ibs_loss: Estimate
    """Rise of the integrated Brier score; above 0 the modality helps."""


class Instability(_Part):
    """Spread of patients' predictions between the models of folds and members."""

    month: Number
    predicted: Numbers
    """(g,) mean predicted survival of groups of rising prediction."""
    low: Numbers
    """(g,) mean lower end of the patients' 80 % intervals over the ensemble."""
    high: Numbers
    mean_difference: Number
    """Mean distance of one member's answer from the ensemble's, in survival."""
    widest: Numbers
    """Quantiles (5, 25, 50, 75, 95 %) of the width of the patients' 80 % intervals."""


class Importance(_Part):
    """Importance of a feature: the mean size of its attributions."""

    feature: str
    modality: str
    size: Estimate
    """Log-hazard; a lower end below 0 means that the folds disagree: it may be noise."""


class PartialEffect(_Part):
    """Mean log-hazard over patients with one feature set to each of some values."""

    feature: str
    levels: tuple[str, ...] = ()
    """Names of the values, where the feature has levels."""
    at: Numbers
    """(v,) values, in the feature's unit; or the places of the levels."""
    log_hz: Curve
    """(v,) against the mean over the patients; the band is the ensemble's."""


class Surface(_Part):
    """Mean predicted survival over patients with two features set to each pair of values."""

    x: str
    y: str
    at_x: Numbers
    at_y: Numbers
    month: Number
    survival: tuple[Numbers, ...]
    """(y, x)."""
    interaction: Estimate
    """Departure from additivity: mean absolute, on the scale of log-hazard."""


class Finding(_Part):
    """The finding of one sentinel."""

    sentinel: str
    """Stable name, such as ``shuffled_outcome``."""
    question: str
    status: Literal["clear", "caution", "fired", "not run"]
    """Only ``fired`` bars a promotion."""
    text: str
    """A sentence that names features and numbers, never a patient's value."""
    features: tuple[str, ...] = ()


class Review(_Part):
    """Evaluation of a survival model, out of fold or on a cohort new to it."""

    cohort: str
    """Name of the judged cohort's study."""
    endpoint: str
    protocol: str
    synthetic: bool
    patients: int
    events: int
    horizon: Number
    """Months to which predictions are judged."""
    bootstraps: int
    months: Numbers
    """At which curves over time are taken."""
    marks: Numbers
    """A few of them, at which patients at risk are counted."""
    strongest: str
    """Baseline that the gains are over: the one with the best integrated Brier score."""
    risk_groups: tuple[RiskGroup, ...]
    auc: dict[str, Curve]
    """Model or baseline -> time-dependent AUC at ``months``."""
    brier: dict[str, Curve]
    """Model or baseline -> Brier score at ``months``."""
    scores: dict[str, dict[str, Estimate]]
    """Model, learner or baseline -> metric -> figure."""
    gains: dict[str, dict[str, Estimate]]
    """Baseline -> metric that decides -> the model's paired gain; above 0 is better."""
    calibration: tuple[CalibrationAt, ...]
    joint_calibration: JointCalibration | None = None
    """Over the whole follow-up; None with too few events, and in records made without it."""
    d_calibration_p: Number
    decisions: tuple[Decision, ...]
    subgroups: tuple[Subgroup, ...]
    patterns: tuple[Pattern, ...]
    modalities: tuple[ModalityValue, ...]
    instability: Instability | None = None
    importance: tuple[Importance, ...] = ()
    effects: tuple[PartialEffect, ...] = ()
    surface: Surface | None = None
    sentinels: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """Omissions and their reasons, such as peers that are not installed."""


def read_review(metrics: Mapping[str, Any]) -> Review | None:
    """Return the record that a bundle's metrics hold, None where they hold none.

    Raises:
        InputError: it is of another version.
    """
    raw = metrics.get(REVIEW)
    if raw is None:
        return None
    try:
        return Review.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(
            f"the model's review was written by another version (at {where}): train it again"
        ) from None
