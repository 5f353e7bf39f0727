"""Summaries of the training patients' values by feature, from the fitted preprocessors.

They serve as ranges, sliders and default values of requests. No number is a single patient's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study_parts import Feature, Treatment
from accomplice.training.bundle import Bundle

#: Probabilities of the quantiles of a number.
QUANTILES = (0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95)
#: Significant digits of a summary.
DIGITS = 4
#: Maximum of features of an example patient.
EXAMPLE = 8

#: Value of a feature in a request: a number, or a level.
Value = float | str


@dataclass(frozen=True)
class TrainingValues:
    """Summary of the training patients' values of one feature.

    A feature that no model uses has its range or levels in the study instead, and no typical value.
    """

    low: float | None = None
    """0.5th percentile of a number; None for a feature with levels and for the treatment."""
    high: float | None = None
    """99.5th percentile of a number; None for a feature with levels and for the treatment."""
    typical: Value | None = None
    """Mean of a number, taken on the model's scale; level of an ordinal nearest to the mean rank;
    most frequent level of a category; for the treatment, the value of no treatment."""
    spread: tuple[Value, ...] = ()
    """Quantiles of a number, without repeats; or the levels; for the treatment, the values of no
    treatment and of treatment."""


def training_values(bundle: Bundle, centre: str | None = None) -> dict[str, TrainingValues]:
    """Return feature -> summary of its training values, for each feature of a bundle's study.

    Args:
        bundle: the bundle.
        centre: hospital whose scale expression is given on; if it has no scale of its own, or if
            absent, the scale of all patients.
    """
    study = bundle.study
    values: dict[str, TrainingValues] = {}
    for preprocessor in bundle.preprocessors():
        if not preprocessor.study.features.keys() <= values.keys():
            values = _fitted(preprocessor, centre) | values
    if study.treatment is not None:
        name = study.treatment_feature
        arms = _arms(study.features[name], study.treatment)
        values[name] = TrainingValues(typical=arms[0] if arms else None, spread=arms)
    return {
        name: values.get(name) or _declared(feature) for name, feature in study.features.items()
    }


def _fitted(fitted: Preprocessor, centre: str | None) -> dict[str, TrainingValues]:
    """Return feature -> summary, from a fitted preprocessor."""
    study, typical = fitted.study, fitted.typical()
    table = fitted.quantiles(np.array([0.0, 1.0, *QUANTILES]))
    if centre is not None:
        centres = np.full(len(table), centre)
        table = fitted.on_assay(table, centres)
        typical = fitted.on_assay(typical[None], centres[:1])[0]
    values = {}
    for j, (name, feature) in enumerate(study.features.items()):
        if feature.levels is not None:
            level = feature.levels[int(typical[j])]
            values[name] = TrainingValues(typical=level, spread=feature.levels)
        else:
            low, high, *spread = (rounded(v) for v in table[:, j].tolist())
            values[name] = TrainingValues(
                low, high, rounded(float(typical[j])), tuple(dict.fromkeys(spread))
            )
    return values


def _arms(feature: Feature, treatment: Treatment) -> tuple[Value, ...]:
    """Return the values in a request of no treatment and treatment."""
    arms: list[Value] = []
    for listed in (treatment.untreated, treatment.treated):
        if feature.levels is not None:
            arms += [level for level in listed if level in feature.levels][:1]
        else:
            arms += [number for number in map(_number, listed) if number is not None][:1]
    return tuple(arms)


def _number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None


def _declared(feature: Feature) -> TrainingValues:
    """Return the summary of a feature that no model uses: its levels or range in the study."""
    if feature.levels is not None:
        return TrainingValues(spread=feature.levels)
    low, high = feature.bounds
    if not math.isfinite(high - low):
        return TrainingValues()
    spread = dict.fromkeys(rounded(low + part * (high - low)) for part in QUANTILES)
    return TrainingValues(rounded(low), rounded(high), spread=tuple(spread))


def rounded(value: float) -> float:
    """Return a number with ``DIGITS`` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def typical_patient(bundle: Bundle) -> dict[str, Value]:
    """Return column -> typical value, for some features: an example patient of a request.

    They are the study's first :data:`EXAMPLE`, the treatment in any case; those without a typical
    value are left out.
    """
    study, summaries = bundle.study, training_values(bundle)
    listed = list(study.features)[:EXAMPLE]
    if study.treatment is not None and study.treatment_feature not in listed:
        listed[-1] = study.treatment_feature
    typical = {name: summaries[name].typical for name in listed}
    return {study.features[n].column or n: v for n, v in typical.items() if v is not None}
