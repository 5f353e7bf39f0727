"""The page of an external validation: its sections, and its numbers as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from accomplice.data.cells.rounding import month_text
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.response import METRICS
from accomplice.training.metrics.table import deciding, heading, label
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
from accomplice.training.reports.review import rows as review_rows
from accomplice.training.reports.wording import BLIND, SYNTHETIC
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


def make_page(validation: Validation, provenance: Mapping[str, object]) -> Page:
    """Return the page of a validation.

    Args:
        validation: the validation.
        provenance: name -> value, shown at the page's foot.
    """
    cohort, evaluation = validation.cohort, validation.evaluation
    kind = "synthetic " if cohort.study.synthetic else ""
    other = (
        ""
        if cohort.endpoint == validation.external.model.endpoint
        else (
            f" The model predicts '{validation.external.model.endpoint}', which is another "
            "endpoint."
        )
    )
    return Page(
        title=f"{validation.trained.study} on {cohort.study.name}: external validation",
        about=(
            f"{evaluation.patients} {kind}patients that the model was not trained on; "
            f"{evaluation.events} events of endpoint '{cohort.endpoint}', judged to "
            f"{month_text(evaluation.horizon)} months.{other}",
            "Numbers in parentheses are 95 % bootstrap intervals.",
        ),
        lead=lead(validation),
        sections=sections(validation),
        footer=footer(provenance),
        banner=f"{SYNTHETIC}." if validation.synthetic else "",
    )


def sections(validation: Validation) -> tuple[Section, ...]:
    """Return the sections of a validation, the main answers first."""
    made = [discrimination(validation), calibration(validation)]
    if validation.update is not None:
        made.append(update(validation))
    made.append(overlap(validation))
    if validation.responses or validation.unjudged:
        made.append(responses(validation))
    return (*made, features(validation))


def lead(validation: Validation) -> str:
    """Return the verdicts on discrimination, calibration and the update as one text."""
    sentences = [
        of_discrimination(validation).text,
        of_calibration(validation.calibration, validation.review.joint_calibration).text,
    ]
    if validation.update is not None:
        sentences.append(of_update(validation.update).text)
    return " ".join(sentences)


def discrimination(validation: Validation) -> Section:
    """Return the section on discrimination."""
    here, trained = validation.evaluation.scores, validation.trained
    rows = [
        (name, *(str(figures[metric]) for metric in deciding()))
        for name, figures in (
            ("training run, out of fold", trained.figures),
            *((_called(name), scores.figures) for name, scores in here.items()),
        )
    ]
    sentences = [
        f"The change in {label('uno_c')} from training to here is {validation.change_in_c}. "
        f"{_expected(validation)}Scores to different months are not the same scale"
        f" ({_months(trained.horizon)} in training, "
        f"{_months(validation.evaluation.horizon)} here).",
    ]
    if validation.evaluation.gains:
        verdicts = [
            f"The model {validation.evaluation.verdict(name)}."
            for name in validation.evaluation.gains
        ]
        sentences.append(" ".join(verdicts) + " Baselines are those of the training cohort.")
    if validation.evaluation.treatment:
        gained = validation.evaluation.treatment.items()
        changes = ", ".join(f"{label(metric)} {gain:+.3f}" for metric, gain in gained)
        sentences.append(f"{BLIND} Gain where the model is told: {changes}.")
    time, event = validation.external.predicted.outcome
    drawing = risk_figure(
        validation.evaluation,
        validation.external.predicted.grid,
        validation.external.predicted.served,
        time,
        event,
        _subtitle(validation),
    )
    figure = Figure(
        inline_svg(drawing, "risk"),
        "Kaplan–Meier curves of three groups of predicted risk with 95 % bands, and the mean "
        "predicted survival of each as a dashed line.",
        "Observed survival by predicted risk; dashed: what the model predicted for each group.",
    )
    head = ("", *map(heading, deciding()))
    return Section(
        "Does it put these patients in the right order?",
        of_discrimination(validation),
        tuple(sentences),
        (Table("The model and its comparators", head, rows), figure),
        terms("Uno's C", "integrated Brier score"),
    )


def _expected(validation: Validation) -> str:
    """Return a text on the C expected from the case mix."""
    here, trained = validation.review.expected_concordance, validation.trained.expected
    text = (
        "Cohorts with patients more or less alike are harder or easier to put in order, so that a "
        "change need not be the model's doing. "
    )
    if not here.uno_c.known:
        return text
    text += f"By its own predictions the model expects {here.uno_c} of these patients"
    if not trained.uno_c.known:
        return f"{text}; the observed C differs by {here.excess:+.3f}. "
    return (
        f"{text} and {trained.uno_c} of the training patients; beyond this the C changed by "
        f"{validation.change_beyond_case_mix:+.3f}. "
    )


def calibration(validation: Validation) -> Section:
    """Return the section on calibration."""
    time, event = validation.external.predicted.outcome
    after = None if validation.update is None else validation.update.calibration
    weights = validation.evaluation.censoring.weights
    drawing = calibration_figure(
        validation.calibration, after, time, event, weights, _subtitle(validation)
    )
    figure = Figure(
        inline_svg(drawing, "calibration"),
        "Predicted against observed survival at three months, as a smooth curve and in groups of "
        "patients, with the diagonal where predictions come true.",
        "Smooth curves with bands that hold the whole curve of a month with 95 % confidence, and "
        "groups of patients. Orange, squares: the model as trained"
        + ("." if after is None else "; blue, circles: the updated model, each patient held out."),
    )
    trained = validation.trained
    slope = f"{trained.slope:.2f} at {month_text(trained.slope_month)} months"
    return Section(
        "Do its probabilities come true?",
        of_calibration(validation.calibration, validation.review.joint_calibration),
        () if math.isnan(trained.slope) else (f"In training, out of fold, the slope was {slope}.",),
        (_table("As trained", validation.calibration), figure),
        terms("calibration slope", "observed over expected", "ICI, E50, E90"),
    )


def update(validation: Validation) -> Section:
    """Return the section on the update."""
    if validation.update is None:
        return Section("Does an update mend them?", Verdict("absent", "None was asked for."))
    made, judged = validation.update.recalibration, validation.update.served
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
        "The form of the update is chosen by the likelihood of held-out patients. The check below "
        f"repeats the choice: each of {folds} parts of the patients is predicted by an update that "
        "was chosen and fitted on the others; slopes are the mean of the parts' own.",
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
        of_update(validation.update),
        sentences,
        (_table("Updated, each patient held out", validation.update.calibration), error, choice),
    )


def overlap(validation: Validation) -> Section:
    """Return the section on overlap with the training cohort."""
    question = "Are these other patients than it was trained on?"
    tones: dict[str, Any] = {"clear": "yes", "caution": "caution", "fired": "alarm"}
    tone = tones.get(validation.overlap.status, "absent")
    return Section(question, Verdict(tone, validation.overlap.text))


def responses(validation: Validation) -> Section:
    """Return the section on the binary endpoints."""
    names = ("auroc", "brier", "calibration_slope", "calibration_intercept")
    rows = [
        (name, *(str(each.estimates[metric]) for metric in names))
        for name, each in validation.responses.items()
    ]
    sentences = [f"{name}: {each.verdict}." for name, each in validation.responses.items()]
    sentences += [f"{name}: not judged: {why}." for name, why in validation.unjudged.items()]
    better = any(each.estimates["auroc"].low > 0.5 for each in validation.responses.values())
    tone: Any = "absent" if not rows else "yes" if better else "no"
    head = ("endpoint", *(METRICS[metric] for metric in names))
    return Section(
        "What are its predicted responses worth?",
        Verdict(tone, " ".join(sentences)),
        (),
        (Table("Binary endpoints", head, rows),) if rows else (),
    )


def features(validation: Validation) -> Section:
    """Return the section on the matched features."""
    external, matching = validation.external, validation.external.matching
    sentences = [
        "Missing features are handled as in `predict`: as they were for training patients without "
        "them.",
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
        for name, (have, of, share) in known_by_modality(validation).items()
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
        "What of the model's input is there?",
        of_matching(validation),
        tuple(sentences),
        tuple(items),
    )


def data(validation: Validation, page: Page, provenance: Mapping[str, object]) -> str:
    """Return the page's numbers as JSON; undefined ones are null."""
    return json_text(
        {"conclusion": page.lead, **to_json(validation), "provenance": dict(provenance)}
    )


def _table(caption: str, calibration: Iterable[Calibrated]) -> Table:
    return Table(caption, review_rows.CALIBRATION, review_rows.calibration(calibration))


def _subtitle(validation: Validation) -> str:
    kind = "synthetic " if validation.synthetic else ""
    return (
        f"{validation.evaluation.patients} {kind}patients of {validation.cohort.study.name}, "
        f"{validation.evaluation.events} events; model of {validation.trained.study}"
    )


def _called(name: str) -> str:
    return "the model here" if name == MODEL else name


def _renamed(levels: Mapping[str, str]) -> str:
    pairs = [f"{a} → {b}" for a, b in levels.items() if a != b]
    return f": {', '.join(pairs)}" if pairs else ""


def _share(part: float) -> str:
    return f"{part:.0%}" if part else "0"


def _months(horizon: float) -> str:
    return "unknown" if math.isnan(horizon) else f"{month_text(horizon)} months"
