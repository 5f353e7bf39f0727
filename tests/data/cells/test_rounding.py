"""Rounding of the ends of ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.cells.rounding import round_off


@pytest.mark.parametrize(
    ("value", "up", "expected"),
    [(83.47, True, 83.5), (83.47, False, 83.4), (1234.0, True, 1240.0), (0.0, True, 0.0)],
)
def test_three_digits_are_kept(value, up, expected):
    assert round_off(value, up=up) == pytest.approx(expected)


@pytest.mark.parametrize("value", [2.3, 0.35, 72.6, 77.1, 79.1, 60.0, 999.0, 12300.0, 1e-3])
@pytest.mark.parametrize("up", [True, False])
def test_three_digits_stay_as_they_are(value, up):
    assert round_off(value, up=up) == value


@given(st.floats(1e-3, 1e5))
def test_the_value_lies_between_its_ends(value):
    low, high = round_off(value, up=False), round_off(value, up=True)
    assert low <= value * (1 + 1e-9)
    assert high >= value * (1 - 1e-9)
    assert high - low <= value / 49
