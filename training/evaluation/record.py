"""The record of a review: a model's evaluation as plain numbers, without any patient.

The bundle keeps it; the page, the figures and the model card are made from it alone. All numbers
are of groups of patients (counts, means, quantiles, estimates); curves are taken at round months,
not at the patients' own times. Undefined numbers are NaN here and null in JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from accomplice.data.errors import InputError
from accomplice.training.estimators.intervals import Estimate, Number
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.metrics.smooth_calibration import SmoothCalibration

#: Key of the record in a bundle's metrics.
REVIEW = "review"
#: Estimate of a figure that is not on record.
UNKNOWN = Estimate(math.nan)
#: Protocol of a run's figures, in a bundle's metrics; older ones do not widen the intervals.
PROTOCOL = (
    "out of fold; 95 % bootstrap intervals, widened by the training patients' variance; "
    "differences paired"
)

#: Numbers (t,), NaN where undefined.
Numbers = tuple[Number, ...]


class _Part(BaseModel):
    """Base of all parts: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Curve(_Part):
    """A curve over months, thresholds or values, with a 95 % band: pointwise by default."""

    value: Numbers
    """(t,) values."""
    low: Numbers = ()
    """(t,) lower end of the band; empty without a band."""
    high: Numbers = ()
    """(t,) upper end of the band; empty without a band."""

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """(t,) values with their intervals; empty without a band."""
        return tuple(map(Estimate, self.value, self.low, self.high))


class RiskGroup(_Part):
    """Kaplan-Meier survival of a group of patients by predicted risk."""

    name: str
    patients: int
    events: int
    survival: Curve
    """Survival at the review's ``months``."""
    at_risk: tuple[int, ...]
    """Number of patients followed at least to each of the review's ``marks``."""


class CalibrationAt(_Part):
    """Predicted against observed survival at one month."""

    month: Number
    slope: Estimate
    """1 if calibrated; below 1 predictions are too extreme."""
    observed_expected: Estimate
    """Observed over predicted event probability; above 1, predictions are too low."""
    intercept: Estimate = Estimate(math.nan)
    """Log of observed over predicted hazard by the month; above 0, predictions are too low."""
    smooth: SmoothCalibration | None = None
    """Smooth calibration curve with ICI, E50 and E90; None with too few events, and in older
    records."""
    predicted: Numbers
    """(g,) mean predicted survival of g groups of rising prediction."""
    observed: Numbers
    """(g,) Kaplan-Meier survival of the groups."""
    low: Numbers
    """(g,) lower end of its 95 % interval."""
    high: Numbers
    """(g,) upper end of its 95 % interval."""
    size: tuple[int, ...]
    """(g,) number of patients."""


class ExpectedConcordance(_Part):
    """Uno's C that a model expects of the patients by its own curves, and the observed less it.

    Undefined without an expected event, and in older records.
    """

    uno_c: Estimate = Estimate(math.nan)
    """Model-based concordance: lower where the patients' risks differ less."""
    excess: Estimate = Estimate(math.nan)
    """Observed less expected C, paired; below 0, patients are ranked less well than expected from
    their case mix."""


class Decision(_Part):
    """Net benefit of acting on patients whose event probability at a month reaches a threshold."""

    month: Number
    thresholds: Numbers
    """(t,) minimum event probabilities at which one would act."""
    benefit: dict[str, Numbers]
    """Model or baseline -> net benefit (t,)."""
    everybody: Numbers
    """(t,) net benefit of acting on all patients; that of acting on none is 0."""
    gain: Curve
    """(t,) paired gain of the model over the strongest baseline; its band holds at all thresholds
    and months at once. NaN without a baseline."""
    overall: Estimate = UNKNOWN
    """Mean of the gain over its standard error, over all thresholds and months, the same at each
    month: the test of a gain. NaN without a baseline, and in older records."""


class _GroupFigures(_Part):
    """The model's metrics in a group of patients."""

    patients: int
    events: int
    uno_c: Estimate
    ibs: Estimate
    """Integrated Brier score."""
    observed_expected: Estimate
    """Observed over expected events at the judged month nearest to half the horizon."""
    expected_c: Number = math.nan
    """Uno's C that the predictions expect of these patients: lower where their risks differ
    less."""
    slope: Estimate = UNKNOWN
    """Calibration slope over the follow-up; NaN with fewer than 20 events, and in older records."""
    ranking_p: Number = math.nan
    """p value that the slope is not lower than among all others, adjusted for all groups."""
    level_p: Number = math.nan
    """p value that as many events were observed as expected, adjusted for all groups."""


class Subgroup(_GroupFigures):
    """The model's metrics in a subgroup."""

    feature: str
    """``all``, ``centre``, or a feature's name."""
    level: str
    """Level, or range of a number, that the patients have; a centre's name; empty for all."""
    ibs_gain: Estimate
    """Paired gain in ``ibs`` over the strongest baseline; above 0 the model is better."""
    gain_p: Number = math.nan
    """p value that the gain is not below 0, adjusted for all subgroups."""


class CentreFigures(_Part):
    """The model's metrics within one centre."""

    centre: str
    patients: int
    events: int
    uno_c: Estimate
    observed_expected: Estimate
    """Observed over expected events at the record's month."""
    slope: Estimate
    """Calibration slope at the record's month."""


class AcrossCentres(_Part):
    """The model's metrics in the centres with enough events, and over all of them."""

    held_out: bool
    """Whether no patient of a centre was among those that its predictions were fitted on."""
    month: Number
    centres: tuple[CentreFigures, ...]
    """The largest centre first."""
    mean: dict[str, Estimate]
    """Figure -> mean over the centres, by a random-effects model, with the 95 % interval."""
    further: dict[str, Estimate]
    """Figure -> the same mean with the 95 % prediction interval of a further centre's figure."""


class Pattern(_GroupFigures):
    """The model's metrics among patients with the same missing modalities."""

    missing: tuple[str, ...]
    """Names of the missing modalities; ``other`` for the pool of rare patterns."""


class ModalityValue(_Part):
    """Paired loss where a modality is withheld from the patients who have it."""

    modality: str
    patients: int
    """Patients with any value of the modality, on whom the loss is judged."""
    uno_c_loss: Estimate
    """Fall of Uno's C; above 0 the modality helps."""
    ibs_loss: Estimate
    """Rise of the integrated Brier score; above 0 the modality helps."""


class Instability(_Part):
    """Spread of each patient's predictions between the models of folds and members."""

    month: Number
    predicted: Numbers
    """(g,) mean predicted survival of g groups of rising prediction."""
    low: Numbers
    """(g,) mean lower end of the patients' 80 % intervals over the ensemble."""
    high: Numbers
    """(g,) mean upper end of the patients' 80 % intervals over the ensemble."""
    mean_difference: Number
    """Mean absolute difference between a member's and the ensemble's predicted survival."""
    widest: Numbers
    """Quantiles (5, 25, 50, 75, 95 %) of the width of the patients' 80 % intervals."""


class Importance(_Part):
    """Importance of a feature: its mean absolute attribution."""

    feature: str
    modality: str
    size: Estimate
    """Importance (log-hazard). If its lower end is below 0, the folds disagree: it may be noise."""


class PartialEffect(_Part):
    """Mean log-hazard over patients with one feature set to each of some values."""

    feature: str
    levels: tuple[str, ...] = ()
    """Names of the values, where the feature has levels."""
    at: Numbers
    """(v,) values in the feature's unit, or numbers of the levels from 0."""
    log_hz: Curve
    """(v,) log-hazard less its mean over the patients as they are, with the 95 % interval of
    ``models.jackknife``."""


class Surface(_Part):
    """Mean predicted survival over patients with two features set to each pair of values."""

    x: str
    """Name of the first feature."""
    y: str
    """Name of the second feature."""
    at_x: Numbers
    """(v,) values of the first feature."""
    at_y: Numbers
    """(w,) values of the second feature."""
    month: Number
    survival: tuple[Numbers, ...]
    """(w, v) mean survival at the month."""
    interaction: Estimate
    """Mean absolute departure from additivity of the log-hazards."""


class Finding(_Part):
    """Finding of one leak sentinel."""

    sentinel: str
    """Stable name, such as ``shuffled_outcome``."""
    question: str
    """Question that the sentinel answers."""
    status: Literal["clear", "caution", "fired", "not run"]
    """Outcome; only ``fired`` bars a promotion."""
    text: str
    """Sentence that names features and numbers, never a patient's value."""
    features: tuple[str, ...] = ()
    """Names of the features found."""


class Review(_Part):
    """Evaluation of a survival model, out of fold or on a cohort new to it."""

    cohort: str
    """Name of the judged cohort's study."""
    endpoint: str
    protocol: str
    """``OUT_OF_FOLD`` or ``EXTERNAL`` of ``models.predictions``."""
    synthetic: bool
    """Whether the patients are synthetic."""
    patients: int
    events: int
    horizon: Number
    """Months to which predictions are judged."""
    bootstraps: int
    """Bootstrap draws for the intervals of metrics; those of Kaplan-Meier survival and of
    explanations have none."""
    months: Numbers
    """Months at which curves over time are taken."""
    marks: Numbers
    """A few months at which patients at risk are counted."""
    strongest: str
    """Baseline with the best integrated Brier score, for paired gains; empty if there is none."""
    risk_groups: tuple[RiskGroup, ...]
    auc: dict[str, Curve]
    """Model or baseline -> time-dependent AUC at ``months``."""
    brier: dict[str, Curve]
    """Model or baseline -> Brier score at ``months``."""
    scores: dict[str, dict[str, Estimate]]
    """Model, learner or baseline -> metric -> estimate."""
    gains: dict[str, dict[str, Estimate]]
    """Baseline -> deciding metric -> paired gain of the model; above 0 the model is better."""
    gains_by_treatment: dict[str, Estimate] = {}
    """Deciding metric -> paired gain of the predictions under the patients' treatment over those
    without it, of which scores and gains are; empty without an effect, and in older records."""
    expected_concordance: ExpectedConcordance = ExpectedConcordance()
    """Concordance that the model expects of these patients; undefined in older records."""
    calibration: tuple[CalibrationAt, ...]
    joint_calibration: JointCalibration | None = None
    """Calibration over the whole follow-up; None where it cannot be tested, as with too few events,
    where time ran out before, and in older records."""
    d_calibration_p: Number
    """p value of D-calibration."""
    decisions: tuple[Decision, ...]
    subgroups: tuple[Subgroup, ...]
    patterns: tuple[Pattern, ...]
    """By pattern of missing modalities, the most frequent first; the pool of rare ones last."""
    centres: AcrossCentres | None = None
    """None without two centres to judge, where time ran out before, and in older records."""
    modalities: tuple[ModalityValue, ...]
    instability: Instability | None = None
    importance: tuple[Importance, ...] = ()
    effects: tuple[PartialEffect, ...] = ()
    surface: Surface | None = None
    sentinels: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences on what was left out and why, such as peers that are not installed."""


def read_review(metrics: Mapping[str, Any]) -> Review | None:
    """Return the record in a bundle's metrics; None where there is none.

    Raises:
        InputError: the record was written by another version.
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
