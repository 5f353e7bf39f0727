"""Calibration of all draws at once, and at which months."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.intervals import resamples
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.evaluation import bootstrap as module
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import (
    Calibrated,
    calibrated,
    calibration,
    judged_months,
    middle_month,
    recentred,
    slopes,
)
from accomplice.training.metrics.calibration import calibration_at, observed_expected

GRID = TimeGrid(np.linspace(0, 60, 13))


def includes_one(found: Calibrated) -> bool:
    """Whether the intervals of the slope and of observed over expected both include 1."""
    return all(each.low <= 1 <= each.high for each in (found.slope, found.observed_expected))


def patients(n, seed=0, loud=1.0):
    """Outcome, and cumulative hazards whose differences are exaggerated."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, left = rng.exponential(50 / np.exp(risk)), rng.uniform(4, 80, n)
    time = np.minimum(np.minimum(death, left), 60.0)
    event = (death <= left) & (death <= 60)
    return time, event, 0.02 * np.exp(loud * risk)[:, None] * GRID.edges


def test_slopes_are_those_of_each_draw():
    time, event, curves = patients(150, loud=1.4)
    followed = BootstrappedOutcome.of(time, event, 55.0, 25, 2)
    alive = survival(GRID.at(curves, np.array([36.0])))[:, 0]
    found = slopes(followed, alive, 36.0)
    whole = calibration_at(event, time, alive, 36.0, followed.weights)
    assert found[0] == pytest.approx(whole.slope, abs=1e-5)
    for slope, r in zip(found[1:], resamples(150, 25, 2), strict=True):
        each = calibration_at(event[r], time[r], alive[r], 36.0, followed.weights)
        assert slope == pytest.approx(each.slope, abs=1e-5)


def test_slopes_of_many_are_as_wide_as_of_few(monkeypatch):
    time, event, curves = patients(1500)
    alive = survival(GRID.at(curves, np.array([36.0])))[:, 0]
    few = slopes(BootstrappedOutcome.of(time, event, 55.0, 500, 2), alive, 36.0)
    monkeypatch.setattr(module, "FEW", 1000)
    many = slopes(BootstrappedOutcome.of(time, event, 55.0, 500, 2), alive, 36.0)
    assert many[0] == pytest.approx(few[0], abs=1e-8)
    assert many[1:].std() == pytest.approx(few[1:].std(), rel=0.12)


def test_the_truth_is_calibrated_and_the_loud_one_found_out():
    time, event, curves = patients(600, seed=3)
    followed = BootstrappedOutcome.of(time, event, 55.0, 100, 0)
    (found,) = calibration(followed, GRID, curves, [36.0])
    assert found.slope.low < 1 < found.slope.high
    assert found.observed_expected.low < 1 < found.observed_expected.high
    alive = survival(GRID.at(curves, np.array([36.0])))[:, 0]
    assert found.observed_expected.value == pytest.approx(
        observed_expected(event, time, alive, 36.0)
    )
    assert sum(found.size) == 600
    assert list(found.predicted) == sorted(found.predicted)
    time, event, loud = patients(600, seed=3, loud=2.0)
    (found,) = calibration(BootstrappedOutcome.of(time, event, 55.0, 100, 0), GRID, loud, [36.0])
    assert found.slope.high < 0.8
    assert found.smooth.ici > found.smooth.ici_by_chance


@pytest.mark.parametrize("alive", [np.full(40, 0.7), np.where(np.arange(40) < 20, 0.0, 1.0)])
def test_no_slope_where_predictions_are_equal_or_part_all(alive):
    time = np.where(np.arange(40) < 20, 5.0, 50.0) + np.arange(40) / 100
    followed = BootstrappedOutcome.of(time, np.arange(40) < 20, 45.0, 5, 0)
    assert np.isnan(slopes(followed, alive, 36.0)).all()


class TestMonths:
    def test_are_the_usual_ones_with_events_and_patients_beyond(self):
        time, event, _ = patients(400)
        assert (
            judged_months(BootstrappedOutcome.of(time, event, np.nextafter(60, 0), 1, 0))
            == (12, 36, 60)[: 3 if (time >= 60).sum() >= 10 else 2]
        )
        assert judged_months(BootstrappedOutcome.of(time, event, 40.0, 1, 0)) == (12, 36)

    def test_are_thirds_of_a_short_horizon(self):
        time, event, _ = patients(400)
        assert judged_months(BootstrappedOutcome.of(time, event, 9.0, 1, 0)) == (3, 6, 9)

    def test_the_middle_one_is_nearest_to_half(self):
        assert middle_month((12.0, 36.0, 60.0), 60.0) == 36
        assert middle_month((3.0, 6.0, 9.0), 9.0) in (3, 6)


EXPONENTIAL = TimeGrid(np.array([0.0, 12, 60]))


def exponential(n, factor=1.0, seed=0):
    rng = np.random.default_rng(seed)
    curves = 0.02 * EXPONENTIAL.edges * np.exp(rng.normal(0, 0.7, n))[:, None]
    time = rng.exponential(12 / (curves[:, 1] * factor))
    censored = rng.uniform(10, 80, n)
    return curves, np.minimum(time, censored), time < censored


def followed(time, event, draws):
    return BootstrappedOutcome.of(time, event, EXPONENTIAL.horizon, draws, 0)


def test_true_predictions_hold():
    curves, time, event = exponential(2000, seed=1)
    found = calibrated(followed(time, event, 100), EXPONENTIAL, curves, (12.0, 30.0))
    assert [each.month for each in found] == [12.0, 30.0]
    for each in found:
        assert includes_one(each)
        assert each.slope.value == pytest.approx(1, abs=0.1)
        assert each.slope.low < each.slope.value < each.slope.high


def test_risks_predicted_too_low_are_told():
    curves, time, event = exponential(2000, factor=2.0)
    (found,) = calibrated(followed(time, event, 100), EXPONENTIAL, curves, (12.0,))
    assert not includes_one(found)
    assert found.observed_expected.low > 1
    observed = 1 - KaplanMeier.fit(time, event).at(12.0)
    expected = (1 - np.exp(-curves[:, 1])).mean()
    assert found.observed_expected.value == pytest.approx(observed / expected)


def test_what_cannot_be_judged_is_nan_and_does_not_hold():
    curves, time, event = exponential(50)
    (found,) = calibrated(followed(time, event & (time > 5), 20), EXPONENTIAL, curves, (2.0,))
    assert np.isnan(found.slope.value)
    assert not includes_one(found)


def test_levels_of_folds_are_evened():
    _, _, curves = patients(400, seed=3)
    group = np.arange(400) % 4
    found = recentred(curves * np.array([0.5, 1.0, 1.5, 2.0])[group][:, None], group)
    means = np.bincount(group, log_risk(found)) / 100
    np.testing.assert_allclose(means, means.mean(), atol=1e-12)
    np.testing.assert_array_equal(recentred(curves, np.zeros(400, dtype=int)), curves)


def test_a_fold_s_level_is_no_part_of_the_slope():
    # Each fold is predicted on a level that its own outcomes took from the others'.
    found = []
    for seed in range(20):
        time, event, curves = patients(200, seed=seed)
        group = np.random.default_rng(seed).permutation(200) % 5
        above = np.bincount(group, event) / np.bincount(group, GRID.at_own(curves, time))
        low = curves * above[group][:, None] ** -0.25
        followed = BootstrappedOutcome.of(time, event, 55.0, 0, 0)
        both = [survival(GRID.at(c, np.array([36.0])))[:, 0] for c in (low, recentred(low, group))]
        found.append([slopes(followed, each, 36.0)[0] for each in both])
    raw, even = np.mean(found, axis=0)
    assert raw < even - 0.02
    assert even == pytest.approx(1.0, abs=0.06)
