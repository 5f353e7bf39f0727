"""Verdicts of an external validation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.validation.verdicts import of_calibration

MONTHS = tuple(
    Calibrated(month, Estimate(0.8, 0.6, 0.99), Estimate(1.1, 1.02, 1.3), None)
    for month in (12.0, 24.0, 36.0)
)


def joint(p: float) -> JointCalibration:
    return JointCalibration(Estimate(0.8, 0.7, 0.95), Estimate(1.1, 0.9, 1.3), p)


class TestCalibration:
    def test_is_off_by_the_joint_test_alone(self):
        found = of_calibration(MONTHS, joint(0.01))
        assert found.tone == "alarm"
        assert "predictions are too extreme" in found.text
        assert "one test over all follow-up, p = 0.01" in found.text

    def test_intervals_at_a_month_do_not_decide(self):
        found = of_calibration(MONTHS, joint(0.2))
        assert found.tone == "yes"
        assert "slope 0.800 (0.600 to 0.990)" in found.text

    def test_a_far_slope_that_is_not_significant_is_not_called_right(self):
        far = [replace(month, slope=Estimate(0.4, -0.5, 1.3)) for month in MONTHS]
        found = of_calibration(tuple(far), joint(0.2))
        assert found.tone == "no"
        assert "too few to exclude one" in found.text

    def test_an_undetermined_slope_is_left_out(self):
        unknown = Estimate(math.nan, math.nan, math.nan)
        found = of_calibration(tuple(replace(m, slope=unknown) for m in MONTHS), joint(0.2))
        assert found.tone == "yes"
        assert "slope" not in found.text
        assert "nan" not in found.text

    @pytest.mark.parametrize("untested", [None, joint(math.nan)])
    def test_too_few_events_say_nothing(self, untested):
        assert of_calibration(MONTHS, untested).tone == "absent"
