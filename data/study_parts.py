"""The parts of a study file: features, rows, endpoints, treatment and source, with their checks."""

from __future__ import annotations

import math
import re
from datetime import date
from numbers import Real
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

#: Kinds of features.
Kind = Literal["number", "ordinal", "category", "expression", "density"]
#: Units of time.
Unit = Literal["days", "weeks", "months", "years"]
#: Decimal marks.
Mark = Literal[".", ","]

#: Months in one unit of time; all times inside the package are in months.
MONTHS: dict[Unit, float] = {
    "days": 12 / 365.25,
    "weeks": 7 * 12 / 365.25,
    "months": 1.0,
    "years": 12.0,
}

#: Name of the modality of a treatment that is listed in no other.
TREATMENT = "treatment"
#: Pattern of endpoint names, which become parts of the names of columns, metrics and files.
ENDPOINT_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
#: Value of a feature's ``unlisted`` by which unlisted texts are missing.
UNLISTED_MISSING = "missing"
#: Prefix of the columns of a binary endpoint, as in ``response.NAME``.
RESPONSE = "response"


def as_level(value: object) -> str:
    """Return a level as text, so that ``1``, ``1.0`` and ``"1"`` are one level."""
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
    """Return a level of the study file as text.

    Raises:
        ValueError: the level is a YAML truth value, or neither text nor a number nor a date.
    """
    if isinstance(value, bool):
        raise ValueError("YAML reads a bare yes, no, true or false as a switch: put it in quotes")
    if not isinstance(value, str | Real | date):
        raise ValueError("a level is a word or a number: put it in quotes")
    return as_level(value)


#: A level in a study file, read as text.
Level = Annotated[str, BeforeValidator(_level)]


class Part(BaseModel):
    """A part of a study file: immutable; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        """Drop optional keys that are null: YAML reads a key without a value as null."""
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields.items()
        optional = {n for name, f in fields if not f.is_required() for n in (name, f.alias)}
        return {
            key: value for key, value in given.items() if value is not None or key not in optional
        }


class Feature(Part):
    """One input of the model: a column and the meaning of its values."""

    kind: Kind
    """Kind of the values; decides how they are coded, scaled and embedded."""
    column: str | None = None
    """The table's column; null: the column has the feature's name."""
    label: str | None = None
    """Name in the web form; null: made from the feature's name."""
    unit: str | None = None
    """Unit of the values, and the only one that cells may name, as in ``66 years``."""
    range: tuple[float, float] | None = None
    """Lowest and highest possible value, in the unit; null: that of the kind."""
    levels: tuple[Level, ...] | None = None
    """The values of an ordinal (lowest first) or a category."""
    map: dict[Level, Level | None] | None = None
    """Other spelling in the table -> the level or number that it means, or null for missing."""
    unlisted: Level | None = None
    """Level of all texts that are neither a level nor in ``map``; ``missing``: they are missing.
    Predictions flag them. Null: they are an error in training, and missing in predictions."""
    decimal: Mark | None = None
    """Decimal mark of a column of text, if its cells leave the mark unclear."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        leveled = self.kind in ("ordinal", "category")
        if leveled and (self.levels is None or len(self.levels) < 2):
            raise ValueError(f"kind '{self.kind}' needs at least two levels")
        stray = [n for n in (self.map or {}).values() if n is not None and not _is_number(n)]
        if not leveled and (self.levels is not None or stray or self.unlisted is not None):
            raise ValueError(
                f"kind '{self.kind}' takes neither levels nor a map to them, and no unlisted"
            )
        if leveled and self.decimal is not None:
            raise ValueError(f"kind '{self.kind}' takes no decimal mark")
        if self.levels is not None and len(set(self.levels)) != len(self.levels):
            raise ValueError("a level is listed twice")
        if self.map is not None and self.levels is not None:
            stray = sorted({v for v in self.map.values() if v is not None} - set(self.levels))
            if stray:
                raise ValueError(f"map leads to '{stray[0]}', which is not among the levels")
        if self.unlisted not in (None, UNLISTED_MISSING, *(self.levels or ())):
            raise ValueError(f"unlisted: '{self.unlisted}' is not among the levels")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range must be [lowest, highest]")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest possible value: the declared range, or that of the kind."""
        if self.range is not None:
            return self.range
        return (0.0, math.inf) if self.kind == "density" else (-math.inf, math.inf)


class LatestBefore(Part):
    """Rule that takes the latest of a patient's rows from no later than the start of follow-up."""

    latest_before: str
    """Column of the time of a row: a number, 0 at the start of follow-up and negative before; or a
    date, if the endpoint's time is from dates."""


class FirstOf(Part):
    """A time in several columns, such as days to death and days to the last contact."""

    first_of: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns of the time; for each patient the first filled one counts."""


class FromDates(Part):
    """A time from one date to another."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    start: Annotated[str, Field(alias="from")]
    """Column of the date at which follow-up begins."""
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns of the date at which follow-up ends, such as death and last contact; the first filled
    one counts."""
    format: str | None = None
    """Format of text dates, such as ``%d.%m.%Y``; null: the only one that fits all cells."""


class SurvivalEndpoint(Part):
    """A right-censored time to an event."""

    time: str | FirstOf | FromDates
    """The follow-up time: its column, several columns, or dates."""
    event: str
    """Column of the event indicator."""
    unit: Unit = "months"
    """Unit of the time column; dates need none."""
    decimal: Mark | None = None
    """Decimal mark of the time, if its cells leave the mark unclear."""
    horizon: Annotated[float, Field(gt=0)] | None = None
    """Months up to which the endpoint is modelled, evaluated and predicted; null: the longest
    follow-up, rounded up to three significant digits."""
    event_values: tuple[Level, ...] | None = None
    """Values that mean the event, if the column holds neither 0/1 nor a known coding."""
    zero_is_missing: bool = False
    """Whether time 0 means missing follow-up, also for patients with the event (as some data
    portals code it)."""
    drop_without_follow_up: bool = False
    """Whether patients are dropped, and counted, if their time or event is missing or they are
    censored at time 0; otherwise they are an error."""

    @property
    def time_columns(self) -> tuple[str, ...]:
        """Columns from which the time is read."""
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
    """The row that is taken: the first, the last, the primary tumour's, or the latest one by
    :class:`LatestBefore`; or ``mean``: numbers are averaged, and of any other column the patient's
    first value is taken that is not missing."""
    prefer: Literal["filled"] | None = None
    """``filled``: a missing cell of the row is filled from the patient's other rows, the next one
    by the rule first."""


class BinaryEndpoint(Part):
    """A binary outcome, such as response to a drug; its label may be unknown for some patients."""

    column: str
    """Column of the outcome."""
    positive: tuple[Level, ...]
    """Values that mean yes."""
    negative: tuple[Level, ...]
    """Values that mean no. An empty cell means no label; any other value is an error."""
    label: str | None = None
    """Name in the web form; null: made from the endpoint's name."""
    features: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Features of the model, fixed in advance for few labels; null: all but the treatment."""
    local_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of positives where the model is used, to which predictions are calibrated."""


class Endpoints(Part):
    """The endpoints of a study, by name."""

    survival: dict[str, SurvivalEndpoint] = Field(default_factory=dict)
    """Name -> survival endpoint. The first is the primary one of a run that names no other."""
    binary: dict[str, BinaryEndpoint] = Field(default_factory=dict)
    """Name -> binary endpoint."""

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
    """Column of the treatment."""
    treated: tuple[Level, ...]
    """Values that mean treated."""
    untreated: tuple[Level, ...]
    """Values that mean untreated. An empty cell means unknown, as does another level of the
    treatment's feature, if it lists levels; any other value is an error."""
    label: str = "treatment"
    """Name in texts and figures, as in 'favours chemotherapy'."""
    eligible: dict[str, tuple[Level, ...]] = Field(default_factory=dict)
    """Feature -> levels at which the treatment is an option; a feature not named does not limit."""
    landmark: Annotated[float, Field(ge=0)] = 2.0
    """Landmark, in months: by then the treatment has begun in all treated patients."""
    expected_hr: tuple[float, float] | None = None
    """Range of the hazard ratio in randomised trials; an estimate whose whole interval lies outside
    it raises an alarm. Null: no estimate is compared with trials."""
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
    """The files of the cohort, and their reader."""

    reader: str = "table"
    """Name of a reader in ``readers.registry.READERS``. It is looked up only when the files are
    read, so that a bundle can be loaded without the reader."""
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files or folders, relative to the study file, joined on the id column."""
    expression: str | None = None
    """Name of the folder's expression file (cbioportal only)."""
    sheet: str | None = None
    """Sheet of a workbook (table only); null: the only sheet with a table, or the one that is far
    larger than all others."""
    encoding: str | None = None
    """Encoding of text that is not UTF-8, such as cp1252."""
