"""A model card drafted from a bundle: what TRIPOD+AI asks to be reported, as far as a run can tell.

Items are numbered as in TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) and named in our own
words. What only a person can know is marked so, and nothing is made up in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accomplice.training.bundle import Bundle
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import Review, read_review
from accomplice.training.evaluation.response import METRICS
from accomplice.training.metrics.table import deciding, label, listed
from accomplice.training.models.predictions import OUT_OF_FOLD
from accomplice.training.reports.review import verdicts
from accomplice.training.reports.review.page import settings_changed
from accomplice.training.reports.wording import RESEARCH_USE, SYNTHETIC

PERSON = "**To be completed by a person**"
#: Rows of subgroups and features that a card lists at the most.
MOST = 40


def model_card(bundle: Bundle) -> str:
    """Return the card in Markdown.

    Raises:
        InputError: the bundle's record is of another version.
    """
    review = read_review(bundle.metrics)
    parts = [
        f"# Model card: {_cell(bundle.study.name)}",
        "Drafted from the run by TRIPOD+AI items (in parentheses). What the run cannot know is "
        f"marked {PERSON}.",
        *([f"> **{SYNTHETIC}.**"] if bundle.study.synthetic else []),
        *_opening(bundle),
        *_data(bundle),
        *_analysis(bundle, review),
        *_openness(bundle),
        *(_results(review) if review is not None else ()),
        *_treatment(bundle),
        *_responses(bundle),
        *_discussion(bundle, review),
        RESEARCH_USE,
    ]
    return "\n\n".join(parts) + "\n"


def _opening(bundle: Bundle) -> list[str]:
    study = bundle.study
    endpoints = ", ".join(f"`{name}`" for name in (*bundle.survival, *bundle.responses))
    horizon = f" up to {bundle.horizon:.0f} months" if bundle.horizon is not None else ""
    return [
        "## Title and introduction",
        f"**Title (1).** Development and internal validation of a model of {endpoints}{horizon} "
        f"from {len(study.features)} features in {len(study.blocks)} modalities.",
        f"**Abstract (2).** {PERSON}: a summary after the items of TRIPOD+AI for abstracts.",
        f"**Background (3a, 3b).** {_cell(study.description) or 'The study file says nothing.'} "
        f"{PERSON}: the clinical question, who would use the model at which point of care, and "
        "what is done today.",
        f"**Known inequalities (3c).** {PERSON}.",
        f"**Objectives (4).** To predict {endpoints}, and to judge whether that adds to simple "
        "models of the same patients.",
    ]


def _data(bundle: Bundle) -> list[str]:
    study, made = bundle.study, bundle.provenance
    left = made.get("left_out")
    outcomes = [
        f"`{name}`: time `{e.time}` ({e.unit}), event `{e.event}`"
        + (f", judged to {e.horizon:g} months" if e.horizon is not None else "")
        for name, e in study.endpoints.survival.items()
    ] + [
        f"`{name}`: column `{e.column}`, positive {_joined(e.positive)}, "
        f"negative {_joined(e.negative)}"
        for name, e in study.endpoints.binary.items()
    ]
    rows = [
        (
            feature,
            modality,
            each.kind,
            each.unit or "–",
            _joined(each.levels) if each.levels else _range(each.range),
        )
        for modality, features in study.modalities.items()
        for feature, each in features.items()
    ]
    treatment = study.treatment
    return [
        "## Methods: data",
        f"**Source of data (5a).** Study file `{study.name}`, read by `{study.source.reader}`; "
        f"fingerprint `{made.get('cohort_fingerprint', 'unknown')}`"
        + ("; patients are **simulated**." if study.synthetic else ".")
        + f" {PERSON}: where the records come from and how they were collected.",
        f"**Dates (5b).** {PERSON}: of accrual and of the end of follow-up.",
        f"**Setting (6a).** {_centres(bundle)} {PERSON}: places and kind of care.",
        f"**Participants (6b).** {made.get('patients', 'Unknown')} patients"
        + (f"; {left} without follow-up were left out" if left else "")
        + f". {PERSON}: who was eligible.",
        "**Treatments (6c).** "
        + (
            f"{_cell(treatment.label)} (column `{treatment.column}`), counted from month "
            f"{treatment.landmark:g} on; not randomised."
            if treatment is not None
            else f"The study file names none. {PERSON}."
        ),
        "**Preparation of data (7).** Checked and coded by the study file; scaling, imputation and "
        "ranks were fitted on the training patients of each fold alone.",
        "**Outcome (8a).** " + ". ".join(outcomes) + ".",
        f"**Assessment of the outcome (8b, 8c).** {PERSON}: who assessed it, and blind to what.",
        f"**Choice of predictors (9a).** As the study file lists them. {PERSON}: why these.",
        "**Predictors (9b).**",
        _table(("feature", "modality", "kind", "unit", "levels or range"), rows),
        f"**Assessment of predictors (9c).** {PERSON}: how, when, and by whom they were measured.",
        f"**Sample size (10).** {made.get('patients', 'Unknown')} patients, "
        f"{made.get('events', 'unknown')} events, {len(study.features)} features; all patients "
        f"there were. {PERSON}: whether that was planned.",
        "**Missing data (11).** A patient is kept whatever is missing: missing values are imputed "
        "from the training fold with an indicator, networks have a learnt token for a missing "
        "modality, and predictions say what was missing.",
    ]


def _analysis(bundle: Bundle, review: Review | None) -> list[str]:
    changed = settings_changed(bundle)
    lines = [
        "## Methods: analysis",
        "**Use of the data (12a).** "
        + (
            "Patients are divided into folds; each is predicted by models that were fitted without "
            "that patient. The final model is the ensemble of the folds' models. No patients were "
            "held out beside."
            if review is None or review.protocol == OUT_OF_FOLD
            else "Judged on a cohort that the model has not seen."
        ),
        "**Handling of predictors (12b).** Numbers are standardised and, for networks, embedded "
        "piecewise linearly; expression is ranked within a centre; levels are coded as the study "
        "file orders them.",
    ]
    if bundle.survival:
        lines.append(
            "**Model (12c).** A ridge Cox model (penalty by modality), an ensemble of "
            "discrete-time hazard networks, a survival forest and boosted trees, stacked by "
            "non-negative weights and calibrated on out-of-fold predictions."
        )
    if bundle.responses:
        lines.append("**Model of responses (12c).** Penalised logistic regression on few inputs.")
    heterogeneity = bundle.study.centre or "none"
    lines += [
        f"**Differences between clusters (12d).** Column of the centre: `{heterogeneity}`; see the "
        "subgroups below.",
        "**Measures (12e).** "
        + (
            f"Uno's C, integrated Brier score, calibration (slope, observed/expected, "
            f"D-calibration), net benefit; 95 % intervals of {review.bootstraps} bootstrap draws, "
            "differences paired."
            if review is not None
            else "AUROC, AUPRC, Brier score, calibration, PPV and NPV, with bootstrap intervals."
        ),
        "**Updating (12f).** None beyond the calibration named above.",
        "**Predictions (12g).** By `accomplice predict` from the bundle. "
        + (
            "Survival over time with an 80 % interval over the ensemble, and a risk (higher is "
            "worse)."
            if bundle.survival
            else "The probability of a response."
        ),
        "**Class imbalance (13).** No patients were weighted or drawn anew for it.",
        f"**Fairness (14).** Judged by subgroup, below; nothing was changed for it. {PERSON}: "
        "groups that matter and are not in the data.",
        f"**Output (15).** Probabilities; no threshold is set. {PERSON}: from "
        "which risk on one would act.",
        f"**Training against evaluation (16).** The same patients, out of fold. {PERSON}: how they "
        "differ from those it is meant for.",
        f"**Ethical approval (17).** {PERSON}.",
    ]
    if changed:
        rows = [(f"`{key}`", *values) for key, values in changed.items()]
        lines += [
            "Settings that are not the defaults:",
            _table(("setting", "default", "used"), rows),
        ]
    return lines


def _openness(bundle: Bundle) -> list[str]:
    made = bundle.provenance
    versions = ", ".join(f"{name} {number}" for name, number in made.get("versions", {}).items())
    return [
        "## Open science and involvement",
        f"**Funding, interests (18a, 18b).** {PERSON}.",
        f"**Protocol, registration (18c, 18d).** {PERSON}.",
        f"**Data (18e).** {PERSON}: who may have them. They are not in the model.",
        f"**Code (18f).** Fit `{made.get('fit_id', 'unknown')}`, source's commit "
        f"`{made.get('git_commit') or 'unknown'}`; {versions or 'versions unknown'}.",
        f"**Patients and public (19).** {PERSON}: whether and how they were involved.",
    ]


def _results(review: Review) -> list[str]:
    kind = "synthetic patients" if review.synthetic else "patients"
    scores = [
        (name, *(str(s.get(m, verdicts.UNKNOWN)) for m in listed()))
        for name, s in review.scores.items()
    ]
    gains = [
        (name, *(f"{g.get(m, verdicts.UNKNOWN):+.3f}" for m in deciding()))
        for name, g in review.gains.items()
    ]
    calibrated = [
        (f"{at.month:.0f}", f"{at.slope:.2f}", f"{at.observed_expected:.2f}")
        for at in review.calibration
    ]
    groups = [
        (
            "everybody" if s.feature == "all" else f"{s.feature}: {s.level}",
            f"{s.patients} / {s.events}",
            str(s.uno_c),
            f"{s.ibs_gain:+.3f}",
            f"{s.observed_expected:.2f}",
        )
        for s in review.subgroups[:MOST]
    ]
    drivers = [(i.feature, i.modality, str(i.size)) for i in review.importance[:MOST]]
    sentinels = [(f.question, f.status, f.text) for f in review.sentinels]
    return [
        "## Results",
        f"**Participants (20a, 20b).** {review.patients} {kind} of {_cell(review.cohort)}, "
        f"{review.events} events of `{review.endpoint}` to {review.horizon:.0f} months. {PERSON}: "
        "a table of their characteristics.",
        f"**Comparison with development data (20c).** Judged {review.protocol}.",
        f"**Model development (21).** {review.patients} patients, {review.events} events.",
        f"**Full model (22).** The bundle holds it: `accomplice predict`. "
        f"{verdicts.drivers(review).text}",
        *_listed("Size of attributions", ("feature", "modality", "log-hazard"), drivers),
        f"**Performance (23a).** {verdicts.lead(review)} {verdicts.ranking(review).text}",
        *_listed("", ("", *map(label, listed())), scores),
        *_listed("Paired gains of the model", ("over", *map(label, deciding())), gains),
        f"Calibration: {verdicts.calibration(review).text}",
        *_listed("", ("months", "slope", "observed/expected"), calibrated),
        f"Decisions: {verdicts.decisions(review).text}",
        f"**Subgroups (23a), heterogeneity (23b).** {verdicts.subgroups(review).text}",
        *_listed(
            "",
            ("group", "patients / events", label("uno_c"), "gain in IBS", "observed/expected"),
            groups,
        ),
        f"Missing modalities: {verdicts.patterns(review).text}",
        f"Value of the modalities: {verdicts.modalities(review).text}",
        f"Stability: {verdicts.instability(review).text}",
        f"Leaks: {verdicts.leaks(review).text}",
        *_listed("", ("sentinel", "state", "found"), sentinels),
        "**Updating (24).** None.",
    ]


def _treatment(bundle: Bundle) -> list[str]:
    found, treatment = bundle.metrics.get("treatment"), bundle.study.treatment
    if found is None or treatment is None:
        return []
    said = [f"- {_cell(sentence)}" for sentence in found["sentences"].values()]
    return [f"### {_cell(treatment.label).capitalize()}", "\n".join(said)]


def _responses(bundle: Bundle) -> list[str]:
    lines: list[str] = []
    for name, each in dict(bundle.metrics.get("responses") or {}).items():
        rows = [
            (METRICS.get(metric, metric), f"{Estimate.from_json(raw):.2f}")
            for metric, raw in each["metrics"].items()
        ]
        lines += [
            f"### Response `{name}` (exploratory)",
            f"{each['positive']} of {each['labelled']} labelled patients positive; "
            f"{_cell(each['verdict'])}.".replace("..", "."),
            _table(("measure", "out of fold"), rows),
        ]
    return lines


def _discussion(bundle: Bundle, review: Review | None) -> list[str]:
    limits = ["The patients were not chosen for this purpose, and nobody was randomised."]
    if bundle.study.synthetic:
        limits.append("They are synthetic: nothing here says anything about real ones.")
    if review is None or review.protocol == OUT_OF_FOLD:
        limits.append("It has not been judged on patients from elsewhere.")
    if bundle.provenance.get("cut_short"):
        limits.append("Time ran out before the fit was complete.")
    limits += [f"{note[:1].upper()}{note[1:]}." for note in (review.notes if review else ())]
    return [
        "## Discussion",
        f"**Interpretation (25).** {verdicts.lead(review) if review is not None else PERSON} "
        f"{PERSON if review is not None else ''}".strip(),
        "**Limitations (26).**\n\n"
        + "\n".join(f"- {_cell(limit).replace('..', '.')}" for limit in limits)
        + f"\n- {PERSON}: bias, representativeness, what else may mislead.",
        "**Poor or missing input (27a).** Answered and flagged: missing features, unknown levels, "
        "values out of range.",
        f"**Interaction with users (27b).** {PERSON}: who may use it, and with what expertise.",
        f"**Next steps (27c).** {PERSON}: external validation and use.",
    ]


def _centres(bundle: Bundle) -> str:
    centre = bundle.study.centre
    return f"Centres by column `{centre}`." if centre else "No centre is recorded."


def _range(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:g} to {ends[1]:g}"


def _joined(levels: Iterable[object]) -> str:
    return ", ".join(map(str, levels))


def _listed(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    return [*([f"{caption}:"] if caption else []), _table(head, rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Keep a name from being read as markup: one line, no table cell or tag of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
