"""The treatment's evidence as a page: one question a section, its answer, and its figure."""

from __future__ import annotations

from matplotlib.figure import Figure as Drawing

from accomplice.training.reports.figures import treatment as plots
from accomplice.training.reports.figures.style import house_style
from accomplice.training.reports.page import (
    Figure,
    Page,
    Section,
    Table,
    Tone,
    Verdict,
    inline_svg,
    render,
)
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
    arms, said = found.arms, sentences(found)
    made = _Sections(found, said, "synthetic " if synthetic else "")
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
        sections=made.all(),
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


class _Sections:
    """Makes the sections from the evidence and its sentences."""

    def __init__(self, found: Evidence, said: dict[str, str], kind: str) -> None:
        self.found, self.said, self.kind = found, said, kind

    def all(self) -> tuple[Section, ...]:
        """Return them in the order in which a reviewer would ask."""
        made = [self.overlap(), self.effect(), self.gain(), self.ranking(), self.policy()]
        if self.found.permuted is not None:
            made.append(self.control(self.found.permuted.low > 0))
        return tuple(made)

    def overlap(self) -> Section:
        return Section(
            "Were patients alike treated and left untreated?",
            self._verdict("yes" if self.found.overlap >= AMPLE else "caution", "overlap"),
            items=(
                self._figure(
                    plots.overlap,
                    "overlap",
                    "Chance of treatment of each patient: treated upwards, untreated downwards.",
                ),
            ),
            terms=(
                (
                    "chance of treatment (propensity)",
                    "how often patients with the same recorded features were treated",
                ),
            ),
        )

    def effect(self) -> Section:
        named = {
            "crude": "nothing",
            "adjusted": "prognosis and chance of treatment",
            "landmark": f"the same, from month {self.found.landmark:g} on",
        }
        rows = [(named[k], str(estimate)) for k, estimate in self.found.hr.items()]
        return Section(
            "Is the effect credible?",
            self._verdict("alarm" if self.found.alarms else "caution", "alarm"),
            sentences=(self.said["hr"],),
            items=(Table("Hazard ratio, treated against untreated", ("adjusted for", ""), rows),),
            terms=(
                (
                    "hazard ratio",
                    "how many times as fast events come in one group as in another; below 1 the "
                    "treated fare better",
                ),
                (
                    "immortal time",
                    "who dies early does not live to be treated, so that the treated look as if "
                    "they could not die early",
                ),
            ),
        )

    def gain(self) -> Section:
        certain = self.found.ate.low > 0 or self.found.ate.high < 0
        tone: Tone = "caution" if self.found.alarms else "yes" if certain else "no"
        return Section(
            "How much is gained, and do predicted gains come true?",
            self._verdict(tone, "ate"),
            items=(
                self._figure(
                    plots.gain,
                    "gain",
                    "A quarter of the patients each, from the smallest predicted gain to the "
                    "largest; on the dashed line the gain came as predicted.",
                ),
            ),
            terms=(
                (
                    "observed gain (doubly robust)",
                    "the model's own difference, corrected by what happened to treated and "
                    "untreated patients; right if either the prognosis or the chance of treatment "
                    "is",
                ),
            ),
        )

    def ranking(self) -> Section:
        return Section(
            "Does it do more for some patients than for others?",
            self._verdict("yes" if self.found.differs else "no", "heterogeneity"),
            items=(
                self._figure(
                    plots.ranking,
                    "ranking",
                    "Patients from the largest predicted effect to the smallest: a curve above "
                    "the line means that those ranked first gained more than the average. Gains "
                    "of survival differ with the risk too, even under one hazard ratio for all.",
                ),
            ),
            terms=(
                (
                    "RATE",
                    "the area under such a curve: 0 if the ranking tells nothing, above 0 if those "
                    "ranked first gain more",
                ),
            ),
        )

    def policy(self) -> Section:
        better = self.found.policy_gain["all"].low > 0
        return Section(
            "Would it help to let the model choose?",
            self._verdict("yes" if better else "no", "policy"),
            items=(
                self._figure(
                    plots.policy, "policy", "Estimated survival under three rules of treatment."
                ),
            ),
        )

    def control(self, claims: bool) -> Section:
        return Section(
            "Control: does the analysis stay silent where there is nothing?",
            self._verdict("alarm" if claims else "yes", "permuted"),
        )

    def _verdict(self, tone: Tone, key: str) -> Verdict:
        return Verdict(tone, self.said[key])

    def _figure(self, draw: plots.Draw, key: str, caption: str) -> Figure:
        with house_style():
            drawing: Drawing = draw(self.found, plots.subtitle_of(self.found, self.kind))
        return Figure(inline_svg(drawing, key), self.said.get(key, caption), caption)
