"""Array types that all modules share; shapes are documented where the arrays are used."""

from __future__ import annotations

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
