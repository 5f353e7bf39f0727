"""The joint test of calibration: its level, its power, and the regression behind it."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.metrics.joint_calibration import LEAST_EVENTS, joint_calibration

optimize = pytest.importorskip("scipy.optimize")


def simulated(n, seed, slope=1.0, ratio=1.0):
    """Return events, expected events and log hazards whose true slope and level are given."""
    rng = np.random.default_rng([n, seed])
    z = rng.normal(0, 0.8 / slope, n)
    rate = 0.02 * np.exp(z)
    death = rng.exponential(1 / (0.02 * ratio * np.exp(slope * z)))
    time = np.minimum(np.minimum(death, rng.uniform(10, 90, n)), 60.0)
    return death <= time, rate * time, np.log(rate * 60)


def test_is_the_maximum_of_its_likelihood():
    event, expected, log_hz = simulated(400, 3, slope=0.8, ratio=1.2)
    z = log_hz - log_hz.mean()

    def loss(at):
        mean = expected * np.exp(at[0] + at[1] * z)
        return float((mean - event * np.log(mean)).sum())

    best = optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9})
    found = joint_calibration(event, expected, log_hz)
    assert found.slope.value == pytest.approx(1 + best.x[1], abs=1e-5)
    assert found.observed_expected.value == pytest.approx(np.exp(best.x[0]), abs=1e-5)
    assert -2 * np.log(found.p) == pytest.approx(2 * (loss([0.0, 0.0]) - best.fun), abs=1e-6)


def test_level_and_slope_are_recovered():
    found = joint_calibration(*simulated(40_000, 0, slope=0.7, ratio=1.3))
    assert found.slope.value == pytest.approx(0.7, abs=0.03)
    assert found.observed_expected.value == pytest.approx(1.3, abs=0.05)
    assert found.p < 1e-9


def test_intervals_cover():
    found = [joint_calibration(*simulated(300, seed, slope=0.8, ratio=1.2)) for seed in range(300)]
    slope = np.array([each.slope.low <= 0.8 <= each.slope.high for each in found])
    ratio = [each.observed_expected.low <= 1.2 <= each.observed_expected.high for each in found]
    assert slope.mean() > 0.91
    assert np.mean(ratio) > 0.91


@pytest.mark.parametrize("n", [120, 200, 800])
def test_calibrated_predictions_depart_in_one_of_twenty(n):
    p = np.array([joint_calibration(*simulated(n, seed)).p for seed in range(400)])
    assert (p < 0.05).mean() < 0.085
    assert (p < 0.5).mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("n", "least"), [(200, 0.55), (400, 0.85), (800, 0.97)])
@pytest.mark.parametrize("slope", [0.7, 1.5])
def test_predictions_too_extreme_or_too_alike_depart(n, least, slope):
    p = np.array([joint_calibration(*simulated(n, seed, slope)).p for seed in range(100)])
    assert (p < 0.05).mean() > least


def test_few_events_and_equal_predictions_are_not_judged():
    event, expected, log_hz = simulated(300, 1)
    assert joint_calibration(event, expected, np.zeros(300)) is None
    few = np.zeros(300, dtype=bool)
    few[: LEAST_EVENTS - 1] = True
    assert joint_calibration(few, expected, log_hz) is None
