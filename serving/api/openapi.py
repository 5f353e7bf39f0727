"""The endpoint's OpenAPI document, made from the bundle it serves.

BentoML's has neither the GET routes nor the errors, and is no valid OpenAPI 3.0 where a value may
be null. Here the keys of a patient are the study's columns, those of an answer are the model's, and
every example is one that the endpoint answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from accomplice.data.study_parts import Feature
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.training_values import Value, training_values, typical_patient
from accomplice.serving.requests.patient_reader import PatientReader
from accomplice.serving.requests.schemas import (
    MOST_PATIENTS,
    MOST_TIMES,
    MOST_VALUES,
    POST_ROUTES,
    Error,
    ModelCard,
)
from accomplice.serving.requests.validation import CheckedRequest

REF = "#/components/schemas/{model}"
Number = Mapping[str, Any]
NUMBER: Number = {"type": ["number", "null"]}
#: Types of a patient's values.
SINGLE = ("string", "number", "boolean", "null")
PATIENT = {"$ref": REF.format(model="Patient")}
PATIENTS = {"type": "array", "minItems": 1, "maxItems": MOST_PATIENTS, "items": PATIENT}
TEXT = {"text/plain": {"schema": {"type": "string"}}}
#: Prefix of a quantity's name -> its description.
QUANTITIES = {
    "risk_group": "Third of the training patients whose risk, out of fold, it is.",
    "risk_centile": "Percent of the training patients whose risk, out of fold, was lower.",
    "risk": "Log-hazard: higher is worse; 0 is the average training patient.",
    "survival@": "Chance to be free of the event at this month.",
    "rmst_gain@": "Restricted mean survival with the treatment minus without, in months.",
    "rmst@": "Restricted mean survival to this month, in months.",
    "benefit_low@": "Lower end of the benefit's 80 % interval.",
    "benefit_high@": "Upper end of the benefit's 80 % interval.",
    "benefit@": "Survival at this month with the treatment minus without.",
    "p_benefit": "Chance of a gain above 3 points.",
    "advice": "What the benefit speaks for, or why the model abstains.",
    "response.": "Chance of a positive label.",
}
ERRORS = {
    400: "What is wrong with the request, and where; no value is repeated.",
    401: "Send a known token.",
    403: "Other machines can reach the server, and it knows no tokens.",
    408: "The body took too long to come in.",
    411: "Say the body's length, or send it chunked.",
    413: "The body is too large.",
    415: "This media type is not read: send application/json, not compressed.",
    429: "Too many requests are under way: ask again after Retry-After seconds.",
    500: "Internal server error.",
    504: "The answer took too long.",
}


def document(predictor: Predictor, secured: bool = False) -> dict[str, Any]:
    """Return the document, as plain data.

    Args:
        predictor: of the bundle.
        secured: whether the server knows tokens, so that a request needs one.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"accomplice: {predictor.model['name']}",
            "version": predictor.model["digest"][:12],
            "description": predictor.note,
        },
        "servers": [{"url": "."}],
        "security": [{"bearer": []}] if secured else [{}, {"bearer": []}],
        "tags": [{"name": "answers"}, {"name": "model"}, {"name": "operation"}],
        "paths": paths(predictor),
        "components": {
            "schemas": schemas(predictor),
            "responses": {f"E{status}": _error(status) for status in ERRORS},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the server knows tokens: accomplice token NAME.",
                }
            },
        },
    }


def schemas(predictor: Predictor) -> dict[str, Any]:
    """Return the schemas of requests, answers and errors, for the bundle's study and models."""
    posts = [route[:2] for route in POST_ROUTES.values()]
    models: list[type[BaseModel]] = [*chain.from_iterable(posts), ModelCard, Error]
    made = models_json_schema([(m, "validation") for m in models], ref_template=REF)[1]["$defs"]
    properties = answer_properties(predictor)
    for name, schema in made.items():
        own = schema["properties"]
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            own |= {"patient": PATIENT} if "patient" in own else {"patients": PATIENTS}
            if "times" in own:
                own["times"] = times_schema(predictor.bundle.horizon)
        elif name in ("PatientAnswer", "PredictAnswer"):
            schema["properties"] = properties | own
            schema["patternProperties"] = {r"^([A-Za-z0-9_-]+\.)?survival@[0-9.e+-]+$": NUMBER}
    made["WhatIfRequest"]["anyOf"] = what_if_schemas(predictor.reader)
    return {"Patient": patient_schema(predictor), **made}


def patient_schema(predictor: Predictor) -> dict[str, Any]:
    """Describe a patient of the study: its columns, of which at least one is needed."""
    bundle, known = predictor.bundle, training_values(predictor.bundle)
    study, positions = bundle.study, predictor.reader.positions
    properties: dict[str, Any] = {}
    keys = [[key for key, j in positions.items() if j == own] for own in range(len(study.features))]
    twice = [{"not": {"required": both}} for both in keys if len(both) > 1]
    for name, feature in study.features.items():
        shown = _feature_schema(name, feature)
        if known[name].typical is not None:
            shown["examples"] = [known[name].typical]
        properties[feature.column or name] = shown
    for column, what in ((study.id, "Identifier"), (study.centre, "Hospital")):
        if column is not None:
            properties[column] = {"type": [*SINGLE], "description": f"{what}."}
    return {
        "type": "object",
        "title": "Patient",
        "description": "Feature or column -> value; what is not known is left out or null. Other "
        "names are flagged. At least one feature is needed, and none twice.",
        "properties": properties,
        "additionalProperties": {"type": [*SINGLE]},
        "anyOf": [{"required": [key]} for key in positions],
        **({"allOf": twice} if twice else {}),
    }


def _feature_schema(name: str, feature: Feature) -> dict[str, Any]:
    parts = [f"{feature.kind}{'' if feature.unit is None else f' in {feature.unit}'}"]
    if feature.levels is not None:
        parts.append("one of " + ", ".join(feature.levels))
    elif any(math.isfinite(bound) for bound in feature.bounds):
        parts.append("from {:g} to {:g}".format(*feature.bounds))
    if feature.column not in (None, name):
        parts.append(f"the study's '{name}'")
    # Other values are answered too, with flags.
    return {"type": [*SINGLE], "description": "; ".join(parts) + "."}


def what_if_schemas(reader: PatientReader) -> list[dict[str, Any]]:
    """Describe the values of each feature: numbers, or its levels."""
    schemas_of_levels, numbers = [], []
    for key, position in reader.positions.items():
        spellings = reader.spellings(position)
        if spellings is None:
            numbers.append(key)
        else:
            schemas_of_levels.append(_what_if_schema([key], {"enum": [*spellings, None]}))
    return ([_what_if_schema(numbers, dict(NUMBER))] if numbers else []) + schemas_of_levels


def _what_if_schema(keys: list[str], value: dict[str, Any]) -> dict[str, Any]:
    lists = {"type": "array", "items": value, "minItems": 1, "maxItems": MOST_VALUES}
    return {
        "properties": {
            "feature": {"enum": keys},
            "values": {"anyOf": [lists, {"type": "null"}]},
        }
    }


def times_schema(horizon: float | None) -> dict[str, Any]:
    """Describe the months that may be asked for."""
    if horizon is None:
        return {"type": "null", "description": "The model has no survival endpoint."}
    return {
        "type": ["array", "null"],
        "items": {"type": "number", "minimum": 0, "maximum": horizon},
        "maxItems": MOST_TIMES,
        "uniqueItems": True,
        "description": f"Months, up to {horizon:g}; 12, 36 and 60 if absent.",
    }


def answer_properties(predictor: Predictor) -> dict[str, Any]:
    """Describe the quantities of this model's answers, by their names."""
    asked = CheckedRequest([dict(typical_patient(predictor.bundle))], None)
    further = tuple(f"{name}." for name in predictor.bundle.survival)[1:]
    properties = {}
    for name, value in predictor.answers(asked)[0].items():
        plain = name.removeprefix(next((p for p in further if name.startswith(p)), ""))
        description = next(
            (text for key, text in QUANTITIES.items() if plain.startswith(key)), None
        )
        if description is None or plain.startswith("survival@"):
            continue
        kind = "string" if isinstance(value, str) else "number"
        properties[name] = {"type": [kind, "null"], "description": description}
    return properties


def paths(predictor: Predictor) -> dict[str, Any]:
    """Describe the routes, with examples of the requests."""
    patient = typical_patient(predictor.bundle)
    first = dict(list(patient.items())[:2])
    horizon = predictor.bundle.horizon
    times = {} if horizon is None else {"times": sorted({min(12.0, horizon), horizon})}
    examples: dict[str, Any] = {
        "/predict": {
            "typical": {"patient": patient, **times},
            "little is known": {"patient": first},
        },
        "/predict_batch": {"two patients": {"patients": [patient, first], **times}},
        "/what_if": what_if_examples(predictor, patient),
    }
    if horizon is not None:
        examples["/explain"] = {"typical but for the first feature": {"patient": first}}
    card = {"application/json": {"schema": {"$ref": REF.format(model="ModelCard")}}}
    about = "Return the model card: version, training cohort, performance and features."
    return {
        **{path: _post(path, shown) for path, shown in examples.items()},
        "/model": _get("model", about, card, "model"),
        "/metrics": _get("metrics", "Numbers for Prometheus; none is about one patient.", TEXT),
        "/livez": _get("livez", "Whether the server lives.", TEXT),
        "/readyz": _get("readyz", "Whether it answers patients.", TEXT),
    }


def what_if_examples(predictor: Predictor, patient: Mapping[str, Value]) -> dict[str, Any]:
    """Return examples with given values, with the default ones, and of the treatment."""
    study, known = predictor.bundle.study, training_values(predictor.bundle)
    shown: dict[str, Any] = {}
    name = next((n for n, f in study.features.items() if f.kind == "expression"), None)
    name = name or next(iter(study.features))
    shown[f"over {name}"] = {"patient": patient, "feature": name}
    chosen = list(known[name].spread[:3])
    if chosen:
        shown["at chosen values"] = {"patient": patient, "feature": name, "values": chosen}
    if study.treatment is not None:
        column = study.treatment.column
        shown["without and with the treatment"] = {"patient": patient, "feature": column}
    return shown


def _post(path: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    asked, answered, about = POST_ROUTES[path]
    request = {
        "schema": {"$ref": REF.format(model=asked.__name__)},
        "examples": {title: {"value": value} for title, value in examples.items()},
    }
    answer = {"schema": {"$ref": REF.format(model=answered.__name__)}}
    return {
        "post": {
            "operationId": path.removeprefix("/"),
            "tags": ["answers"],
            "summary": about,
            "requestBody": {"required": True, "content": {"application/json": request}},
            "responses": {
                "200": {"description": "The answer.", "content": {"application/json": answer}},
                **_refusals(*ERRORS),
            },
        }
    }


def _get(name: str, about: str, content: Mapping[str, Any], tag: str = "operation") -> Any:
    open_to_all = tag == "operation" and name != "metrics"
    refusals = {} if open_to_all else _refusals(401, 403, 429, 500)
    own: dict[str, Any] = {"security": []} if open_to_all else {}
    return {
        "get": {
            "operationId": name,
            "tags": [tag],
            "summary": about,
            "responses": {"200": {"description": "The answer.", "content": content}, **refusals},
            **own,
        }
    }


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/E{status}"} for status in statuses}


def _error(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/json": {"schema": {"$ref": REF.format(model="Error")}}},
    }
    if status == 429:
        response["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return response
