"""Sections of a review's page: each a question with its verdict, figures and their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from accomplice.data.cells.rounding import month_text
from accomplice.training.evaluation.record import Review
from accomplice.training.metrics.table import deciding, label, listed
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD, PEERS
from accomplice.training.reports.page import Section
from accomplice.training.reports.review import feature_sections, rows, verdicts
from accomplice.training.reports.review.centres import across_centres
from accomplice.training.reports.review.figures_and_tables import (
    ReviewItems,
    number,
    percent,
    point,
)
from accomplice.training.reports.section_builders import section, table
from accomplice.training.reports.wording import BLIND, STATED, UNTUNED

#: Status of a leak sentinel -> its text.
STATUS = {
    "clear": "✓\N{NO-BREAK SPACE}clear",
    "caution": "!\N{NO-BREAK SPACE}caution",
    "fired": "▲\N{NO-BREAK SPACE}FIRED",
    "not run": "–\N{NO-BREAK SPACE}not\N{NO-BREAK SPACE}run",
}


def sections(review: Review, drawn: Mapping[str, Markup] | None = None) -> tuple[Section, ...]:
    """Return the page's sections, one for each question.

    Ranking, value, calibration and leaks always have a section, other questions if the record has
    results on them.

    Args:
        review: the record.
        drawn: figures of the record that exist already as SVG elements, by name.
    """
    items = ReviewItems(review, drawn or {})
    made = (
        ranking(review, items),
        value(review, items),
        calibration(review, items),
        decisions(review, items) if review.decisions else None,
        feature_sections.subgroups(review, items) if review.subgroups else None,
        across_centres(review.centres) if review.centres else None,
        feature_sections.patterns(review, items) if review.patterns else None,
        feature_sections.modalities(review, items) if review.modalities else None,
        feature_sections.instability(review, items),
        feature_sections.drivers(review, items),
        leaks(review),
    )
    return tuple(section for section in made if section is not None)


def ranking(review: Review, items: ReviewItems) -> Section:
    """Return the section on ranking: survival of the risk groups, and the AUC over time."""
    groups = [
        (g.name, str(g.patients), str(g.events), *items.at_marks(g.survival))
        for g in review.risk_groups
    ]
    marks = (f"month {month_text(month)}" for month in review.marks)
    head = ("predicted risk", "patients", "events", *marks)
    return section(
        "review",
        "ranking",
        verdicts.ranking(review),
        items.figure("risk_groups"),
        table("Event-free, as observed", head, groups, folded=True),
        items.figure("auc"),
        items.over_time("AUC", review.auc),
    )


def value(review: Review, items: ReviewItems) -> Section:
    """Return the section on added value: the model's gains, and the scores of all models."""
    gained = "Gain of the model over each simple model, paired; above 0 it is better"
    by_treatment = "Gain of the model where it is told each patient's treatment, paired"
    every = "Every model; C: higher is better, Brier score: lower is better"
    return section(
        "review",
        "value",
        verdicts.added_value(review),
        table(gained, ("over", *map(label, deciding())), rows.gains(review)),
        table(by_treatment, ("", *map(label, deciding())), rows.by_treatment(review)),
        items.figure("models"),
        table(every, ("", *map(label, listed())), rows.scores(review), folded=True),
        items.figure("brier"),
        items.over_time("Brier score", review.brier),
        sentences=[
            *on_comparison(review),
            *(f"{note[:1].upper()}{note[1:]}".rstrip(".") + "." for note in review.notes),
        ],
    )


def on_comparison(review: Review) -> list[str]:
    """Return sentences on models that lack the treatment, and on untuned ones, if compared."""
    peers = [name for name in PEERS if name in review.scores]
    found = [BLIND] if review.gains_by_treatment else []
    if peers:
        found.append(f"{UNTUNED}: {' and '.join(peers)}.")
    return found


def calibration(review: Review, items: ReviewItems) -> Section:
    """Return the section on calibration: predicted against observed survival."""
    groups = [
        (
            f"{month_text(at.month)} months, group {k + 1}",
            str(size),
            percent(predicted),
            f"{percent(observed)} ({percent(low)} to {percent(high)})",
        )
        for at in review.calibration
        for k, (size, predicted, observed, low, high) in enumerate(
            zip(at.size, at.predicted, at.observed, at.low, at.high, strict=False)
        )
    ]
    overall = "Calibration; slope and observed/expected are 1 where predictions come true"
    by_group = "Predicted and observed survival by group"
    p = review.d_calibration_p
    return section(
        "review",
        "calibration",
        verdicts.calibration(review),
        table(overall, rows.CALIBRATION, rows.calibration(review.calibration)),
        items.figure("calibration"),
        table(by_group, ("group", "patients", "predicted, %", "observed, %"), groups, folded=True),
        sentences=[
            *([STATED] if is_stated(review) else []),
            *([f"D-calibration: p = {p:.2g}."] if math.isfinite(p) else []),
        ],
    )


def is_stated(review: Review) -> bool:
    """Whether the slope is that of the served ensemble; older records have no joint test."""
    return review.protocol == OUT_OF_FOLD and review.joint_calibration is not None


def decisions(review: Review, items: ReviewItems) -> Section:
    """Return the section on decisions: net benefit over thresholds."""
    benefit = [
        (
            f"{month_text(at.month)} months, {percent(at.thresholds[i])} %",
            number(at.benefit.get(MODEL, ()), i),
            number(at.benefit.get(review.strongest, ()), i),
            number(at.everybody, i),
            f"{point(at.gain, i):+.3f}",
        )
        for at in review.decisions
        for i in np.linspace(0, len(at.thresholds) - 1, 6).round().astype(int)
    ]
    head = ("act from", "model", review.strongest or "baseline", "everybody", "gain")
    return section(
        "review",
        "decisions",
        verdicts.decisions(review),
        items.figure("decisions"),
        table("Net benefit", head, benefit, folded=True),
    )


def leaks(review: Review) -> Section:
    """Return the section on leaks: the findings of all sentinels."""
    found = [
        (f.question, STATUS[f.status], f.text, ", ".join(f.features) or "–")
        for f in review.sentinels
    ]
    head = ("question", "state", "what was found", "features")
    return section("review", "leaks", verdicts.leaks(review), table("Every sentinel", head, found))
