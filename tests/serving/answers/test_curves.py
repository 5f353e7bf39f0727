"""Curves as answers show them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.serving.answers.curves import DECIMALS, POINTS, curves_json, grid

parts = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-9, 1.5e-8, 1 - 5e-9, 0.1, 1e-300])
months = st.floats(0, 1e6) | st.sampled_from([0.0, 12.0, 0.1 + 0.2, 1e-7, 1e16])


def written(times: list[float], curves: Any) -> list[Any]:
    return [json.loads(orjson.dumps(each)) for each in curves_json(times, curves)]


@given(times=st.lists(months, min_size=1, max_size=4, unique=True), data=st.data())
def test_what_is_written_is_what_is_said(times: list[float], data: Any) -> None:
    n = data.draw(st.integers(0, 3))
    numbers = data.draw(st.lists(parts, min_size=3 * n * len(times), max_size=3 * n * len(times)))
    curves = np.array(numbers, dtype=float).reshape(n, len(times), 3)
    points = written(times, curves)
    assert [[point["time"] for point in curve] for curve in points] == [times] * n
    said = [[[p["survival"], p["low"], p["high"]] for p in curve] for curve in points]
    np.testing.assert_allclose(
        np.array(said, dtype=float).reshape(curves.shape), curves, rtol=0, atol=0.5000001e-8
    )


def test_a_number_is_the_nearest_that_so_many_decimals_have() -> None:
    curves = np.random.default_rng(0).random((20, 9, 3))
    times = np.arange(9.0).tolist()
    for curve, rounded in zip(written(times, curves), np.round(curves, DECIMALS), strict=True):
        for point, (survival, low, high) in zip(curve, rounded.tolist(), strict=True):
            assert (point["survival"], point["low"], point["high"]) == (survival, low, high)


@pytest.mark.parametrize("horizon", [0.5, 12.0, 36.0, 60.0, 61.7, 250.0, 9999.0, 1e6])
def test_the_grid_goes_from_zero_to_the_horizon(horizon: float) -> None:
    times = grid(horizon)
    assert times[0] == 0
    assert times[-1] == horizon
    assert all(a < b for a, b in pairwise(times))
    assert len(times) <= POINTS + 1
