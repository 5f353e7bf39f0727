"""What is said of a run: its headline metrics and its note."""

from __future__ import annotations

from data.study import Study
from training.bundle import Bundle
from training.evaluation import MODEL
from training.evidence import Evidence, sentences
from training.response import why_no_model
from training.run import Trained

RESEARCH_USE = "For research use only; not a medical device."


def headline(trained: Trained) -> dict[str, float]:
    """Return the metrics that every run carries under the same names, finite ones only."""
    evaluation, found = trained.evaluation, trained.evidence
    scores = evaluation.scores[MODEL]
    named: dict[str, float] = {
        "calibration_slope": evaluation.calibration_slope,
        "harrell_c": scores.harrell_c.value,
    }
    estimates = {"uno_c": scores.uno_c, "ibs": scores.ibs}
    if evaluation.gains:
        # The last baseline listed is the strongest one: the study's clinical model.
        last = evaluation.gains[list(evaluation.gains)[-1]]
        estimates |= {f"{metric}_gain": estimate for metric, estimate in last.items()}
    if found is not None:
        estimates |= {"treatment_hr": found.hr["landmark"], "treatment_gain": found.ate}
        estimates["treatment_rate"] = found.relative.rate
    for name, estimate in estimates.items():
        named |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    for endpoint, response in trained.responses.items():
        judged = response.evaluation.estimates
        estimates = {f"{endpoint}_auroc": judged["auroc"], f"{endpoint}_brier": judged["brier"]}
        for name, estimate in estimates.items():
            named |= {name: estimate.value, f"{name}_low": estimate.low}
            named[f"{name}_high"] = estimate.high
    # An infinity would be stored as 1.8e308 and ruin every chart.
    return {name: value for name, value in named.items() if value == value and abs(value) < 1e300}


def treatment_tags(found: Evidence | None) -> dict[str, str]:
    """Return what a run can be searched for."""
    if found is None:
        return {}
    return {"treatment_alarm": str(bool(found.alarms)).lower()}


def note(trained: Trained) -> str:
    """Return the run's description in Markdown."""
    bundle, evaluation = trained.bundle, trained.evaluation
    scores = evaluation.scores[MODEL]
    synthetic = bundle.study.synthetic
    lines = [
        f"**{bundle.study.name}**, endpoint `{bundle.endpoint}`"
        + (" — **SYNTHETIC patients**" if synthetic else ""),
        "",
        f"{evaluation.patients} patients, {evaluation.events} events; judged out of fold to "
        f"{evaluation.horizon:.0f} months; 95 % bootstrap intervals.",
        "",
        "| model | Uno's C | integrated Brier score |",
        "|---|---|---|",
        *(f"| {name} | {s.uno_c} | {s.ibs} |" for name, s in evaluation.scores.items()),
        "",
        *(f"- The model {evaluation.verdict(b)}." for b in evaluation.gains),
        f"- Calibration slope at {evaluation.calibration_time:.0f} months "
        f"{evaluation.calibration_slope:.2f}; C {scores.harrell_c} (Harrell).",
        "",
        *_on_treatment(bundle, trained.evidence),
        *(f"**{name}**: {told}\n" for name, told in on_responses(trained).items()),
        *(f"- {line}" for line in unanswered(bundle.study)),
        "",
        RESEARCH_USE,
    ]
    return "\n".join(lines)


def unanswered(study: Study) -> list[str]:
    """Say which questions a study file does not ask."""
    lines = []
    if study.treatment is None:
        lines.append("No benefit is predicted: the study file names no treatment.")
    if not study.endpoints.binary:
        lines.append("No response is predicted: the study file names no binary endpoint.")
    return lines


def _on_treatment(bundle: Bundle, found: Evidence | None) -> list[str]:
    """What is said of the treatment, a paragraph in Markdown."""
    treatment = bundle.study.treatment
    if treatment is None:
        return []
    heading = f"**{treatment.label}**"
    if found is None:
        return [f"{heading}: no effect estimated: {bundle.no_effect}.", ""]
    return [heading, "", *(f"- {said}" for said in sentences(found).values()), ""]


def on_responses(trained: Trained) -> dict[str, str]:
    """Say of each binary endpoint how its model did, or why there is none."""
    cohort = trained.fitted.prepared.cohort
    return {
        name: trained.responses[name].evaluation.verdict
        if name in trained.responses
        else f"no model: {why_no_model(cohort.binary[name])}"
        for name in cohort.study.endpoints.binary
    }
