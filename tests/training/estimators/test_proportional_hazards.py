"""The test of proportional hazards against R's cox.zph (reference/effects.R), and the curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.proportional_hazards import (
    effect_over_time,
    natural_spline,
    zph_test,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "effects.json").read_text())


def case(name):
    found = REFERENCE[name]
    return (
        found,
        np.array(found["x"]),
        np.array(found["time"], dtype=float),
        np.array(found["event"]),
    )


@pytest.mark.parametrize("name", ["distinct", "tied"])
def test_equals_cox_zph(name):
    found, X, time, event = case(name)
    tests = zph_test(X, time, event)
    np.testing.assert_allclose(
        [t.statistic for t in tests], found["zph"]["statistic"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose([t.p_value for t in tests], found["zph"]["p"], rtol=1e-5)


@pytest.mark.parametrize("name", ["distinct", "tied"])
def test_moments_at_events_add_up_to_gradient_and_information(name):
    _, X, time, event = case(name)
    risk_sets = RiskSets(time, event)
    log_hz = X @ np.array([0.3, -0.2, 0.5])
    _, gradient, information = risk_sets.evaluate(X, log_hz)
    rows, mean, covariance = risk_sets.at_events(X, log_hz)
    assert event[rows].all()
    assert len(rows) == event.sum()
    np.testing.assert_allclose((X[rows] - mean).sum(axis=0), gradient, atol=1e-9)
    np.testing.assert_allclose(covariance.sum(axis=0), information, atol=1e-8)


def test_the_curve_falls_where_the_effect_wears_off():
    _, X, time, event = case("distinct")
    curve = effect_over_time(X[:, 0], time, event)
    assert curve.log_hr[0] > 0.3
    assert curve.log_hr[-1] < 0
    assert (curve.low < curve.log_hr).all()
    assert (curve.log_hr < curve.high).all()


def test_the_curve_of_few_events_is_the_coefficient_itself():
    _, X, time, event = case("distinct")
    few = event & (np.cumsum(event) <= 9)
    curve = effect_over_time(X[:, 0], time, few)
    risk_sets = RiskSets(time, few)
    beta = fit_cox(X[:, :1], risk_sets, np.zeros(1))
    np.testing.assert_allclose(curve.log_hr, beta[0], atol=1e-6)
    information = risk_sets.evaluate(X[:, :1], X[:, 0] * beta[0])[2][0, 0]
    np.testing.assert_allclose(curve.high - curve.log_hr, 1.959964 / information**0.5, rtol=1e-5)


def test_natural_splines_are_straight_beyond_their_knots():
    knots = np.array([0.0, 1.0, 2.0, 3.0])
    beyond = natural_spline(np.array([4.0, 5.0, 6.0]), knots)
    np.testing.assert_allclose(np.diff(beyond, 2, axis=0), 0, atol=1e-9)
    assert beyond.shape == (3, 4)
