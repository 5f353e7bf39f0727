"""Early events by arm, and Fisher's test of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.treatment.immortal_time import Early, early_events, fewer_by_chance


def test_counts_events_to_the_landmark_and_leaves_out_the_unknown():
    treated = np.array([1, 1, 1, 0, 0, np.nan])
    time = np.array([1.0, 2.0, 3.0, 2.0, 2.0, 1.0])
    event = np.array([True, True, True, True, False, True])
    assert early_events(treated, time, event, 2.0) == (Early(2, 3), Early(1, 2))
    assert Early(2, 3).share == pytest.approx(2 / 3)
    assert Early(0, 0).share == 0


@given(
    a=st.integers(0, 8),
    m=st.integers(8, 40),
    b=st.integers(0, 8),
    n=st.integers(8, 40),
    odds=st.sampled_from([0.55, 1.0]),
)
def test_chance_of_few_early_events_is_fishers(a, m, b, n, odds):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.nchypergeom_fisher.cdf(a, m + n, m, a + b, odds)
    assert fewer_by_chance(Early(a, m), Early(b, n), odds) == pytest.approx(expected, abs=1e-7)
