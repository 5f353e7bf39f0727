"""Shapley attribution of a patient's risk to the features, relative to a typical patient."""

from __future__ import annotations

from typing import Any

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import CheckedRequest, RequestError
from accomplice.training.models.shapley import attribute

#: Code of the error for a model that has no risk.
NO_RISK = "no_survival_endpoint"


def explain(predictor: Predictor, request: CheckedRequest) -> dict[str, Any]:
    """Attribute the risk of the one patient of a request, as ``Bundle.explain`` does.

    Raises:
        RequestError: the model has no survival endpoint.
    """
    model = predictor.bundle.primary
    if model is None:
        raise RequestError(NO_RISK, "the model has no survival endpoint, so there is no risk")
    read = predictor.read(request)
    parts = attribute(model, read.values, read.centre)
    study = predictor.bundle.study
    own: dict[str, Any] = {} if read.ids[0] is None else {"patient_id": read.ids[0]}
    return {
        **own,
        "risk": float(parts.risk[0]),
        "base": float(parts.base[0]),
        "features": dict(zip(study.features, parts.features[0].tolist(), strict=True)),
        "modalities": dict(zip(study.blocks, parts.modalities[0].tolist(), strict=True)),
        "flags": read.flags[0],
        **predictor.signature,
    }
