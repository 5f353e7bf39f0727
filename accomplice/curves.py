"""Predicted curves as functions of time, called as scikit-survival's step functions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from accomplice.data.arrays import Array
from accomplice.data.errors import InputError
from accomplice.training.estimators.hazard import TimeGrid


@dataclass(frozen=True, eq=False)
class Curve:
    """One patient's survival function ``exp(-H(t))``, or cumulative hazard ``H(t)``.

    ``x``, ``y``, ``domain`` and calls are those of scikit-survival's ``StepFunction``. Between the
    times ``x`` the curve is no step: ``H`` is linear between the edges of the model's grid.
    """

    x: Array
    """(t,) months, rising: the training patients' distinct event times up to the horizon."""
    grid: TimeGrid
    """Time grid of the cumulative hazard."""
    cumulative: Array
    """(j + 1,) cumulative hazard at the grid's edges."""
    survival: bool
    """Whether this is the survival function; else it is the cumulative hazard."""

    @property
    def y(self) -> Array:
        """Values (t,) at the times ``x``."""
        return self._at(self.x)

    @property
    def domain(self) -> tuple[float, float]:
        """First and last month of the function: 0 and the model's horizon."""
        return 0.0, self.grid.horizon

    def __call__(self, x: ArrayLike) -> Any:
        """Return the value at a month, or the values at an array of months, in its shape.

        Raises:
            InputError: a month is not a number between 0 and the horizon.
        """
        times = np.asarray(x, dtype=float)
        first, last = self.domain
        if not ((times >= first) & (times <= last)).all():
            raise InputError(f"x: every time must lie between 0 and the model's horizon, {last:g}")
        found = self._at(np.atleast_1d(times).ravel()).reshape(times.shape)
        return float(found) if times.ndim == 0 else found

    def _at(self, times: Array) -> Array:
        found = self.grid.at(self.cumulative, times)
        return np.asarray(np.exp(-found) if self.survival else found)
