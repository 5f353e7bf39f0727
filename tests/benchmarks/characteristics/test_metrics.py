"""The simulation behind the coverage of intervals: its truth is true, and the intervals hold it."""

from __future__ import annotations

import pytest

from tests.benchmarks.characteristics.metrics import (
    FOLLOW_UP,
    LEVEL,
    PATIENTS,
    Population,
    coverage,
    intervals,
    judged,
)


@pytest.fixture(scope="module")
def people() -> Population:
    return Population.make(1000)


@pytest.mark.parametrize("follow_up", FOLLOW_UP)
def test_a_large_cohort_is_judged_to_be_what_the_population_is(people, follow_up):
    found = judged(people, 50_000, follow_up, 1, seed=1)
    true = people.truth(found.horizon, follow_up)
    values = {name: span.value for name, span in intervals(found).items()}
    assert values.keys() == true.keys()
    for name, value in values.items():
        # Some three standard errors of the large cohort.
        allowed = {"gain in Uno's C": 0.0035, "gain in IBS": 0.0008}.get(name, 0.006)
        assert value == pytest.approx(true[name], abs=allowed), name


def test_pairs_that_censoring_hides_do_not_count(people):
    until = people.concordance("model", 40.0, lambda months: (months < 10).astype(float))
    assert until == pytest.approx(people.concordance("model", 10.0), abs=0.001)
    assert people.concordance("model", 40.0) != pytest.approx(until, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("follow_up", FOLLOW_UP)
def test_intervals_hold_the_truth_as_often_as_they_say(people, follow_up):
    found = coverage(people, PATIENTS, follow_up, draws=100, cohorts=120)
    for name, each in found.items():
        # Three standard errors beside the three points that are allowed.
        assert each.held == pytest.approx(LEVEL, abs=0.03 + 3 * each.error), name
