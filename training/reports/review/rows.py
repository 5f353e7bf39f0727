"""Rows of the tables that both a review's page and the model card show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from accomplice.data.cells.rounding import month_text
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.record import AcrossCentres, CalibrationAt, Review
from accomplice.training.evaluation.response import METRICS
from accomplice.training.metrics.table import deciding, listed
from accomplice.training.reports.section_builders import Rows
from accomplice.training.reports.wording import ici_text

#: Estimate of a metric that is not on record.
UNKNOWN = Estimate(math.nan)


def scores(review: Review) -> Rows:
    """Return a row for each model: its metrics in the order of ``metrics.table.listed``."""
    return [
        (name, *(str(score.get(metric, UNKNOWN)) for metric in listed()))
        for name, score in review.scores.items()
    ]


def gains(review: Review) -> Rows:
    """Return a row for each simple model: the model's gain over it in each deciding metric."""
    return [
        (name, *(f"{gain.get(metric, UNKNOWN):+.3f}" for metric in deciding()))
        for name, gain in review.gains.items()
    ]


def by_treatment(review: Review) -> Rows:
    """Return a row with the gain by the patients' treatment; none without an effect."""
    gain = review.gains_by_treatment
    cells = (f"{gain.get(metric, UNKNOWN):+.3f}" for metric in deciding())
    return [("told the treatment, over not told", *cells)] if gain else []


#: Headings of :func:`calibration`.
CALIBRATION = (
    "months",
    "slope",
    "observed/expected",
    "intercept",
    "ICI, points",
    "E50, points",
    "E90, points",
)


def calibration(judged: Iterable[CalibrationAt | Calibrated]) -> Rows:
    """Return a row for each month: slope, level, and the distance of the smooth curve."""
    rows = []
    for at in judged:
        smooth = at.smooth
        far = ("–", "–", "–")
        if smooth is not None:
            far = (ici_text(smooth), f"{100 * smooth.e50:.1f}", f"{100 * smooth.e90:.1f}")
        levels = (f"{at.observed_expected:.2f}", f"{at.intercept:.2f}")
        rows.append((f"{month_text(at.month)}", f"{at.slope:.2f}", *levels, *far))
    return rows


def subgroups(review: Review) -> Rows:
    """Return a row for each group: counts, observed/expected, slope, C, expected C, gain in IBS."""
    return [
        (
            "everybody" if group.feature == "all" else f"{group.feature}: {group.level}",
            f"{group.patients} / {group.events}",
            f"{group.observed_expected:.2f}",
            f"{group.slope:.2f}",
            str(group.uno_c),
            f"{group.expected_c:.3f}" if math.isfinite(group.expected_c) else "–",
            f"{group.ibs_gain:+.3f}",
        )
        for group in review.subgroups
    ]


def centres(found: AcrossCentres) -> Rows:
    """Return a row for each centre: patients and events, Uno's C, observed/expected, slope.

    Rows of their mean and of a further centre's prediction interval follow.
    """
    own = [(each.centre, f"{each.patients} / {each.events}", vars(each)) for each in found.centres]
    whole = [("mean of the centres", "", found.mean), ("a further centre", "", found.further)]
    return [
        (name, number, str(of["uno_c"]), f"{of['observed_expected']:.2f}", f"{of['slope']:.2f}")
        for name, number, of in (*own, *whole)
    ]


def importance(review: Review) -> Rows:
    """Return a row for each feature: its modality and the size of its attributions."""
    return [(each.feature, each.modality, str(each.size)) for each in review.importance]


def response(metrics: Mapping[str, Any]) -> Rows:
    """Return a row for each metric of a binary endpoint, from the record's JSON."""
    return [
        (METRICS.get(metric, metric), f"{Estimate.from_json(raw):.2f}")
        for metric, raw in metrics.items()
    ]
