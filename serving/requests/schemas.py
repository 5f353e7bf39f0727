"""Schemas of requests and answers, and the limits of a request.

They are for BentoML and for OpenAPI; ``requests.validation`` checks requests. The process that
starts the workers imports this module, and none that takes long to load.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Maximum of patients and months of a request, and of values of a what-if.
MOST_PATIENTS, MOST_TIMES, MOST_VALUES = 5000, 200, 50

RESEARCH = "For research use only: not a medical device, not for decisions about a patient's care."
SYNTHETIC = "SYNTHETIC: trained on simulated patients, it says nothing about real ones."


TIMES = Field(
    None,
    description="Months at which survival is asked for; 12, 36 and 60 if absent. Leave it out "
    "where the model has no survival endpoint.",
)


class PredictRequest(BaseModel):
    """One patient."""

    patient: dict[str, Any] = Field(
        description="Feature or column name -> value; leave out, or send null for, what is not "
        "known. Names and levels are the study's."
    )
    times: list[float] | None = TIMES


class BatchRequest(BaseModel):
    """Several patients."""

    patients: list[dict[str, Any]] = Field(description="Patients as for /predict, at least one.")
    times: list[float] | None = TIMES


class CurvePoint(BaseModel):
    """Survival at one time."""

    time: float = Field(description="Months.")
    survival: float
    low: float = Field(
        description="Lower end of the middle of the ensemble's models: how far they differ, no "
        "interval for the truth."
    )
    high: float = Field(description="Upper end.")


class PatientAnswer(BaseModel):
    """Predictions for one patient, under the names of ``predict``'s columns.

    ``survival@T`` for each time T asked for; a further survival endpoint's quantities begin with
    its name and a point; ``response.NAME`` is the chance of a positive label. A model without a
    survival endpoint gives neither risk nor curve.
    """

    model_config = ConfigDict(extra="allow")

    patient_id: str | None = Field(None, description="As given; absent if none was.")
    risk: float | None = Field(
        None, description="Higher is worse; 0 is the average training patient."
    )
    flags: list[str] = Field(description="What was odd about the values; empty if nothing.")
    interval: float | None = Field(
        None, description="Part of the ensemble that lies between low and high."
    )
    curve: list[CurvePoint] | None = Field(None, description="Of the first survival endpoint.")


class ModelInfo(BaseModel):
    """The model that answered."""

    name: str
    endpoint: str
    digest: str
    fit_id: str | None
    run_id: str | None = Field(description="MLflow's; null where it is not known.")
    version: str | None = Field(description="In MLflow's registry; null where it is not known.")
    synthetic: bool
    horizon: float | None = Field(description="Months; null without a survival endpoint.")


class Signed(BaseModel):
    """An answer with its model and note."""

    model: ModelInfo
    note: str


class PredictAnswer(PatientAnswer, Signed):
    """One patient's answer, with the model and the note."""


class BatchAnswer(Signed):
    """Answers in the order of the patients."""

    patients: list[PatientAnswer]


class ErrorDetail(BaseModel):
    """One problem of a request."""

    where: str = Field(description="Place in the request, such as patients[3].age.")
    problem: str


class ErrorBody(BaseModel):
    """Code, message and details of an error."""

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="For people.")
    details: list[ErrorDetail]


class Error(BaseModel):
    """The shape of every error."""

    error: ErrorBody


class ExplainRequest(BaseModel):
    """One patient, whose risk is to be explained."""

    patient: dict[str, Any] = Field(description="As for /predict.")


class WhatIfRequest(BaseModel):
    """One patient, and a feature to look at other values of."""

    patient: dict[str, Any] = Field(description="As for /predict.")
    feature: str = Field(description="Name or column of a feature, or the treatment's column.")
    values: list[float | str | None] | None = Field(
        None,
        description="Values to look at; null asks what if it were not known. If absent, quantiles "
        "of the training patients, all levels, or without and with the treatment.",
        min_length=1,
        max_length=MOST_VALUES,
    )
    times: list[float] | None = Field(None, description="As for /predict.")


class ExplainAnswer(Signed):
    """The parts of one patient's risk: the base and all features' parts add up to it."""

    patient_id: str | None = Field(None, description="As given; absent if none was.")
    risk: float
    base: float = Field(description="Risk of a typical training patient, untreated.")
    features: dict[str, float] = Field(description="Feature -> what it adds.")
    modalities: dict[str, float] = Field(description="Modality -> what its features add.")
    flags: list[str]


class WhatIfAnswer(Signed):
    """One answer for each value, in their order."""

    feature: str = Field(description="Its name in the study.")
    values: list[float | str | None]
    answers: list[PatientAnswer]


class Span(BaseModel):
    """A figure with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


class FeatureCard(BaseModel):
    """One input of the model."""

    name: str
    column: str = Field(description="What a request calls it.")
    modality: str
    kind: str
    unit: str | None
    range: list[float | None] | None = Field(description="Lowest and highest that can be right.")
    levels: list[str] | None
    low: float | None = Field(description="Half a percent of the training patients lie below.")
    high: float | None = Field(description="Half a percent of the training patients lie above.")
    typical: float | str | None


class Cohort(BaseModel):
    """The training cohort."""

    fingerprint: str | None
    patients: int | None
    events: int | None


class EndpointNames(BaseModel):
    """Names of the model's endpoints."""

    survival: list[str]
    binary: list[str]


class TreatmentCard(BaseModel):
    """The treatment whose benefit is answered."""

    column: str
    label: str
    treated: list[str]
    untreated: list[str]
    eligible: dict[str, list[str]]
    horizon: float | None = Field(description="Months at which the benefit is given.")
    no_effect: str | None = Field(description="Why there is no effect, if so.")
    distrust: str | None = Field(description="Why no advice rests on the effect, if so.")


class ResponseCard(BaseModel):
    """A binary endpoint."""

    name: str
    column: str
    positive: list[str]
    answered: bool = Field(description="Whether there were labels enough for a model.")
    metrics: dict[str, Span]


class ModelCard(ModelInfo):
    """The model card: version, training cohort, performance and features."""

    model_config = ConfigDict(extra="allow")

    endpoints: EndpointNames
    cohort: Cohort
    metrics: dict[str, Span] = Field(description="Out of fold, of the first survival endpoint.")
    features: list[FeatureCard]
    treatment: TreatmentCard | None
    responses: list[ResponseCard]
    card: str = Field(description="Markdown.")
    note: str


#: POST routes by path: schemas of request and answer, and a summary.
POST_ROUTES: dict[str, tuple[type[BaseModel], type[BaseModel], str]] = {
    "/predict": (PredictRequest, PredictAnswer, "Predict for one patient."),
    "/predict_batch": (BatchRequest, BatchAnswer, "Predict for a list of patients."),
    "/what_if": (
        WhatIfRequest,
        WhatIfAnswer,
        "Answer one patient over several values of one feature, or without and with the treatment.",
    ),
    "/explain": (
        ExplainRequest,
        ExplainAnswer,
        "Say what each feature adds to a patient's risk.",
    ),
}
#: Paths of the endpoint, without BentoML's own.
ROUTES = (
    *POST_ROUTES,
    *("/model", "/docs.json", "/metrics", "/", "/app/", "/app/form", "/docs"),
)
