"""Figures of each centre are those of its patients; a further centre's interval holds one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from accomplice.training.estimators.hazard import log_risk
from accomplice.training.estimators.hazard_ratios import random_effects
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import survival_at
from accomplice.training.evaluation.centres import across_centres
from accomplice.training.models.predictions import MODEL
from tests.benchmarks.characteristics.centres import CENTRES, perfect
from tests.fixtures.oracles import uno_c


def judged(predicted, draws=60):
    followed = BootstrappedOutcome.of(*predicted.outcome, 60.0, draws, 0)
    alive = survival_at(followed, predicted.grid, predicted.served, 36.0)
    risk = log_risk(predicted.curves[MODEL])
    return followed, across_centres(predicted, followed, risk, alive, 36.0)


@pytest.fixture(scope="module")
def predicted():
    return perfect(1500, seed=3)


def test_each_centre_is_judged_on_its_own_patients(predicted):
    followed, found = judged(predicted)
    assert found.held_out
    assert sum(each.patients for each in found.centres) == 1500
    risk = log_risk(predicted.curves[MODEL])
    for each in found.centres:
        own = predicted.cohort.centre == each.centre
        time, event = followed.time[own], followed.event[own]
        assert each.events == event.sum()
        expected = uno_c(event, time, risk[own], followed.weights, 60.0)
        assert each.uno_c.value == pytest.approx(expected, abs=1e-9)
        assert each.observed_expected.low < 1.1
        assert each.observed_expected.high > 0.9


def test_perfect_predictions_are_calibrated_in_the_mean(predicted):
    _, found = judged(predicted)
    for name, near in (("slope", 0.25), ("observed_expected", 0.15)):
        assert found.mean[name].value == pytest.approx(1, abs=near)
        assert found.further[name].low < found.mean[name].low < 1 < found.mean[name].high
        assert found.further[name].value == found.mean[name].value


def test_the_mean_is_the_random_effects_one(predicted):
    followed, found = judged(predicted)
    risk, drawn = log_risk(predicted.curves[MODEL]), []
    for each in found.centres:
        own = predicted.cohort.centre == each.centre
        drawn.append(logit(followed.take(own).uno_c(risk[own])[0]))
    pooled = random_effects(np.array([d[0] for d in drawn]), np.array([d[1:].std() for d in drawn]))
    assert found.mean["uno_c"].value == pytest.approx(float(expit(pooled.mean)))


@pytest.mark.parametrize("few", [["c0", "c1"], ["c0", "c1", "c2"]])
def test_few_centres_say_nothing_of_a_further_one(predicted, few):
    own = np.flatnonzero(np.isin(predicted.cohort.centre, few))
    _, found = judged(predicted.take(own))
    assert np.isfinite(found.mean["uno_c"].low)
    assert np.isnan(found.further["uno_c"].low)


def test_one_centre_is_not_compared_with_itself(predicted):
    one = np.flatnonzero(predicted.cohort.centre == "c0")
    assert judged(predicted.take(one))[1] is None
    nowhere = replace(predicted, cohort=replace(predicted.cohort, centre=None))
    assert judged(nowhere)[1] is None


def test_random_folds_hold_no_centre_out(predicted):
    folds = replace(predicted, group=np.arange(1500) % CENTRES)
    assert not judged(folds)[1].held_out
