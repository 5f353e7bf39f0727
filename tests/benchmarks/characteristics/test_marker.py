"""How often a marker is said to change the treatment's effect, in few cohorts and wide bounds."""

from __future__ import annotations

import math

from tests.benchmarks.characteristics.marker import World, claimed


def test_a_marker_that_changes_nothing_is_seldom_said_to():
    prognostic = World(marker=0.53, begins=2)
    # Of 50 claims at 5 %, more than 8 have a chance of 0.1 %.
    assert sum(claimed(250, prognostic, seed) for seed in range(50)) <= 8


def test_a_marker_that_does_is_said_to():
    strong = World(interaction=math.log(1.8))
    assert sum(claimed(400, strong, seed) for seed in range(15)) >= 11
