"""Calibration at a time, in groups and of the distribution, against their definitions and R."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring
from accomplice.training.metrics.calibration import (
    calibration_at,
    calibration_groups,
    d_calibration,
)
from tests.fixtures.made_up_outcomes import (
    REFERENCE,
    cohorts,
    reference,
    simulate,
    truth,
    untimed,
)


class TestCalibrationAt:
    def test_equals_r(self):
        event, time, _, case = reference("distinct")
        curve, predicted = censoring(time, event), np.array(case["predicted"])
        found = calibration_at(event, time, predicted, case["horizon"], curve, clip=1e-12)
        assert found.slope == pytest.approx(case["slope"], abs=1e-7)
        assert found.intercept == pytest.approx(case["intercept"], abs=1e-7)

    @pytest.mark.parametrize("case", REFERENCE["calibrated"], ids=lambda case: len(case["time"]))
    def test_equals_r_with_ties_too(self, case):
        event, time = np.array(case["event"]), np.array(case["time"])
        predicted, curve = np.array(case["predicted"]), censoring(time, event)
        found = calibration_at(event, time, predicted, case["horizon"], curve, clip=1e-12)
        assert found.slope == pytest.approx(case["slope"], abs=1e-6)
        assert found.intercept == pytest.approx(case["intercept"], abs=1e-6)

    def test_the_truth_is_calibrated(self):
        event, time, risk = simulate(40_000, seed=5)
        found = calibration_at(event, time, truth(risk, 36.0), 36.0, censoring(time, event))
        assert found.slope == pytest.approx(1, abs=0.04)
        assert found.intercept == pytest.approx(0, abs=0.04)

    @settings(untimed, max_examples=25)
    @given(st.floats(0.4, 2), st.floats(-1, 1))
    def test_undoes_a_known_distortion(self, stretch, shift):
        event, time, risk = simulate(300, seed=6, effect=0.5)
        curve = censoring(time, event)
        log_hazard = np.log(-np.log(truth(np.clip(risk, -2, 2), 20.0, effect=0.5)))
        honest = calibration_at(event, time, np.exp(-np.exp(log_hazard)), 20.0, curve, 1e-12)
        stretched = np.exp(-np.exp(stretch * log_hazard))
        found = calibration_at(event, time, stretched, 20.0, curve, clip=1e-12)
        assert found.slope == pytest.approx(honest.slope / stretch, rel=1e-5)
        shifted = np.exp(-np.exp(log_hazard + shift))
        found = calibration_at(event, time, shifted, 20.0, curve, clip=1e-12)
        assert found.slope == pytest.approx(honest.slope, rel=1e-5)
        assert found.intercept == pytest.approx(honest.intercept - shift, abs=1e-5)

    def test_an_event_at_the_horizon_is_by_the_horizon(self):
        event, time, risk = simulate(200, seed=14, digits=0)
        curve, survival = censoring(time, event), truth(risk, 20.0)
        assert (event & (time == 20)).any()
        at, between = (calibration_at(event, time, survival, h, curve) for h in (20.0, 20.5))
        assert at == pytest.approx(between, abs=1e-9)

    def test_equal_predictions_have_no_slope(self):
        event, time, _ = simulate(500, seed=7)
        curve = censoring(time, event)
        overall = KaplanMeier.fit(time, event).at(24.0)
        found = calibration_at(event, time, np.full(500, overall), 24.0, curve)
        assert math.isnan(found.slope)
        assert found.intercept == pytest.approx(0, abs=1e-6)

    def test_certain_predictions_are_clipped(self):
        event, time, risk = simulate(500, seed=8)
        found = calibration_at(event, time, (risk < 0).astype(float), 24.0, censoring(time, event))
        assert 0 < found.slope < 1

    @pytest.mark.parametrize("whole", [True, False])
    def test_refuses_predictions_that_part_events_without_error(self, whole):
        event = np.ones(60, dtype=bool)
        time = np.repeat([1.0, 9.0], 30) if whole else np.repeat([1.0, 9.0, 9.0], 20)
        survival = np.where(np.arange(60) < (30 if whole else 40), 0.2, 0.9)
        with pytest.raises(UndefinedMetricError, match="part patients"):
            calibration_at(event, time, survival, 5.0, censoring(time, event))

    @pytest.mark.parametrize("horizon", [0.5, 99.0])
    def test_refuses_without_events_or_survivors(self, horizon):
        event, time, risk = simulate(50, seed=9)
        with pytest.raises(UndefinedMetricError, match="no calibration at"):
            calibration_at(event, time, truth(risk, 9.0), horizon, censoring(time, event))


class TestCalibrationGroups:
    def test_the_truth_lies_in_the_intervals(self):
        event, time, risk = simulate(20_000, seed=10)
        found = calibration_groups(event, time, truth(risk, 36.0), 36.0, level=0.999)
        assert found.size.tolist() == [2000] * 10
        assert (np.diff(found.predicted) > 0).all()
        assert ((found.low < found.predicted) & (found.predicted < found.high)).all()

    @untimed
    @given(cohorts(), st.integers(1, 6), st.integers(1, 7))
    def test_groups_are_whole(self, cohort, groups, horizon):
        event, time, risk = cohort
        survival = 1 / (1 + np.exp(np.clip(risk, -5, 5)))
        found = calibration_groups(event, time, survival, float(horizon), groups)
        assert found.size.sum() == event.size
        assert 1 <= found.size.size <= min(groups, np.unique(survival).size)
        assert found.predicted @ found.size == pytest.approx(survival.sum())
        known = ~np.isnan(found.observed)
        assert ((found.observed[known] >= 0) & (found.observed[known] <= 1)).all()

    def test_unknown_where_follow_up_ends_before(self):
        event, time = np.array([True, False, False]), np.array([1.0, 2.0, 3.0])
        found = calibration_groups(event, time, np.array([0.1, 0.2, 0.3]), 5.0, groups=1)
        assert np.isnan([found.observed[0], found.low[0], found.high[0]]).all()


class TestDCalibration:
    def test_chi_square_equals_r(self):
        case = REFERENCE["chi_square"]
        for statistic, degrees, tail in zip(*(case[k] for k in case), strict=True):
            found = ChiSquare.of(statistic, degrees)
            assert found == (statistic, pytest.approx(tail, rel=1e-12))
        assert ChiSquare.of(0.0, 9).p_value == 1

    @untimed
    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 64)), min_size=1, max_size=30),
        st.sampled_from([2, 4, 8]),
    )
    def test_equals_its_definition(self, rows, bins):
        event = np.array([row[0] for row in rows])
        survival = np.array([row[1] for row in rows]) / 64
        counts = np.zeros(bins)
        for seen, s in zip(event, survival, strict=True):
            own = min(int(s * bins), bins - 1)
            if seen or s == 0:
                counts[own] += 1
                continue
            counts[:own] += 1 / bins / s
            counts[own] += (s - own / bins) / s
        assert counts.sum() == pytest.approx(event.size)
        expected = event.size / bins
        found = d_calibration(event, survival, bins)
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert found.statistic == pytest.approx(statistic, abs=1e-9)
        assert 0 <= found.p_value <= 1

    def test_tells_the_truth_from_a_distortion(self):
        event, time, risk = simulate(5000, seed=11)
        survival = np.exp(-0.03 * np.exp(0.8 * risk) * (time - 1))
        assert d_calibration(event, survival).p_value > 0.01
        assert d_calibration(event, survival**1.5).p_value < 1e-6

    def test_uniform_is_perfect(self):
        survival = (np.arange(100) + 0.5) / 100
        found = d_calibration(np.ones(100, dtype=bool), survival)
        assert found == pytest.approx((0, 1))

    @pytest.mark.parametrize(
        ("event", "survival", "bins", "message"),
        [
            ([True], [1.5], 10, "survival_at_time must lie"),
            ([True], [np.nan], 10, "survival_at_time must be finite"),
            ([True], [0.5], 1, "bins"),
            ([1], [0.5], 10, "boolean"),
        ],
    )
    def test_refuses(self, event, survival, bins, message):
        with pytest.raises(ValueError, match=message):
            d_calibration(np.array(event), np.array(survival), bins)
