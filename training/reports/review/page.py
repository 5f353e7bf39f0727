"""The whole evaluation of a model as one page, made from its bundle alone: no cohort is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from matplotlib.figure import Figure as Drawing

from accomplice.training.bundle import Bundle
from accomplice.training.config import Config, flat
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import Review, read_review
from accomplice.training.evaluation.response import METRICS
from accomplice.training.metrics.table import deciding, label
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD
from accomplice.training.reports.page import Page, Section, Table, Tone, Verdict
from accomplice.training.reports.review import verdicts
from accomplice.training.reports.review.sections import sections
from accomplice.training.reports.wording import RESEARCH_USE, SYNTHETIC

#: Keys of a bundle's provenance -> what they are called.
ORIGIN = {
    "fit_id": "fit",
    "cohort_fingerprint": "cohort's fingerprint",
    "patients": "patients",
    "events": "events",
    "left_out": "left out, without follow-up",
    "synthetic": "synthetic",
    "git_commit": "source's commit",
    "cut_short": "cut short by the time allowed",
}
#: Sentences of the treatment's evidence that its section holds, in their order.
SAID = ("ate", "heterogeneity", "policy", "overlap", "permuted")


def review_page(
    bundle: Bundle,
    review: Review | None = None,
    drawn: Mapping[str, Drawing] | None = None,
) -> Page:
    """Return the page.

    Args:
        bundle: whose metrics hold the record of its own review, and those of its treatment, its
            further endpoints and its responses.
        review: of the model on a cohort new to it; the page is then of this alone.
        drawn: figures of the review that were drawn already, by name.

    Raises:
        InputError: the bundle's record is of another version.
    """
    own = review is None
    judged = read_review(bundle.metrics) if review is None else review
    made = () if judged is None else sections(judged, drawn)
    if own:
        made += tuple(
            section
            for section in (_treatment(bundle), _further(bundle), _responses(bundle))
            if section is not None
        )
    made += (_origin(bundle),)
    synthetic = bundle.study.synthetic if judged is None else judged.synthetic
    target = bundle.target if judged is None else judged.endpoint
    elsewhere = "" if judged is None or own else f" in {judged.cohort}"
    return Page(
        title=f"{bundle.study.name}: can its predictions of {target}{elsewhere} be believed?",
        about=_about(bundle, judged),
        lead=made[0].verdict.text if judged is None else verdicts.lead(judged),
        sections=made,
        footer=(RESEARCH_USE, f"Fit {bundle.provenance.get('fit_id', 'unknown')}."),
        banner=SYNTHETIC if synthetic else "",
    )


def settings_changed(bundle: Bundle) -> dict[str, tuple[str, str]]:
    """Return the settings that are not the defaults: key -> default and what was used."""
    defaults = json.loads(json.dumps(flat(Config())))
    return {
        key: (str(defaults.get(key, "–")), str(value))
        for key, value in bundle.config.items()
        if defaults.get(key) != value
    }


def _about(bundle: Bundle, review: Review | None) -> tuple[str, ...]:
    if review is None:
        return (f"{bundle.metrics.get('patients', 'Unknown')} patients; responses alone.",)
    kind = "synthetic patients" if review.synthetic else "patients"
    how = (
        "every patient judged by models that were fitted without that patient"
        if review.protocol == OUT_OF_FOLD
        else "none of whom the model has seen"
    )
    return (
        f"{review.patients} {kind} of {review.cohort}, {review.events} events ({review.endpoint}); "
        f"judged to {review.horizon:.0f} months, {review.protocol}: {how}.",
        f"Numbers in parentheses are 95 % intervals of {review.bootstraps} bootstrap draws; "
        "differences are paired. Only what such an interval excludes is called certain.",
    )


def _treatment(bundle: Bundle) -> Section | None:
    treatment, found = bundle.study.treatment, bundle.metrics.get("treatment")
    if treatment is None or not bundle.survival:
        return None
    heading = f"What does {treatment.label} change?"
    if found is None:
        reason = bundle.primary.no_effect if bundle.primary is not None else ""
        return Section(heading, Verdict("absent", f"No effect was estimated. {reason}".strip()))
    said = found["sentences"]
    tone: Tone = "alarm" if found["alarm"] else "yes" if found["heterogeneity_shown"] else "caution"
    return Section(
        heading,
        Verdict(tone, f"{said['hr']} {said['alarm']}"),
        tuple(said[key] for key in SAID if key in said),
        terms=(
            (
                "hazard ratio",
                "how many times as fast events come with the treatment as without; nobody was "
                "randomised, so that what is not recorded is not accounted for",
            ),
        ),
    )


def _further(bundle: Bundle) -> Section | None:
    rows = []
    for name, judged in dict(bundle.metrics.get("further") or {}).items():
        scores, gains = judged["models"][MODEL], judged["gains"]
        last = next(reversed(gains), None)
        gain = "–" if last is None else f"{Estimate.from_json(gains[last]['ibs']):+.3f} over {last}"
        figures = (str(Estimate.from_json(scores[m])) for m in deciding())
        rows.append((name, f"{judged['patients']} / {judged['events']}", *figures, gain))
    if not rows:
        return None
    return Section(
        "How are the other endpoints predicted?",
        Verdict("told", "The same settings, fitted and judged out of fold as above."),
        items=(
            Table(
                "Further endpoints; the gain is in integrated Brier score",
                ("endpoint", "patients / events", *map(label, deciding()), "gain"),
                rows,
            ),
        ),
    )


def _responses(bundle: Bundle) -> Section | None:
    found = dict(bundle.metrics.get("responses") or {})
    if not found:
        return None
    areas = [Estimate.from_json(each["metrics"].get("auroc")) for each in found.values()]
    tone: Tone = "caution" if any(area.above > 0.5 for area in areas) else "no"
    tables = tuple(
        Table(
            f"{name}: {each['positive']} of {each['labelled']} labelled patients positive",
            ("measure", "out of fold"),
            [
                (METRICS.get(metric, metric), f"{Estimate.from_json(raw):.2f}")
                for metric, raw in each["metrics"].items()
            ],
        )
        for name, each in found.items()
    )
    told = "; ".join(f"{name}: {each['verdict']}" for name, each in found.items())
    return Section(
        "Does it predict responses?",
        Verdict(tone, f"Exploratory. {told}"),
        items=tables,
        terms=(
            (
                "AUROC",
                "how often a patient who responds is given the higher probability than one who "
                "does not; 0.5 is chance",
            ),
            ("PPV and NPV", "how often a call is right: of those called, and of the others"),
        ),
    )


def _origin(bundle: Bundle) -> Section:
    made = bundle.provenance
    rows = [(name, _written(made[key])) for key, name in ORIGIN.items() if key in made]
    changed = settings_changed(bundle)
    versions = [(name, str(number)) for name, number in made.get("versions", {}).items()]
    tables = [Table("The fit", ("", ""), rows)]
    if changed:
        settings = [(key, *values) for key, values in changed.items()]
        tables.append(
            Table("Settings that are not the defaults", ("setting", "default", "used"), settings)
        )
    if versions:
        tables.append(Table("Versions", ("package", "version"), versions, folded=True))
    endpoints = ", ".join((*bundle.survival, *bundle.responses))
    said = (
        f"{len(bundle.study.features)} features in {len(bundle.study.blocks)} modalities; "
        f"endpoints: {endpoints}. "
        + (
            f"{len(changed)} setting{'s differ' if len(changed) > 1 else ' differs'}"
            if changed
            else "All settings are"
        )
        + (" from the defaults." if changed else " the defaults.")
    )
    cut = made.get("cut_short")
    tone: Tone = "caution" if cut else "told"
    return Section(
        "What was it made from?",
        Verdict(tone, f"{said}{' Time ran out before the fit was complete.' if cut else ''}"),
        items=tuple(tables),
    )


def _written(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
