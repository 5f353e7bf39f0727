"""A confounder that is missing for some: its confounding is taken out for them too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.treatment.expected_events import fitted_rates
from accomplice.training.treatment.missing_confounders import MissingConfounders
from tests.benchmarks.characteristics.marker import World, crossed, patients

GAPS = World(missing=0.5)


@pytest.fixture(scope="module")
def found():
    return crossed(patients(1500, GAPS, 0), 0)


def without_imputation(effect):
    return fitted_rates(
        effect.cohort,
        effect.cumulative,
        effect.grid,
        effect.patients.propensity,
        effect.rows,
        effect.terms,
    )


def test_gaps_are_of_the_compared_and_known_values_are_left_alone(found):
    missing = MissingConfounders.of(found, 0)
    column = list(found.cohort.study.features).index("frailty")
    gone = np.isnan(found.cohort.values[:, column])
    assert missing.names == ("frailty",)
    np.testing.assert_array_equal(missing.gaps, gone)
    assert (missing.drawn[:, ~gone] == 0).all()
    assert (missing.drawn[:, gone, 0].std(axis=0) > 0.2).mean() > 0.95


def test_without_gaps_nothing_changes(found):
    complete = crossed(patients(600, World(), 1), 1)
    missing = MissingConfounders.of(complete, 0)
    assert missing.names == ()
    plain = without_imputation(complete)
    ratio = missing.ratio(complete, complete.rows)
    assert (ratio.log, ratio.se) == pytest.approx((plain.log_hr, plain.error))


def test_outcomes_up_to_another_landmark_do_not_count(found):
    missing = MissingConfounders.of(found, 0)
    late = found.rows & (found.cohort.time > 20)
    ratio = missing.ratio(found, late, landmark=20.0)
    early = replace(found.cohort, event=found.cohort.event & (found.cohort.time > 20))
    assert ratio == missing.ratio(replace(found, cohort=early), late, landmark=20.0)
    assert ratio.events < missing.ratio(found, found.rows).events


def test_what_the_indicators_leave_is_taken_out():
    """Beside the same cohorts without gaps."""
    pooled, plain, complete = [], [], []
    for seed in range(3):
        effect = crossed(patients(1500, GAPS, seed), seed)
        pooled.append(MissingConfounders.of(effect, seed).ratio(effect, effect.rows).log)
        plain.append(without_imputation(effect).log_hr)
        complete.append(without_imputation(crossed(patients(1500, World(), seed), seed)).log_hr)
    assert np.mean(plain) > np.mean(complete) + 0.08
    assert abs(np.mean(pooled) - np.mean(complete)) < 0.06
