"""Smooth calibration: an independent fit, known departures, its band, chance level, intercept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from accomplice.training.metrics.calibration import calibration_intercept
from accomplice.training.metrics.smooth_calibration import (
    LEAST_EVENTS,
    smooth_calibration,
)

HORIZON = 36.0


def simulated(n, seed, slope=1.0, ratio=1.0, digits=6):
    """Return event and time, and the cumulative hazard predicted for the horizon."""
    rng = np.random.default_rng([n, seed])
    z = rng.normal(0, 0.8, n)
    death = rng.exponential(1 / (0.015 * ratio * np.exp(slope * z)))
    time = np.round(np.minimum(np.minimum(death, rng.uniform(10, 90, n)), 60.0), digits) + 1e-6
    return death <= time, time, 0.015 * HORIZON * np.exp(z)


def curve(event, time, whole):
    """Return the smooth calibration of predicted hazards that are constant over time."""
    by_then = event & (time <= HORIZON)
    return smooth_calibration(by_then, whole * np.minimum(time / HORIZON, 1), whole)


def by_definition(event, time, whole, horizon):
    """Return |observed − predicted| of each patient by a fit with scipy, Efron's ties."""
    event, time = event & (time <= horizon), np.minimum(time, horizon)
    x, alive = np.log(whole), np.exp(-whole)
    t = np.quantile(x, [0.1, 0.5, 0.9])
    # Harrell's truncated power basis (Regression Modeling Strategies, 2.4.5).
    cube = np.maximum(x[:, None] - t, 0) ** 3
    bend = (
        cube[:, 0] - cube[:, 1] * (t[2] - t[0]) / (t[2] - t[1])
        + cube[:, 2] * (t[1] - t[0]) / (t[2] - t[1])
    ) / (t[2] - t[0]) ** 2  # fmt: skip
    X = np.c_[x - x.mean(), bend - bend.mean()]
    moments = np.unique(time[event])

    def totals(beta):
        for moment in moments:
            weight, tied = np.exp(X @ beta), event & (time == moment)
            for k in range(tied.sum()):
                yield weight[time >= moment].sum() - k / tied.sum() * weight[tied].sum()

    def loss(beta):
        return sum(map(math.log, totals(beta))) - (X @ beta)[event].sum()

    beta = optimize.minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x
    baseline = sum(1 / total for total in totals(beta))
    return np.abs(np.exp(-baseline * np.exp(X @ beta)) - alive)


@pytest.mark.parametrize("digits", [6, 0])
def test_equals_an_independent_fit_of_time_itself(digits):
    event, time, whole = simulated(150, 2, slope=0.7, ratio=1.3, digits=digits)
    away = by_definition(event, time, whole, HORIZON)
    found = curve(event, time, whole)
    assert found.ici == pytest.approx(away.mean(), abs=1e-6)
    assert found.e50 == pytest.approx(np.quantile(away, 0.5), abs=1e-6)
    assert found.e90 == pytest.approx(np.quantile(away, 0.9), abs=1e-6)


def test_tends_to_the_true_curve_and_its_closed_form_distance():
    event, time, whole = simulated(60_000, 0, slope=0.6, ratio=1.4)
    found, alive = curve(event, time, whole), np.exp(-whole)
    scale = 0.015 * HORIZON
    true = np.exp(-scale * 1.4 * (whole / scale) ** 0.6)
    away = np.abs(true - alive)
    assert found.ici == pytest.approx(away.mean(), abs=0.006)
    assert found.e90 == pytest.approx(np.quantile(away, 0.9), abs=0.01)
    drawn = np.interp(found.predicted, np.sort(alive), true[np.argsort(alive)])
    assert found.observed == pytest.approx(drawn, abs=0.015)
    assert found.ici > found.ici_by_chance


def test_right_predictions_of_hazards_that_cross_are_on_the_diagonal():
    """Of two groups that end at the same survival one dies early, the other late."""
    rng = np.random.default_rng(3)
    shape, x = rng.choice([0.5, 3.0], 40_000), rng.normal(-0.7, 0.6, 40_000)
    whole = np.exp(x + 0.4 * (shape > 1))
    time = (rng.exponential(size=40_000) / whole) ** (1 / shape)
    left = rng.uniform(0.2, 3, 40_000)
    until = np.minimum(np.minimum(time, left), 1)
    found = smooth_calibration(time <= np.minimum(left, 1), whole * until**shape, whole)
    assert found.ici < 0.006
    assert found.observed == pytest.approx(found.predicted, abs=0.02)


def test_band_and_chance_hold_as_often_as_they_say():
    """95 % of 150 cohorts, standard error 1.8 points."""
    held, quiet = [], []
    for seed in range(150):
        found = curve(*simulated(300, seed))
        at = np.array(found.predicted)
        held.append(((found.low <= at) & (at <= found.high)).all())
        quiet.append(found.ici <= found.ici_by_chance)
    assert 0.9 <= np.mean(held) <= 0.995
    assert 0.9 <= np.mean(quiet) <= 0.995


def test_departures_are_beyond_chance():
    found = [curve(*simulated(800, seed, slope=0.6)) for seed in range(40)]
    assert np.mean([each.ici > each.ici_by_chance for each in found]) > 0.75


def test_few_levels_of_prediction_and_what_cannot_be_fitted():
    event, time, whole = simulated(400, 5)
    two = np.where(whole > 0.5, 1.2, 0.3)
    assert np.isfinite(curve(event, time, two).observed).all()
    assert curve(event, time, np.full(400, 0.5)) is None
    few = event & (np.cumsum(event & (time <= HORIZON)) < LEAST_EVENTS)
    assert curve(few, time, whole) is None
    assert curve(event, np.minimum(time, 30), whole) is None
    assert curve(event, time, np.where(event & (time <= HORIZON), 2.0, 0.1)) is None


def test_predictions_of_nought_and_one():
    event, time, whole = simulated(400, 6)
    whole[:5], whole[5:10] = 1e3, 0.0
    found = curve(event, time, whole)
    assert np.isfinite([found.ici, found.e50, found.e90, found.ici_by_chance]).all()
    assert np.isfinite(found.low).all()


def test_intercept_is_the_poisson_regression():
    """With the expected events as offset the score is D − exp(a) Σ e, the information D."""
    found = calibration_intercept(np.tile([True, False], 50), np.full(100, 0.4))
    assert found.value == pytest.approx(math.log(50 / 40))
    assert found.high - found.value == pytest.approx(1.959964 / math.sqrt(50))
    assert math.isnan(calibration_intercept(np.zeros(3, bool), np.ones(3)).value)
