"""The parts of a study file: features, endpoints, treatment and source, each checked by itself."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Kind = Literal["number", "ordinal", "category", "expression", "density"]
Unit = Literal["days", "weeks", "months", "years"]
#: Decimal marks.
Mark = Literal[".", ","]

#: Months in one unit of time; everything inside the package is in months.
MONTHS: dict[Unit, float] = {
    "days": 12 / 365.25,
    "weeks": 7 * 12 / 365.25,
    "months": 1.0,
    "years": 12.0,
}

TREATMENT = "treatment"
#: Names of endpoints begin columns, metrics and files, so they are plain.
ENDPOINT_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
#: Prefix of the columns of binary endpoints, before a point.
RESPONSE = "response"


def as_level(value: object) -> str:
    """Write a level as text, so that ``1``, ``1.0`` and ``"1"`` are one level."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if text.endswith(".0") and text[:-2].lstrip("-").isdigit():
        text = text[:-2]
    return text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _level(value: object) -> str:
    if isinstance(value, bool):
        raise ValueError("YAML reads a bare yes, no, true or false as a switch: put it in quotes")
    return as_level(value)


Level = Annotated[str, BeforeValidator(_level)]


class Part(BaseModel):
    """A part of the study file: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        """Take a key whose last line was moved out, which YAML reads as null, for an absent one."""
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields.items()
        optional = {n for name, f in fields if not f.is_required() for n in (name, f.alias)}
        return {
            key: value for key, value in given.items() if value is not None or key not in optional
        }


class Feature(Part):
    """One input of the model: a column and what its values mean."""

    kind: Kind
    """Kind of the values; decides how they are coded, scaled and embedded."""
    column: str | None = None
    """The table's column; the feature's own name if absent."""
    label: str | None = None
    """Name in texts and figures."""
    unit: str | None = None
    """Unit of the values, for texts and figures."""
    range: tuple[float, float] | None = None
    """Lowest and highest possible value."""
    levels: tuple[Level, ...] | None = None
    """The values of an ordinal (lowest first) or a category."""
    map: dict[Level, Level | None] | None = None
    """Other spellings found in the table -> the level or number they mean, or null for missing."""
    decimal: Mark | None = None
    """Decimal mark of a column of text, where its cells leave it open."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        leveled = self.kind in ("ordinal", "category")
        if leveled and (self.levels is None or len(self.levels) < 2):
            raise ValueError(f"kind '{self.kind}' needs at least two levels")
        stray = [n for n in (self.map or {}).values() if n is not None and not _is_number(n)]
        if not leveled and (self.levels is not None or stray):
            raise ValueError(f"kind '{self.kind}' takes neither levels nor a map to them")
        if leveled and self.decimal is not None:
            raise ValueError(f"kind '{self.kind}' takes no decimal mark")
        if self.levels is not None and len(set(self.levels)) != len(self.levels):
            raise ValueError("a level is listed twice")
        if self.map is not None and self.levels is not None:
            stray = sorted({v for v in self.map.values() if v is not None} - set(self.levels))
            if stray:
                raise ValueError(f"map leads to '{stray[0]}', which is not among the levels")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range must be [lowest, highest]")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The possible values: the declared range, or that of the kind."""
        if self.range is not None:
            return self.range
        return (0.0, math.inf) if self.kind == "density" else (-math.inf, math.inf)


class LatestBefore(Part):
    """The latest of a patient's rows from before follow-up began."""

    latest_before: str
    """Column of the time at which a row was taken: a number, at most 0 before follow-up, or a date,
    where the time is from dates."""


class FirstOf(Part):
    """A time in several columns, such as days to death and days to the last contact."""

    first_of: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns; each patient has the first that is filled."""


class FromDates(Part):
    """A time from one date to another."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    start: Annotated[str, Field(alias="from")]
    """Column of the date at which follow-up begins."""
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns of dates, such as death and last contact; each patient has the first filled one."""
    format: str | None = None
    """Format of text dates, such as ``%d.%m.%Y``; absent: ISO dates, or one that all cells fit."""


class SurvivalEndpoint(Part):
    """A time to an event, right-censored."""

    time: str | FirstOf | FromDates
    """Column of the follow-up time; or several, of which the first filled one counts; or dates."""
    event: str
    """Column of the event indicator."""
    unit: Unit = "months"
    """Unit of the time column; dates need none."""
    decimal: Mark | None = None
    """Decimal mark of the time, where its cells leave it open."""
    horizon: Annotated[float, Field(gt=0)] | None = None
    """Months to which the endpoint is modelled, judged and predicted; null: the last follow-up."""
    event_values: tuple[Level, ...] | None = None
    """Values that mean the event, where the column holds neither 0/1 nor a known coding."""
    zero_is_missing: bool = False
    """Whether time zero stands for no follow-up with the event too, as portals keep it."""
    drop_without_follow_up: bool = False
    """Leave out, and count, patients whose time or event is missing, or who are censored at 0."""

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The columns that the time is read from."""
        match self.time:
            case FirstOf(first_of=names):
                return names
            case FromDates(start=start, to=names):
                return (start, *names)
            case _:
                return (self.time,)


class Rows(Part):
    """Rule by which several rows of a patient become one."""

    one_per_patient: Literal["first", "last", "primary", "mean"] | LatestBefore
    """Which row: by order, the primary tumour's, the mean of numbers with the first of all else, or
    the latest from before follow-up."""
    prefer: Literal["filled"] | None = None
    """``filled``: a cell that the row lacks is taken from the patient's other rows, in order."""


class BinaryEndpoint(Part):
    """A yes/no outcome, such as response to a drug; unlabelled patients are masked."""

    column: str
    """Column of the outcome."""
    positive: tuple[Level, ...]
    """Values that mean yes."""
    negative: tuple[Level, ...]
    """Values that mean no. An empty cell is an unlabelled patient, any other value an error."""
    label: str | None = None
    """Name in texts and figures, as in 'probability of response to a checkpoint inhibitor'."""
    features: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The few inputs fixed in advance for few labels; null: all of the study's features."""
    local_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Rate of positives where the model is used, to which predictions are calibrated."""


class Endpoints(Part):
    """The endpoints by name."""

    survival: dict[str, SurvivalEndpoint] = Field(default_factory=dict)
    """Name -> time to an event. The first is a run's primary endpoint."""
    binary: dict[str, BinaryEndpoint] = Field(default_factory=dict)
    """Name -> yes/no outcome."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.survival and not self.binary:
            raise ValueError("name at least one endpoint under survival or binary")
        for name in (*self.survival, *self.binary):
            if not re.fullmatch(ENDPOINT_NAME, name):
                raise ValueError(
                    f"'{name}' is no name for an endpoint: use letters, digits, _ and - alone"
                )
        if RESPONSE in self.survival:
            raise ValueError(f"'{RESPONSE}' begins the columns of binary endpoints: rename it")
        both = sorted(self.survival.keys() & self.binary.keys())
        if both:
            raise ValueError(f"'{both[0]}' is both a survival and a binary endpoint: rename one")
        return self


class Treatment(Part):
    """The treatment whose effect is estimated."""

    column: str
    """Treatment column."""
    treated: tuple[Level, ...]
    """Values that mean treated."""
    untreated: tuple[Level, ...]
    """Values that mean untreated. An empty cell is unknown, any other value an error."""
    label: str = "treatment"
    """Name in texts and figures, as in 'favours chemotherapy'."""
    eligible: dict[str, tuple[Level, ...]] = Field(default_factory=dict)
    """Feature -> levels at which the treatment is an option; at all levels if absent."""
    landmark: Annotated[float, Field(ge=0)] = 2.0
    """Landmark, in months: the treatment has begun by then in all who get it."""
    expected_hr: tuple[float, float] | None = None
    """Range of the hazard ratio in randomised trials; an observed effect whose interval lies
    outside it raises an alarm. Without a range there is none."""
    expected_hr_source: str = ""
    """The trials that the range is from."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = sorted(set(self.treated) & set(self.untreated))
        if both:
            raise ValueError(f"level '{both[0]}' is both treated and untreated")
        if not self.treated or not self.untreated:
            raise ValueError("name at least one level each under treated and untreated")
        if self.expected_hr is None and self.expected_hr_source:
            raise ValueError("expected_hr_source is given without expected_hr, the range itself")
        if self.expected_hr is not None and not 0 < self.expected_hr[0] < self.expected_hr[1]:
            raise ValueError("expected_hr must be [lowest, highest], both above 0")
        return self


class Source(Part):
    """The files of the values, and their reader."""

    reader: str = "table"
    """One of ``readers.READERS``. It is looked up when the files are read: a bundle keeps the name
    and can be loaded without that reader."""
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files or folders, joined on the id column; relative to the study file."""
    expression: str | None = None
    """The folder's expression file, by name (cbioportal only)."""
    sheet: str | None = None
    """The sheet of a workbook (table only); null: the only one that has a table."""
    encoding: str | None = None
    """Encoding of text that is not UTF-8, such as cp1252 (table only)."""
