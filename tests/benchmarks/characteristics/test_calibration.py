"""Short forms of the benches of smooth calibration and of the case mix, with wide bounds."""

from __future__ import annotations

from tests.benchmarks.characteristics.calibration import CASE_MIX, RIGHT, World, band, lower


def test_the_band_holds_where_effects_fade():
    for held, beyond in band(RIGHT["effects that fade"], 600, 60).values():
        assert held >= 0.84
        assert beyond <= 0.16


def test_extreme_predictions_are_beyond_chance():
    assert band(World(slope=0.5), 600, 20)[36.0][1] >= 0.7


def test_a_right_model_is_not_said_to_be_worse_among_patients_more_alike():
    raw, beyond, change = lower(CASE_MIX["more alike, model right"], 400, 400, 30, 40)
    assert change < -0.04
    assert raw >= 0.3
    assert beyond <= 0.15


def test_weaker_effects_are_said():
    assert lower(CASE_MIX["as varied, effects weaker by half"], 600, 400, 15, 40)[1] >= 0.6
