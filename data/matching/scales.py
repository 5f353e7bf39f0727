"""Put a whole new cohort on the scales that a model was trained on, without its outcomes.

Training ranks expression within each centre that has enough patients, because assays and batches
shift a gene's level and spread, so that only a patient's rank is comparable between cohorts. A new
cohort is ranked by quantiles of its own, or, with too few patients, by the model's. Numbers and
densities keep their unit; :func:`outside` finds those outside the training range.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.scaling import CENTRE_SIZE, Unstandardised, assay_references


def rankable(preprocessor: Preprocessor, values: Array) -> Bools:
    """Return whether each feature (p,) is expression that at least ``CENTRE_SIZE`` patients have.

    These features are ranked in the new cohort.

    Args:
        preprocessor: preprocessor of the model.
        values: (n, p) coded features of the new cohort; NaN is missing.
    """
    known = (~np.isnan(values)).sum(axis=0)
    return np.asarray(_expression(preprocessor) & (known >= CENTRE_SIZE))


def on_own_scale(
    preprocessor: Preprocessor, values: Array, centre: NDArray[np.str_] | None
) -> Preprocessor:
    """Return the preprocessing with the expression scales of a whole new cohort.

    Args:
        preprocessor: preprocessor of the model; all but its expression scales is kept.
        values: (n, p) coded features of the new cohort; NaN is missing.
        centre: (n,) hospitals of the new cohort; one with enough patients gets its own scale, in
            place of a scale from training under that name.

    Returns:
        A preprocessor that ranks patients of a hospital without a scale of its own in the whole new
        cohort, for the features of :func:`rankable`; the same preprocessor if there are none.
    """
    own = rankable(preprocessor, values)
    if not own.any():
        return preprocessor
    usual = preprocessor.reference[""]
    found = assay_references(values, _expression(preprocessor), centre)
    overall = np.where(own, found[""], usual)
    centres = {name: np.where(own, table, overall) for name, table in found.items() if name != ""}
    return replace(preprocessor, reference={**preprocessor.reference, **centres, "": overall})


def outside(preprocessor: Preprocessor, values: Array) -> Bools:
    """Return whether each value (n, p) is a number or density outside the training range.

    The range is from the 0.5th to the 99.5th centile of the training patients.

    Args:
        preprocessor: preprocessor of the model.
        values: (n, p) coded features; NaN is missing and counts as inside.
    """
    z = Unstandardised(preprocessor.log_offset[None], {}).scale(values, None)[0]
    kinds = [f.kind in ("number", "density") for f in preprocessor.study.features.values()]
    with np.errstate(invalid="ignore"):
        beyond = (z < preprocessor.low - 1e-9) | (z > preprocessor.high + 1e-9)
    return np.asarray(beyond & np.array(kinds))


def _expression(preprocessor: Preprocessor) -> Bools:
    """Return whether each feature (p,) is expression."""
    features = preprocessor.study.features.values()
    return np.array([feature.kind == "expression" for feature in features])
