"""The marker claim report: the results as a page, as JSON, and as metrics of a tracked run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from accomplice.training.estimators.intervals import Estimate, determined, finite_or_none
from accomplice.training.marker import further_sections, prognosis_sections, verdicts
from accomplice.training.marker.added_value import WITHOUT
from accomplice.training.marker.claim import MarkerClaim
from accomplice.training.marker.treatment import Modification, TreatmentEffect
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.page import Page, Section, footer, json_text
from accomplice.training.reports.wording import SYNTHETIC


def make_page(claim: MarkerClaim, provenance: Mapping[str, object]) -> Page:
    """Return the report as a page.

    Args:
        claim: all results on the marker.
        provenance: name -> value of each entry of the page's footer.
    """
    marker = claim.request.marker
    left = f"; {claim.unmeasured} without it are left out" if claim.unmeasured else ""
    return Page(
        title=f"{marker} in {claim.study}: marker claim report",
        about=(
            f"{claim.patients} {'synthetic ' if claim.synthetic else ''}patients with {marker} "
            f"measured{left}; {claim.events} events of endpoint '{claim.endpoint}' within "
            f"{claim.horizon:g} months.",
            "Numbers in parentheses are 95 % intervals: the values that these patients are "
            "compatible with.",
        ),
        lead=lead(claim),
        sections=sections(claim),
        footer=footer(provenance),
        banner=f"{SYNTHETIC}." if claim.synthetic else "",
    )


def sections(claim: MarkerClaim) -> tuple[Section, ...]:
    """Return the sections; a glossary term is explained only in the first section that uses it."""
    all_sections = [
        prognosis_sections.association(claim),
        prognosis_sections.cut_points(claim),
        prognosis_sections.independence(claim),
        prognosis_sections.proportionality(claim),
        prognosis_sections.centres(claim),
        further_sections.modification(claim),
        further_sections.treatment(claim),
        further_sections.correlations(claim),
        further_sections.added_value(claim),
    ]
    seen: set[str] = set()
    found = []
    for section in all_sections:
        new = tuple(term for term in section.terms if term[0] not in seen)
        seen |= {term[0] for term in new}
        found.append(replace(section, terms=new))
    return tuple(found)


def lead(claim: MarkerClaim) -> str:
    """Return the main conclusion as one sentence."""
    marker, endpoint = claim.request.marker, f"the outcome (endpoint '{claim.endpoint}')"
    fullest = claim.adjusted[-1].ratio
    independent = verdicts.of_independence(
        marker, fullest, claim.cuts.p_corrected, claim.added.certain
    )
    if independent.tone == "yes":
        conclusion = f"{marker} is an independent predictor of {endpoint} in this cohort"
    elif claim.association.per_sd.certain:
        conclusion = (
            f"{marker} is associated with {endpoint} in this cohort, but is not shown to be an "
            "independent predictor"
        )
    else:
        conclusion = (
            f"This cohort does not show {marker} to predict {endpoint}, alone or beside what is "
            "known already"
        )
    treatment = {
        "yes": "; the treatment's effect goes with it",
        "caution": "; that it changes the treatment's effect is hinted at, no more",
        "no": "; that it changes the treatment's effect is not shown either",
    }
    tone = verdicts.of_modification(marker, claim.modification).tone
    return conclusion + treatment.get(tone, "") + "."


def to_json(claim: MarkerClaim, page: Page, provenance: Mapping[str, object]) -> str:
    """Return the verdicts and their numbers as JSON text; undefined numbers are null.

    Args:
        claim: all results on the marker.
        page: page of the same results.
        provenance: name -> value of each entry of the page's footer.
    """
    request, cuts, decision = claim.request, claim.cuts, claim.added.decision
    pooled = None if claim.centres is None else claim.centres.pooled
    found = {
        "marker": request.marker,
        "study": claim.study,
        "endpoint": claim.endpoint,
        "synthetic": claim.synthetic,
        "patients": claim.patients,
        "events": claim.events,
        "unmeasured": claim.unmeasured,
        "horizon": claim.horizon,
        "conclusion": page.lead,
        "answers": [_answer(section) for section in page.sections],
        "association": {
            "per_sd": claim.association.per_sd,
            "marks": claim.association.marks,
            "halves": {
                g.name: {"patients": g.patients, "events": g.events, "survival": g.at_marks}
                for g in claim.association.groups
            },
        },
        "cut_points": {
            "share_below": cuts.share,
            "ratios": cuts.ratios,
            "median": cuts.median,
            "upper_tertile": cuts.upper_tertile,
            "best": {"share_below": cuts.share[cuts.best], **cuts.ratios[cuts.best].to_json()},
            "p_best": cuts.p_best,
            "p_corrected": cuts.p_corrected,
            "permutations": cuts.permutations,
        },
        "adjusted": [
            {"for": a.label, "features": a.features, "columns": a.columns, **a.ratio.to_json()}
            for a in claim.adjusted
        ],
        "imputed": claim.imputed,
        "proportional_hazards": {
            "p": claim.proportional_p,
            "months": claim.over_time.months,
            "log_hz_ratio": claim.over_time.log_hr,
            "low": claim.over_time.low,
            "high": claim.over_time.high,
        },
        "centres": None
        if claim.centres is None
        else {
            "ratios": claim.centres.ratios,
            "too_small": claim.centres.too_small,
            "pooled": None
            if pooled is None
            else {
                **pooled.ratio.to_json(),
                "further_centre": [
                    finite_or_none(end) for end in (pooled.further.low, pooled.further.high)
                ],
                "tau": pooled.between,
                "i_squared": pooled.inconsistency,
                "p_heterogeneity": pooled.p,
            },
        },
        "modification": _modification(claim.modification),
        "treatment": _treatment(claim.treatment),
        "correlations": [
            {"feature": c.feature, "modality": c.modality, **c.to_json(), "patients": c.patients}
            for c in claim.correlations
        ],
        "added_value": {
            **claim.added.evaluation.to_json(),
            "net_benefit": {
                "months": decision.month,
                "thresholds": decision.thresholds,
                "with": decision.benefit[MODEL],
                "without": decision.benefit[WITHOUT],
                "everybody": decision.everybody,
                "gain": decision.gain.estimates,
            },
        },
        "provenance": dict(provenance),
    }
    return json_text(found)


def headline(claim: MarkerClaim) -> dict[str, float]:
    """Return the metrics of the tracked run, without undefined ones: name -> value."""
    estimates: dict[str, Estimate] = {
        "hr_per_sd": claim.association.per_sd,
        "hr_adjusted": claim.adjusted[-1].ratio,
    }
    if isinstance(claim.modification, Modification):
        estimates["interaction_hr"] = claim.modification.interaction
    estimates |= {f"{metric}_gain": gain for metric, gain in claim.added.gains.items()}
    numbers = {"p_max_selected": claim.cuts.p_corrected, "p_proportional": claim.proportional_p}
    if isinstance(claim.treatment, TreatmentEffect):
        numbers["treatment_alarm"] = float(claim.treatment.alarm)
    return determined(estimates, numbers)


def _answer(section: Section) -> dict[str, str]:
    """Return a section's question and verdict as plain data."""
    return {
        "question": section.heading,
        "tone": section.verdict.tone,
        "verdict": section.verdict.text,
    }


def _modification(found: Modification | str) -> dict[str, Any]:
    """Return the interaction as plain data, or the reason why it is not judged."""
    if isinstance(found, str):
        return {"not_judged": found}
    design = None if found.design is None else vars(found.design)
    return vars(found) | {"tested": "interaction", "design": design}


def _treatment(found: TreatmentEffect | str) -> dict[str, Any]:
    """Return the treatment's effect as plain data, or the reason why it is not judged."""
    if isinstance(found, str):
        return {"not_judged": found}
    return {
        "column": found.column,
        "treated": found.treated,
        "untreated": found.untreated,
        "unknown": found.unknown,
        "no_option": found.no_option,
        "adjusted": [{"for": k, **r.to_json()} for k, r in found.ratios.items()],
        "trials": None if found.trials is None else found.trials.bounds,
        "trials_source": None if found.trials is None else found.trials.source,
        "outside": found.outside,
        "landmark": found.landmark,
        "early": {"treated": vars(found.early.treated), "untreated": vars(found.early.untreated)},
        "p_early": found.immortal_p,
        "alarm": found.alarm,
    }
