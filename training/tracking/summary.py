"""A run's headline metrics, description and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accomplice.data.cells.rounding import month_text
from accomplice.data.escaping import markdown
from accomplice.data.study import Study
from accomplice.training.bundle import Bundle
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.calibration import middle_month
from accomplice.training.evaluation.scores import Evaluation
from accomplice.training.leakage.sentinels import fired
from accomplice.training.metrics.table import deciding, label
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.wording import BLIND, RESEARCH_USE
from accomplice.training.run import Judged, Trained
from accomplice.training.treatment.evidence import Evidence, sentences

#: Space before each cell of a table, since MLflow draws cells close together.
GAP = "&emsp;"


def headline(trained: Trained) -> dict[str, float]:
    """Return a run's finite metrics; a metric has the same name in every run.

    Metrics of the primary survival endpoint have no prefix, those of others the endpoint's name.
    The ends of an interval have the suffixes ``_low`` and ``_high``.
    """
    named = {} if trained.primary is None else _of_primary(trained.primary)
    for name, judged in trained.further.items():
        scores = judged.evaluation.scores[MODEL]
        named |= _ends({f"{name}_{m}": scores.figures[m] for m in deciding()})
    for name, response in trained.responses.items():
        figures = response.evaluation.estimates
        named |= _ends({f"{name}_{metric}": figures[metric] for metric in ("auroc", "brier")})
    # An infinity would be stored as 1.8e308 and ruin every chart.
    return {name: value for name, value in named.items() if value == value and abs(value) < 1e300}


def _of_primary(judged: Judged) -> dict[str, float]:
    evaluation, evidence = judged.evaluation, judged.evidence
    scores = evaluation.scores[MODEL]
    estimates: dict[str, Estimate] = {m: scores.figures[m] for m in deciding()}
    if evaluation.reference is not None:
        gains = evaluation.gains[evaluation.reference]
        estimates |= {f"{metric}_gain": estimate for metric, estimate in gains.items()}
    if evidence is not None:
        estimates |= {"treatment_hr": evidence.hr["landmark"], "treatment_gain": evidence.ate}
        estimates["treatment_rate"] = evidence.relative.rate
    return _ends({**estimates, "calibration_slope": _slope(judged)[1]})


def _slope(judged: Judged) -> tuple[float, Estimate]:
    """Return the middle month of the review's calibration, and the slope at it.

    Without calibration in the review, both are the evaluation's; that slope has no interval.
    """
    evaluation, months = judged.evaluation, judged.review.calibration
    if not months:
        return evaluation.calibration_time, Estimate(evaluation.calibration_slope)
    middle = middle_month([at.month for at in months], evaluation.horizon)
    return next((at.month, at.slope) for at in months if at.month == middle)


def columns(named: Mapping[str, float]) -> list[str]:
    """Return the names from :func:`headline` to show in a table: values, and lower ends of gains.

    A gain is certain if its lower end is above 0.
    """
    return [
        name for name in named if not name.endswith(("_low", "_high")) or name.endswith("gain_low")
    ]


def _ends(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Return each estimate and the ends of its interval as metrics."""
    named: dict[str, float] = {}
    for name, estimate in estimates.items():
        named |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return named


def note(trained: Trained) -> str:
    """Return the run's description in Markdown."""
    bundle = trained.bundle
    # MLflow's tables show the first words as plain text.
    synthetic = "SYNTHETIC patients. " if bundle.study.synthetic else ""
    lines = [f"{synthetic}{markdown(in_short(trained))}", ""]
    if trained.primary is not None:
        lines += _on_leaks(trained.primary)
        lines += _on_survival(trained.primary)
        lines += _on_treatment(bundle, trained.primary.evidence)
    others = on_further(trained) | on_responses(trained)
    lines += [f"**{markdown(name)}**: {markdown(text)}\n" for name, text in others.items()]
    lines += [f"- {line}" for line in not_predicted(bundle.study)]
    return "\n".join([*lines, "", RESEARCH_USE])


def in_short(trained: Trained) -> str:
    """Return study, endpoint, the model's Uno's C and the verdict on its gain, in one line.

    There is no verdict without a baseline, and no C without a survival model.
    """
    bundle, primary = trained.bundle, trained.primary
    text = f"{bundle.study.name}, {bundle.target}"
    if primary is None:
        return text + "."
    evaluation = primary.evaluation
    text += f": Uno's C {evaluation.scores[MODEL].uno_c}"
    if evaluation.reference is not None:
        text += f"; the model {evaluation.verdict(evaluation.reference)}"
    return text + "."


def alarm_tags(trained: Trained) -> dict[str, str]:
    """Return the tags on whether a leak or a bias of the treatment's effect is suspected.

    They are about the primary survival endpoint; there are none without it.
    """
    if trained.primary is None:
        return {}
    tags = {"leak_alarm": str(fired(trained.primary.findings)).lower()}
    if trained.primary.evidence is not None:
        tags["treatment_alarm"] = str(bool(trained.primary.evidence.alarms)).lower()
    return tags


def _on_leaks(judged: Judged) -> list[str]:
    """Return the texts of the leak sentinels that fired, in Markdown."""
    found = [finding for finding in judged.findings if finding.status == "fired"]
    text = [f"- **LEAK** ({finding.sentinel}): {markdown(finding.text)}" for finding in found]
    return [*text, ""] if text else []


def _on_survival(judged: Judged) -> list[str]:
    """Return the lines on the primary survival endpoint's scores, in Markdown."""
    evaluation, (month, slope) = judged.evaluation, _slope(judged)
    figures = evaluation.scores[MODEL].figures
    others = [f"; {label(m)} {figures[m]}" for m in figures if m not in deciding()]
    return [
        f"{evaluation.patients} patients, {evaluation.events} events; judged out of fold to "
        f"{month_text(evaluation.horizon)} months; 95 % intervals of the model served.",
        "",
        _row("model", map(label, deciding())),
        "|---" * (1 + len(deciding())) + "|",
        *(
            _row(name, (str(s.figures[m]) for m in deciding()))
            for name, s in evaluation.scores.items()
        ),
        "",
        *(f"- The model {markdown(evaluation.verdict(b))}." for b in evaluation.gains),
        *(f"- {text}" for text in _on_treatment_gain(evaluation)),
        *(f"- Not compared with a baseline: {markdown(text)}." for text in evaluation.notes),
        f"- Calibration slope at {month_text(month)} months {slope.value:.2f} ({slope.low:.2f} to "
        f"{slope.high:.2f}){''.join(others)}.",
        "",
    ]


def _on_treatment_gain(evaluation: Evaluation) -> list[str]:
    """Return a sentence on the gain by predictions under the patients' treatment, if estimated."""
    gains = ", ".join(f"{label(m)} {gain:+.3f}" for m, gain in evaluation.treatment.items())
    return [f"{BLIND} Gain where the model is told: {gains}."] if gains else []


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {markdown(name)} |" + "".join(f" {GAP}{cell} |" for cell in cells)


def not_predicted(study: Study) -> list[str]:
    """Return a sentence for each kind of prediction that the study file makes impossible."""
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


def _on_treatment(bundle: Bundle, evidence: Evidence | None) -> list[str]:
    """Return the sentences on the treatment, in Markdown."""
    treatment, model = bundle.study.treatment, bundle.primary
    if treatment is None or model is None:
        return []
    heading = f"**{markdown(treatment.label)}**"
    if evidence is None:
        return [f"{heading}: no effect estimated: {markdown(model.no_effect)}.", ""]
    return [heading, "", *(f"- {markdown(text)}" for text in sentences(evidence).values()), ""]


def on_further(trained: Trained) -> dict[str, str]:
    """Return further survival endpoint -> its scores in words, or why it has no model.

    Endpoints that the run did not model are left out.
    """
    return {
        name: _in_short(trained.further[name])
        if name in trained.further
        else f"no model: {trained.without[name]}"
        for name in trained.bundle.study.endpoints.survival
        if name in trained.further or name in trained.without
    }


def _in_short(judged: Judged) -> str:
    evaluation, evidence = judged.evaluation, judged.evidence
    scores = evaluation.scores[MODEL]
    text = ", ".join(f"{label(m)} {scores.figures[m]}" for m in deciding()) + (
        f" on {evaluation.patients} patients, {evaluation.events} events, to "
        f"{month_text(evaluation.horizon)} months"
    )
    if evaluation.reference is not None:
        text += f"; the model {evaluation.verdict(evaluation.reference)}"
    if evidence is not None:
        text += f"; hazard ratio of {evidence.label} {evidence.hr['landmark']}"
        text += f"; ALARM: {'; '.join(evidence.alarms)}" if evidence.alarms else ""
    return text


def on_responses(trained: Trained) -> dict[str, str]:
    """Return binary endpoint -> the verdict on its model, or why it has none."""
    return {
        name: trained.responses[name].evaluation.verdict
        if name in trained.responses
        else f"no model: {trained.without[name]}"
        for name in trained.bundle.study.endpoints.binary
    }
