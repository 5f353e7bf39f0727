"""OpenAPI document of the endpoint, made from the bundle that it serves.

BentoML's own document has neither the GET routes nor the errors, and is no valid OpenAPI 3.0 where
a value may be null. In this one the keys of a patient are the study's columns, the keys of an
answer are the model's quantities, and the endpoint answers every example.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from accomplice.data.escaping import markdown
from accomplice.data.study_parts import Feature
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.training_values import Value, training_values, typical_patient
from accomplice.serving.requests.patient_reader import PatientReader
from accomplice.serving.requests.schemas import (
    MOST_CELLS,
    MOST_PATIENTS,
    MOST_TIMES,
    MOST_VALUES,
    POST_ROUTES,
    Error,
    ModelCard,
)
from accomplice.serving.requests.validation import MONTH_DECIMALS, CheckedRequest

#: Reference to a schema, by the name of its model.
REF = "#/components/schemas/{model}"
#: Schema of a number that may be null.
NUMBER: Mapping[str, Any] = {"type": ["number", "null"]}
#: Types of a patient's values.
SINGLE = ("string", "number", "boolean", "null")
#: Schema of one patient.
PATIENT = {"$ref": REF.format(model="Patient")}
#: Schema of a list of patients.
PATIENTS = {"type": "array", "minItems": 1, "maxItems": MOST_PATIENTS, "items": PATIENT}
#: Content of an answer in plain text.
TEXT = {"text/plain": {"schema": {"type": "string"}}}
#: Prefix of a quantity's name -> its description; the first prefix that fits a name counts.
QUANTITIES = {
    "risk_group": "Third of the training patients' out-of-fold risks into which the risk falls: "
    "low, middle or high.",
    "risk_centile": "Percent of the training patients whose risk, out of fold, was lower.",
    "risk": "Log-hazard: higher is worse; 0 is the average training patient.",
    "survival_low@": "Lower end of the survival's 80 % interval.",
    "survival_high@": "Upper end of the survival's 80 % interval.",
    "survival@": "Chance to be free of the event at this month.",
    "rmst_gain@": "Restricted mean survival with the treatment minus without, in months.",
    "rmst_low@": "Lower end of the 80 % interval of the restricted mean survival, in months.",
    "rmst_high@": "Upper end of the 80 % interval of the restricted mean survival, in months.",
    "rmst@": "Restricted mean survival to this month, in months.",
    "benefit_low@": "Lower end of the benefit's 80 % interval.",
    "benefit_high@": "Upper end of the benefit's 80 % interval.",
    "benefit@": "Survival at this month with the treatment minus without.",
    "p_benefit": "Chance of a gain above 3 points.",
    "advice": "Advice by the benefit, or the reason why the model abstains.",
    "response.": "Chance of a positive label.",
}
#: Prefixes of the quantities that are answered at each month asked for.
SURVIVAL = ("survival@", "survival_low@", "survival_high@")
#: Status of an error -> its description.
ERRORS = {
    400: "The request is invalid: the details name each place and problem, and repeat no value.",
    401: "Send a known token.",
    403: "Another machine asks and the server has no tokens, or a page of another site asks.",
    408: "The body took too long to come in.",
    411: "Say the body's length, or send it chunked.",
    413: "The body or the answer to it is too large.",
    415: "This media type is not read: send application/json, not compressed.",
    429: "Too many requests are under way: ask again after Retry-After seconds.",
    500: "Internal server error.",
    504: "The answer took too long.",
}


def document(predictor: Predictor, secured: bool = False) -> dict[str, Any]:
    """Return the OpenAPI document as plain data.

    Args:
        predictor: predictor with the bundle in service.
        secured: whether the server has tokens, so that a request needs one.
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
                    "description": "Needed where the server has tokens: accomplice token NAME.",
                }
            },
        },
    }


def schemas(predictor: Predictor) -> dict[str, Any]:
    """Return name -> schema, of a patient, of the requests and answers, and of the errors."""
    posts = [route[:2] for route in POST_ROUTES.values()]
    models: list[type[BaseModel]] = [*chain.from_iterable(posts), ModelCard, Error]
    by_name = models_json_schema([(m, "validation") for m in models], ref_template=REF)[1]["$defs"]
    quantities = answer_properties(predictor)
    for name, schema in by_name.items():
        properties = schema["properties"]
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            one = "patient" in properties
            properties |= {"patient": PATIENT} if one else {"patients": PATIENTS}
            if "times" in properties:
                properties["times"] = times_schema(predictor.bundle.horizon)
        elif name in ("PatientAnswer", "PredictAnswer"):
            schema["properties"] = quantities | properties
            schema["patternProperties"] = {
                r"^([A-Za-z0-9_-]+\.)?survival(_low|_high)?@[0-9.e+-]+$": NUMBER
            }
    by_name["WhatIfRequest"]["anyOf"] = what_if_schemas(predictor.reader)
    return {"Patient": patient_schema(predictor), **by_name}


def patient_schema(predictor: Predictor) -> dict[str, Any]:
    """Return the schema of a patient: the study's columns, with at least one feature."""
    bundle, known = predictor.bundle, training_values(predictor.bundle)
    study, positions = bundle.study, predictor.reader.positions
    properties: dict[str, Any] = {}
    keys = [[key for key, k in positions.items() if k == j] for j in range(len(study.features))]
    twice = [{"not": {"required": both}} for both in keys if len(both) > 1]
    for name, feature in study.features.items():
        schema = _feature_schema(name, feature)
        if known[name].typical is not None:
            schema["examples"] = [known[name].typical]
        properties[feature.column or name] = schema
    for column, title in ((study.id, "Identifier"), (study.centre, "Hospital")):
        if column is not None:
            properties[column] = {"type": [*SINGLE], "description": f"{title}."}
    return {
        "type": "object",
        "title": "Patient",
        "description": "Feature or column -> value; leave out an unknown value, or send null. "
        "Other names are flagged. At least one feature is needed, and none twice.",
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
    # Any single value: those that are invalid are answered too, with flags.
    return {"type": [*SINGLE], "description": str(markdown("; ".join(parts) + "."))}


def what_if_schemas(reader: PatientReader) -> list[dict[str, Any]]:
    """Return the schemas of a what-if's feature and values.

    One is for all keys of numeric features, one for each key of a feature with levels.

    Args:
        reader: reader of patients, with the keys and levels of the features.
    """
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
    """Return the schema of the months that may be asked for.

    Args:
        horizon: the model's, in months; None if it has no survival endpoint.
    """
    if horizon is None:
        return {"type": "null", "description": "The model has no survival endpoint."}
    month = {"type": "number", "minimum": 0, "maximum": horizon, "multipleOf": 10**-MONTH_DECIMALS}
    end = {"const": horizon}
    return {
        "type": ["array", "null"],
        "items": month if round(horizon, MONTH_DECIMALS) == horizon else {"anyOf": [month, end]},
        "maxItems": MOST_TIMES,
        "uniqueItems": True,
        "description": f"Months, up to {horizon:g}; 12, 36 and 60 if absent. Patients times months "
        f"are at most {MOST_CELLS}.",
    }


def answer_properties(predictor: Predictor) -> dict[str, Any]:
    """Return quantity -> schema of this model's answers, at the default months.

    Survival and its interval are left out: a pattern of their names describes them at all months.
    """
    request = CheckedRequest([dict(typical_patient(predictor.bundle))], None)
    further = tuple(f"{name}." for name in predictor.bundle.survival)[1:]
    properties = {}
    for name, value in predictor.answers(request)[0].items():
        plain = name.removeprefix(next((p for p in further if name.startswith(p)), ""))
        description = next(
            (text for key, text in QUANTITIES.items() if plain.startswith(key)), None
        )
        if description is None or plain.startswith(SURVIVAL):
            continue
        kind = "string" if isinstance(value, str) else "number"
        properties[name] = {"type": [kind, "null"], "description": description}
    return properties


def paths(predictor: Predictor) -> dict[str, Any]:
    """Return path -> description of the route, with examples of its requests.

    /explain is left out for a model without a survival endpoint.
    """
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
        examples["/explain"] = {"little is known": {"patient": first}}
    card = {"application/json": {"schema": {"$ref": REF.format(model="ModelCard")}}}
    about = "Return the model card: version, training cohort, performance and features."
    return {
        **{path: _post(path, shown) for path, shown in examples.items()},
        "/model": _get("model", about, card, "model"),
        "/metrics": _get("metrics", "Numbers for Prometheus; none is about one patient.", TEXT),
        "/livez": _get("livez", "Whether the server lives.", TEXT, open_to_all=True),
        "/readyz": _get("readyz", "Whether it answers patients.", TEXT, open_to_all=True),
    }


def what_if_examples(predictor: Predictor, patient: Mapping[str, Value]) -> dict[str, Any]:
    """Return title -> example of a what-if request.

    There are three: of a feature at the default values, of the same feature at given values, and of
    the treatment. The feature is the first of expression, or else the study's first. The second is
    left out if no values of the feature are known, the third without a treatment.

    Args:
        predictor: predictor with the bundle in service.
        patient: the patient of all examples.
    """
    study, known = predictor.bundle.study, training_values(predictor.bundle)
    examples: dict[str, Any] = {}
    name = next((n for n, f in study.features.items() if f.kind == "expression"), None)
    name = name or next(iter(study.features))
    examples[f"over {name}"] = {"patient": patient, "feature": name}
    values = list(known[name].spread[:3])
    if values:
        examples["at chosen values"] = {"patient": patient, "feature": name, "values": values}
    if study.treatment is not None:
        column = study.treatment.column
        examples["without and with the treatment"] = {"patient": patient, "feature": column}
    return examples


def _post(path: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a POST route."""
    request_model, answer_model, summary = POST_ROUTES[path]
    request = {
        "schema": {"$ref": REF.format(model=request_model.__name__)},
        "examples": {title: {"value": value} for title, value in examples.items()},
    }
    answer = {"schema": {"$ref": REF.format(model=answer_model.__name__)}}
    return {
        "post": {
            "operationId": path.removeprefix("/"),
            "tags": ["answers"],
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": request}},
            "responses": {
                "200": {"description": "The answer.", "content": {"application/json": answer}},
                **_refusals(*ERRORS),
            },
        }
    }


def _get(
    name: str,
    summary: str,
    content: Mapping[str, Any],
    tag: str = "operation",
    *,
    open_to_all: bool = False,
) -> dict[str, Any]:
    """Return the description of a GET route."""
    refusals = {} if open_to_all else _refusals(401, 403, 429, 500)
    security: dict[str, Any] = {"security": []} if open_to_all else {}
    return {
        "get": {
            "operationId": name,
            "tags": [tag],
            "summary": summary,
            "responses": {"200": {"description": "The answer.", "content": content}, **refusals},
            **security,
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
