"""The page of an external validation: its sections, and the figures behind them as JSON.

Each section is a function of its own, so that they can stand before those of a whole review.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.response import METRICS
from accomplice.training.metrics.table import label
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.glossary import terms
from accomplice.training.reports.page import (
    Figure,
    Page,
    Section,
    Table,
    Verdict,
    footer,
    inline_svg,
    json_text,
)
from accomplice.training.reports.wording import SYNTHETIC
from accomplice.training.validation.figures import calibration_figure, risk_figure
from accomplice.training.validation.validation import BEFORE, Validation, known_by_modality
from accomplice.training.validation.verdicts import (
    of_calibration,
    of_discrimination,
    of_matching,
    of_update,
    suspect,
    to_json,
)


def make_page(found: Validation, provenance: Mapping[str, object]) -> Page:
    """Return the page.

    Args:
        found: the validation.
        provenance: name -> value, for the page's foot.
    """
    cohort, evaluation = found.cohort, found.evaluation
    kind = "synthetic " if cohort.study.synthetic else ""
    other = (
        ""
        if cohort.endpoint == found.external.model.endpoint
        else (f" The model predicts '{found.external.model.endpoint}', which is another endpoint.")
    )
    return Page(
        title=f"{found.trained.study} on {cohort.study.name}: external validation",
        about=(
            f"{evaluation.patients} {kind}patients that the model was not trained on; "
            f"{evaluation.events} events of endpoint '{cohort.endpoint}', judged to "
            f"{evaluation.horizon:.0f} months.{other}",
            "Numbers in parentheses are 95 % bootstrap intervals.",
        ),
        lead=lead(found),
        sections=sections(found),
        footer=footer(provenance),
        banner=f"{SYNTHETIC}." if found.synthetic else "",
    )


def sections(found: Validation) -> tuple[Section, ...]:
    """Return the validation's own sections, the answers first."""
    made = [discrimination(found), calibration(found)]
    if found.repaired is not None:
        made.append(update(found))
    made.append(overlap(found))
    if found.responses or found.unjudged:
        made.append(responses(found))
    return (*made, features(found))


def lead(found: Validation) -> str:
    """Return the main conclusion."""
    said = [of_discrimination(found).text, of_calibration(found.calibration).text]
    if found.repaired is not None:
        said.append(of_update(found.repaired).text)
    return " ".join(said)


def discrimination(found: Validation) -> Section:
    """Does the model put these patients in the right order?"""
    here, trained = found.evaluation.scores, found.trained
    rows = [
        ("training run, out of fold", str(trained.uno_c), str(trained.ibs)),
        *((_called(name), str(s.uno_c), str(s.ibs)) for name, s in here.items()),
    ]
    sentences = [
        f"The change in {label('uno_c')} from training to here is {found.change_in_c}. Cohorts "
        "with patients more or less alike are harder or easier to put in order, so that a change "
        "need not be the model's doing; scores to different months are not the same scale either "
        f"({_months(trained.horizon)} in training, {_months(found.evaluation.horizon)} here).",
    ]
    if found.evaluation.gains:
        told = [f"The model {found.evaluation.verdict(name)}." for name in found.evaluation.gains]
        sentences.append(" ".join(told) + " Baselines are those of the training cohort.")
    time, event = found.external.predicted.outcome
    drawing = risk_figure(
        found.evaluation,
        found.external.predicted.grid,
        found.external.predicted.curves[MODEL],
        time,
        event,
        _subtitle(found),
    )
    figure = Figure(
        inline_svg(drawing, "risk"),
        "Kaplan–Meier curves of three groups of predicted risk with 95 % bands, and the mean "
        "predicted survival of each as a dashed line.",
        "Observed survival by predicted risk; dashed: what the model predicted for each group.",
    )
    head = ("", "Uno's C (higher is better)", "integrated Brier score (lower is better)")
    return Section(
        "Does it put these patients in the right order?",
        of_discrimination(found),
        tuple(sentences),
        (Table("The model and what it is compared with", head, rows), figure),
        terms("Uno's C", "integrated Brier score"),
    )


def calibration(found: Validation) -> Section:
    """Do the predicted probabilities come true?"""
    time, event = found.external.predicted.outcome
    after = None if found.repaired is None else found.repaired.calibration
    drawing = calibration_figure(found.calibration, after, time, event, _subtitle(found))
    figure = Figure(
        inline_svg(drawing, "calibration"),
        "Predicted against observed survival of groups of patients at three months, with the "
        "diagonal where predictions come true.",
        "Squares: the model as trained"
        + ("." if after is None else "; circles: the updated model, each patient held out."),
    )
    trained = found.trained
    told = f"{trained.slope:.2f} at {trained.slope_month:.0f} months"
    return Section(
        "Do its probabilities come true?",
        of_calibration(found.calibration),
        () if math.isnan(trained.slope) else (f"In training, out of fold, the slope was {told}.",),
        (_table("As trained", found.calibration), figure),
        terms("calibration slope", "observed over expected"),
    )


def update(found: Validation) -> Section:
    """Does an update of level and slope mend them?"""
    if found.repaired is None:
        return Section("Does an update mend them?", Verdict("absent", "None was asked for."))
    made, judged = found.repaired.recalibration, found.repaired.evaluation
    fitted = made.update
    folds = sum(made.chosen.values())
    gains = [
        (form, f"{gain:+.1f}", f"{made.chosen[form]} of {folds}")
        for form, gain in made.gains.items()
    ]
    sentences = (
        f"Fitted to all {judged.patients} patients: level {fitted.level:+.2f} and slope "
        f"{fitted.slope:.2f} on the log cumulative hazard, course {fitted.course:+.2f} for each "
        "unit of log time; priors hold them near no update where events are few.",
        "What is updated is chosen by the likelihood of patients held out. The check below does "
        f"the choosing too: each of {folds} parts of the patients is predicted by an update that "
        "was chosen and fitted on the others.",
        "At any one month patients keep their order, so that discrimination stays as it is. Check "
        "the updated model on patients to come: these are the ones it was updated by.",
    )
    scores = {name: judged.scores[name].ibs for name in (BEFORE, MODEL)}
    error = Table(
        "Prediction error",
        ("", "integrated Brier score"),
        [
            ("as trained", str(scores[BEFORE])),
            ("updated, held out", str(scores[MODEL])),
            ("fall, paired", str(judged.gains[BEFORE]["ibs"])),
        ],
    )
    choice = Table(
        "What to update",
        ("form", "log likelihood of held-out patients, over none", "chosen in the check"),
        gains,
    )
    return Section(
        "Does an update for this centre mend them?",
        of_update(found.repaired),
        sentences,
        (_table("Updated, each patient held out", found.repaired.calibration), error, choice),
    )


def overlap(found: Validation) -> Section:
    """Are patients of the training cohort among these?"""
    question = "Are these other patients than it was trained on?"
    tones: dict[str, Any] = {"clear": "yes", "caution": "caution", "fired": "alarm"}
    tone = tones.get(found.overlap.status, "absent")
    return Section(question, Verdict(tone, found.overlap.text))


def responses(found: Validation) -> Section:
    """What are the predicted responses worth here?"""
    names = ("auroc", "brier", "calibration_slope", "calibration_intercept")
    rows = [
        (name, *(str(each.estimates[metric]) for metric in names))
        for name, each in found.responses.items()
    ]
    said = [f"{name}: {each.verdict}." for name, each in found.responses.items()]
    said += [f"{name}: not judged: {why}." for name, why in found.unjudged.items()]
    better = any(each.estimates["auroc"].low > 0.5 for each in found.responses.values())
    tone: Any = "absent" if not rows else "yes" if better else "no"
    head = ("endpoint", *(METRICS[metric] for metric in names))
    return Section(
        "What are its predicted responses worth?",
        Verdict(tone, " ".join(said)),
        (),
        (Table("Binary endpoints", head, rows),) if rows else (),
    )


def features(found: Validation) -> Section:
    """What of the model's input is there?"""
    external, matching = found.external, found.external.matching
    sentences = [
        "What is missing is predicted for as `predict` does for any patient who lacks it, from "
        "training patients who lacked it too.",
    ]
    if external.ranked:
        sentences.append(
            f"Expression ({len(external.ranked)} features) is ranked among these patients, as "
            "training ranks it within every centre that has enough: another assay's level and "
            "spread do not matter, and neither does a real difference between the cohorts."
        )
    if external.unranked:
        sentences.append(
            f"Too few patients have {', '.join(external.unranked)} to be ranked among themselves: "
            "those are read on the training cohort's scale, which may not be theirs."
        )
    for match in suspect(matching.found):
        parts = []
        if match.outside:
            parts.append(f"{match.outside:.0%} lie outside the training range")
        if match.unknown:
            parts.append(f"{match.unknown:.0%} have a level that the model does not know")
        sentences.append(f"Look at {match.feature}: of the patients, {' and '.join(parts)}.")
    modalities = [
        (name, f"{have} of {of}", f"{share:.0%}")
        for name, (have, of, share) in known_by_modality(found).items()
    ]
    rows = [
        (
            match.feature,
            match.source or "–",
            match.how + _renamed(match.levels),
            *(_share(part) for part in (match.known, match.outside, match.unknown)),
        )
        for match in matching.found
    ]
    missing = [(match.feature, match.how) for match in matching.missing]
    head = ("model's", "study's", "how", "known", "outside range", "unknown level")
    items = [
        Table("By modality", ("modality", "features found", "patients with any"), modalities),
        Table("Found", head, rows),
    ]
    if missing:
        items.append(Table("Missing", ("model's", "why"), missing))
    return Section(
        "What of the model's input is there?", of_matching(found), tuple(sentences), tuple(items)
    )


def data(found: Validation, page: Page, provenance: Mapping[str, object]) -> str:
    """Return the figures behind the page as JSON; the undetermined is null."""
    return json_text({"conclusion": page.lead, **to_json(found), "provenance": dict(provenance)})


def _table(caption: str, calibration: Iterable[Calibrated]) -> Table:
    rows = [
        (f"{each.month:.0f}", str(each.slope), str(each.observed_expected)) for each in calibration
    ]
    return Table(caption, ("months", "calibration slope", "observed over expected"), rows)


def _subtitle(found: Validation) -> str:
    kind = "synthetic " if found.synthetic else ""
    return (
        f"{found.evaluation.patients} {kind}patients of {found.cohort.study.name}, "
        f"{found.evaluation.events} events; model of {found.trained.study}"
    )


def _called(name: str) -> str:
    return "the model here" if name == MODEL else name


def _renamed(levels: Mapping[str, str]) -> str:
    spelt = [f"{a} → {b}" for a, b in levels.items() if a != b]
    return f": {', '.join(spelt)}" if spelt else ""


def _share(part: float) -> str:
    return f"{part:.0%}" if part else "0"


def _months(horizon: float) -> str:
    return "unknown" if math.isnan(horizon) else f"{horizon:.0f} months"
