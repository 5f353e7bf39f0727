"""Observed over expected risk; the other measures of calibration are in test_metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.metrics.calibration import (
    observed_expected,
    observed_expected_contributions,
)


def patients(n=120, seed=0, digits=6):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, left = rng.exponential(30 / np.exp(risk)), rng.uniform(4, 80, n)
    time = np.round(np.minimum(death, left), digits) + 1
    return death <= left, time, np.exp(-0.02 * np.exp(risk) * 24)


@pytest.mark.parametrize("digits", [0, 6])
def test_equals_scikit_survival_s_curve_over_the_mean_risk(digits):
    nonparametric = pytest.importorskip("sksurv.nonparametric")
    event, time, alive = patients(digits=digits)
    times, curve = nonparametric.kaplan_meier_estimator(event, time)
    observed = 1 - curve[times <= 24][-1]
    expected = observed / (1 - alive).mean()
    assert observed_expected(event, time, alive, 24.0) == pytest.approx(expected, rel=1e-10)


def test_is_one_where_risks_come_true():
    event, time, _ = patients()
    alive = np.full(120, KaplanMeier.fit(time, event).at(24.0))
    assert observed_expected(event, time, alive, 24.0) == pytest.approx(1.0)
    assert observed_expected(event, time, (1 + alive) / 2, 24.0) == pytest.approx(2.0)


@given(st.integers(0, 1000), st.sampled_from([0, 6]), st.floats(2, 60))
def test_contributions_are_the_derivative_by_how_often_a_patient_counts(seed, digits, month):
    event, time, alive = patients(40, seed, digits)
    if time.max() <= month or not (event & (time <= month)).any():
        return
    parts = observed_expected_contributions(event, time, alive, month)
    ratio = observed_expected(event, time, alive, month)
    assert parts.mean() == pytest.approx(ratio, abs=1e-9)
    copies = 2000
    for k in range(0, 40, 9):
        rows = np.append(np.tile(np.arange(40), copies), k)
        moved = observed_expected(event[rows], time[rows], alive[rows], month)
        # One more among many copies: the derivative, and an error of the order of 1 / copies.
        slope = (moved - ratio) * copies
        assert (parts[k] - ratio) / 40 == pytest.approx(slope, abs=2e-3)


def test_is_undefined_past_follow_up_and_without_risk():
    event, time, alive = np.array([True, False]), np.array([1.0, 5.0]), np.array([0.5, 0.6])
    with pytest.raises(UndefinedMetricError, match="follow-up ends at 5"):
        observed_expected(event, time, alive, 6.0)
    with pytest.raises(UndefinedMetricError, match="predicted risk is 0"):
        observed_expected(event, time, np.ones(2), 3.0)
    both = np.array([True, True])
    assert observed_expected(both, time, alive, 6.0) == pytest.approx(1 / 0.45)
    assert observed_expected_contributions(both, time, alive, 6.0).mean() == pytest.approx(1 / 0.45)
