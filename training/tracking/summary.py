"""What is said of a run: its headline metrics and its note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accomplice.data.study import Study
from accomplice.training.bundle import Bundle
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.calibration import middle_month
from accomplice.training.leakage.sentinels import fired
from accomplice.training.metrics.table import deciding, label
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.wording import RESEARCH_USE
from accomplice.training.run import Judged, Trained
from accomplice.training.treatment.evidence import Evidence, sentences

#: MLflow draws the cells of a table close together.
GAP = "&emsp;"


def headline(trained: Trained) -> dict[str, float]:
    """Return the metrics that every run carries under the same names, finite ones only.

    Those of the primary endpoint have no prefix, where there is one; those of others their name.
    """
    named = {} if trained.primary is None else _of_primary(trained.primary)
    for name, judged in trained.further.items():
        scores = judged.evaluation.scores[MODEL]
        named |= _ends({f"{name}_{m}": scores.figures[m] for m in deciding()})
    for name, response in trained.responses.items():
        found = response.evaluation.estimates
        named |= _ends({f"{name}_auroc": found["auroc"], f"{name}_brier": found["brier"]})
    # An infinity would be stored as 1.8e308 and ruin every chart.
    return {name: value for name, value in named.items() if value == value and abs(value) < 1e300}


def _of_primary(judged: Judged) -> dict[str, float]:
    evaluation, found = judged.evaluation, judged.evidence
    scores = evaluation.scores[MODEL]
    estimates: dict[str, Estimate] = {m: scores.figures[m] for m in deciding()}
    if evaluation.reference is not None:
        gains = evaluation.gains[evaluation.reference]
        estimates |= {f"{metric}_gain": estimate for metric, estimate in gains.items()}
    if found is not None:
        estimates |= {"treatment_hr": found.hr["landmark"], "treatment_gain": found.ate}
        estimates["treatment_rate"] = found.relative.rate
    return _ends({**estimates, "calibration_slope": _slope(judged)[1]})


def _slope(judged: Judged) -> tuple[float, Estimate]:
    """Return the calibration slope at the review's month in the middle, and that month before it.

    Of a model that the review has no slope of, it is the evaluation's, without an interval.
    """
    evaluation, months = judged.evaluation, judged.review.calibration
    if not months:
        return evaluation.calibration_time, Estimate(evaluation.calibration_slope)
    middle = middle_month([at.month for at in months], evaluation.horizon)
    return next((at.month, at.slope) for at in months if at.month == middle)


def columns(named: Mapping[str, float]) -> list[str]:
    """Return which of :func:`headline` a table shows: no interval, but where a gain begins.

    Where the lower end of a gain is above 0, the gain is certain.
    """
    return [
        name for name in named if not name.endswith(("_low", "_high")) or name.endswith("gain_low")
    ]


def _ends(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Return each estimate and the ends of its interval as metrics of their own."""
    named: dict[str, float] = {}
    for name, estimate in estimates.items():
        named |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return named


def treatment_tags(found: Evidence | None) -> dict[str, str]:
    """Return what a run can be searched for."""
    if found is None:
        return {}
    return {"treatment_alarm": str(bool(found.alarms)).lower()}


def note(trained: Trained) -> str:
    """Return the run's description in Markdown."""
    bundle = trained.bundle
    # MLflow's tables show the first words as they stand: no Markdown in them.
    synthetic = "SYNTHETIC patients. " if bundle.study.synthetic else ""
    lines = [f"{synthetic}{in_short(trained)}", ""]
    if trained.primary is not None:
        lines += _on_leaks(trained.primary)
        lines += _on_survival(trained.primary)
        lines += _on_treatment(bundle, trained.primary.evidence)
    others = on_further(trained) | on_responses(trained)
    lines += [f"**{name}**: {told}\n" for name, told in others.items()]
    lines += [f"- {line}" for line in unanswered(bundle.study)]
    return "\n".join([*lines, "", RESEARCH_USE])


def in_short(trained: Trained) -> str:
    """Say in a line how good the model is."""
    bundle, primary = trained.bundle, trained.primary
    told = f"{bundle.study.name}, {bundle.target}"
    if primary is None:
        return told + "."
    evaluation = primary.evaluation
    told += f": Uno's C {evaluation.scores[MODEL].uno_c}"
    if evaluation.reference is not None:
        told += f"; the model {evaluation.verdict(evaluation.reference)}"
    return told + "."


def leak_tags(trained: Trained) -> dict[str, str]:
    """Return what a run can be searched for of its leak sentinels."""
    if trained.primary is None:
        return {}
    return {"leak_alarm": str(fired(trained.primary.findings)).lower()}


def _on_leaks(judged: Judged) -> list[str]:
    """What the leak sentinels that fired say, in Markdown."""
    told = [f"- **LEAK** ({f.sentinel}): {f.text}" for f in judged.findings if f.status == "fired"]
    return [*told, ""] if told else []


def _on_survival(judged: Judged) -> list[str]:
    """What is said of the primary survival endpoint, in Markdown."""
    evaluation, (month, slope) = judged.evaluation, _slope(judged)
    figures = evaluation.scores[MODEL].figures
    others = [f"; {label(m)} {figures[m]}" for m in figures if m not in deciding()]
    return [
        f"{evaluation.patients} patients, {evaluation.events} events; judged out of fold to "
        f"{evaluation.horizon:.0f} months; 95 % bootstrap intervals.",
        "",
        _row("model", map(label, deciding())),
        "|---" * (1 + len(deciding())) + "|",
        *(
            _row(name, (str(s.figures[m]) for m in deciding()))
            for name, s in evaluation.scores.items()
        ),
        "",
        *(f"- The model {evaluation.verdict(b)}." for b in evaluation.gains),
        *(f"- Not held against a baseline: {said}." for said in evaluation.notes),
        f"- Calibration slope at {month:.0f} months {slope.value:.2f} ({slope.low:.2f} to "
        f"{slope.high:.2f}){''.join(others)}.",
        "",
    ]


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} |" + "".join(f" {GAP}{cell} |" for cell in cells)


def unanswered(study: Study) -> list[str]:
    """Say which questions a study file does not ask."""
    lines = []
    if not study.endpoints.survival:
        lines.append(
            "No survival is predicted, nor a benefit: the study file names no survival endpoint."
        )
    elif study.treatment is None:
        lines.append("No benefit is predicted: the study file names no treatment.")
    if not study.endpoints.binary:
        lines.append("No response is predicted: the study file names no binary endpoint.")
    return lines


def _on_treatment(bundle: Bundle, found: Evidence | None) -> list[str]:
    """What is said of the treatment, a paragraph in Markdown."""
    treatment, model = bundle.study.treatment, bundle.primary
    if treatment is None or model is None:
        return []
    heading = f"**{treatment.label}**"
    if found is None:
        return [f"{heading}: no effect estimated: {model.no_effect}.", ""]
    return [heading, "", *(f"- {said}" for said in sentences(found).values()), ""]


def on_further(trained: Trained) -> dict[str, str]:
    """Say of each further survival endpoint how its model did, or why there is none."""
    return {
        name: _in_short(trained.further[name])
        if name in trained.further
        else f"no model: {trained.without[name]}"
        for name in trained.bundle.study.endpoints.survival
        if name in trained.further or name in trained.without
    }


def _in_short(judged: Judged) -> str:
    evaluation, found = judged.evaluation, judged.evidence
    scores = evaluation.scores[MODEL]
    told = ", ".join(f"{label(m)} {scores.figures[m]}" for m in deciding()) + (
        f" on {evaluation.patients} patients, {evaluation.events} events, to "
        f"{evaluation.horizon:.0f} months"
    )
    if evaluation.reference is not None:
        told += f"; the model {evaluation.verdict(evaluation.reference)}"
    if found is not None:
        told += f"; hazard ratio of {found.label} {found.hr['landmark']}"
        told += f"; ALARM: {'; '.join(found.alarms)}" if found.alarms else ""
    return told


def on_responses(trained: Trained) -> dict[str, str]:
    """Say of each binary endpoint how its model did, or why there is none."""
    return {
        name: trained.responses[name].evaluation.verdict
        if name in trained.responses
        else f"no model: {trained.without[name]}"
        for name in trained.bundle.study.endpoints.binary
    }
