"""Adjustment of p values for their number."""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array


def holm(p: Array) -> Array:
    """Return p values (k,) adjusted for their number by Holm's method; NaN is ignored.

    The probability that the adjusted p value of any true null hypothesis is below a level is at
    most the level (Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat
    1979).

    Example:
        >>> holm(np.array([0.01, np.nan, 0.04, 0.03]))
        array([0.03,  nan, 0.06, 0.06])
    """
    order = np.argsort(p, kind="stable")
    known = np.count_nonzero(~np.isnan(p))
    steps = p[order] * np.maximum(known - np.arange(p.size), 1)
    made = np.empty(p.size)
    made[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return made
