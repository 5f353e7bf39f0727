"""Verdicts of an external validation."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.record import ExpectedConcordance
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.models.predictions import MODEL
from accomplice.training.validation.validation import Validation, difference
from accomplice.training.validation.verdicts import of_calibration, of_discrimination

MONTHS = tuple(
    Calibrated(month, Estimate(0.8, 0.6, 0.99), Estimate(1.1, 1.02, 1.3), None)
    for month in (12.0, 24.0, 36.0)
)


def joint(p: float) -> JointCalibration:
    return JointCalibration(Estimate(0.8, 0.7, 0.95), Estimate(1.1, 0.9, 1.3), p)


#: Known well enough to be right.
RIGHT = JointCalibration(Estimate(0.95, 0.85, 1.1), Estimate(1.05, 0.95, 1.2), 0.4)


class TestCalibration:
    def test_is_off_by_the_joint_test_alone(self):
        found = of_calibration(MONTHS, joint(0.01))
        assert found.tone == "alarm"
        assert "predictions are too extreme" in found.text
        assert "one test over all follow-up, p = 0.01" in found.text

    def test_intervals_at_a_month_do_not_decide(self):
        found = of_calibration(MONTHS, RIGHT)
        assert found.tone == "yes"
        assert "slope 0.800 (0.600 to 0.990)" in found.text

    def test_a_far_slope_that_is_not_significant_is_not_called_right(self):
        far = [replace(month, slope=Estimate(0.4, -0.5, 1.3)) for month in MONTHS]
        found = of_calibration(tuple(far), joint(0.2))
        assert found.tone == "no"
        assert "too few to exclude one" in found.text

    def test_an_undetermined_slope_is_left_out(self):
        unknown = Estimate(math.nan, math.nan, math.nan)
        found = of_calibration(tuple(replace(m, slope=unknown) for m in MONTHS), RIGHT)
        assert found.tone == "yes"
        assert "slope" not in found.text
        assert "nan" not in found.text

    @pytest.mark.parametrize("untested", [None, joint(math.nan)])
    def test_too_few_events_say_nothing(self, untested):
        assert of_calibration(MONTHS, untested).tone == "absent"


def about(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, value - half, value + half)


def discriminated(here: float, expected: float, trained_expected: float = 0.72):
    """Return the verdict where C was .72 in training, with 95 % intervals of ± .02."""
    of = SimpleNamespace(
        evaluation=SimpleNamespace(scores={MODEL: SimpleNamespace(uno_c=about(here))}),
        overlap=SimpleNamespace(status="clear"),
        trained=SimpleNamespace(
            figures={"uno_c": about(0.72)},
            expected=ExpectedConcordance(
                uno_c=about(trained_expected), excess=about(0.72 - trained_expected)
            ),
        ),
        review=SimpleNamespace(
            expected_concordance=ExpectedConcordance(
                uno_c=about(expected), excess=about(here - expected)
            )
        ),
    )
    of.change_in_c = difference(about(here), about(0.72))
    of.change_beyond_case_mix = Validation.change_beyond_case_mix.fget(of)
    return of_discrimination(of)


class TestDiscrimination:
    def test_as_in_training_holds_up(self):
        found = discriminated(0.71, 0.72)
        assert (found.tone, "case mix" in found.text) == ("yes", False)

    def test_a_fall_that_the_case_mix_explains_holds_up(self):
        found = discriminated(0.66, 0.665)
        assert found.tone == "yes"
        assert "these patients are more alike: the model itself expects 0.665" in found.text
        assert "beyond this C changed by -0.005 (-0.033 to +0.023)" in found.text

    def test_a_fall_beyond_the_case_mix_does_not(self):
        found = discriminated(0.66, 0.72)
        assert found.tone == "caution"
        assert "differs by -0.060 (-0.088 to -0.032) from what their case mix lets" in found.text

    def test_no_fall_where_the_case_mix_lets_expect_a_rise(self):
        assert discriminated(0.72, 0.78).tone == "caution"

    def test_a_fall_without_an_expected_one_is_not_explained(self):
        found = discriminated(0.68, 0.725, trained_expected=0.74)
        assert found.tone == "yes"
        assert discriminated(0.68, 0.72, trained_expected=0.71).tone == "caution"

    def test_older_bundles_are_judged_by_the_observed_less_expected(self):
        nothing = ExpectedConcordance()
        assert not nothing.uno_c.known
        assert discriminated(0.66, 0.665, trained_expected=math.nan).tone == "caution"
