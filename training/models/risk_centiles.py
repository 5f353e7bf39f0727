"""Risk centiles: the rank of a patient's risk among the training patients' out-of-fold risks.

A model keeps quantiles of its training patients' out-of-fold risks, on the scale of its own risk.
The extremes, which would be one patient's, are not kept; so a centile lies between 0.5 and 99.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.data.preprocessing.scaling import column_quantiles, sort_columns

#: Probabilities at which quantiles of the training risks are kept.
PROBABILITIES = np.linspace(0.005, 0.995, 100)
#: Names of the thirds of the training patients, by rising risk.
GROUPS = ("low", "middle", "high")


def quantiles(risk: Array) -> Array:
    """Return the quantiles (100,) at ``PROBABILITIES`` of the training patients' risks (n,)."""
    return column_quantiles(sort_columns(risk[:, None]), PROBABILITIES)[:, 0]


def centile(risk: Array, kept: Array) -> Array:
    """Return for each of n risks the percentage (n,) of training patients with a lower risk.

    It is interpolated between the quantiles, so that it lies between 0.5 and 99.5; patients of
    equal risk count half.

    Args:
        risk: (n,) risks by the model.
        kept: (100,) quantiles by :func:`quantiles`.
    """
    # A risk that many training patients share gets the middle of their ranks.
    first, last = np.searchsorted(kept, kept), np.searchsorted(kept, kept, side="right") - 1
    place = (PROBABILITIES[first] + PROBABILITIES[last]) / 2
    return np.asarray(100 * np.interp(risk, kept, place))


def group(centiles: Array) -> NDArray[np.str_]:
    """Return the name (n,) of the third of the training patients into which each centile falls."""
    return np.array(GROUPS)[np.digitize(centiles, [100 / 3, 200 / 3])]
