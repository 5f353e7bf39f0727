"""A patient made up from a study file, for the endpoint's warm-up and MLflow's input example.

The example in the API's documentation is ``typical_patient``, of the training values.
"""

from __future__ import annotations

import math
from typing import Any

from accomplice.data.study import Study
from accomplice.data.study_parts import Feature


def example_patient(study: Study, most: int = 8) -> dict[str, Any]:
    """Return a synthetic patient of a study: column -> value.

    A value is the feature's first level, or the middle of its range, or 1.0 without a finite range.

    Args:
        study: study with the features.
        most: maximum number of features; the study's first ones are taken.
    """
    return {
        feature.column or name: _example(feature)
        for name, feature in list(study.features.items())[:most]
    }


def _example(feature: Feature) -> float | str:
    if feature.levels is not None:
        return feature.levels[0]
    low, high = feature.bounds
    return (low + high) / 2 if math.isfinite(high - low) else 1.0
