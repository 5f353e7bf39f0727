"""Adjustment of p values for their number."""

from __future__ import annotations

import numpy as np

from accomplice.training.estimators.multiple_testing import holm


def test_p_values_are_adjusted_for_their_number():
    p = np.array([0.01, 0.2, np.nan, 0.02, 0.9])
    np.testing.assert_allclose(holm(p), [0.04, 0.4, np.nan, 0.06, 0.9])
    assert holm(np.empty(0)).shape == (0,)
