"""Newton's method on concave functions with a known top."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.newton import climb


@given(top=st.lists(st.floats(-5, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_parabola_takes_one_step(top, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(len(top), len(top)))
    A = root @ root.T + np.eye(len(top))
    found = climb(
        lambda x: float(-(x - top) @ A @ (x - top)),
        lambda x: np.array(top) - x,
        rng.normal(size=len(top)),
    )
    np.testing.assert_allclose(found, top, atol=1e-6)


def test_steps_too_long_are_halved():
    # From far away Newton's own step for -log cosh overshoots further each time.
    found = climb(
        lambda x: float(-np.log(np.cosh(x)).sum()),
        lambda x: -np.sinh(x) * np.cosh(x),
        np.array([3.0]),
    )
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_without_a_step_uphill_it_stays():
    start = np.array([1.0])
    assert climb(lambda x: float(-(x[0] ** 2)), lambda x: x, start) is start
