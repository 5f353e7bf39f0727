"""Shapley values of a patient's risk by feature, relative to a typical patient."""

from __future__ import annotations

from typing import Any

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.problems import RequestError
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.models.shapley import attribute

#: Error code of a model without a survival endpoint, which has no risk.
NO_RISK = "no_survival_endpoint"
#: Maximum number of features: the work grows with their square.
MOST_FEATURES = 2000
#: Error code of a model with more.
TOO_MANY_FEATURES = "too_many_features"


def explain(predictor: Predictor, request: CheckedRequest) -> dict[str, Any]:
    """Attribute one patient's risk to the features, as ``Bundle.explain`` does.

    Args:
        predictor: predictor with the model.
        request: one patient; its times are not used.

    Returns:
        The answer of ``POST /explain``: the patient's identifier, if given; the risk (log-hazard)
        and that of a typical patient (``base``); the part of each feature, which add up to the
        difference, as do those of the modalities; the flags; and ``Predictor.model_and_note``.

    Raises:
        RequestError: the model has no survival endpoint, or too many features.
    """
    model = predictor.bundle.primary
    if model is None:
        raise RequestError(NO_RISK, "the model has no survival endpoint, so there is no risk")
    if len(predictor.bundle.study.features) > MOST_FEATURES:
        text = f"the model has more than {MOST_FEATURES} features: explain by accomplice predict"
        raise RequestError(TOO_MANY_FEATURES, text)
    read = predictor.read(request)
    parts = attribute(model, read.values, read.centre)
    study = predictor.bundle.study
    identifier: dict[str, Any] = {} if read.ids[0] is None else {"patient_id": read.ids[0]}
    return {
        **identifier,
        "risk": float(parts.risk[0]),
        "base": float(parts.base[0]),
        "features": dict(zip(study.features, parts.features[0].tolist(), strict=True)),
        "modalities": dict(zip(study.blocks, parts.modalities[0].tolist(), strict=True)),
        "flags": read.flags[0],
        **predictor.model_and_note,
    }
