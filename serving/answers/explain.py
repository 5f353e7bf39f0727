"""One patient's risk, taken apart into what each feature adds to that of a typical patient."""

from __future__ import annotations

from typing import Any

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.patient_reader import PatientReader
from accomplice.serving.requests.validation import (
    INVALID,
    Asked,
    RequestError,
    check_patients,
    open_request,
)
from accomplice.training.models.shapley import attribute

#: Code of the error for a model that has no risk.
NO_RISK = "no_survival_endpoint"


def read_explain(body: bytes, reader: PatientReader) -> Asked:
    """Parse and check a request.

    Raises:
        RequestError: value-free; lists what is wrong and where.
    """
    raw, found, sound = open_request(body, ("patient",))
    patients = check_patients(raw, "patient", False, reader, found, sound)
    found.refuse(INVALID, "the request cannot be read")
    return Asked(patients, None)


def explain(predictor: Predictor, asked: Asked) -> dict[str, Any]:
    """Share out the risk of the one patient of a request, as ``Bundle.explain`` does.

    Raises:
        RequestError: the model has no survival endpoint.
    """
    model = predictor.bundle.primary
    if model is None:
        raise RequestError(NO_RISK, "the model has no survival endpoint, so there is no risk")
    read = predictor.read(asked)
    found = attribute(model, read.values, read.centre)
    study = predictor.bundle.study
    own: dict[str, Any] = {} if read.ids[0] is None else {"patient_id": read.ids[0]}
    return {
        **own,
        "risk": float(found.risk[0]),
        "base": float(found.base[0]),
        "features": dict(zip(study.features, found.features[0].tolist(), strict=True)),
        "modalities": dict(zip(study.blocks, found.modalities[0].tolist(), strict=True)),
        "flags": read.flags[0],
        "model": predictor.model,
        "note": predictor.note,
    }
