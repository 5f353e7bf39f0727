"""The study file: the description of a cohort, from which everything else is derived.

A study file (YAML) names the table and its reader, the id and centre columns, the endpoints, the
treatment and the features by modality. Readers, coding, preprocessing, network sizes and request
validation all read it; nothing about one disease is in the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from accomplice.data.cells.missing import Words, words_of
from accomplice.data.errors import InputError, nearest
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
    """A cohort's description. See the module's docstring."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the cohort, in letters, digits, ``.``, ``_`` and ``-``; runs and models bear it."""
    description: str = ""
    """Owner and source of the data; shown on the model card."""
    synthetic: bool = False
    """Whether the patients are simulated; carried into every run, bundle and answer."""
    source: Source
    """The files of the cohort and their reader."""
    missing: tuple[Level, ...] = ()
    """Further words that mean "not known" in a cell; those in common use need not be listed. A
    level of a feature is never missing, whatever the word."""
    id: str | None = None
    """Column of the patient's identifier; null: the row's number."""
    rows: Rows | None = None
    """How several rows of a patient become one; null: a patient has one row."""
    centre: str | None = None
    """Column of the hospital, for splits and assay scales."""
    endpoints: Endpoints
    """The outcomes that are predicted."""
    ceiling: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """C-index above which a model of such patients is taken for a leak until shown otherwise."""
    treatment: Treatment | None = None
    """The treatment whose effect is estimated; null: none is."""
    modalities: dict[str, dict[str, Feature]]
    """Modality -> feature -> its description. Features of a modality are measured together and
    can be missing together."""
    baselines: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Reference models that every run is compared with: name -> features of a ridge Cox."""
    interactions: tuple[tuple[str, str], ...] = ()
    """Pairs of features whose product enters the linear model, fixed in advance. Those with the
    treatment may change its effect; the first of them is the main hypothesis, shrunken least."""
    trusted: tuple[str, ...] = ()
    """Features confirmed by the user as known before the outcome."""
    ignored: dict[str, str] = Field(default_factory=dict)
    """Columns left out -> why."""

    @field_validator("modalities", "baselines", mode="before")
    @classmethod
    def _emptied(cls, given: Any) -> Any:
        """Leave out a modality or baseline whose last feature was moved out."""
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None}

    @field_validator("ignored", mode="before")
    @classmethod
    def _without_reason(cls, given: Any) -> Any:
        """Take a column without a reason for one that is left out all the same."""
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
            self._read_from(self.treatment)
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

    def _read_from(self, treatment: Treatment) -> None:
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
        for name in listed:
            if name not in self.features:
                raise ValueError(f"{where}: no feature '{name}'{nearest(name, self.features)}")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, and without cached properties of the old ones."""
        made = super().model_copy(update=update, deep=deep)
        for name in _DERIVED:
            made.__dict__.pop(name, None)
        return made

    @cached_property
    def features(self) -> dict[str, Feature]:
        """All inputs in the order in which they are coded; the treatment, if any, is the last."""
        found = {name: f for features in self.modalities.values() for name, f in features.items()}
        if self.treatment is not None and self.treatment.column not in found:
            either = (*self.treatment.untreated, *self.treatment.treated)
            no, yes = self.treatment.untreated[0], self.treatment.treated[0]
            spelt = {level: (yes if level in self.treatment.treated else no) for level in either}
            found[self.treatment.column] = Feature(kind="category", levels=(no, yes), map=spelt)
        return found

    @cached_property
    def blocks(self) -> dict[str, tuple[int, ...]]:
        """Modality -> the positions of its features; the treatment is a block of its own."""
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
        """Position of the treatment among the features of a study that names one."""
        others = set(self.prognostic_features)
        return next(i for i in range(len(self.features)) if i not in others)

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
        """Return the study without its treatment, as the learners see it."""
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
        """Every column of the table that the study names, ignored ones included."""
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
        """The study's words for missing; levels of its columns are not among them."""
        levels: dict[str, frozenset[str]] = {}

        def add(column: str, *listed: Iterable[str] | None) -> None:
            spelt = words_of([level for each in listed for level in each or ()])
            levels[column] = levels.get(column, frozenset()) | spelt

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
        """Return the survival endpoint called ``name``, or the first one.

        Raises:
            InputError: there is none, or none of that name.
        """
        known = self.endpoints.survival
        if not known:
            raise InputError(
                f"study '{self.name}' has no survival endpoint, which tune, marker, power and "
                "--endpoint need: name one under endpoints.survival"
            )
        name = name or next(iter(known))
        if name not in known:
            raise InputError(f"no survival endpoint '{name}'{nearest(name, known)}")
        return name, known[name]

    def describe(self) -> dict[str, Any]:
        """Return the study as plain data, without the defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


#: Computed once and kept by a study, since every request for a prediction reads them.
_DERIVED = ("features", "blocks", "prognostic_features", "treatment_position")


def parse_study(raw: Mapping[str, Any], where: str) -> Study:
    """Check a study given as plain data.

    Raises:
        InputError: one line naming the key and what is wrong with it.
    """
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error, Study)}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = f"key '{key.value}' stands twice"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        InputError: the file is missing, is not YAML, names a key twice, or does not describe a
            study.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such study file; draft one with: accomplice data init")
    try:
        raw = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except yaml.constructor.ConstructorError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise InputError(f"{path}: {line}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise InputError(f"{path}: not a YAML file{line}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a study file: expected keys such as name, source, endpoints")
    return parse_study(raw, str(path))


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of a validation as ``key.path: text``, with the nearest key."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        known = _keys_at(model, problem["loc"][:-1])
        message = f"unknown key{nearest(key, known)}"
    elif problem["type"] == "missing":
        message = "this key is needed"
    return f"{where}: {message}" if where else message


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a model takes at a place inside it."""
    here: Any = model
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel) and part in here.model_fields:
            here = here.model_fields[str(part)].annotation
        args = [a for a in getattr(here, "__args__", ()) if a is not type(None)]
        while args and not (isinstance(here, type) and issubclass(here, BaseModel)):
            here = args[-1]
            args = [a for a in getattr(here, "__args__", ()) if a is not type(None)]
    if isinstance(here, type) and issubclass(here, BaseModel):
        return list(here.model_fields)
    return []
