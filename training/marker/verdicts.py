"""Verdicts of the marker report: one for each question, claiming no more than the data show.

Each rule takes only the results that it judges, so that it can be read and tested by itself. A
verdict is ``absent`` where its question cannot be judged.
"""

from __future__ import annotations

from accomplice.data.errors import enumerated
from accomplice.training.estimators.hazard_ratios import HazardRatio
from accomplice.training.estimators.policy import (
    CLOSE,
    CUTS_SIGNIFICANT,
    ENOUGH_POWER,
    RELATED,
    SIGNIFICANT,
    SURPRISE,
)
from accomplice.training.marker.added_value import AddedValue
from accomplice.training.marker.claim import CLINICAL, STROMA, Centres
from accomplice.training.marker.correlation import Correlation
from accomplice.training.marker.cutpoints import CutScan
from accomplice.training.marker.treatment import Modification, TreatmentEffect
from accomplice.training.metrics.table import label
from accomplice.training.reports.page import Verdict


def of_association(marker: str, per_sd: HazardRatio) -> Verdict:
    """Return the verdict on the marker's association with survival, by its hazard ratio per SD.

    It is ``yes`` if the interval excludes 1, else ``no``.
    """
    if not per_sd.known:
        return Verdict("absent", "The patients do not determine it.")
    if per_sd.low > 1:
        return Verdict("yes", f"Yes: higher {marker} goes with worse survival: HR {per_sd} per SD.")
    if per_sd.high < 1:
        return Verdict(
            "yes", f"Yes: higher {marker} goes with better survival: HR {per_sd} per SD."
        )
    return Verdict(
        "no",
        f"No association is shown: HR {per_sd} per SD; the interval includes 1 (no difference).",
    )


def of_cuts(cuts: CutScan) -> Verdict:
    """Return the verdict on whether the association depends on the cut-point.

    It is ``yes``, for no dependence, if the corrected p value is below ``SIGNIFICANT`` and at least
    the fraction ``CUTS_SIGNIFICANT`` of the cut-points is significant by itself; ``no`` if neither
    the corrected p value nor any cut-point is significant; ``caution`` otherwise.
    """
    significant, count = sum(r.certain for r in cuts.ratios), len(cuts.ratios)
    tried = f"{significant} of {count} cut-points look significant by themselves"
    corrected = f"corrected for having tried them all, {p_text(cuts.p_corrected)}"
    if cuts.p_corrected >= SIGNIFICANT:
        if not significant:
            return Verdict("no", f"No cut-point parts the patients: {tried}; {corrected}.")
        return Verdict(
            "caution",
            f"Yes: {tried}, the others do not; {corrected}. A cut-point chosen here would mislead.",
        )
    if cuts.significant < CUTS_SIGNIFICANT:
        return Verdict(
            "caution",
            f"In part: {tried}; {corrected}. There is an association, but what is said of it "
            "depends on the cut.",
        )
    return Verdict("yes", f"No: {tried}; {corrected}. The association does not depend on the cut.")


def of_independence(
    marker: str, fullest: HazardRatio, p_corrected: float, added_certain: bool
) -> Verdict:
    """Return the verdict on the marker as an independent predictor.

    It is one only if the interval of its fully adjusted hazard ratio excludes 1, a cut-point is
    significant after correction, and it certainly improves the clinical model.

    Args:
        marker: name in the text.
        fullest: the marker's hazard ratio, adjusted for all features.
        p_corrected: p value of the best cut-point, corrected for the choice.
        added_certain: whether the marker certainly adds to the clinical model.
    """
    lacking = []
    if not fullest.certain:
        lacking.append(f"adjusted for everything its HR is {fullest}, which includes 1")
    if not p_corrected < SIGNIFICANT:
        lacking.append("no cut-point is significant after correction")
    if not added_certain:
        lacking.append("it adds nothing certain to the clinical model")
    if lacking:
        return Verdict(
            "no",
            f"{marker} cannot be called an independent predictor here: {'; '.join(lacking)}.",
        )
    return Verdict(
        "yes",
        f"Yes, in this cohort: adjusted for everything the HR of {marker} is {fullest}, the best "
        "cut-point stays significant after correction, and predictions gain by it.",
    )


def of_proportionality(p: float, events: int) -> Verdict:
    """Return the verdict on proportional hazards, from the p value of their test.

    It is ``caution`` if the effect changes significantly with time; else ``yes``, or ``no`` with
    fewer than 100 events.
    """
    if p < SIGNIFICANT:
        return Verdict(
            "caution",
            f"No: the effect changes with time ({p_text(p)}), so that one hazard ratio is an "
            "average over it.",
        )
    return Verdict(
        "yes" if events >= 100 else "no",
        f"No sign of a change over time ({p_text(p)})"
        + ("." if events >= 100 else f", but {events} events could hide one."),
    )


def of_centres(centres: Centres | None) -> Verdict:
    """Return the verdict on the agreement between centres.

    It is ``caution`` if the centres differ beyond chance; ``yes`` if they do not, all hazard ratios
    lie on one side of 1, and the pooled one certainly does; ``no`` otherwise.

    Args:
        centres: hazard ratios by centre; None if the study names no centre.
    """
    if centres is None:
        return Verdict("absent", "Cannot be judged: the study names no centres.")
    if centres.pooled is None:
        return Verdict(
            "absent",
            "Cannot be judged: two centres must have ten events or more, and "
            f"{len(centres.ratios) or 'none'} has.",
        )
    pooled, count = centres.pooled, len(centres.ratios)
    same = len({r.log > 0 for r in centres.ratios.values()}) == 1
    spread = f"pooled HR {pooled.ratio} per SD, I² {percent(pooled.inconsistency)}"
    if pooled.p < SIGNIFICANT:
        return Verdict(
            "caution",
            f"No: {count} centres disagree beyond chance ({p_text(pooled.p)}): {spread}.",
        )
    if not same:
        direction = "not all point the same way"
    elif pooled.ratio.certain:
        direction = "all point the same way"
    else:
        direction = "may all be without any association"
    return Verdict(
        "yes" if same and pooled.ratio.certain else "no",
        f"No disagreement beyond chance among {count} centres, which {direction}: {spread}.",
    )


def of_modification(marker: str, found: Modification | str) -> Verdict:
    """Return the verdict on the marker's interaction with the treatment.

    It is ``no`` if the interval of the interaction per SD includes 1; else ``yes``, or ``caution``
    if the power is below ``ENOUGH_POWER`` or unknown. No other interval counts.

    Args:
        marker: name in the text.
        found: the estimated interaction, or the reason why it cannot be judged.
    """
    if isinstance(found, str):
        return Verdict("absent", f"Cannot be judged: {found}.")
    if not found.interaction.known:
        return Verdict("absent", "The patients do not determine it.")
    power = ""
    small = found.design is None or found.design.power < ENOUGH_POWER
    if found.design is not None:
        chance = percent(found.design.power)
        power = (
            f" The chance to see a plausible {found.design.plausible:.2f} per SD here was {chance}."
        )
    shown = f"per SD of {marker} the treatment's hazard ratio changes by {found.interaction}"
    if not found.interaction.certain:
        return Verdict("no", f"No change is shown: {shown}.{power}")
    if small:
        return Verdict(
            "caution",
            f"Perhaps: {shown}.{power} An effect that reaches significance against such odds is "
            "likely overstated.",
        )
    return Verdict("yes", f"Yes, in these data: {shown}.{power}")


def of_treatment(found: TreatmentEffect | str) -> Verdict:
    """Return the verdict on the credibility of the treatment's own effect in this cohort.

    It is ``alarm`` if an adjusted hazard ratio lies certainly outside the trials' range, or if too
    few of the treated had an early event; ``caution`` otherwise.

    Args:
        found: the estimated effect, or the reason why it cannot be judged.
    """
    if isinstance(found, str):
        return Verdict("absent", f"Cannot be judged: {found}.")
    reasons = []
    if found.trials is not None and found.outside:
        values = enumerated([_as_adjusted(k, found.ratios[k]) for k in found.outside])
        reasons.append(f"the whole interval of HR {values} lies outside {found.trials.cited}")
    if found.immortal_p < SURPRISE:
        one, other = found.early.treated, found.early.untreated
        reasons.append(
            f"within {found.landmark:g} months {one.events} of {one.patients} treated patients "
            f"had the event but {other.events} of {other.patients} untreated, fewer than a true "
            f"HR of {found.lowest_credible_hr:.2f} would explain ({p_text(found.immortal_p)})"
        )
    if reasons:
        return Verdict(
            "alarm",
            f"Do not take it at face value: {'; '.join(reasons)}. Confounding by indication, "
            "immortal time, or harm may be the reason.",
        )
    name, ratio = list(found.ratios.items())[-1]
    return Verdict(
        "caution",
        f"No alarm: HR {_as_adjusted(name, ratio)} is "
        + (
            f"not outside {found.trials.cited}."
            if found.trials
            else "not compared with trials, of which the study file gives no range."
        )
        + " It is observational all the same.",
    )


def of_correlations(marker: str, found: tuple[Correlation, ...]) -> Verdict:
    """Return the verdict on the marker's correlation with other features.

    It is ``caution`` if the strongest is at least ``RELATED`` in absolute value, else ``yes``.

    Args:
        marker: name in the text.
        found: correlations, the strongest first.
    """
    if not found:
        return Verdict("absent", "Cannot be judged: the study has no other feature to compare.")
    top = found[0]
    closest = f"{top.feature} ({top.modality}): ρ {top}"
    if abs(top.value) >= CLOSE:
        near = [c for c in found if abs(c.value) >= CLOSE]
        modalities = enumerated(dict.fromkeys(c.modality for c in near))
        return Verdict(
            "caution",
            f"Much the same as others: {len(near)} features ({modalities}) follow it closely, "
            f"first {closest}. Whatever is said of {marker} may be said of them.",
        )
    if abs(top.value) >= RELATED:
        return Verdict("caution", f"In part what others measure: closest is {closest}.")
    return Verdict("yes", f"Mostly something of its own: closest is {closest}.")


def of_added_value(marker: str, added: AddedValue) -> Verdict:
    """Return the verdict on the marker's gain over the clinical model's predictions.

    It is ``yes`` by :attr:`AddedValue.certain`, else ``no``.
    """
    gains = added.gains
    each = [f"in {label(m)} {gain:+.3f}" for m, gain in gains.items()]
    gained = f"gain {enumerated(each)}"
    if added.certain:
        return Verdict("yes", f"Yes: with {marker} the clinical model improves: {gained}.")
    if any(g.high < 0 for g in gains.values()):
        return Verdict("no", f"No: with {marker} the clinical model does not gain: {gained}.")
    return Verdict("no", f"{marker} adds nothing certain to the clinical model: {gained}.")


def p_text(p: float) -> str:
    """Return a p value as text, as in "p = 0.012" or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def percent(share: float, digits: int = 0) -> str:
    """Return a fraction as a percentage, with a non-breaking space."""
    return f"{100 * share:.{digits}f}\u00a0%"


def adjusted_for(label: str) -> str:
    """Return "adjusted for" and the covariates, or "unadjusted", from the label of a ratio."""
    name, bracket, rest = label.partition(" (")
    known = {CLINICAL: "clinical features", STROMA: "stroma score"}
    covariates = f"{known.get(name, name)}{bracket}{rest}"
    return "unadjusted" if label == "nothing" else f"adjusted for {covariates}"


def _as_adjusted(name: str, ratio: HazardRatio) -> str:
    return f"{ratio} {adjusted_for(name)}"
