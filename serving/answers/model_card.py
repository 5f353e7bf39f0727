"""The answer of ``GET /model``: the model, its cohort, its performance and its features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accomplice.data.study import Study
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.training_values import training_values
from accomplice.training.bundle import Bundle

#: Name of the model among the scores of a bundle.
MODEL = "model"
RESPONSE_METRICS = ("auroc", "auprc", "brier")


def describe(predictor: Predictor) -> dict[str, Any]:
    """Return the document."""
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
        "metrics": headline(bundle.metrics),
        "features": features(bundle),
        "treatment": treatment(study, bundle),
        "responses": [
            {
                "name": name,
                "column": f"response.{name}",
                "positive": list(endpoint.positive),
                "answered": name in bundle.responses,
                "metrics": _spans(_of_response(bundle, name)),
            }
            for name, endpoint in study.endpoints.binary.items()
        ],
        "card": card(bundle),
        "note": predictor.note,
    }


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's headline figures, each with its 95 % interval: value, low, high."""
    return _spans((metrics.get("models") or {}).get(MODEL) or {})


def _of_response(bundle: Bundle, name: str) -> Mapping[str, Any]:
    judged = (bundle.metrics.get("responses") or {}).get(name) or {}
    return {metric: (judged.get("metrics") or {}).get(metric) for metric in RESPONSE_METRICS}


def _spans(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the figures that have an interval."""
    keys = ("value", "low", "high")
    spans = {}
    for name, each in figures.items():
        if isinstance(each, dict) and all(key in each for key in keys):
            spans[name] = {key: each[key] for key in keys}
    return spans


def features(bundle: Bundle) -> list[dict[str, Any]]:
    """Describe the features of a request."""
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


def treatment(study: Study, bundle: Bundle) -> dict[str, Any] | None:
    """Describe the treatment, and why no advice may rest on its effect."""
    if study.treatment is None:
        return None
    asked, model = study.treatment, bundle.primary
    return {
        "column": asked.column,
        "label": asked.label,
        "treated": list(asked.treated),
        "untreated": list(asked.untreated),
        "eligible": {name: list(levels) for name, levels in asked.eligible.items()},
        "horizon": None if model is None else model.benefit_horizon,
        "no_effect": None if model is None else model.no_effect or None,
        "distrust": None if model is None else model.distrust or None,
    }


def card(bundle: Bundle) -> str:
    """Return the model card in Markdown: the bundle's own, or a short one."""
    kept = bundle.metrics.get("card")
    if isinstance(kept, str):
        return kept
    study, provenance = bundle.study, bundle.provenance
    trained = (
        "simulated patients: it says nothing about real ones" if study.synthetic else "patients"
    )
    count = provenance.get("patients")
    lines = [f"# {study.name}", "", study.description or "A multimodal model of survival.", ""]
    lines += [f"Trained on {'' if count is None else f'{count} '}{trained}.", ""]
    for name, each in headline(bundle.metrics).items():
        lines.append(f"- {name}: {each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f})")
    lines += ["", "For research use only: not for decisions about a patient's care."]
    return "\n".join(lines)
