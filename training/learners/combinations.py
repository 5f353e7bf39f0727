"""Linear combinations of a few columns, on which the trees of an oblique forest split.

Breiman, "Random forests", Mach Learn 2001 (Forest-RC), draws the weights at random; here they are
effects on the hazard in some of the patients, as in Jaeger et al., "Oblique random survival
forests", Ann Appl Stat 2019, where they are fitted in each node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints

#: Fraction of the patients from whom the weights of a combination are estimated.
SAMPLE = 1 / 3
#: Ridge penalty of the weights, in expected events, for columns in units of their SD.
RIDGE = 1.0
#: Minimum number of combinations drawn at once.
FEWEST = 4
#: Maximum number of combinations drawn at once.
MOST = 64


@dataclass(frozen=True)
class Combinations:
    """Linear combinations of k columns each."""

    columns: Ints
    """(m, k) columns of each combination."""
    weights: Array
    """(m, k) their weights."""

    @classmethod
    def none(cls) -> Self:
        """Return no combinations."""
        return cls(np.zeros((0, 1), np.int_), np.zeros((0, 1)))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the combinations of several draws, in their order."""
        return cls(
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )

    @property
    def count(self) -> int:
        """Number m of combinations."""
        return len(self.columns)

    def of(self, X: Array) -> Array:
        """Return the values (n, m) of the combinations for a design X (n, c)."""
        # Column by column: the last digit must not depend on the number of rows.
        found = X.take(self.columns[:, 0], axis=1) * self.weights[:, 0]
        for column, weight in zip(self.columns.T[1:], self.weights.T[1:], strict=True):
            found += X.take(column, axis=1) * weight
        return found

    def beside(self, X: Array) -> Array:
        """Return the design (n, c + m) of the columns of X (n, c) and the combinations."""
        return np.concatenate([X, self.of(X)], axis=1)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the combinations as named arrays; without combinations, none."""
        return {"combined": self.columns, "weights": self.weights} if self.count else {}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], columns: int) -> Self:
        """Rebuild from :meth:`arrays`.

        Args:
            arrays: the named arrays, among others.
            columns: number c of columns that can be combined.

        Raises:
            ValueError: the arrays are no combinations of so many columns.
        """
        if "combined" not in arrays:
            return cls.none()
        combined = np.asarray(arrays["combined"], np.int_)
        weights = np.asarray(arrays["weights"], np.float64)
        if not (
            combined.ndim == 2
            and combined.shape == weights.shape
            and combined.size
            and combined.min() >= 0
            and combined.max() < columns
        ):
            raise ValueError("these are no combinations of columns")
        return cls(combined, weights)


def draw_combinations(
    X: Array, observed: Array, expected: Array, size: int, rng: np.random.Generator
) -> Combinations:
    """Draw as many combinations as there are columns, within ``FEWEST`` and ``MOST``.

    The columns of each are drawn at random, and so are the patients by whom their weights are
    estimated: (V + (``RIDGE`` + tr V / 20 k) I)⁻¹ u, with score u and information V of the columns'
    log-hazard ratios at 0, where the baseline hazard is the average one.

    Args:
        X: (n, c) columns.
        observed: (n,) events of each patient.
        expected: (n,) events expected at the average hazard.
        size: number k of columns of a combination; all c if there are fewer.
        rng: generator of columns and patients.
    """
    n, c = X.shape
    count, k = min(max(c, FEWEST), MOST), min(size, c)
    spread = X.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    columns = np.argsort(rng.random((count, c)), axis=1)[:, :k]
    weights = np.empty((count, k))
    for own, weight in zip(columns, weights, strict=True):
        rows = rng.choice(n, max(1, int(SAMPLE * n)), replace=False, shuffle=False)
        e = expected[rows]
        z = X[rows[:, None], own] / scale[own]
        z -= e @ z / max(e.sum(), 1e-9)
        information = (z * e[:, None]).T @ z
        information.flat[:: k + 1] += RIDGE + information.trace() / (20 * k)
        weight[:] = np.linalg.solve(information, z.T @ (observed[rows] - e)) / scale[own]
    return Combinations(columns, weights)
