"""The answer of ``GET /model``: the model, its cohort, its performance and its features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accomplice.data.escaping import markdown
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.training_values import training_values
from accomplice.training.bundle import Bundle

#: Name of the model, beside the baselines, in a bundle's metrics.
MODEL = "model"
#: Scores of a binary endpoint that are shown.
RESPONSE_METRICS = ("auroc", "auprc", "brier")


def describe(predictor: Predictor) -> dict[str, Any]:
    """Return the answer of ``GET /model`` as plain data."""
    bundle = predictor.bundle
    study, provenance = bundle.study, bundle.provenance
    return {
        **predictor.model,
        "endpoints": {"survival": list(bundle.survival), "binary": list(bundle.responses)},
        "cohort": {
            "fingerprint": provenance.get("cohort_fingerprint"),
            "patients": provenance.get("patients"),
            "events": provenance.get("events"),
        },
        "metrics": main_scores(bundle.metrics),
        "features": features(bundle),
        "treatment": treatment(bundle),
        "responses": [
            {
                "name": name,
                "column": f"response.{name}",
                "positive": list(endpoint.positive),
                "answered": name in bundle.responses,
                "metrics": _with_intervals(_response_scores(bundle, name)),
            }
            for name, endpoint in study.endpoints.binary.items()
        ],
        "card": card(bundle),
        "note": predictor.note,
    }


def main_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return score -> value, and low and high of its 95 % interval, of the primary model.

    Scores without an interval are left out; an undetermined number is None.

    Args:
        metrics: the bundle's metrics.
    """
    return _with_intervals((metrics.get("models") or {}).get(MODEL) or {})


def _response_scores(bundle: Bundle, name: str) -> Mapping[str, Any]:
    evaluation = (bundle.metrics.get("responses") or {}).get(name) or {}
    return {metric: (evaluation.get("metrics") or {}).get(metric) for metric in RESPONSE_METRICS}


def _with_intervals(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores that have an interval: value, low and high of each."""
    keys = ("value", "low", "high")
    complete = {}
    for name, score in scores.items():
        if isinstance(score, dict) and all(key in score for key in keys):
            complete[name] = {key: score[key] for key in keys}
    return complete


def features(bundle: Bundle) -> list[dict[str, Any]]:
    """Return a description of each feature, in the study's order."""
    study, known = bundle.study, training_values(bundle)
    names: list[str] = list(study.features)
    modality: dict[str, str] = {}
    for block, positions in study.blocks.items():
        modality |= {names[j]: block for j in positions}
    cards = []
    for name, feature in study.features.items():
        low, high = feature.bounds
        bounds = [low if math.isfinite(low) else None, high if math.isfinite(high) else None]
        cards.append(
            {
                "name": name,
                "column": feature.column or name,
                "modality": modality[name],
                "kind": feature.kind,
                "unit": feature.unit,
                "range": None if bounds == [None, None] else bounds,
                "levels": None if feature.levels is None else list(feature.levels),
                "low": known[name].low,
                "high": known[name].high,
                "typical": known[name].typical,
            }
        )
    return cards


def treatment(bundle: Bundle) -> dict[str, Any] | None:
    """Return the treatment, the month of its benefit and the reasons against advice; None without.

    Month and reasons are the primary model's.
    """
    declared, model = bundle.study.treatment, bundle.primary
    if declared is None:
        return None
    return {
        "column": declared.column,
        "label": declared.label,
        "treated": list(declared.treated),
        "untreated": list(declared.untreated),
        "eligible": {name: list(levels) for name, levels in declared.eligible.items()},
        "horizon": None if model is None else model.benefit_horizon,
        "no_effect": None if model is None else model.no_effect or None,
        "distrust": None if model is None else model.distrust or None,
    }


def card(bundle: Bundle) -> str:
    """Return the model card in Markdown: the one in the bundle, or a short one.

    The short one lists the scores of the primary model that are determined.
    """
    stored = bundle.metrics.get("card")
    if isinstance(stored, str):
        return stored
    study, provenance = bundle.study, bundle.provenance
    trained = (
        "simulated patients: it says nothing about real ones" if study.synthetic else "patients"
    )
    count = provenance.get("patients")
    described = markdown(study.description or "A multimodal model of survival.")
    lines = [f"# {study.name}", "", described, ""]
    lines += [f"Trained on {'' if count is None else f'{count} '}{trained}.", ""]
    for name, score in main_scores(bundle.metrics).items():
        if None not in score.values():
            value, low, high = (f"{number:.3f}" for number in score.values())
            lines.append(f"- {name}: {value} ({low} to {high})")
    lines += ["", "For research use only: not for decisions about a patient's care."]
    return "\n".join(lines)
