"""What the training patients had of each feature, as far as a bundle knows it: nobody's values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study_parts import Feature, Treatment
from accomplice.training.bundle import Bundle

#: Parts of the training patients at which a number's quantiles are given.
PLACES = (0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95)
#: Digits of a number that people are shown.
DIGITS = 4

Value = float | str


@dataclass(frozen=True)
class Usual:
    """What is usual of one feature; nothing where no model looks at it."""

    low: float | None
    """Below it lie half a percent of the training patients; None for a feature with levels."""
    high: float | None
    """Above it lie half a percent."""
    typical: Value | None
    """The middle of a number, the nearest or most frequent level, no treatment."""
    spread: tuple[Value, ...]
    """Values to look at in turn: quantiles, levels, or without and with the treatment."""


def usual(bundle: Bundle, centre: str | None = None) -> dict[str, Usual]:
    """Return what is usual of each feature of a bundle's study.

    Args:
        bundle: the bundle.
        centre: hospital in whose expression scale numbers are given; that of all patients where it
            has none of its own.
    """
    study = bundle.study
    found: dict[str, Usual] = {}
    for each in bundle.preprocessors():
        if not each.study.features.keys() <= found.keys():
            found = _known(each, centre) | found
    for name, feature in study.features.items():
        found.setdefault(name, _of_declared(feature))
    if study.treatment is not None:
        name = list(study.features)[study.treatment_position]
        sides = _sides(study.features[name], study.treatment)
        found[name] = Usual(None, None, sides[0] if sides else None, sides)
    return {name: found[name] for name in study.features}


def _known(each: Preprocessor, centre: str | None) -> dict[str, Usual]:
    study, typical = each.study, each.typical()
    table = each.quantiles(np.array([0.0, 1.0, *PLACES]))
    if centre is not None:
        where = np.full(len(table), centre)
        table, typical = each.on_assay(table, where), each.on_assay(typical[None], where[:1])[0]
    found = {}
    for j, (name, feature) in enumerate(study.features.items()):
        if feature.levels is not None:
            level = feature.levels[int(typical[j])]
            found[name] = Usual(None, None, level, feature.levels)
        else:
            low, high, *spread = (shown(v) for v in table[:, j].tolist())
            found[name] = Usual(low, high, shown(float(typical[j])), tuple(dict.fromkeys(spread)))
    return found


def _sides(feature: Feature, treatment: Treatment) -> tuple[Value, ...]:
    """How a request says without the treatment, and with it."""
    found: list[Value] = []
    for listed in (treatment.untreated, treatment.treated):
        if feature.levels is not None:
            found += [level for level in listed if level in feature.levels][:1]
        else:
            found += [number for number in map(_number, listed) if number is not None][:1]
    return tuple(found)


def _number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None


def _of_declared(feature: Feature) -> Usual:
    """What can be said of a feature that no model looks at."""
    if feature.levels is not None:
        return Usual(None, None, None, feature.levels)
    low, high = feature.bounds
    if not math.isfinite(high - low):
        return Usual(None, None, None, ())
    spread = tuple(dict.fromkeys(shown(low + place * (high - low)) for place in PLACES))
    return Usual(shown(low), shown(high), None, spread)


def shown(value: float) -> float:
    """Round a number to what people are shown."""
    return float(f"{value:.{DIGITS}g}")


def typical_patient(bundle: Bundle, most: int = 8) -> dict[str, Value]:
    """Return a typical patient as a request has one, by the first features and the treatment."""
    study, known = bundle.study, usual(bundle)
    names = list(study.features)
    listed = names[:most]
    if study.treatment is not None and names[study.treatment_position] not in listed:
        listed[-1] = names[study.treatment_position]
    found = {}
    for name in listed:
        value = known[name].typical
        if value is not None:
            found[study.features[name].column or name] = value
    return found
