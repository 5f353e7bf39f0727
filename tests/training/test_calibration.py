"""Slope and observed over expected at a month, with intervals."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibration import calibrated
from training.hazard import TimeGrid
from training.metrics import KaplanMeier

GRID = TimeGrid(np.array([0.0, 12, 60]))


def drawn(n, factor=1.0, seed=0):
    rng = np.random.default_rng(seed)
    curves = 0.02 * GRID.edges * np.exp(rng.normal(0, 0.7, n))[:, None]
    time = rng.exponential(12 / (curves[:, 1] * factor))
    censored = rng.uniform(10, 80, n)
    return curves, np.minimum(time, censored), time < censored


def test_true_predictions_hold():
    curves, time, event = drawn(2000, seed=1)
    found = calibrated(time, event, GRID, curves, (12.0, 30.0), 100, 0)
    assert [each.month for each in found] == [12.0, 30.0]
    for each in found:
        assert each.holds
        assert each.slope.value == pytest.approx(1, abs=0.1)
        assert each.slope.low < each.slope.value < each.slope.high


def test_risks_predicted_too_low_are_told():
    curves, time, event = drawn(2000, factor=2.0)
    (found,) = calibrated(time, event, GRID, curves, (12.0,), 100, 0)
    assert not found.holds
    assert found.observed_expected.low > 1
    observed = 1 - KaplanMeier.fit(time, event).at(12.0)
    expected = (1 - np.exp(-curves[:, 1])).mean()
    assert found.observed_expected.value == pytest.approx(observed / expected)


def test_what_cannot_be_judged_is_nan_and_does_not_hold():
    curves, time, event = drawn(50)
    (found,) = calibrated(time, event & (time > 5), GRID, curves, (2.0,), 20, 0)
    assert np.isnan(found.slope.value)
    assert not found.holds
