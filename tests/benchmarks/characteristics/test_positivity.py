"""Recorded confounding is taken off the effect, and who is never treated gets no advice."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.characteristics.positivity import advice, effect


@pytest.mark.parametrize("bend", ["product", "step"])
def test_what_is_not_linear_is_taken_off(bend):
    # A propensity that is linear in its columns leaves 0.15 of the log-hazard ratio.
    found = [effect(1000, bend, 1.0, seed) for seed in range(4)]
    assert abs(np.mean([each["bias"] for each in found])) < 0.12


def test_who_is_never_treated_gets_no_advice():
    found = [advice(400, 0.6, seed) for seed in range(2)]
    assert np.mean([each["never treated, advised"] for each in found]) <= 0.02
