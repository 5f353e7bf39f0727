"""What is said of a run: its headline metrics and its note."""

from __future__ import annotations

from training.bundle import Bundle
from training.evaluation import MODEL, Evaluation

RESEARCH_USE = "For research use only; not a medical device."


def headline(evaluation: Evaluation) -> dict[str, float]:
    """Return the metrics that every run carries under the same names, finite ones only."""
    scores = evaluation.scores[MODEL]
    found: dict[str, float] = {
        "calibration_slope": evaluation.calibration_slope,
        "harrell_c": scores.harrell_c.value,
    }
    estimates = {"uno_c": scores.uno_c, "ibs": scores.ibs}
    if evaluation.gains:
        # The last baseline listed is the strongest one: the study's clinical model.
        last = evaluation.gains[list(evaluation.gains)[-1]]
        estimates |= {f"{metric}_gain": estimate for metric, estimate in last.items()}
    for name, estimate in estimates.items():
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    # An infinity would be stored as 1.8e308 and ruin every chart.
    return {name: value for name, value in found.items() if value == value and abs(value) < 1e300}


def note(bundle: Bundle, evaluation: Evaluation) -> str:
    """Return the run's description in Markdown."""
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
        RESEARCH_USE,
    ]
    return "\n".join(lines)
