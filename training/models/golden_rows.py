"""Golden rows: made-up patients kept with a model's answers, so that drift is seen at load."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from accomplice.data.arrays import Array

#: Made-up patients of each model.
ROWS = 8
#: Relative difference of replayed rows that is drift.
DRIFT = 1e-4


class Replayable(Protocol):
    """A model that can make patients up and answer them."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Make up coded features (n, p); no patient's values."""
        ...

    def replay(self, values: Array) -> Array:
        """Answer coded features (n, p) by numbers (n, k) that all of the model decides."""
        ...


def golden(model: Replayable) -> dict[str, Any]:
    """Return made-up patients and what the model says of them, as plain data."""
    values = model.sample(ROWS, np.random.default_rng(0))
    written = [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
    return {"values": written, "expected": model.replay(values).tolist()}


def replays(model: Replayable, kept: dict[str, Any]) -> bool:
    """Say whether a model still answers as it did when :func:`golden` was asked."""
    answered = model.replay(np.array(kept["values"], dtype=float))
    expected = np.array(kept["expected"])
    return answered.shape == expected.shape and np.allclose(
        answered, expected, rtol=DRIFT, atol=DRIFT
    )
