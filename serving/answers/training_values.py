"""Summaries of the training patients' values by feature, from the fitted preprocessors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study_parts import Feature, Treatment
from accomplice.training.bundle import Bundle

#: Probabilities of a number's quantiles.
QUANTILES = (0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95)
#: Significant digits of a shown number.
DIGITS = 4

Value = float | str


@dataclass(frozen=True)
class TrainingValues:
    """The training patients' values of one feature; empty if no model uses it."""

    low: float | None = None
    """The 0.5th percentile; None for a feature with levels."""
    high: float | None = None
    """The 99.5th percentile."""
    typical: Value | None = None
    """The median of a number, the nearest or most frequent level, no treatment."""
    spread: tuple[Value, ...] = ()
    """Quantiles, levels, or without and with the treatment."""


def training_values(bundle: Bundle, centre: str | None = None) -> dict[str, TrainingValues]:
    """Return the training values of each feature of a bundle's study.

    Args:
        bundle: the bundle.
        centre: hospital whose expression scale the numbers are on; that of all patients where it
            has none of its own.
    """
    study = bundle.study
    values: dict[str, TrainingValues] = {}
    for each in bundle.preprocessors():
        if not each.study.features.keys() <= values.keys():
            values = _fitted(each, centre) | values
    if study.treatment is not None:
        name = list(study.features)[study.treatment_position]
        sides = _sides(study.features[name], study.treatment)
        values[name] = TrainingValues(typical=sides[0] if sides else None, spread=sides)
    return {
        name: values.get(name) or _declared(feature) for name, feature in study.features.items()
    }


def _fitted(each: Preprocessor, centre: str | None) -> dict[str, TrainingValues]:
    study, typical = each.study, each.typical()
    table = each.quantiles(np.array([0.0, 1.0, *QUANTILES]))
    if centre is not None:
        where = np.full(len(table), centre)
        table, typical = each.on_assay(table, where), each.on_assay(typical[None], where[:1])[0]
    values = {}
    for j, (name, feature) in enumerate(study.features.items()):
        if feature.levels is not None:
            level = feature.levels[int(typical[j])]
            values[name] = TrainingValues(typical=level, spread=feature.levels)
        else:
            low, high, *spread = (shown(v) for v in table[:, j].tolist())
            values[name] = TrainingValues(
                low, high, shown(float(typical[j])), tuple(dict.fromkeys(spread))
            )
    return values


def _sides(feature: Feature, treatment: Treatment) -> tuple[Value, ...]:
    """Return a request's values for no treatment and treatment."""
    sides: list[Value] = []
    for listed in (treatment.untreated, treatment.treated):
        if feature.levels is not None:
            sides += [level for level in listed if level in feature.levels][:1]
        else:
            sides += [number for number in map(_number, listed) if number is not None][:1]
    return tuple(sides)


def _number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None


def _declared(feature: Feature) -> TrainingValues:
    """Return the study's levels or range of a feature that no model uses."""
    if feature.levels is not None:
        return TrainingValues(spread=feature.levels)
    low, high = feature.bounds
    if not math.isfinite(high - low):
        return TrainingValues()
    spread = dict.fromkeys(shown(low + part * (high - low)) for part in QUANTILES)
    return TrainingValues(shown(low), shown(high), spread=tuple(spread))


def shown(value: float) -> float:
    """Round a number for people."""
    return float(f"{value:.{DIGITS}g}")


def typical_patient(bundle: Bundle, most: int = 8) -> dict[str, Value]:
    """Return a typical patient of a request: the first features, and the treatment."""
    study, known = bundle.study, training_values(bundle)
    names = list(study.features)
    listed = names[:most]
    if study.treatment is not None and names[study.treatment_position] not in listed:
        listed[-1] = names[study.treatment_position]
    typical = {name: known[name].typical for name in listed}
    return {study.features[n].column or n: v for n, v in typical.items() if v is not None}
