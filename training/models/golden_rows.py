"""Golden rows: synthetic patients kept with a model's predictions, checked when it is loaded."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from accomplice.data.arrays import Array

#: Number of synthetic patients that are kept with a model.
ROWS = 8
#: Relative and absolute tolerance of replayed predictions; a model beyond it is refused.
DRIFT = 1e-4


class Replayable(Protocol):
    """A model that can draw synthetic patients and predict them."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw synthetic coded features (n, p), which are no patient's values.

        Args:
            n: number of rows.
            rng: source of the random numbers.
        """
        ...

    def replay(self, values: Array) -> Array:
        """Predict from coded features (n, p); the numbers (n, k) depend on all of the model."""
        ...


def golden(model: Replayable) -> dict[str, Any]:
    """Return synthetic patients and the model's predictions of them, as plain data."""
    values = model.sample(ROWS, np.random.default_rng(0))
    written = [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
    return {"values": written, "expected": model.replay(values).tolist()}


def replays(model: Replayable, kept: dict[str, Any]) -> bool:
    """Whether a model predicts the same for the golden rows as when :func:`golden` made them.

    Args:
        model: the loaded model.
        kept: the data by :func:`golden`.

    Raises:
        ValueError: the data are of another number of rows.
    """
    values, expected = (np.array(kept[key], dtype=float) for key in ("values", "expected"))
    if len(values) != ROWS:
        raise ValueError(f"{len(values)} golden rows in place of {ROWS}")
    answered = model.replay(values)
    return answered.shape == expected.shape and np.allclose(
        answered, expected, rtol=DRIFT, atol=DRIFT
    )
