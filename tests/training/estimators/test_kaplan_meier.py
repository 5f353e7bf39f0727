"""Weights for censoring that differs between patients."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.kaplan_meier import (
    GroupedCensoring,
    KaplanMeier,
    censoring,
    inverse_censoring,
    observed_survival,
    power_curves,
)


def two_centres(n, seed=0, tied=False):
    """Patients of a second centre are sicker and followed shorter."""
    rng = np.random.default_rng(seed)
    late = rng.random(n) < 0.5
    death = rng.exponential(np.where(late, 20.0, 60.0))
    end = np.where(late, rng.uniform(5, 40, n), rng.uniform(40, 80, n))
    time = np.minimum(death, end)
    return (np.ceil(time) if tied else time), death <= end, late.astype(int), death


class TestPowerCurves:
    @pytest.mark.parametrize("tied", [False, True])
    def test_strata_have_the_curves_of_their_own_patients(self, tied):
        time, event, late, _ = two_centres(300, tied=tied)
        found = power_curves(time, event, late, np.ones(300))
        for s in (0, 1):
            rows, months = late == s, np.linspace(0, time[late == s].max(), 50)
            own = censoring(time[rows], event[rows])
            for month in months:
                assert np.abs(found.at(month)[rows] - own.at(month)).max() < 1e-12
                assert np.abs(found.before(month)[rows] - own.before(month)).max() < 1e-12

    def test_hazard_ratios_make_the_curves_of_cox_s_model(self):
        rng = np.random.default_rng(1)
        x = rng.normal(size=20_000)
        left, death = rng.exponential(30 * np.exp(-x)), rng.exponential(40.0, 20_000)
        time, event = np.minimum(left, death), death <= left
        found = power_curves(time, event, np.zeros(20_000, dtype=int), np.exp(x))
        for month in (3.0, 10.0, 20.0):
            assert np.abs(found.at(month) - np.exp(-month / 30 * np.exp(x))).max() < 0.06
        assert 20 < len(found.survival) < 60

    def test_patients_keep_their_curve_when_some_are_taken(self):
        time, event, late, _ = two_centres(60)
        found, rows = power_curves(time, event, late, np.ones(60)), np.arange(0, 60, 7)
        np.testing.assert_array_equal(found.take(rows).at(12.0), found.at(12.0)[rows])
        np.testing.assert_array_equal(found.take(rows).at(time[rows]), found.at(time)[rows])


class TestObservedSurvival:
    @pytest.mark.parametrize("tied", [False, True])
    def test_is_kaplan_meier_s_where_all_are_alike(self, tied):
        time, event, late, _ = two_centres(200, tied=tied)
        alike = power_curves(time, event, 0 * late, np.ones(200))
        some = np.arange(200) % 3 > 0
        found = observed_survival(time[some], event[some], alike.take(some))
        plain = KaplanMeier.fit(time[some], event[some])
        np.testing.assert_allclose(found.survival, plain.survival, rtol=1e-12, atol=1e-15)
        finite = np.isfinite(plain.variance)
        np.testing.assert_allclose(found.variance[finite], plain.variance[finite], rtol=1e-9)

    def test_is_the_truth_where_the_sicker_are_lost(self):
        time, event, late, death = two_centres(100_000)
        weights = power_curves(time, event, late, np.ones(len(time)))
        truth = (death > 30).mean()
        assert observed_survival(time, event, weights).at(30.0) == pytest.approx(truth, abs=0.006)
        assert abs(observed_survival(time, event).at(30.0) - truth) > 0.02

    def test_its_interval_covers(self):
        held = 0
        for seed in range(300):
            time, event, late, _ = two_centres(200, seed)
            found = observed_survival(time, event, power_curves(time, event, late, np.ones(200)))
            low, high = found.interval(24.0)
            held += low <= 0.5 * (np.exp(-24 / 20) + np.exp(-24 / 60)) <= high
        assert 0.92 <= held / 300 <= 0.99


def test_weights_of_a_month_are_each_patient_s_own():
    grouped = GroupedCensoring(
        np.array([1.0, 2.0]), np.array([[1.0, 0.5, 0.5], [1.0, 1.0, 0.8]]), np.array([0, 1, 0])
    )
    weight = inverse_censoring(grouped, 2.0, np.array([True, True, False]))
    np.testing.assert_allclose(weight, [2.0, 1.25, 0.0])
