"""The study file: the description of a cohort that configures the whole package.

A study file (YAML) names the table and its reader, the id and centre columns, the endpoints, the
treatment and the features by modality. Readers, coding, preprocessing, network sizes and the
validation of requests follow it; nothing in their code is specific to a disease.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from accomplice.data.cells.missing import Words, words_of
from accomplice.data.errors import InputError, nearest
from accomplice.data.readers.yaml_text import YamlError, read_yaml
from accomplice.data.study_parts import (
    TREATMENT,
    Endpoints,
    Feature,
    LatestBefore,
    Level,
    Part,
    Rows,
    Source,
    SurvivalEndpoint,
    Treatment,
)


class Study(Part):
    """The description of a cohort: the content of a study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the cohort, in letters, digits, ``.``, ``_`` and ``-``; part of the names of runs and
    models."""
    description: str = ""
    """Owner and source of the data; shown on the model card."""
    synthetic: bool = False
    """Whether the patients are simulated; carried into every run, bundle and answer."""
    source: Source
    """The files of the cohort and their reader."""
    missing: tuple[Level, ...] = ()
    """Further words that mean "not known" in a cell, added to those in common use. A level of a
    feature never means missing."""
    id: str | None = None
    """Column of the patient's identifier; null: rows are numbered."""
    rows: Rows | None = None
    """How several rows of a patient become one; null: a patient has one row."""
    centre: str | None = None
    """Column of the hospital, for splits and assay scales."""
    endpoints: Endpoints
    """The outcomes that are predicted."""
    ceiling: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """C-index above which a leak of the outcome is suspected; null: 0.95 is taken."""
    treatment: Treatment | None = None
    """The treatment whose effect is estimated; null: no effect is estimated."""
    modalities: dict[str, dict[str, Feature]]
    """Modality -> feature -> its description. Features of a modality are measured together and
    can be missing together."""
    baselines: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Reference models that every run is compared with: name -> features of a ridge Cox model."""
    interactions: tuple[tuple[str, str], ...] = ()
    """Pairs of features whose product enters the linear model, fixed in advance. A pair with the
    treatment changes its effect; the first such pair is the main hypothesis, with the weakest
    shrinkage."""
    trusted: tuple[str, ...] = ()
    """Features confirmed by the user as known before the outcome."""
    ignored: dict[str, str] = Field(default_factory=dict)
    """Column that is left out -> reason."""

    @field_validator("modalities", "baselines", mode="before")
    @classmethod
    def _emptied(cls, given: Any) -> Any:
        """Drop modalities and baselines that are null: YAML reads a key without a value as null."""
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None}

    @field_validator("ignored", mode="before")
    @classmethod
    def _without_reason(cls, given: Any) -> Any:
        """Accept an ignored column without a reason: null becomes empty text."""
        if not isinstance(given, dict):
            return given
        return {key: "" if value is None else value for key, value in given.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not any(self.modalities.values()):
            raise ValueError("modalities: name at least one feature")
        names: set[str] = set()
        for modality, features in self.modalities.items():
            if modality == TREATMENT:
                raise ValueError(f"modalities: '{TREATMENT}' is made from the treatment key")
            for name in features:
                if name in names:
                    raise ValueError(f"modalities: feature '{name}' is listed twice")
                names.add(name)
        if self.treatment is not None:
            names.add(self.treatment.column)
        survival = self.endpoints.survival.values()
        outcomes = {c for e in survival for c in (*e.time_columns, e.event)}
        outcomes |= {e.column for e in self.endpoints.binary.values()}
        for name, feature in self.features.items():
            if (feature.column or name) in outcomes:
                raise ValueError(f"feature '{name}' is read from an endpoint's column")
        for label, binary in self.endpoints.binary.items():
            where = f"endpoints.binary.{label}.features"
            self._known(binary.features or (), where)
            if self.treatment is not None and self.treatment.column in (binary.features or ()):
                raise ValueError(f"{where}: '{self.treatment.column}' is the treatment, no input")
        for label, listed in self.baselines.items():
            self._known(listed, f"baselines.{label}")
        for pair in self.interactions:
            self._known(pair, "interactions")
        self._known(self.trusted, "trusted")
        if self.treatment is not None:
            if not self.prognostic_features:
                raise ValueError("modalities: name a feature beside the treatment")
            self._check_treatment_feature(self.treatment)
            self._known(tuple(self.treatment.eligible), "treatment.eligible")
            for name, levels in self.treatment.eligible.items():
                stray = [
                    level for level in levels if level not in (self.features[name].levels or ())
                ]
                if stray:
                    raise ValueError(
                        f"treatment.eligible.{name}: '{stray[0]}' is not one of its levels"
                    )
        return self

    def _check_treatment_feature(self, treatment: Treatment) -> None:
        """Check the feature that is read from the treatment's column.

        Raises:
            ValueError: there is no such feature, or it lacks the treatment's levels.
        """
        own = [f for name, f in self.features.items() if (f.column or name) == treatment.column]
        if not own:
            raise ValueError(
                f"feature '{treatment.column}' has the name of the treatment's column but is read "
                "from another: rename it"
            )
        for key, listed in (("treated", treatment.treated), ("untreated", treatment.untreated)):
            if own[0].levels is not None and not set(own[0].levels) & set(listed):
                raise ValueError(f"treatment.{key}: none is a level of the feature so read")

    def _known(self, listed: tuple[str, ...], where: str) -> None:
        """Check that names are features; ``where`` is their key.

        Raises:
            ValueError: a name is no feature.
        """
        for name in listed:
            if name not in self.features:
                raise ValueError(f"{where}: no feature '{name}'{nearest(name, self.features)}")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, and without the cached properties.

        Args:
            update: field -> its new value, which is not checked.
            deep: whether the fields are copied too.
        """
        made = super().model_copy(update=update, deep=deep)
        for name in _DERIVED:
            made.__dict__.pop(name, None)
        return made

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Name -> description of all features, in the order in which they are coded.

        A treatment that is not listed among the modalities comes last.
        """
        found = {name: f for features in self.modalities.values() for name, f in features.items()}
        if self.treatment is not None and self.treatment.column not in found:
            either = (*self.treatment.untreated, *self.treatment.treated)
            no, yes = self.treatment.untreated[0], self.treatment.treated[0]
            mapped = {level: (yes if level in self.treatment.treated else no) for level in either}
            found[self.treatment.column] = Feature(kind="category", levels=(no, yes), map=mapped)
        return found

    @cached_property
    def blocks(self) -> dict[str, tuple[int, ...]]:
        """Modality -> positions of its features; a treatment outside them is a block of its own."""
        order = {name: i for i, name in enumerate(self.features)}
        found = {m: tuple(order[n] for n in fs) for m, fs in self.modalities.items() if fs}
        listed = {i for block in found.values() for i in block}
        rest = tuple(i for i in order.values() if i not in listed)
        return found | ({TREATMENT: rest} if rest else {})

    @cached_property
    def prognostic_features(self) -> tuple[int, ...]:
        """Positions of the features other than the treatment."""
        given = None if self.treatment is None else self.treatment.column
        features = self.features.items()
        return tuple(i for i, (name, f) in enumerate(features) if (f.column or name) != given)

    @cached_property
    def treatment_position(self) -> int:
        """Position of the treatment among the features.

        Raises:
            StopIteration: the study has no treatment.
        """
        others = set(self.prognostic_features)
        return next(i for i in range(len(self.features)) if i not in others)

    @cached_property
    def treatment_feature(self) -> str:
        """Name of the feature that is the treatment; empty without a treatment."""
        return "" if self.treatment is None else list(self.features)[self.treatment_position]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """Features that may change the treatment's effect, the main hypothesis first."""
        if self.treatment is None:
            return ()
        given, features = self.treatment.column, self.features
        known = {name for name, f in features.items() if (f.column or name) != given}
        pairs = (pair for pair in self.interactions if len(known & set(pair)) < len(set(pair)))
        return tuple(dict.fromkeys(name for pair in pairs for name in pair if name in known))

    def prognostic(self) -> Study:
        """Return the study without its treatment; the prognostic models are fitted on it."""
        if self.treatment is None:
            return self
        names = list(self.features)
        kept = {names[i] for i in self.prognostic_features}
        modalities = {
            m: {n: f for n, f in features.items() if n in kept}
            for m, features in self.modalities.items()
        }
        left = {name: tuple(n for n in of if n in kept) for name, of in self.baselines.items()}
        return self.model_copy(
            update={
                "treatment": None,
                "modalities": modalities,
                "interactions": tuple(p for p in self.interactions if kept.issuperset(p)),
                "baselines": {name: of for name, of in left.items() if of},
                "trusted": tuple(name for name in self.trusted if name in kept),
            }
        )

    def columns(self) -> Iterator[str]:
        """Yield every column of the table that the study names, ignored ones included.

        A column that the study names twice is yielded twice.
        """
        for name, feature in self.features.items():
            yield feature.column or name
        yield from (c for c in (self.id, self.centre) if c is not None)
        for survival in self.endpoints.survival.values():
            yield from (*survival.time_columns, survival.event)
        yield from (binary.column for binary in self.endpoints.binary.values())
        if self.rows is not None and isinstance(self.rows.one_per_patient, LatestBefore):
            yield self.rows.one_per_patient.latest_before
        yield from self.ignored

    @property
    def words(self) -> Words:
        """The study's further words for missing, and the levels of its columns."""
        levels: dict[str, frozenset[str]] = {}

        def add(column: str, *listed: Iterable[str] | None) -> None:
            words = words_of([level for each in listed for level in each or ()])
            levels[column] = levels.get(column, frozenset()) | words

        for name, feature in self.features.items():
            add(feature.column or name, feature.levels, feature.map)
        for survival in self.endpoints.survival.values():
            add(survival.event, survival.event_values)
        for binary in self.endpoints.binary.values():
            add(binary.column, binary.positive, binary.negative)
        if self.treatment is not None:
            add(self.treatment.column, self.treatment.treated, self.treatment.untreated)
        return Words(words_of(self.missing), {name: each for name, each in levels.items() if each})

    def survival_endpoint(self, name: str | None = None) -> tuple[str, SurvivalEndpoint]:
        """Return the name and the description of a survival endpoint.

        Args:
            name: name of the endpoint; None: the first one.

        Raises:
            InputError: the study has no survival endpoint, or none of that name.
        """
        known = self.endpoints.survival
        if not known:
            raise InputError(
                f"study '{self.name}' has no survival endpoint, which tune, marker, power and "
                "an endpoint's name need: name one under endpoints.survival"
            )
        name = name or next(iter(known))
        if name not in known:
            raise InputError(f"no survival endpoint '{name}'{nearest(name, known)}")
        return name, known[name]

    def describe(self) -> dict[str, Any]:
        """Return the study as plain data, without keys that have their default value."""
        return self.model_dump(mode="json", exclude_defaults=True)


#: Cached properties of a study; they are cached since every request for a prediction reads them.
_DERIVED = (
    "features",
    "blocks",
    "prognostic_features",
    "treatment_position",
    "treatment_feature",
)


def parse_study(raw: Mapping[str, Any], where: str) -> Study:
    """Return the study that plain data describe.

    Args:
        raw: the keys of a study file and their values.
        where: file of the study, for errors.

    Raises:
        InputError: a key or value is wrong; the text names the first such key.
    """
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error, Study)}") from None


def load_study(path: Path) -> Study:
    """Return the study that a file describes.

    Raises:
        InputError: the file is missing, is refused by :func:`yaml_text.read_yaml`, or does not
            describe a study.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such study file; draft one with: accomplice data init")
    try:
        raw = read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a YAML file") from None
    except YamlError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a study file: expected keys such as name, source, endpoints")
    return parse_study(raw, str(path))


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of a validation as ``path.to.key: text``.

    For an unknown key the text gives the nearest key of ``model``.

    Args:
        error: the failed validation.
        model: the model that was validated.
    """
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        known = _keys_at(model, problem["loc"][:-1])
        message = f"unknown key{nearest(key, known)}"
    elif problem["type"] == "missing":
        message = "this key is needed"
    elif problem["type"] == "string_pattern_mismatch":
        message = "write letters, digits, '.', '_' and '-' alone, a letter or digit first"
    return f"{where}: {message}" if where else message


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a model accepts at a path inside it, empty if it is no model there."""
    kind: Any = model
    for part in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[str(part)].annotation
        args = [a for a in getattr(kind, "__args__", ()) if a is not type(None)]
        while args and not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            kind = args[-1]
            args = [a for a in getattr(kind, "__args__", ()) if a is not type(None)]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []
