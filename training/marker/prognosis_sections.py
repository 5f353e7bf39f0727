"""Prognostic sections of the marker report: association, cut-points, adjustment, time, centres."""

from __future__ import annotations

import math

from accomplice.data.errors import enumerated, some
from accomplice.training.estimators.hazard_ratios import Pooled
from accomplice.training.marker import figures as plots
from accomplice.training.marker import verdicts
from accomplice.training.marker.claim import ALL, STROMA, MarkerClaim
from accomplice.training.marker.verdicts import adjusted_for, p_text, percent
from accomplice.training.reports.glossary import terms
from accomplice.training.reports.page import Section, Table


def association(claim: MarkerClaim) -> Section:
    """Return the section on the marker's unadjusted association with survival."""
    marker, found = claim.request.marker, claim.association
    low, high = found.groups
    rows = [
        (
            f"{group.name} half",
            str(group.patients),
            str(group.events),
            *(_share(*bounds) for bounds in group.at_marks),
        )
        for group in found.groups
    ]
    return Section(
        f"Is {marker} associated with survival?",
        verdicts.of_association(marker, found.per_sd),
        (
            f"Per standard deviation of {marker} the hazard ratio is {found.per_sd}, "
            f"{p_text(found.per_sd.p)}, in {claim.patients} patients with {claim.events} events. "
            "Nothing else is considered here.",
        ),
        (
            plots.inline(
                "halves",
                lambda: plots.halves(found),
                f"Kaplan–Meier curves of the low half ({low.events} events in {low.patients}) and "
                f"the high half ({high.events} events in {high.patients}) of {marker}; the table "
                "gives their values.",
                f"Patients without the event over time, by {marker} below or above its median, "
                "with 95 % bands.",
            ),
            Table(
                f"Patients without the event, by half of {marker} (95 % interval)",
                ("Half", "Patients", "Events", *(f"At {m:g} months" for m in found.marks)),
                rows,
            ),
        ),
        terms("hazard ratio (HR)", "per SD", "p value", "Kaplan–Meier curve"),
    )


def cut_points(claim: MarkerClaim) -> Section:
    """Return the section on all cut-points of the marker."""
    cuts, marker = claim.cuts, claim.request.marker
    values = [r.value for r in cuts.ratios if r.known] or [math.nan]
    best = cuts.ratios[cuts.best]
    return Section(
        "Does the answer depend on the cut-point?",
        verdicts.of_cuts(cuts),
        (
            f"High against low {marker}, the hazard ratio runs from {min(values):.2f} to "
            f"{max(values):.2f} over {len(cuts.ratios)} cut-points between the 10th and the 90th "
            f"percentile: {cuts.median} at the median, {cuts.upper_tertile} at the upper tertile.",
            f"The best-looking cut-point, with {percent(cuts.share[cuts.best])} of the patients "
            f"below it, gives {best} and {p_text(cuts.p_best)} as if no other had been tried. "
            f"Against the best cut-points of {cuts.permutations} shuffled markers it is "
            f"{p_text(cuts.p_corrected)} (maximally selected log-rank statistic).",
        ),
        (
            plots.inline(
                "cuts",
                lambda: plots.cut_curve(cuts),
                f"Hazard ratio of high against low {marker} at every cut-point, from "
                f"{min(values):.2f} to {max(values):.2f}, with its 95 % interval; the best-looking "
                "cut-point is marked.",
                "Where the shaded interval reaches 1, that cut-point by itself shows nothing.",
            ),
        ),
        terms("cut-point", "corrected p value"),
    )


def independence(claim: MarkerClaim) -> Section:
    """Return the section on the marker's adjusted hazard ratios."""
    marker = claim.request.marker
    crude, *others = claim.adjusted
    rows = [
        (
            a.label,
            _count(a.features) if a.label in ("nothing", ALL) else some(a.features, 6, quote=""),
            str(a.ratio),
            p_text(a.ratio.p)[2:].removeprefix("= ") if a.ratio.known else "–",
        )
        for a in claim.adjusted
    ]
    sentences = [
        "Each row compares patients who are alike in what it is adjusted for. Missing values are "
        "imputed and marked as such."
    ]
    stroma = next((a for a in others if a.label == STROMA), None)
    if stroma is not None and crude.ratio.known and stroma.ratio.known:
        sentences.append(
            f"Beside the stroma, as the mean of {len(stroma.features)} features, the hazard ratio "
            f"of {marker} goes from {crude.ratio} to {stroma.ratio}."
        )
    sentences.append(
        "It is called independent only if three things hold at once: the interval of the last row "
        "excludes 1, the best cut-point stays significant after correction, and predictions gain "
        "for certain (the last question)."
    )
    return Section(
        "Is it an independent predictor?",
        verdicts.of_independence(
            marker, claim.adjusted[-1].ratio, claim.cuts.p_corrected, claim.added.certain
        ),
        tuple(sentences),
        (
            plots.inline(
                "adjusted",
                lambda: plots.forest(
                    [(adjusted_for(a.label), a.ratio) for a in claim.adjusted],
                    f"hazard ratio per SD of {marker} (log scale)",
                    pooled=adjusted_for(ALL),
                ),
                f"Hazard ratios of {marker} with 95 % intervals, adjusted in turn for "
                f"{enumerated(a.label for a in claim.adjusted)}; the table gives their values.",
                "The vertical line at 1 is no difference. The diamond is adjusted for everything.",
            ),
            Table(
                f"Hazard ratio per SD of {marker} (95 % interval)",
                ("Adjusted for", "Features", "HR", "p"),
                rows,
            ),
        ),
        terms("adjusted", "independent predictor"),
    )


def proportionality(claim: MarkerClaim) -> Section:
    """Return the section on the test of proportional hazards."""
    effect = claim.over_time
    return Section(
        "Is the effect the same early and late?",
        verdicts.of_proportionality(claim.proportional_p, claim.events),
        (
            "The test is Grambsch and Therneau's, on the scaled Schoenfeld residuals of the model "
            f"without adjustment: {p_text(claim.proportional_p)}.",
        ),
        (
            plots.inline(
                "time",
                lambda: plots.over_time(effect, claim.association.per_sd),
                f"Smoothed hazard ratio per SD of {claim.request.marker} over follow-up from "
                f"{effect.months[0]:.0f} to {effect.months[-1]:.0f} months with its 95 % band, "
                "beside the single hazard ratio.",
                "A band that leaves the dashed line would speak for an effect that comes or goes.",
            ),
        ),
        terms("proportional hazards"),
    )


def centres(claim: MarkerClaim) -> Section:
    """Return the section on the hazard ratios by centre."""
    found = claim.centres
    verdict = verdicts.of_centres(found)
    heading = "Do the centres agree?"
    if found is None or found.pooled is None:
        return Section(
            heading, verdict, ("What holds in one hospital must be seen again in a second.",)
        )
    marker, pooled = claim.request.marker, found.pooled
    small = f"; {found.too_small} with fewer are left out" if found.too_small else ""
    rows = [*found.ratios.items(), ("pooled", pooled.ratio)]
    return Section(
        heading,
        verdict,
        (
            f"{len(found.ratios)} centres have ten events or more{small}. Test that all share one "
            f"effect: {p_text(pooled.p)}; spread between centres (τ) {pooled.between:.2f} on "
            f"the log scale.{_further(pooled)}",
        ),
        (
            plots.inline(
                "centres",
                lambda: plots.forest(
                    rows, f"hazard ratio per SD of {marker} (log scale)", pooled="pooled"
                ),
                f"Hazard ratios of {marker} in {len(found.ratios)} centres and pooled, with 95 % "
                "intervals; the table gives their values.",
                "The diamond is the mean over centres.",
            ),
            Table(
                f"Hazard ratio per SD of {marker} (95 % interval)",
                ("Centre", "Patients", "Events", "HR"),
                [(k, str(r.patients), str(r.events), str(r)) for k, r in rows],
            ),
        ),
        terms("pooled HR", "I²"),
    )


def _further(pooled: Pooled) -> str:
    """Return a sentence with the prediction interval of a further centre; empty if undefined."""
    low, high = pooled.further.low, pooled.further.high
    if math.isnan(low):
        return ""
    return f" In 95 % of further centres it would lie between {low:.2f} and {high:.2f}."


def _share(value: float, low: float, high: float) -> str:
    """Return a share in percent, with its interval if that is defined."""
    return (
        f"{percent(value)} ({percent(low)} to {percent(high)})"
        if low == low
        else f"{percent(value)}"
    )


def _count(names: tuple[str, ...]) -> str:
    """Return the number of features as text; a dash for none."""
    return f"{len(names)} features" if names else "–"
