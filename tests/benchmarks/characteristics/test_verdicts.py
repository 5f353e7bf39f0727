"""Verdicts are seldom said where they are not so, and mostly where they are: a short form."""

from __future__ import annotations

import pytest

from tests.benchmarks.characteristics.verdicts import (
    calibration_off,
    centres_disagree,
    not_uniform,
    share,
    subgroup_worse,
)


@pytest.mark.parametrize("n", [200, 800])
def test_calibration(n):
    assert share(calibration_off(n, 1.0), 200, 2) < 0.10
    assert share(calibration_off(n, 0.7), 40, 2) > (0.45 if n == 200 else 0.85)


@pytest.mark.parametrize("rate", [0.45, 6.0])
def test_d_calibration(rate):
    assert 0.005 < share(not_uniform(300, rate, lambda h: h), 400, 2) < 0.09
    assert share(not_uniform(300, rate, lambda h: h ** (1 / 0.6)), 60, 2) > 0.4


def test_subgroups():
    assert share(subgroup_worse(300), 80, 2) < 0.13
    assert share(subgroup_worse(300, "f", 0.0), 20, 2) > 0.5


def test_centres():
    assert share(centres_disagree(4, 0.0), 400, 2) < 0.09
    assert share(centres_disagree(4, 0.6), 60, 2) > 0.6
