"""The page of the treatment's evidence: questions, answers, and the figure or table of most."""

from __future__ import annotations

from collections.abc import Iterator

from accomplice.training.estimators.policy import BALANCED, SIGNIFICANT
from accomplice.training.reports import section_builders
from accomplice.training.reports.figures import treatment as plots
from accomplice.training.reports.figures.style import house_style
from accomplice.training.reports.page import Figure, Page, Section, Table, Tone, Verdict, render
from accomplice.training.reports.wording import RESEARCH_USE, SYNTHETIC
from accomplice.training.treatment.evidence import Evidence, sentences

#: Minimum overlap (share of patients with a propensity between 0.1 and 0.9) without a caution.
AMPLE = 0.8


def treatment_page(evidence: Evidence, study: str, *, synthetic: bool) -> str:
    """Return the page as HTML.

    Args:
        evidence: the evidence.
        study: name of the cohort's study.
        synthetic: whether the patients are simulated; the page then has a banner that says so.
    """
    arms = evidence.arms
    page = Page(
        title=f"{evidence.label.capitalize()} in {study}: can its predicted benefit be believed?",
        about=(
            f"{arms.treated} treated patients ({arms.events_treated} events) and "
            f"{arms.untreated} untreated ({arms.events_untreated}) are compared, from month "
            f"{evidence.landmark:g} on. Left out: {arms.unknown} whose treatment is not recorded, "
            f"{arms.no_option} for whom it is no option, {arms.early} not followed so far.",
            "Numbers in parentheses are 95 % intervals. Nobody was randomised: whatever drove the "
            "choice of treatment and is not recorded is not accounted for.",
        ),
        lead=_lead(evidence),
        sections=tuple(_sections(evidence, plots.subtitle_of(evidence, synthetic=synthetic))),
        footer=(RESEARCH_USE,),
        banner=SYNTHETIC if synthetic else "",
    )
    return render(page)


def _lead(evidence: Evidence) -> str:
    if evidence.alarms:
        return f"Alarm: what is seen here is not the effect of {evidence.label} alone."
    if evidence.differs:
        return (
            "More for some patients than for others: the model finds who gains by "
            f"{evidence.label}."
        )
    return (
        f"No alarm, but it is not shown that {evidence.label} does more for some than for others."
    )


def _sections(evidence: Evidence, subtitle: str) -> Iterator[Section]:
    """Yield the sections in the order in which a reviewer would ask."""
    texts = sentences(evidence)
    sure = evidence.ate.low > 0 or evidence.ate.high < 0
    explained = evidence.unrecorded is None or evidence.unrecorded.e_value_limit == 1
    tones: dict[str, Tone] = {
        "overlap": "yes" if evidence.overlap >= AMPLE and not evidence.one_armed else "caution",
        "balance": "caution"
        if evidence.balance.off
        else "no"
        if evidence.balance.largest > BALANCED
        else "yes",
        "alarm": "alarm" if evidence.alarms else "caution",
        "unrecorded": "caution" if explained else "yes",
        "over_time": "caution" if evidence.over_time.p < SIGNIFICANT else "yes",
        "ate": "caution" if evidence.alarms else "yes" if sure else "no",
        "heterogeneity": "yes" if evidence.differs else "no",
        "policy": "yes" if evidence.policy_gain["all"].low > 0 else "no",
        "permuted": "alarm" if evidence.permuted and evidence.permuted.low > 0 else "yes",
    }

    def section(key: str, sentence: str, item: Table | Figure | None, *more: str) -> Section:
        verdict = Verdict(tones[sentence], texts[sentence])
        return section_builders.section("treatment", key, verdict, item, sentences=more)

    def figure(key: str) -> Figure:
        with house_style():
            return section_builders.figure(
                plots.DRAWS[key](evidence, subtitle), key, texts.get(key, "{caption}")
            )

    named = {
        "crude": "nothing",
        "adjusted": "prognosis and chance of treatment",
        "landmark": f"the same, from month {evidence.landmark:g} on",
    }
    ratios = [(named[key], str(estimate)) for key, estimate in evidence.hr.items()]
    table = Table("Hazard ratio, treated against untreated", ("adjusted for", ""), ratios)
    yield section("overlap", "overlap", figure("overlap"))
    yield section("balance", "balance", figure("balance"))
    yield section("effect", "alarm", table, texts["hr"])
    drawn = None if evidence.unrecorded is None else figure("unrecorded")
    yield section("unrecorded", "unrecorded", drawn)
    later = [(f"month {month:g} on", str(hr)) for month, hr in evidence.over_time.ratios]
    series = Table("Hazard ratio by the landmark", ("counted from", ""), later)
    yield section("over_time", "over_time", series)
    yield section("gain", "ate", figure("gain"))
    yield section("ranking", "heterogeneity", figure("ranking"))
    yield section("policy", "policy", figure("policy"))
    if evidence.permuted is not None:
        yield section("control", "permuted", None)
