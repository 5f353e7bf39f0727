"""The questions of the marker report, each as a section: verdict, sentences, table, figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from matplotlib.figure import Figure as Drawing

from training import marker_plots as plots
from training import marker_verdicts as verdicts
from training import marker_words as words
from training.added_value import REPORTED
from training.evaluation import MODEL, NAMES
from training.marker import ALL, STROMA, MarkerClaim
from training.marker_verdicts import adjusted_for, listed, p_text, percent
from training.page import Figure, Section, Table, inline_svg

#: Correlations in the table.
MOST_ROWS = 12


def sections(claim: MarkerClaim) -> tuple[Section, ...]:
    """Return the sections in the order in which a reviewer would ask.

    A word is explained where it first appears, and nowhere else.
    """
    made = [
        association(claim),
        cut_points(claim),
        independence(claim),
        proportionality(claim),
        centres(claim),
        modification(claim),
        treatment(claim),
        correlations(claim),
        added_value(claim),
    ]
    seen: set[str] = set()
    found = []
    for section in made:
        new = tuple(term for term in section.terms if term[0] not in seen)
        seen |= {term[0] for term in new}
        found.append(replace(section, terms=new))
    return tuple(found)


def association(claim: MarkerClaim) -> Section:
    """Is the marker associated with survival?"""
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
            _figure(
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
        (words.HAZARD_RATIO, words.PER_SD, words.P_VALUE, words.KAPLAN_MEIER),
    )


def cut_points(claim: MarkerClaim) -> Section:
    """Does the answer depend on the cut-point?"""
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
            _figure(
                "cuts",
                lambda: plots.cut_curve(cuts),
                f"Hazard ratio of high against low {marker} at every cut-point, from "
                f"{min(values):.2f} to {max(values):.2f}, with its 95 % interval; the best-looking "
                "cut-point is marked.",
                "Where the shaded interval reaches 1, that cut-point by itself shows nothing.",
            ),
        ),
        (words.CUT_POINT, words.CORRECTED),
    )


def independence(claim: MarkerClaim) -> Section:
    """Is it independent of what is known?"""
    marker = claim.request.marker
    crude, *others = claim.adjusted
    rows = [
        (
            a.label,
            _features(a.features) if a.label not in ("nothing", ALL) else _count(a.features),
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
            _figure(
                "adjusted",
                lambda: plots.forest(
                    [(adjusted_for(a.label), a.ratio) for a in claim.adjusted],
                    f"hazard ratio per SD of {marker} (log scale)",
                    pooled=adjusted_for(ALL),
                ),
                f"Hazard ratios of {marker} with 95 % intervals, adjusted in turn for "
                f"{listed([a.label for a in claim.adjusted])}; the table gives their values.",
                "The vertical line at 1 is no difference. The diamond is adjusted for everything.",
            ),
            Table(
                f"Hazard ratio per SD of {marker} (95 % interval)",
                ("Adjusted for", "Features", "HR", "p"),
                rows,
            ),
        ),
        (words.ADJUSTED, words.INDEPENDENT),
    )


def proportionality(claim: MarkerClaim) -> Section:
    """Is the hazard ratio the same over time?"""
    effect = claim.over_time
    return Section(
        "Is the effect the same early and late?",
        verdicts.of_proportionality(claim.proportional_p, claim.events),
        (
            "The test is Grambsch and Therneau's, on the scaled Schoenfeld residuals of the model "
            f"without adjustment: {p_text(claim.proportional_p)}.",
        ),
        (
            _figure(
                "time",
                lambda: plots.over_time(effect, claim.association.per_sd),
                f"Smoothed hazard ratio per SD of {claim.request.marker} over follow-up from "
                f"{effect.months[0]:.0f} to {effect.months[-1]:.0f} months with its 95 % band, "
                "beside the single hazard ratio.",
                "A band that leaves the dashed line would speak for an effect that comes or goes.",
            ),
        ),
        (words.PROPORTIONAL,),
    )


def centres(claim: MarkerClaim) -> Section:
    """Do the centres agree?"""
    found = claim.centres
    verdict = verdicts.of_centres(found)
    heading = "Do the centres agree?"
    terms = (words.RANDOM_EFFECTS, words.I_SQUARED)
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
            "the log scale.",
        ),
        (
            _figure(
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
        terms,
    )


def modification(claim: MarkerClaim) -> Section:
    """Does the marker change the treatment's effect?"""
    marker, found = claim.request.marker, claim.modification
    heading = f"Does {marker} change the effect of the treatment?"
    verdict = verdicts.of_modification(marker, found)
    if isinstance(found, str):
        return Section(heading, verdict)
    sentences = [
        f"{found.treated} treated and {found.untreated} untreated patients, adjusted for the "
        f"clinical features. The treatment's hazard ratio is {found.low} where {marker} is at or "
        f"below its median and {found.high} above; the ratio of the two is {found.contrast}. Per "
        f"SD of {marker} it changes by a factor of {found.interaction}."
    ]
    design = found.design
    if design is not None:
        sentences += [
            f"If the ratio were truly {design.plausible:g}, a study like this one would find it "
            f"with a power of {percent(design.power)}; 80\u00a0% would take about "
            f"{design.events_needed} events, here there are {found.contrast.events}.",
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
            _figure(
                "modification",
                lambda: plots.forest(rows, "hazard ratio (log scale)", pooled="high over low"),
                f"The treatment's hazard ratio where {marker} is low, {found.low}, and where it is "
                f"high, {found.high}, and their ratio, {found.contrast}.",
                "Below 1 the treated fare better. The diamond, the ratio of the two, would be 1 if "
                "the marker made no difference.",
            ),
        ),
        (words.INTERACTION, words.POWER, words.TYPE_M, words.TYPE_S),
    )


def treatment(claim: MarkerClaim) -> Section:
    """Is the treatment's own effect to be believed?"""
    found = claim.treatment
    heading = "Can this cohort tell what the treatment does?"
    verdict = verdicts.of_treatment(found)
    if isinstance(found, str):
        return Section(heading, verdict)
    low, high = found.trials
    unknown = f" ({found.unknown} unknown)" if found.unknown else ""
    one, other = found.early_treated, found.early_untreated
    rows = [(adjusted_for(name), ratio) for name, ratio in found.ratios.items()]
    return Section(
        heading,
        verdict,
        (
            f"{found.treated} patients with '{found.column}' against {found.untreated} without"
            f"{unknown}; nobody was randomised. Trials make hazard ratios of {low:.2f} to "
            f"{high:.2f} credible.",
            f"Within {found.landmark:g} months of the start {one.events} of {one.patients} treated "
            f"({percent(one.share, 1)}) and {other.events} of {other.patients} untreated patients "
            f"({percent(other.share, 1)}) had the event: chance gives the treated so few with "
            f"{p_text(found.immortal_p)}.",
        ),
        (
            _figure(
                "treatment",
                lambda: plots.forest(
                    rows, "hazard ratio, treated against untreated (log scale)", band=found.trials
                ),
                f"The treatment's hazard ratios with 95 % intervals: "
                f"{'; '.join(f'{k} {r}' for k, r in rows)}.",
                f"The shaded band, {low:.2f} to {high:.2f}, is what trials make credible.",
            ),
        ),
        (words.INDICATION, words.IMMORTAL, words.LANDMARK),
    )


def correlations(claim: MarkerClaim) -> Section:
    """What else does the marker measure?"""
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
            _figure(
                "companions",
                lambda: plots.companions(found),
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
                        f"{c.value:.2f} ({c.low:.2f} to {c.high:.2f})",
                        str(c.patients),
                    )
                    for c in found[:MOST_ROWS]
                ],
            ),
        ),
        (words.SPEARMAN,),
    )


def added_value(claim: MarkerClaim) -> Section:
    """Does it improve predictions?"""
    marker, added = claim.request.marker, claim.added
    decisions = added.decisions
    shown = dict.fromkeys(decisions.at(t) for t in REPORTED)
    names = {MODEL: f"clinical model with {marker}", "without": "clinical model"}
    gained = [
        f"{e.value:+.3f} ({e.low:+.3f} to {e.high:+.3f})"
        for e in (added.gains["uno_c"], added.gains["ibs"])
    ]
    scores = [
        (names[name], str(s.uno_c), str(s.ibs)) for name, s in added.evaluation.scores.items()
    ]
    return Section(
        f"Do predictions improve with {marker}?",
        verdicts.of_added_value(marker, added),
        (
            f"The same ridge Cox model of the clinical features with and without {marker}, judged "
            f"out of fold to {added.evaluation.horizon:.0f} months on the same folds and the same "
            f"{added.evaluation.bootstraps} bootstrap draws.",
        ),
        (
            Table(
                "Accuracy (95 % interval)",
                ("Model", f"{NAMES['uno_c']} (higher is better)", "Integrated Brier (lower)"),
                [*scores, (f"gain by {marker}", *gained)],
            ),
            _figure(
                "decisions",
                lambda: plots.decision_curves(decisions),
                f"Net benefit of acting on the predicted risk of an event by "
                f"{decisions.months:.0f} months, with and without {marker}, and the difference "
                "with its 95 % band.",
                "Above: the higher of two curves is the better guide at that threshold. Below: the "
                "gain by the marker; a band that holds 0 is no certain gain.",
            ),
            Table(
                f"Net benefit by {decisions.months:.0f} months (95 % interval of the gain)",
                ("Act from a risk of", "Clinical", f"With {marker}", "Gain"),
                [
                    (
                        f"{percent(decisions.thresholds[i])}",
                        f"{decisions.without[i]:.3f}",
                        f"{decisions.with_it[i]:.3f}",
                        f"{decisions.difference[i].value:+.3f} "
                        f"({decisions.difference[i].low:+.3f} to "
                        f"{decisions.difference[i].high:+.3f})",
                    )
                    for i in shown
                ],
            ),
        ),
        (words.OUT_OF_FOLD, words.UNO_C, words.BRIER, words.NET_BENEFIT),
    )


def _figure(key: str, draw: Callable[[], Drawing], alt: str, caption: str) -> Figure:
    return Figure(inline_svg(plots.drawn(draw), key), alt, caption)


def _share(value: float, low: float, high: float) -> str:
    return (
        f"{percent(value)} ({percent(low)} to {percent(high)})"
        if low == low
        else f"{percent(value)}"
    )


def _features(names: tuple[str, ...], most: int = 6) -> str:
    tail = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + tail


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} features" if names else "–"
