"""Kaplan-Meier's curve against its definition and R's survival."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring
from tests.fixtures.made_up_outcomes import (
    REFERENCE,
    cohorts,
    untimed,
)


class TestKaplanMeier:
    CASES = (REFERENCE["tied"], REFERENCE["distinct"], *REFERENCE["calibrated"])

    @pytest.mark.parametrize("case", CASES, ids=lambda case: len(case["time"]))
    def test_equals_r(self, case):
        event, time = np.array(case["event"]), np.array(case["time"])
        expected = case["kaplan_meier"]
        curve = KaplanMeier.fit(time, event)
        low, high = curve.interval(np.array(expected["times"]))
        np.testing.assert_allclose(curve.at(expected["times"]), expected["survival"], rtol=1e-12)
        np.testing.assert_allclose(low, expected["low"], rtol=1e-7)
        np.testing.assert_allclose(high, expected["high"], rtol=1e-7)

    @untimed
    @given(cohorts())
    def test_is_the_product_limit(self, cohort):
        event, time, _ = cohort
        curve, level = KaplanMeier.fit(time, event), 1.0
        for instant in np.unique(time):
            np.testing.assert_allclose(curve.before(instant), level, atol=1e-15)
            level *= 1 - (event & (time == instant)).sum() / (time >= instant).sum()
            np.testing.assert_allclose(curve.at(instant), level, atol=1e-15)
            np.testing.assert_allclose(curve.at(instant + 0.5), level, atol=1e-15)
        assert curve.at(0.5) == 1
        assert curve.last == time.max()

    @untimed
    @given(cohorts())
    def test_censoring_lets_events_leave_first(self, cohort):
        event, time, _ = cohort
        curve, level = censoring(time, event), 1.0
        for instant in np.unique(time):
            here = time == instant
            at_risk = (time >= instant).sum() - (event & here).sum()
            level *= 1 - (~event & here).sum() / max(at_risk, 1)
            np.testing.assert_allclose(curve.at(instant), level, atol=1e-15)

    @untimed
    @given(cohorts(), st.floats(0.5, 0.99))
    def test_interval_holds_the_curve(self, cohort, level):
        event, time, _ = cohort
        curve = KaplanMeier.fit(time, event)
        low, high = curve.interval(curve.times, level)
        inside = (curve.survival > 0) & (curve.survival < 1)
        assert (low[inside] < curve.survival[inside]).all()
        assert (curve.survival[inside] < high[inside]).all()
        assert np.isnan(low[~inside]).all()
        assert np.isnan(high[~inside]).all()

    def test_one_patient(self):
        curve = KaplanMeier.fit(np.array([3.0]), np.array([True]))
        assert curve.at(np.array([2.0, 3.0, 4.0])).tolist() == [1, 0, 0]

    @pytest.mark.parametrize(
        ("time", "event", "message"),
        [
            ([1.0, 2.0], [1.0, 0.0], "boolean"),
            ([1.0, np.nan], [True, False], "1 of 2"),
            ([1.0], [True, False], "shapes"),
            (np.empty(0), np.empty(0, dtype=bool), "shapes"),
        ],
    )
    def test_refuses_what_is_no_outcome(self, time, event, message):
        with pytest.raises(ValueError, match=message):
            KaplanMeier.fit(np.array(time), np.array(event))
