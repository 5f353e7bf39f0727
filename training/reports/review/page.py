"""The page of a model's whole evaluation, made from its bundle alone, without the cohort."""

from __future__ import annotations

import json
from collections.abc import Mapping

from markupsafe import Markup

from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import counted
from accomplice.training.bundle import Bundle
from accomplice.training.config import Config, flat
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import PROTOCOL, Review, read_review
from accomplice.training.metrics.table import deciding, label
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD
from accomplice.training.reports.page import Page, Section, Table, Tone, Verdict
from accomplice.training.reports.review import verdicts
from accomplice.training.reports.review.rows import response
from accomplice.training.reports.review.sections import sections
from accomplice.training.reports.section_builders import section, table
from accomplice.training.reports.wording import RESEARCH_USE, SYNTHETIC

#: Key of a bundle's provenance -> its name on the page.
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
#: Keys of the sentences on the treatment's evidence that its section shows, in this order.
SENTENCES = ("ate", "heterogeneity", "policy", "overlap", "permuted")


def review_page(
    bundle: Bundle,
    review: Review | None = None,
    drawn: Mapping[str, Markup] | None = None,
) -> Page:
    """Return the page of a model's evaluation.

    Args:
        bundle: the model; its metrics hold the record of its own review, the treatment's evidence,
            the further endpoints and the responses.
        review: record of a review on a cohort new to the model. The page then shows this record in
            place of all that the bundle's metrics hold. If absent, the bundle's own is shown.
        drawn: figures of the review that exist already as SVG elements, by name.

    Raises:
        InputError: the bundle's record was written by another version.
    """
    own = review is None
    judged = read_review(bundle.metrics) if review is None else review
    made = () if judged is None else sections(judged, drawn)
    others = (_treatment(bundle), _further(bundle), _responses(bundle)) if own else ()
    made += tuple(each for each in (*others, _origin(bundle)) if each is not None)
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
    """Return the settings that differ from the defaults: key -> (default, value used), as text."""
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
    widened = ""
    if bundle.metrics.get("protocol") == PROTOCOL and review.protocol == OUT_OF_FOLD:
        widened = (
            "Those of Uno's C, Harrell's C, the integrated Brier score and the gains over the "
            "simple models are of the model that is served, and allow for the training patients "
            "too; all others are of the predictions made here. "
        )
    whole = bundle.horizon or review.horizon
    early = (
        f" of the model's {month_text(whole)}, for beyond too few of some group are followed"
        if month_text(review.horizon) != month_text(whole)
        else ""
    )
    return (
        f"{review.patients} {kind} of {review.cohort}, {review.events} events ({review.endpoint}); "
        f"judged to {month_text(review.horizon)} months{early}, {review.protocol}: "
        f"{how}.",
        f"Numbers in parentheses are 95 % intervals of {review.bootstraps} bootstrap draws; "
        f"differences are paired. {widened}Only what such an interval excludes is called certain.",
    )


def _treatment(bundle: Bundle) -> Section | None:
    treatment, found = bundle.study.treatment, bundle.metrics.get("treatment")
    if treatment is None or not bundle.survival:
        return None
    heading = f"What does {treatment.label} change?"
    if found is None:
        reason = bundle.primary.no_effect if bundle.primary is not None else ""
        text = f"No effect was estimated: {reason}." if reason else "No effect was estimated."
        return Section(heading, Verdict("absent", text))
    texts = found["sentences"]
    tone: Tone = "alarm" if found["alarm"] else "yes" if found["heterogeneity_shown"] else "caution"
    return section(
        "review",
        "treatment",
        Verdict(tone, f"{texts['hr']} {texts['alarm']}"),
        heading=heading,
        sentences=[texts[key] for key in SENTENCES if key in texts],
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
    caption = "Further endpoints; the gain is in integrated Brier score"
    head = ("endpoint", "patients / events", *map(label, deciding()), "gain")
    verdict = Verdict("described", "The same settings, fitted and judged out of fold as above.")
    return section("review", "further", verdict, table(caption, head, rows))


def _responses(bundle: Bundle) -> Section | None:
    found = dict(bundle.metrics.get("responses") or {})
    if not found:
        return None
    areas = [Estimate.from_json(each["metrics"].get("auroc")) for each in found.values()]
    tone: Tone = "caution" if any(area.above > 0.5 for area in areas) else "no"
    tables = (
        table(
            f"{name}: {each['positive']} of {each['labelled']} labelled patients positive",
            ("measure", "out of fold"),
            response(each["metrics"]),
        )
        for name, each in found.items()
    )
    verdicts_text = "; ".join(f"{name}: {each['verdict']}" for name, each in found.items())
    verdict = Verdict(tone, f"Exploratory. {verdicts_text}")
    return section("review", "responses", verdict, *tables)


def _origin(bundle: Bundle) -> Section:
    made, changed = bundle.provenance, settings_changed(bundle)
    differ = f"{len(changed)} setting{'s differ' if len(changed) > 1 else ' differs'} from"
    endpoints = ", ".join((*bundle.survival, *bundle.responses))
    cut = made.get("cut_short")
    text = (
        f"{counted(len(bundle.study.features), 'feature')} in "
        f"{counted(len(bundle.study.blocks), 'modality', 'modalities')}; "
        f"endpoints: {endpoints}. {differ if changed else 'All settings are'} the defaults."
        f"{' Time ran out before the fit was complete.' if cut else ''}"
    )
    fit = [(name, _written(made[key])) for key, name in ORIGIN.items() if key in made]
    settings = [(key, *values) for key, values in changed.items()]
    versions = [(name, str(number)) for name, number in made.get("versions", {}).items()]
    return section(
        "review",
        "origin",
        Verdict("caution" if cut else "described", text),
        Table("The fit", ("", ""), fit),
        table("Settings that are not the defaults", ("setting", "default", "used"), settings),
        table("Versions", ("package", "version"), versions, folded=True),
    )


def _written(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
