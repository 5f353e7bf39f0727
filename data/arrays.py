"""Array types that all modules share; shapes are documented where the arrays are used."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Real numbers in double precision.
Array: TypeAlias = NDArray[np.float64]
#: Real numbers of any precision.
Reals: TypeAlias = NDArray[np.floating[Any]]
#: Real numbers in single precision, as the networks have them.
Singles: TypeAlias = NDArray[np.float32]
#: Whole numbers: counts, and indices of rows or columns.
Ints: TypeAlias = NDArray[np.int_]
#: Truth values.
Bools: TypeAlias = NDArray[np.bool_]


def round_off(value: float, *, up: bool) -> float:
    """Return a value rounded up or down to three significant digits; 0 for one of at most 0.

    So rounded, the end of a range does not show all digits of a single patient's value. A value of
    three digits or fewer stays, or moves by one in its third digit where floats are not exact.

    Raises:
        ValueError: the value is NaN.
        OverflowError: the value is infinite.
    """
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    digits = math.ceil(value / step) if up else math.floor(value / step)
    return digits * step
