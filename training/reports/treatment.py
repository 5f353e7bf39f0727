"""The treatment's evidence as a page: one question a section, its answer, and its figure."""

from __future__ import annotations

from collections.abc import Iterator

from accomplice.training.reports import parts
from accomplice.training.reports.figures import treatment as plots
from accomplice.training.reports.figures.style import house_style
from accomplice.training.reports.page import Figure, Page, Section, Table, Tone, Verdict, render
from accomplice.training.reports.wording import RESEARCH_USE, SYNTHETIC
from accomplice.training.treatment.evidence import Evidence, sentences

#: Overlap from which on both arms are said to hold patients alike.
AMPLE = 0.8


def treatment_page(found: Evidence, study: str, *, synthetic: bool) -> str:
    """Return the page as HTML.

    Args:
        found: the evidence.
        study: name of the cohort's study.
        synthetic: whether its patients are simulated, which the page says at its top.
    """
    arms = found.arms
    page = Page(
        title=f"{found.label.capitalize()} in {study}: can its predicted benefit be believed?",
        about=(
            f"{arms.treated} treated patients ({arms.events_treated} events) and "
            f"{arms.untreated} untreated ({arms.events_untreated}) are compared, from month "
            f"{found.landmark:g} on. Left out: {arms.unknown} whose treatment is not recorded, "
            f"{arms.no_option} for whom it is no option, {arms.early} not followed so far.",
            "Numbers in parentheses are 95 % intervals. Nobody was randomised: whatever drove the "
            "choice of treatment and is not recorded is not accounted for.",
        ),
        lead=_lead(found),
        sections=tuple(_sections(found, plots.subtitle_of(found, synthetic=synthetic))),
        footer=(RESEARCH_USE,),
        banner=SYNTHETIC if synthetic else "",
    )
    return render(page)


def _lead(found: Evidence) -> str:
    if found.alarms:
        return f"Alarm: what is seen here is not the effect of {found.label} alone."
    if found.differs:
        return (
            f"More for some patients than for others: the model finds who gains by {found.label}."
        )
    return f"No alarm, but it is not shown that {found.label} does more for some than for others."


def _sections(found: Evidence, subtitle: str) -> Iterator[Section]:
    """Yield the sections in the order in which a reviewer would ask."""
    said = sentences(found)
    sure = found.ate.low > 0 or found.ate.high < 0
    tones: dict[str, Tone] = {
        "overlap": "yes" if found.overlap >= AMPLE else "caution",
        "alarm": "alarm" if found.alarms else "caution",
        "ate": "caution" if found.alarms else "yes" if sure else "no",
        "heterogeneity": "yes" if found.differs else "no",
        "policy": "yes" if found.policy_gain["all"].low > 0 else "no",
        "permuted": "alarm" if found.permuted and found.permuted.low > 0 else "yes",
    }

    def section(key: str, sentence: str, item: Table | Figure | None, *more: str) -> Section:
        verdict = Verdict(tones[sentence], said[sentence])
        return parts.section("treatment", key, verdict, item, sentences=more)

    def figure(key: str) -> Figure:
        with house_style():
            return parts.figure(plots.DRAWS[key](found, subtitle), key, said.get(key, "{caption}"))

    named = {
        "crude": "nothing",
        "adjusted": "prognosis and chance of treatment",
        "landmark": f"the same, from month {found.landmark:g} on",
    }
    ratios = [(named[key], str(estimate)) for key, estimate in found.hr.items()]
    table = Table("Hazard ratio, treated against untreated", ("adjusted for", ""), ratios)
    yield section("overlap", "overlap", figure("overlap"))
    yield section("effect", "alarm", table, said["hr"])
    yield section("gain", "ate", figure("gain"))
    yield section("ranking", "heterogeneity", figure("ranking"))
    yield section("policy", "policy", figure("policy"))
    if found.permuted is not None:
        yield section("control", "permuted", None)
