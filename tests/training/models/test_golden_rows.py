"""Golden rows: kept with gaps, replayed, and refused where a model has drifted."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from accomplice.training.models.golden_rows import DRIFT, ROWS, golden, replays


@dataclass
class Line:
    """A model of three inputs, missing ones counting as 0."""

    slope: float
    columns: int = 2

    def sample(self, n, rng):
        values = rng.normal(size=(n, 3))
        values[0, 1] = np.nan
        return values

    def replay(self, values):
        return np.repeat(np.nan_to_num(values).sum(axis=1)[:, None] * self.slope, self.columns, 1)


def test_the_same_model_replays_its_rows():
    kept = json.loads(json.dumps(golden(Line(2.0)), allow_nan=False))
    assert len(kept["values"]) == ROWS
    assert kept["values"][0][1] is None
    assert replays(Line(2.0), kept)
    assert golden(Line(2.0)) == golden(Line(2.0))


@pytest.mark.parametrize(("factor", "same"), [(1 + DRIFT / 10, True), (1 + 100 * DRIFT, False)])
def test_drift_is_seen_beyond_rounding(factor, same):
    assert replays(Line(2.0 * factor), golden(Line(2.0))) is same


def test_other_answers_than_were_kept_are_drift():
    assert not replays(Line(2.0, columns=1), golden(Line(2.0)))
