"""A record as the sections of a page: a question each, its verdict, figures, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure as Drawing

from accomplice.training.evaluation.record import Review
from accomplice.training.metrics.table import deciding, label, listed
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.page import Section
from accomplice.training.reports.review import details, verdicts
from accomplice.training.reports.review.items import Items, percent, place, point, table

#: How sentinels' states are written.
STATUS = {
    "clear": "✓\N{NO-BREAK SPACE}clear",
    "caution": "!\N{NO-BREAK SPACE}caution",
    "fired": "▲\N{NO-BREAK SPACE}FIRED",
    "not run": "–\N{NO-BREAK SPACE}not\N{NO-BREAK SPACE}run",
}


def sections(review: Review, drawn: Mapping[str, Drawing] | None = None) -> tuple[Section, ...]:
    """Return the sections in the order in which a reviewer would ask; empty parts are left out.

    Args:
        review: the record.
        drawn: figures that were drawn of it already, by name.
    """
    make = Items(review, drawn or {})
    made = (
        ranking(make),
        value(make),
        calibration(make),
        decisions(make),
        details.subgroups(make),
        details.patterns(make),
        details.modalities(make),
        details.instability(make),
        details.drivers(make),
        leaks(make),
    )
    return tuple(section for section in made if section is not None)


def ranking(make: Items) -> Section:
    """Risk groups and the AUC over time."""
    review = make.review
    groups = [
        (g.name, str(g.patients), str(g.events), *make.at_marks(g.survival))
        for g in review.risk_groups
    ]
    head = ("predicted risk", "patients", "events", *make.marks())
    return make.section(
        "ranking",
        "Does it rank patients?",
        verdicts.ranking(review),
        *make.figure(
            "risk_groups",
            "Patients in groups of predicted risk, and how many of each were event-free. The "
            "further apart the curves, the better the ranking; bands are 95 % intervals.",
        ),
        *table("Event-free, as observed", head, groups, folded=True),
        *make.figure(
            "auc",
            "How well the model and the simple models tell who has the event by a time from "
            "who has not.",
        ),
        *make.over_time("AUC", review.auc),
    )


def value(make: Items) -> Section:
    """Every model beside the others."""
    review = make.review
    scores = [
        (name, *(str(score.get(m, verdicts.UNKNOWN)) for m in listed()))
        for name, score in review.scores.items()
    ]
    gains = [
        (name, *(f"{gain.get(m, verdicts.UNKNOWN):+.3f}" for m in deciding()))
        for name, gain in review.gains.items()
    ]
    return make.section(
        "value",
        "Does it beat the simple models?",
        verdicts.added_value(review),
        *table(
            "What the model gains over each simple model, paired; above 0 it is better",
            ("over", *map(label, deciding())),
            gains,
        ),
        *make.figure("models", "The same measures of every model; dashed is where the model is."),
        *table(
            "Every model; C: higher is better, Brier score: lower is better",
            ("", *map(label, listed())),
            scores,
            folded=True,
        ),
        *make.figure("brier", "Error of the predicted survival at each time."),
        *make.over_time("Brier score", review.brier),
        sentences=tuple(f"{note[:1].upper()}{note[1:]}." for note in review.notes),
    )


def calibration(make: Items) -> Section:
    """Predicted against observed survival."""
    review = make.review
    rows = [
        (f"{at.month:.0f} months", f"{at.slope:.2f}", f"{at.observed_expected:.2f}")
        for at in review.calibration
    ]
    groups = [
        (
            f"{at.month:.0f} months, group {k + 1}",
            str(size),
            percent(predicted),
            f"{percent(observed)} ({percent(low)} to {percent(high)})",
        )
        for at in review.calibration
        for k, (size, predicted, observed, low, high) in enumerate(
            zip(at.size, at.predicted, at.observed, at.low, at.high, strict=False)
        )
    ]
    p = review.d_calibration_p
    said = (f"D-calibration: p = {p:.2g}.",) if math.isfinite(p) else ()
    return make.section(
        "calibration",
        "Do its probabilities come true?",
        verdicts.calibration(review),
        *table(
            "Calibration; both are 1 where predictions come true",
            ("at", "slope", "observed/expected"),
            rows,
        ),
        *make.figure(
            "calibration",
            "Groups of patients of rising predicted survival. On the dashed line predictions "
            "came true; above it, more survived than predicted.",
        ),
        *table(
            "Predicted and observed survival by group",
            ("group", "patients", "predicted, %", "observed, %"),
            groups,
            folded=True,
        ),
        sentences=said,
    )


def decisions(make: Items) -> Section | None:
    """Net benefit over thresholds."""
    review = make.review
    if not review.decisions:
        return None
    rows = []
    for at in review.decisions:
        for i in np.linspace(0, len(at.thresholds) - 1, 6).round().astype(int):
            own = at.benefit.get(MODEL, ())
            rows.append(
                (
                    f"{at.month:.0f} months, {percent(at.thresholds[i])} %",
                    place(own, i),
                    place(at.benefit.get(review.strongest, ()), i),
                    place(at.everybody, i),
                    f"{point(at.gain, i):+.3f}",
                )
            )
    head = ("act from", "model", review.strongest or "baseline", "everybody", "gain")
    return make.section(
        "decisions",
        "What would it do to decisions?",
        verdicts.decisions(review),
        *make.figure(
            "decisions",
            "Net benefit of acting on those above a risk. A model is of use where it is above "
            "acting on everybody and on nobody; below, its gain over the strongest simple "
            "model with its 95 % band, threshold by threshold.",
        ),
        *table("Net benefit", head, rows, folded=True),
    )


def leaks(make: Items) -> Section:
    """What every sentinel found."""
    rows = [
        (f.question, STATUS[f.status], f.text, ", ".join(f.features) or "–")
        for f in make.review.sentinels
    ]
    return make.section(
        "leaks",
        "Could it be a leak?",
        verdicts.leaks(make.review),
        *table("Every sentinel", ("question", "state", "what was found", "features"), rows),
    )
