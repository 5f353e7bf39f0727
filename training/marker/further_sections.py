"""Further sections of the marker report: treatment, correlations and added value."""

from __future__ import annotations

import numpy as np

from accomplice.data.cells.rounding import month_text
from accomplice.training.marker import figures as plots
from accomplice.training.marker import verdicts
from accomplice.training.marker.added_value import WITHOUT
from accomplice.training.marker.claim import MarkerClaim
from accomplice.training.marker.verdicts import adjusted_for, p_text, percent
from accomplice.training.metrics.table import label
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.glossary import terms
from accomplice.training.reports.page import Section, Table

#: Maximum number of correlations in the table.
MOST_ROWS = 12
#: Risks at which net benefit is reported as a number: at the curve's thresholds nearest to them.
REPORTED = (0.2, 0.4, 0.6)


def modification(claim: MarkerClaim) -> Section:
    """Return the section on the change of the treatment's effect by the marker."""
    marker, found = claim.request.marker, claim.modification
    heading = f"Does {marker} change the effect of the treatment?"
    verdict = verdicts.of_modification(marker, found)
    if isinstance(found, str):
        return Section(heading, verdict)
    sentences = [
        f"{found.treated} treated and {found.untreated} untreated patients for whom the treatment "
        f"is an option, counted from month {found.landmark:g} on, adjusted for the clinical "
        "features and for their own interactions with the treatment.",
        "The one test, fixed in advance, is of the change per SD, which needs no cut-point: a "
        f"factor of {found.interaction}. The halves only describe it: the treatment's hazard ratio "
        f"is {found.low} where {marker} is at or below its median and {found.high} above.",
    ]
    design = found.design
    if design is not None:
        sentences += [
            f"If the treatment's hazard ratio were truly {found.plausible:g} times as high in the "
            f"high half as in the low one, which is {design.plausible:.2f} per SD, this test would "
            f"find it with a power of {percent(design.power)}; 80\u00a0% would take about "
            f"{design.events_needed} events, here there are {found.interaction.events}.",
            "A significant result of such a study would overstate the effect by a factor of "
            f"{design.type_m:.1f} on the log scale on average (type M) and have the wrong sign in "
            f"{percent(design.type_s, 1)} of cases (type S).",
        ]
    rows = [
        (f"treatment, {marker} low", found.low),
        (f"treatment, {marker} high", found.high),
        ("high over low", found.contrast),
        (f"factor per SD of {marker}", found.interaction),
    ]
    return Section(
        heading,
        verdict,
        tuple(sentences),
        (
            plots.inline(
                "modification",
                lambda: plots.forest(rows, "hazard ratio (log scale)", pooled=rows[-1][0]),
                f"The treatment's hazard ratio where {marker} is low, {found.low}, and where it is "
                f"high, {found.high}, and its factor per SD, {found.interaction}.",
                "Below 1 the treated fare better. The diamond, the factor per SD, is what is "
                "tested: it would be 1 if the marker made no difference.",
            ),
        ),
        terms("ratio of hazard ratios", "power", "type M error", "type S error"),
    )


def treatment(claim: MarkerClaim) -> Section:
    """Return the section on the credibility of the treatment's own effect."""
    found = claim.treatment
    heading = "Can this cohort tell what the treatment does?"
    verdict = verdicts.of_treatment(found)
    if isinstance(found, str):
        return Section(heading, verdict)
    trials = found.trials
    shade = (
        "Below 1 the treated fare better."
        if trials is None
        else f"The shaded band is {trials.cited}."
    )
    band = None if trials is None else trials.bounds
    unknown = f" ({found.unknown} unknown)" if found.unknown else ""
    unknown += f"; it is no option for {found.no_option} others" if found.no_option else ""
    one, other = found.early.treated, found.early.untreated
    rows = [(adjusted_for(name), ratio) for name, ratio in found.ratios.items()]
    return Section(
        heading,
        verdict,
        (
            f"{found.treated} patients with '{found.column}' against {found.untreated} without"
            f"{unknown}, not randomised.",
            f"Within {found.landmark:g} months of the start {one.events} of {one.patients} treated "
            f"({percent(one.share, 1)}) and {other.events} of {other.patients} untreated patients "
            f"({percent(other.share, 1)}) had the event. A true hazard ratio of "
            f"{found.lowest_credible_hr:.2f} would leave the treated so few with "
            f"{p_text(found.immortal_p)}.",
        ),
        (
            plots.inline(
                "treatment",
                lambda: plots.forest(
                    rows, "hazard ratio, treated against untreated (log scale)", band=band
                ),
                f"The treatment's hazard ratios with 95 % intervals: "
                f"{'; '.join(f'{k} {r}' for k, r in rows)}.",
                shade,
            ),
        ),
        terms("confounding by indication", "immortal time", "landmark analysis"),
    )


def correlations(claim: MarkerClaim) -> Section:
    """Return the section on the marker's correlations with other features."""
    found, marker = claim.correlations, claim.request.marker
    heading = f"What else does {marker} measure?"
    verdict = verdicts.of_correlations(marker, found)
    if not found:
        return Section(heading, verdict)
    by_modality: dict[str, list[float]] = {}
    for c in found:
        by_modality.setdefault(c.modality, []).append(abs(c.value))
    means = {m: sum(v) / len(v) for m, v in by_modality.items()}
    closest = max(means, key=lambda m: means[m])
    return Section(
        heading,
        verdict,
        (
            f"Of {len(found)} other features with an order, those of the modality '{closest}' go "
            f"with {marker} most (mean size of ρ {means[closest]:.2f} over "
            f"{len(by_modality[closest])}). {marker} itself belongs to '{claim.modality}'.",
        ),
        (
            plots.inline(
                "companions",
                lambda: plots.correlations(found),
                f"The features that correlate most with {marker}, first {found[0].feature} at "
                f"{found[0].value:.2f}; the table gives their values.",
                f"The {min(len(found), plots.MOST_BARS)} strongest of {len(found)}, with 95 % "
                "intervals, by modality.",
            ),
            Table(
                f"Rank correlation with {marker} (95 % interval)",
                ("Feature", "Modality", "ρ", "Patients"),
                [
                    (
                        c.feature,
                        c.modality,
                        str(c),
                        str(c.patients),
                    )
                    for c in found[:MOST_ROWS]
                ],
            ),
        ),
        terms("Spearman's ρ"),
    )


def added_value(claim: MarkerClaim) -> Section:
    """Return the section on the gain of predictions by the marker."""
    marker, added = claim.request.marker, claim.added
    decision = added.decision
    thresholds = np.array(decision.thresholds)
    shown = dict.fromkeys(int(np.abs(thresholds - t).argmin()) for t in REPORTED)
    names = {MODEL: f"clinical model with {marker}", WITHOUT: "clinical model"}
    gained = [f"{added.gains[m]:+.3f}" for m in ("uno_c", "ibs")]
    scores = [
        (names[name], str(s.uno_c), str(s.ibs)) for name, s in added.evaluation.scores.items()
    ]
    return Section(
        f"Do predictions improve with {marker}?",
        verdicts.of_added_value(marker, added),
        (
            f"The same ridge Cox model of the clinical features with and without {marker}, judged "
            f"out of fold to {month_text(added.evaluation.horizon)} months on the same folds and "
            f"the same {added.evaluation.bootstraps} bootstrap draws.",
        ),
        (
            Table(
                "Accuracy (95 % interval)",
                ("Model", f"{label('uno_c')} (higher is better)", "Integrated Brier (lower)"),
                [*scores, (f"gain by {marker}", *gained)],
            ),
            plots.inline(
                "decisions",
                lambda: plots.decision_curves(decision),
                f"Net benefit of acting on the predicted risk of an event by "
                f"{month_text(decision.month)} months, with and without {marker}, and the "
                "difference with its 95 % band.",
                "Above: the higher of two curves is the better guide at that threshold. Below: the "
                "gain by the marker; a band that holds 0 is no certain gain.",
            ),
            Table(
                f"Net benefit by {month_text(decision.month)} months (95 % interval of the gain)",
                ("Act from a risk of", "Clinical", f"With {marker}", "Gain"),
                [
                    (
                        percent(decision.thresholds[i]),
                        f"{decision.benefit[WITHOUT][i]:.3f}",
                        f"{decision.benefit[MODEL][i]:.3f}",
                        f"{decision.gain.estimates[i]:+.3f}",
                    )
                    for i in shown
                ],
            ),
        ),
        terms("out of fold", "Uno's C", "integrated Brier score", "net benefit"),
    )
