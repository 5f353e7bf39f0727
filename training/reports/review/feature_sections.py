"""Sections of a review's page on subgroups, missing modalities, the models' spread and drivers."""

from __future__ import annotations

import math

from accomplice.data.cells.rounding import month_text
from accomplice.training.evaluation.record import Review
from accomplice.training.metrics.table import label
from accomplice.training.reports.page import Section
from accomplice.training.reports.review import rows, verdicts
from accomplice.training.reports.review.figures_and_tables import ReviewItems, ends, percent, point
from accomplice.training.reports.section_builders import section, table


def subgroups(review: Review, items: ReviewItems) -> Section:
    """Return the section on subgroups of patients, such as those of a centre."""
    against = review.strongest or "the strongest simple model"
    caption = f"Subgroups; the gain is in integrated Brier score over {against}"
    figures = ("observed/expected", "slope", label("uno_c"), "C expected", "gain")
    head = ("group", "patients / events", *figures)
    return section(
        "review",
        "subgroups",
        verdicts.subgroups(review),
        items.figure("subgroups"),
        table(caption, head, rows.subgroups(review), folded=True),
    )


def patterns(review: Review, items: ReviewItems) -> Section:
    """Return the section on patients with the same missing modalities."""
    found = [
        (
            ", ".join(p.missing) or "nothing",
            f"{p.patients} / {p.events}",
            f"{p.observed_expected:.2f}",
            f"{p.slope:.2f}",
            str(p.uno_c),
            str(p.ibs),
        )
        for p in review.patterns
    ]
    calibration = ("observed/expected", "slope")
    head = ("missing", "patients / events", *calibration, label("uno_c"), label("ibs"))
    return section(
        "review",
        "patterns",
        verdicts.patterns(review),
        items.figure("patterns"),
        table("Patterns of missing modalities", head, found),
    )


def modalities(review: Review, items: ReviewItems) -> Section:
    """Return the section on the loss of performance where a modality is withheld."""
    losses = [
        (m.modality, str(m.patients), f"{m.uno_c_loss:+.4f}", f"{m.ibs_loss:+.4f}")
        for m in review.modalities
    ]
    head = ("modality", "patients", label("uno_c"), label("ibs"))
    return section(
        "review",
        "modalities",
        verdicts.modalities(review),
        items.figure("modalities"),
        table("Loss when withheld; above 0 the modality helps", head, losses),
    )


def instability(review: Review, items: ReviewItems) -> Section | None:
    """Return the section on the spread of the ensemble's models; None if it was not judged."""
    found = review.instability
    if found is None:
        return None
    intervals = [
        tuple(percent(v) for v in row)
        for row in zip(found.predicted, found.low, found.high, strict=False)
    ]
    difference = (
        f"One member's answer is {100 * found.mean_difference:.1f} points of survival from "
        "the ensemble's, in the mean."
    )
    month = month_text(found.month)
    caption = f"Survival at {month} months, %, and the middle 80 % of the models, in the mean"
    return section(
        "review",
        "instability",
        verdicts.instability(review),
        items.figure("instability"),
        table(caption, ("predicted", "from", "to"), intervals, folded=True),
        sentences=[difference] if math.isfinite(found.mean_difference) else [],
    )


def drivers(review: Review, items: ReviewItems) -> Section | None:
    """Return the section on importance, partial effects and pairs of features; None without any."""
    surface = review.surface
    if not (review.importance or review.effects or surface):
        return None
    effects = [
        (e.feature, e.levels[i] if e.levels else f"{at:.3g}", f"{point(e.log_hz, i):+.2f}")
        for e in review.effects
        for i, at in enumerate(e.at)
        if e.levels or i in (0, len(e.at) // 2, len(e.at) - 1)
    ]
    corners = None
    if surface is not None and surface.survival:
        corners = table(
            "Predicted survival at the corners, %",
            (f"{surface.y} \\ {surface.x}", *ends(surface.at_x)),
            [
                (f"{surface.at_y[j]:.3g}", *(percent(surface.survival[j][i]) for i in (0, -1)))
                for j in (0, -1)
            ],
            folded=True,
        )
    sizes = ("feature", "modality", "log-hazard")
    partial = "Partial effects at the least, a middle and the largest value, or each level"
    return section(
        "review",
        "drivers",
        verdicts.drivers(review),
        items.figure("importance"),
        table("Size of attributions", sizes, rows.importance(review), folded=True),
        items.figure("effects"),
        table(partial, ("feature", "value", "log-hazard"), effects, folded=True),
        items.figure("surface"),
        corners,
    )
