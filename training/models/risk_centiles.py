"""Risk centiles: the rank of a patient's risk among the training patients' out-of-fold risks.

A model keeps quantiles of the risks that its training patients had from fold models which had not
seen them, on the scale of its own risk. The extremes, which would be one patient's, are not kept;
so a centile lies between half a percent and 99.5.
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
    """Return the quantiles (100,) of training risks (n,) to be kept; none is a patient's own."""
    return column_quantiles(sort_columns(risk[:, None]), PROBABILITIES)[:, 0]


def centile(risk: Array, kept: Array) -> Array:
    """Return the percentage of training patients with a lower risk than each (n,).

    Args:
        risk: (n,) on the scale of the model's risk.
        kept: (100,) from :func:`quantiles`.
    """
    # Where many patients share a risk, it stands in the middle of their ranks.
    first, last = np.searchsorted(kept, kept), np.searchsorted(kept, kept, side="right") - 1
    place = (PROBABILITIES[first] + PROBABILITIES[last]) / 2
    return np.asarray(100 * np.interp(risk, kept, place))


def group(centiles: Array) -> NDArray[np.str_]:
    """Name the third of the training patients into which each centile (n,) falls."""
    return np.array(GROUPS)[np.digitize(centiles, [100 / 3, 200 / 3])]
