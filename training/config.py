"""Configuration of a training run: all settings with their defaults; see ``--set key=value``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from accomplice.data.errors import InputError, nearest
from accomplice.data.readers.yaml_text import YamlError, read_yaml

#: Number above 0.
Positive = Annotated[float, Field(gt=0)]
#: Number from 0 to below 1.
Share = Annotated[float, Field(ge=0, lt=1)]
#: Whole number above 0.
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    """Base of all parts: frozen, without unknown keys, its fields described by docstrings."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Folds(_Part):
    """Cross-validation: folds for out-of-fold predictions."""

    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Number of folds; at most half the number of events."""
    by: Literal["patient", "centre"] = "patient"
    """Held-out parts: random patients (``patient``), or one centre at a time, small ones together
    (``centre``)."""
    repeats: Count = 1
    """Repeats of the cross-validation with other seeds; all fold models are kept. Folds by centre
    are not repeated."""


class Grid(_Part):
    """Bins of follow-up time."""

    bins: Annotated[int, Field(ge=1, le=100)] = 12
    """Maximum number of bins."""
    events_each: Count = 8
    """Events for each bin, which set the number of bins: at least three where events suffice."""


class AnchorConfig(_Part):
    """The penalised Cox model."""

    mixing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the lasso in the penalty: 0 is a ridge, 1 a lasso, an elastic net between them. A
    lasso leaves out columns."""

    marker_penalties: tuple[Positive, ...] = (1.0, 4.0)
    """Ratios tried of the further modalities' penalty to the first's; chosen by inner folds."""
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Inner folds for the choice of the penalty."""


class ForestConfig(_Part):
    """The survival forest."""

    use: bool = True
    """Whether the forest is one of the stacked learners."""
    trees: Count = 100
    """Trees in each fold."""
    leaf: Count = 5
    """Minimum number of patients in a leaf."""
    depth: Annotated[int, Field(ge=1, le=30)] = 12
    """Maximum depth of a tree."""
    candidates: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the columns tried at each split; the square root of their number if absent."""
    oblique: Literal[0, 2, 3, 4, 5] = 0
    """Number of columns in the linear combinations that trees split on beside the columns; 0 is
    for none."""


class BoostingConfig(_Part):
    """The boosted trees."""

    use: bool = True
    """Whether the boosted trees are one of the stacked learners."""
    members: Annotated[int, Field(ge=2, le=50)] = 5
    """Members in each fold; each holds out another part of its patients to choose the rounds. Above
    20 000 patients there are fewer."""
    depth: Annotated[int, Field(ge=1, le=12)] = 3
    """Maximum depth of a tree."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Learning rate: fraction of the best step that a round takes; up to double above 20 000
    patients."""
    max_rounds: Count = 400
    """Maximum number of rounds."""
    patience: Count = 40
    """Patience: rounds without gain before boosting stops."""


class NetConfig(_Part):
    """The hazard network and its training."""

    members: Count = 8
    """Networks in each fold's ensemble; down to half with more patients than ``batch_size``."""
    embedding_bins: Count = 8
    """Bins of a number's piecewise-linear embedding."""
    encoder_width: Count = 48
    """Hidden units of the encoders, divided among the modalities; at least 4 each."""
    hidden_width: Count = 48
    """Hidden units after the fusion of the modalities."""
    dropout: Share = 0.5
    """Dropout rate of hidden units; it falls with the root of the patients above ``batch_size``."""
    modality_dropout: Share = 0.1
    """Modality dropout: chance that a patient's modality is withheld at a step."""
    learning_rate: Positive = 2e-3
    """Learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.3
    """Weight decay of AdamW."""
    max_epochs: Count = 60
    """Maximum number of epochs."""
    steps_per_epoch: Count = 10
    """Optimiser steps per epoch (between two validations)."""
    patience: Count = 6
    """Patience: epochs without gain before a fold stops."""
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    """Fraction of a fold's training patients that a member holds out for early stopping."""
    batch_size: Count = 4096
    """Number of patients up to which a network trains on all at once; with more, on random batches
    of a quarter as many."""


class StackConfig(_Part):
    """Stacking and calibration of the learners; small cohorts stay near the priors."""

    equal: Annotated[float, Field(ge=0)] = 4.0
    """Strength of the prior of equal weights, as a number of patients."""
    slope_sd: Positive = 0.1
    """SD of the normal prior of the calibration slope, around 1."""
    level_sd: Positive = 0.05
    """SD of the normal prior of the calibration level, around 0."""


class SearchConfig(_Part):
    """The search for better settings by ``tune``."""

    objective: Literal["ibs", "uno_c", "calibration", "several"] = "ibs"
    """Score that ranks the trials, out of fold: integrated Brier score, Uno's C, integrated
    calibration index at half the horizon, or the Brier score of those within a standard error of
    the best in the other two."""
    patience: Count = 25
    """Trials without a better one after which the search ends."""


class EffectConfig(_Part):
    """Priors of the treatment's effect."""

    main_sd: Positive = 0.35
    """SD of the prior of the main hypothesis' interaction: log-hazard ratio per SD."""
    other_sd: Positive = 0.1
    """SD of the prior of the other interactions with the treatment."""


class TrainerConfig(_Part):
    """Devices of Lightning's Trainer."""

    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    """Kind of device."""
    devices: Count = 1
    """Number of devices."""


class EvaluationConfig(_Part):
    """Evaluation of a run."""

    bootstraps: Count = 200
    """Bootstrap draws for each interval."""
    explanations: bool = True
    """Whether a run explains its model: importance, partial effects, a surface."""
    peers: bool = True
    """Whether scikit-survival's forest and boosted trees are baselines too, where installed."""


class Config(_Part):
    """All settings of a run."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of folds, initial weights, dropout and bootstraps."""
    endpoint: str | None = None
    """Primary survival endpoint; the study's first if absent."""
    further_endpoints: bool = True
    """Whether the study's other survival endpoints are modelled too."""
    survival_interval: bool = True
    """Whether predictions carry an 80 % interval of the patient's survival."""
    folds: Folds = Folds()
    grid: Grid = Grid()
    anchor: AnchorConfig = AnchorConfig()
    forest: ForestConfig = ForestConfig()
    boosting: BoostingConfig = BoostingConfig()
    net: NetConfig = NetConfig()
    stack: StackConfig = StackConfig()
    search: SearchConfig = SearchConfig()
    effect: EffectConfig = EffectConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


def configure(settings: Sequence[str] = (), base: Config | None = None) -> Config:
    """Apply ``key=value`` settings to a configuration.

    Args:
        settings: texts such as ``net.members=16``; values are read as YAML.
        base: configuration to change; the defaults if absent.

    Raises:
        InputError: a setting is not ``key=value``, a key is unknown (the nearest is named), or a
            value does not fit.
    """
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: write key=value, for instance net.members=16")
        _refuse_unknown(key, "--set")
        try:
            values[key] = read_yaml(text)
        except YamlError:
            raise InputError(f"--set {key}: the value is not readable") from None
    return with_settings(base or Config(), values)


def with_settings(base: Config, settings: Mapping[str, Any], prefix: str = "--set") -> Config:
    """Return ``base`` with dotted keys changed, such as ``{"net.members": 16}``.

    Args:
        base: configuration to change; it stays as it is.
        settings: values by key; NumPy's scalars are taken as Python's.
        prefix: beginning of an error's text, before the key.

    Raises:
        InputError: a key is unknown (the nearest is named) or a value does not fit.
    """
    for key in settings:
        _refuse_unknown(key, prefix)
    given = {k: v.item() if hasattr(v, "item") else v for k, v in settings.items()}
    try:
        return unflat(flat(base) | given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(p) for p in problem["loc"])
        text = f"{prefix} {where}: {problem['msg']}, got {problem['input']!r}"
        raise InputError(text) from None


def _refuse_unknown(key: str, prefix: str) -> None:
    """Raise ``InputError`` for an unknown key; its text begins with ``prefix``."""
    known = known_keys()
    if key not in known:
        inner = next((name for name in known if name.startswith(f"{key}.")), None)
        hint = f"; did you mean '{inner}'?" if inner else nearest(str(key), known)
        raise InputError(f"{prefix} {key}: unknown key{hint}")


def known_keys() -> dict[str, str]:
    """Return each key that ``--set`` takes, and its meaning."""
    return dict(_walk(Config, ""))


def flat(config: Config) -> dict[str, Any]:
    """Return all settings by dotted key, such as ``net.members``."""
    return {key: reduce(getattr, key.split("."), config) for key in known_keys()}


def unflat(settings: Mapping[str, Any]) -> Config:
    """Return the configuration of settings by dotted key, the inverse of :func:`flat`.

    Settings that are absent have their defaults.

    Raises:
        ValidationError: a key is unknown or a value does not fit.
    """
    raw: dict[str, Any] = {}
    for key, value in settings.items():
        part = raw
        *path, last = key.split(".")
        for name in path:
            part = part.setdefault(name, {})
        part[last] = value
    return Config.model_validate(raw)


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield dotted key and meaning of each setting of a part and of the parts inside it."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""
