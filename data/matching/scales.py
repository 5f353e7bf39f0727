"""Put a whole new cohort on the scales that a model was trained on, without its outcomes.

Training ranks expression within each centre that has enough patients, because assays and batches
shift a gene's level and spread: only a patient's rank among the others carries over. A cohort new
to a model is ranked likewise: its own quantiles are added to the model's; with too few patients the
model's are used. Numbers and densities keep their unit; :func:`outside` finds those outside the
training range.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.scaling import CENTRE_SIZE, Unstandardised, assay_references


def rankable(preprocessor: Preprocessor, values: Array) -> Bools:
    """Which features (p,) are expression of enough new patients (n, p) to be ranked among them."""
    known = (~np.isnan(values)).sum(axis=0)
    return np.asarray(_expression(preprocessor) & (known >= CENTRE_SIZE))


def on_own_scale(
    preprocessor: Preprocessor, values: Array, centre: NDArray[np.str_] | None
) -> Preprocessor:
    """Return the preprocessing with the assay scale of a whole new cohort.

    Args:
        preprocessor: fitted to other patients; all but its expression scales stays.
        values: (n, p) coded features of the new cohort, NaN is missing.
        centre: (n,) its hospitals; one with enough patients gets a scale of its own.

    Returns:
        A preprocessor for which patients of no known centre are of the new cohort.
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
    """Which numbers and densities (n, p) lie outside the training range.

    The range is that of all but one training patient in two hundred at either end.
    """
    z = Unstandardised(preprocessor.log_offset[None], {}).scale(values, None)[0]
    kinds = [f.kind in ("number", "density") for f in preprocessor.study.features.values()]
    with np.errstate(invalid="ignore"):
        beyond = (z < preprocessor.low - 1e-9) | (z > preprocessor.high + 1e-9)
    return np.asarray(beyond & np.array(kinds))


def _expression(preprocessor: Preprocessor) -> Bools:
    features = preprocessor.study.features.values()
    return np.array([feature.kind == "expression" for feature in features])
