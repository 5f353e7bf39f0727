"""Schemas of requests and answers for BentoML and OpenAPI, and the limits of a request.

``requests.validation`` checks requests, not these schemas. The process that starts the workers
imports this module, which must therefore load fast.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Maximum number of patients of a request.
MOST_PATIENTS = 5000
#: Maximum number of months of a request.
MOST_TIMES = 200
#: Maximum product of patients and months of a request, by which the answer grows.
MOST_CELLS = 100_000
#: Maximum number of values of a what-if request.
MOST_VALUES = 50

#: Note of every answer.
RESEARCH = "For research use only: not a medical device, not for decisions about a patient's care."
#: Note of the answers of a model trained on simulated patients, before `RESEARCH`.
SYNTHETIC = "SYNTHETIC: trained on simulated patients, it says nothing about real ones."

#: Field ``times`` of a request for predictions.
TIMES = Field(
    None,
    description="Months at which survival is asked for; 12, 36 and 60 if absent. Leave it out "
    "where the model has no survival endpoint.",
)


class PredictRequest(BaseModel):
    """One patient."""

    patient: dict[str, Any] = Field(
        description="Feature or column name -> value; leave out an unknown value, or send null. "
        "Names and levels are the study's."
    )
    times: list[float] | None = TIMES


class BatchRequest(BaseModel):
    """Several patients."""

    patients: list[dict[str, Any]] = Field(description="Patients as for /predict, at least one.")
    times: list[float] | None = TIMES


class CurvePoint(BaseModel):
    """Survival probability at one month."""

    time: float = Field(description="Months.")
    survival: float
    low: float | None = Field(
        description="Lower end of the interval of this patient's survival; null of models without."
    )
    high: float | None = Field(description="Upper end.")


class PatientAnswer(BaseModel):
    """Predictions for one patient, under the names of the columns of ``accomplice predict``.

    ``survival@T`` is the survival probability at each month T asked for. Quantities of a further
    survival endpoint begin with its name and a point. ``response.NAME`` is the probability of a
    positive label. A model without a survival endpoint gives neither risk nor curve.
    """

    model_config = ConfigDict(extra="allow")

    patient_id: str | None = Field(None, description="As given; absent if none was.")
    risk: float | None = Field(
        None, description="Higher is worse; 0 is the average training patient."
    )
    flags: list[str] = Field(description="Odd values and months; empty if there are none.")
    interval: float | None = Field(
        None, description="Nominal coverage of the interval from low to high."
    )
    curve: list[CurvePoint] | None = Field(None, description="Of the first survival endpoint.")


class ModelInfo(BaseModel):
    """The model that answered."""

    name: str
    """Name of the study."""
    endpoint: str
    """Name of the first endpoint: a survival endpoint if one has a model, else a binary one."""
    digest: str
    """SHA-256 of the bundle's content."""
    fit_id: str | None
    """Id of the fit, from the bundle's provenance."""
    run_id: str | None = Field(description="MLflow's; null where it is not known.")
    version: str | None = Field(description="In MLflow's registry; null where it is not known.")
    synthetic: bool
    """Whether the training patients were simulated."""
    horizon: float | None = Field(description="Months; null without a survival endpoint.")


class Signed(BaseModel):
    """An answer with its model and note."""

    model: ModelInfo
    note: str
    """Limits of use."""


class PredictAnswer(PatientAnswer, Signed):
    """Predictions for one patient, with the model and the note."""


class BatchAnswer(Signed):
    """Predictions for several patients, in the order of the request."""

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
    """An error, as every route answers it."""

    error: ErrorBody


class ExplainRequest(BaseModel):
    """One patient, whose risk is to be explained."""

    patient: dict[str, Any] = Field(description="As for /predict.")


class WhatIfRequest(BaseModel):
    """One patient, and a feature whose value is varied."""

    patient: dict[str, Any] = Field(description="As for /predict.")
    feature: str = Field(description="Name or column of a feature, or the treatment's column.")
    values: list[float | str | None] | None = Field(
        None,
        description="Values of the feature; null is an unknown value. If absent, quantiles "
        "of the training patients, all levels, or without and with the treatment.",
        min_length=1,
        max_length=MOST_VALUES,
    )
    times: list[float] | None = Field(None, description="As for /predict.")


class ExplainAnswer(Signed):
    """Shapley values of one patient's risk: base and features add up to the risk."""

    patient_id: str | None = Field(None, description="As given; absent if none was.")
    risk: float
    """Log-hazard; higher is worse."""
    base: float = Field(description="Risk of a typical training patient, untreated.")
    features: dict[str, float] = Field(description="Feature -> its part of the risk.")
    modalities: dict[str, float] = Field(description="Modality -> sum of its features' parts.")
    flags: list[str]
    """Odd values of the patient; empty if there are none."""


class WhatIfAnswer(Signed):
    """Predictions for one patient at each value of a feature, in the order of the values."""

    feature: str = Field(description="Its name in the study.")
    values: list[float | str | None]
    answers: list[PatientAnswer]


class Span(BaseModel):
    """A score with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


class FeatureCard(BaseModel):
    """One input of the model."""

    name: str
    column: str = Field(description="Its name in a request.")
    modality: str
    kind: str
    """Kind of feature: ``number``, ``ordinal``, ``category``, ``expression`` or ``density``."""
    unit: str | None
    range: list[float | None] | None = Field(description="Lowest and highest that can be right.")
    levels: list[str] | None
    low: float | None = Field(description="Half a percent of the training patients lie below.")
    high: float | None = Field(description="Half a percent of the training patients lie above.")
    typical: float | str | None
    """Of the training patients: mean of a number on the model's scale, ordinal level nearest to the
    mean, or most frequent category; the value of no treatment for the treatment."""


class Cohort(BaseModel):
    """The training cohort; values that the bundle does not record are null."""

    fingerprint: str | None
    """Digest of the patients' data."""
    patients: int | None
    """Number of patients."""
    events: int | None
    """Number of events of the primary endpoint."""


class EndpointNames(BaseModel):
    """Names of the model's endpoints."""

    survival: list[str]
    binary: list[str]


class TreatmentCard(BaseModel):
    """The treatment whose benefit is predicted."""

    column: str
    label: str
    treated: list[str]
    """Values that mean treated."""
    untreated: list[str]
    """Values that mean untreated."""
    eligible: dict[str, list[str]]
    """Feature -> levels at which the treatment is an option."""
    horizon: float | None = Field(description="Months at which the benefit is given.")
    no_effect: str | None = Field(description="Why there is no effect, if so.")
    distrust: str | None = Field(description="Why no advice rests on the effect, if so.")


class ResponseCard(BaseModel):
    """A binary endpoint."""

    name: str
    column: str
    """Name of its probability in an answer."""
    positive: list[str]
    """Labels that mean positive."""
    answered: bool = Field(description="Whether there were labels enough for a model.")
    metrics: dict[str, Span]
    """Score -> value and interval."""


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


#: Path of a POST route -> schemas of its request and answer, and its summary.
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
        "Attribute a patient's risk to the features (Shapley values).",
    ),
}
#: Paths of all routes of the server, except those that BentoML adds to every service.
ROUTES = (
    *POST_ROUTES,
    *("/model", "/docs.json", "/metrics", "/", "/app/", "/app/form", "/docs"),
)
