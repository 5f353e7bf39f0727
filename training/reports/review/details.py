"""Sections of a review's page on parts of the patients, modalities, other fits, and features."""

from __future__ import annotations

import math

from accomplice.training.metrics.table import label
from accomplice.training.reports.page import Section
from accomplice.training.reports.review import verdicts
from accomplice.training.reports.review.items import Items, ends, percent, point, table


def subgroups(make: Items) -> Section | None:
    """Groups of patients, centres among them."""
    review = make.review
    if not review.subgroups:
        return None
    rows = [
        (
            "everybody" if s.feature == "all" else f"{s.feature}: {s.level}",
            f"{s.patients} / {s.events}",
            str(s.uno_c),
            f"{s.ibs_gain:+.3f}",
            f"{s.observed_expected:.2f}",
        )
        for s in review.subgroups
    ]
    against = review.strongest or "the strongest simple model"
    return make.section(
        "subgroups",
        "Does it hold in subgroups and centres?",
        verdicts.subgroups(review),
        *make.figure(
            "subgroups",
            "The solid line is chance, or no gain; dashed is where everybody is. Intervals "
            "that are cut off end in arrows.",
        ),
        *table(
            f"Subgroups; the gain is in integrated Brier score over {against}",
            ("group", "patients / events", label("uno_c"), "gain", "observed/expected"),
            rows,
            folded=True,
        ),
    )


def patterns(make: Items) -> Section | None:
    """Patients who miss the same modalities."""
    review = make.review
    if not review.patterns:
        return None
    rows = [
        (
            ", ".join(p.missing) or "nothing",
            f"{p.patients} / {p.events}",
            str(p.uno_c),
            str(p.ibs),
            f"{p.observed_expected:.2f}",
        )
        for p in review.patterns
    ]
    head = ("missing", "patients / events", label("uno_c"), label("ibs"), "observed/expected")
    return make.section(
        "patterns",
        "Does it hold where modalities are missing?",
        verdicts.patterns(review),
        *make.figure("patterns", "Patients who miss the same modalities."),
        *table("Patterns of missing modalities", head, rows),
    )


def modalities(make: Items) -> Section | None:
    """What is lost where one is withheld."""
    review = make.review
    if not review.modalities:
        return None
    rows = [
        (m.modality, str(m.patients), f"{m.uno_c_loss:+.4f}", f"{m.ibs_loss:+.4f}")
        for m in review.modalities
    ]
    return make.section(
        "modalities",
        "What is each modality worth?",
        verdicts.modalities(review),
        *make.figure(
            "modalities",
            "What is lost where a modality is withheld from the patients who have it; paired "
            "95 % intervals. Across the line it is not shown to help.",
        ),
        *table(
            "Loss when withheld; above 0 the modality helps",
            ("modality", "patients", label("uno_c"), label("ibs")),
            rows,
        ),
    )


def instability(make: Items) -> Section | None:
    """How far fits differ about a patient."""
    found = make.review.instability
    if found is None:
        return None
    rows = [
        tuple(percent(v) for v in each)
        for each in zip(found.predicted, found.low, found.high, strict=False)
    ]
    said = (
        f"One member's answer is {100 * found.mean_difference:.1f} points of survival from "
        "the ensemble's, in the mean."
    )
    return make.section(
        "instability",
        "How stable is a patient's answer?",
        verdicts.instability(make.review),
        *make.figure(
            "instability",
            "How far the models of other folds and members differ about the same patients, by "
            "predicted survival; and how wide the intervals of single patients are.",
        ),
        *table(
            f"Survival at {found.month:.0f} months, %, and the mean 80 % interval over fits",
            ("predicted", "from", "to"),
            rows,
            folded=True,
        ),
        sentences=(said,) if math.isfinite(found.mean_difference) else (),
    )


def drivers(make: Items) -> Section | None:
    """Features, their values, and two of them together."""
    review = make.review
    if not (review.importance or review.effects or review.surface):
        return None
    sizes = [(i.feature, i.modality, str(i.size)) for i in review.importance]
    effects = [
        (e.feature, e.levels[i] if e.levels else f"{at:.3g}", f"{point(e.log_hz, i):+.2f}")
        for e in review.effects
        for i, at in enumerate(e.at)
        if e.levels or i in (0, len(e.at) // 2, len(e.at) - 1)
    ]
    surface = review.surface
    head = ("", "") if surface is None else (f"{surface.y} \\ {surface.x}", *ends(surface.at_x))
    rows = (
        []
        if surface is None or not surface.survival
        else [
            (f"{surface.at_y[j]:.3g}", *(percent(surface.survival[j][i]) for i in (0, -1)))
            for j in (0, -1)
        ]
    )
    return make.section(
        "drivers",
        "What drives it?",
        verdicts.drivers(review),
        *make.figure(
            "importance",
            "How far each feature moves predictions, with its interval. Colour and hatching "
            "are the modality's, whose name stands beside.",
        ),
        *table("Size of attributions", ("feature", "modality", "log-hazard"), sizes, folded=True),
        *make.figure(
            "effects",
            "Mean log-hazard over all patients, had they all this value; bands are the "
            "ensemble's. Features that go together are moved apart here, as they seldom are.",
        ),
        *table(
            "Partial effects at the least, a middle and the largest value, or each level",
            ("feature", "value", "log-hazard"),
            effects,
            folded=True,
        ),
        *make.figure(
            "surface",
            "Mean predicted survival, had all patients these two values. Straight, parallel "
            "contours would mean that neither changes what the other does.",
        ),
        *table("Predicted survival at the corners, %", head, rows, folded=True),
    )
