"""The page's form, and the sliders of its what-if, made from a bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from accomplice.data.escaping import printable
from accomplice.data.study_parts import Feature, Treatment
from accomplice.serving.answers.training_values import TrainingValues, training_values
from accomplice.training.bundle import Bundle

#: Maximum number of features of a modality that is shown unfolded; if all have more, the first
#: modality is.
FOLDED = 8
#: Maximum number of features of a modality that all have fields.
WIDE = 24
#: Number of fields of a modality with more features; the values of the others are pasted as text.
LISTED = 12
#: Maximum number of sliders of a what-if.
SLIDERS = 6
#: Maximum number of treatment-effect modifiers that come before other features among the sliders.
MODIFIERS = 3
#: Approximate number of steps of a slider.
STEPS = 50
#: Common name of a survival endpoint -> its label, and the state without an event.
ENDPOINTS = {
    "os": ("Overall survival", "alive"),
    "dfs": ("Disease-free survival", "alive and free of disease"),
    "rfs": ("Recurrence-free survival", "alive and free of recurrence"),
    "pfs": ("Progression-free survival", "alive and free of progression"),
    "efs": ("Event-free survival", "free of the event"),
    "dss": ("Disease-specific survival", "not dead of the disease"),
}


@dataclass(frozen=True)
class Span:
    """Values of a slider, from a number's distribution in the training patients."""

    low: float
    """Lowest value: a low quantile."""
    typical: float
    """Initial value: the mean on the model's scale."""
    high: float
    """Highest value: a high quantile."""

    @property
    def step(self) -> float:
        """A round number, about the span divided by ``STEPS``."""
        rough = max(self.high - self.low, 1e-9) / STEPS
        power = 10.0 ** math.floor(math.log10(rough))
        return float(f"{power * min((1, 2, 5, 10), key=lambda k: abs(k * power - rough)):.3g}")

    def ends(self) -> tuple[float, float]:
        """Return low and high, moved outwards to multiples of the step."""
        step = self.step
        low, high = math.floor(self.low / step) * step, math.ceil(self.high / step) * step
        return float(f"{low:.6g}"), float(f"{high:.6g}")


@dataclass(frozen=True)
class Field:
    """Form field of a feature."""

    id: str
    """Id of the HTML element."""
    key: str
    """Key in a request."""
    name: str
    """Name in the study and in flags."""
    label: str
    """Name for people."""
    unit: str
    """Unit of a number; empty if none is declared."""
    help: str
    """Hint on the values; may be empty."""
    levels: tuple[str, ...]
    """Levels to choose from; empty for a number."""
    example: str
    """Value of an example patient; empty if none is known."""
    span: Span | None
    """Values of a slider; None for levels, and for a number without different training values."""


@dataclass(frozen=True)
class Group:
    """Form fields of a modality."""

    label: str
    """Name for people."""
    fields: tuple[Field, ...]
    """Fields, in the order in which they are shown."""
    pasted: tuple[str, ...]
    """Keys of features without fields, whose values are pasted as text."""
    open: bool
    """Whether the fields are shown initially."""


@dataclass(frozen=True)
class Form:
    """Content of the form, and the page's data on the model."""

    groups: tuple[Group, ...]
    """Fields by modality, in the study's order."""
    centres: tuple[str, ...]
    """Hospitals with an expression scale of their own."""
    sliders: tuple[Field, ...]
    """Fields of the what-if, those of treatment-effect modifiers first."""
    config: Mapping[str, Any]
    """Plain data for the page's script."""


def form_of(bundle: Bundle) -> Form:
    """Return the form of a bundle's study and models."""
    study, known = bundle.study, training_values(bundle)
    fields = {
        name: _field(j, name, feature, study.treatment, known[name])
        for j, (name, feature) in enumerate(study.features.items())
    }
    ranked, names = _ranked(bundle), list(fields)
    groups = tuple(
        _group(modality, [names[j] for j in block], fields, ranked)
        for modality, block in study.blocks.items()
    )
    if not any(group.open for group in groups):
        groups = (replace(groups[0], open=True), *groups[1:])
    listed = {field for group in groups for field in group.fields}
    sliders = [fields[name] for name in _slider_names(bundle, ranked)]
    scales = {centre for each in bundle.preprocessors() for centre in each.reference}
    return Form(
        groups=groups,
        centres=tuple(sorted(scales - {""})) if study.centre is not None else (),
        sliders=tuple(f for f in sliders if f in listed and (f.levels or f.span)),
        config=_config(bundle),
    )


def label_of(name: str) -> str:
    """Return a label made from a name: 'T stage' for ``t_stage``, 'IL1R1' for ``IL1R1``."""
    words = printable(name.replace("_", " ").strip() or name)
    return words[0].upper() + words[1:]


def _field(
    position: int, name: str, feature: Feature, treatment: Treatment | None, known: TrainingValues
) -> Field:
    span, levels = _span(feature, known), feature.levels or ()
    made = Field(
        id=f"f{position}",
        key=feature.column or name,
        name=name,
        label=printable(feature.label or "") or label_of(name),
        unit=printable(feature.unit or ""),
        help=_help(feature, span),
        levels=levels,
        example=_example(position, known),
        span=span,
    )
    if treatment is None or made.key != treatment.column:
        return made
    return replace(
        made,
        label=label_of(treatment.label),
        levels=levels or (treatment.untreated[0], treatment.treated[0]),
        help="Leave it open where it is to be decided: the answer compares both.",
        example="",
    )


def _help(feature: Feature, span: Span | None) -> str:
    if feature.levels is not None:
        return ""
    low, high = feature.bounds
    if math.isfinite(high - low):
        return f"{low:g} to {high:g}"
    if span is not None:
        return "usually {:g} to {:g}".format(*span.ends())
    return f"{low:g} or more" if math.isfinite(low) else ""


def _group(
    modality: str, names: list[str], fields: Mapping[str, Field], ranked: Sequence[str]
) -> Group:
    listed, own = names, set(names)
    if len(names) > WIDE:
        first = [name for name in ranked if name in own]
        listed = list(dict.fromkeys([*first, *names]))[:LISTED]
    pasted = tuple(fields[name].key for name in names if name not in listed)
    shown_fields = tuple(fields[name] for name in listed)
    label = label_of(modality)
    if len(names) == 1 and _same_name(modality, names[0]):
        label = shown_fields[0].label
    return Group(label, shown_fields, pasted, len(names) <= FOLDED)


def _same_name(one: str, other: str) -> bool:
    return one.replace("_", "").lower() == other.replace("_", "").lower()


def _span(feature: Feature, known: TrainingValues) -> Span | None:
    """Return the slider values of a number; None for levels or without two values in range."""
    if feature.levels is not None or not isinstance(known.typical, float):
        return None
    low, high = feature.bounds
    within = [v for v in known.spread if isinstance(v, float) and low <= v <= high]
    if not within or within[0] >= within[-1]:
        return None
    return Span(within[0], known.typical, within[-1])


def _example(position: int, known: TrainingValues) -> str:
    """Return the typical level; or of a number a quartile, chosen by position."""
    numbers = [v for v in known.spread if isinstance(v, float)]
    if not numbers:
        return "" if known.typical is None else str(known.typical)
    value = numbers[(len(numbers) - 1) * (1 + 2 * (position % 2)) // 4]
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2g}"


def _ranked(bundle: Bundle) -> list[str]:
    """Return the names of the most relevant features, without the treatment.

    The treatment-effect modifiers come first, then features by importance, then those of the binary
    endpoints.
    """
    study = bundle.study
    review = bundle.metrics.get("review") or {}
    important = [item["feature"] for item in review.get("importance", ())]
    of_responses = [name for e in study.endpoints.binary.values() for name in e.features or ()]
    names = dict.fromkeys([*study.modifiers, *important, *of_responses])
    return [name for name in names if name in study.features and name != study.treatment_feature]


def _slider_names(bundle: Bundle, ranked: Sequence[str]) -> list[str]:
    """Return the names of at most ``SLIDERS`` features with sliders, without the treatment.

    The first ``MODIFIERS`` modifiers come first, then the other ranked features (see
    :func:`_ranked`), the other modifiers, and the study's features in their order.
    """
    study = bundle.study
    first = study.modifiers[:MODIFIERS]
    rest = [name for name in ranked if name not in study.modifiers]
    names = [name for name in study.features if name != study.treatment_feature]
    return list(dict.fromkeys([*first, *rest, *ranked, *names]))[:SLIDERS]


def _config(bundle: Bundle) -> dict[str, Any]:
    """Return the data for the page's script."""
    study, treatment = bundle.study, bundle.study.treatment
    config: dict[str, Any] = {
        "endpoints": [
            {
                "name": name,
                "label": ENDPOINTS.get(name.lower(), (f"Survival ({name})",))[0],
                "free": ENDPOINTS.get(name.lower(), ("", f"free of the event '{name}'"))[1],
                "horizon": model.horizon,
                "benefit": f"{model.benefit_horizon:g}",
            }
            for name, model in bundle.survival.items()
        ],
        "times": [f"{time:g}" for time in bundle.times(None)],
        "responses": [
            {
                "name": name,
                "label": printable(endpoint.label or name.replace("_", " ")),
                "rate": bundle.rates(None).get(name),
                "verdict": (bundle.metrics.get("responses", {}).get(name) or {}).get("verdict"),
            }
            for name, endpoint in study.endpoints.binary.items()
        ],
        "centre": study.centre,
        "modalities": {modality: label_of(modality) for modality in study.blocks},
        "treatment": None,
        "modifier": None,
    }
    if treatment is not None:
        name = study.treatment_feature
        levels = study.features[name].levels
        config["treatment"] = {
            "key": treatment.column,
            "name": name,
            "label": printable(treatment.label),
            "with": _first_level(treatment.treated, levels),
            "without": _first_level(treatment.untreated, levels),
        }
        numbers = [m for m in study.modifiers if study.features[m].levels is None]
        if numbers:
            feature = study.features[numbers[0]]
            config["modifier"] = {
                "name": numbers[0],
                "key": feature.column or numbers[0],
                "more": _chance_of_more(bundle, numbers[0]),
            }
    return config


def _chance_of_more(bundle: Bundle, modifier: str) -> float | None:
    """Return the posterior probability that the benefit increases with a modifier.

    With θ the modifier's slope in the log-hazard ratio and s its posterior standard deviation, it
    is Φ(−θ / s); None without an effect that the modifier changes.
    """
    effect = None if bundle.primary is None else bundle.primary.effect
    if effect is None or modifier not in effect.labels:
        return None
    i = 1 + effect.labels.index(modifier)
    slope = NormalDist(float(effect.theta[i]), math.sqrt(effect.covariance[i, i]))
    return round(slope.cdf(0.0), 3)


def _first_level(values: Sequence[str], levels: Sequence[str] | None) -> str:
    """Return the first value that is a level of the feature, or else the first value."""
    return next((level for level in values if levels is None or level in levels), values[0])
