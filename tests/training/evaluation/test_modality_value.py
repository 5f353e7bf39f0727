"""A modality that matters is missed, one that does not is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.budget import Budget
from accomplice.training.config import configure
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.evaluation import modality_value as module
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.modality_value import modality_values, sample
from accomplice.training.metrics.brier import brier_by_patient
from accomplice.training.metrics.score import Outcome
from accomplice.training.models.predictions import MODEL
from tests.fixtures.known import known_curves, known_predicted
from tests.fixtures.oracles import uno_c

CONFIG = configure(["evaluation.bootstraps=100"])


def followed(predicted, draws=100):
    return BootstrappedOutcome.of(*predicted.outcome, 55.0, draws, 0)


@pytest.fixture(scope="module")
def predicted():
    return known_predicted(500, seed=2)


@pytest.fixture(scope="module")
def values(predicted):
    return {v.modality: v for v in modality_values(predicted, followed(predicted), CONFIG)}


def test_the_one_that_matters_is_missed(values):
    lost = values["clinical"]
    assert 0 < lost.uno_c_loss.low < lost.uno_c_loss.value
    assert 0 < lost.ibs_loss.low < lost.ibs_loss.value


def test_the_one_that_is_noise_is_not(values):
    assert values["molecular"].uno_c_loss.low < 0
    assert values["molecular"].ibs_loss.low < 0


def test_is_judged_on_those_who_have_it(predicted, values):
    has = ~np.isnan(predicted.cohort.values[:, 3])
    assert values["clinical"].patients == 500
    assert values["molecular"].patients == has.sum() < 500
    without = predicted.cohort.values.copy()
    without[:, 3:] = np.nan
    time, event = predicted.outcome
    weights, rest = followed(predicted).weights, known_curves(without)
    both = [
        uno_c(event[has], time[has], log_risk(c)[has], weights, 55.0)
        for c in (predicted.curves[MODEL], rest)
    ]
    assert values["molecular"].uno_c_loss.value == pytest.approx(both[0] - both[1], abs=1e-12)
    each = [
        brier_by_patient(Outcome(time, event, weights, 55.0), predicted.grid, c)[0][has]
        for c in (predicted.curves[MODEL], rest)
    ]
    assert values["molecular"].ibs_loss.value == pytest.approx((each[1] - each[0]).mean())


def test_nobody_is_asked_of_more_than_a_sample(predicted, monkeypatch):
    monkeypatch.setattr(module, "MOST_WITHHELD", 200)
    found = modality_values(predicted, followed(predicted), CONFIG)
    assert found[0].patients == 200
    assert found[0].uno_c_loss.low > 0
    rows = sample(500, 200, 3)
    assert len(set(rows.tolist())) == 200
    assert sample(200, 200, 3) is None


def test_too_few_events_leave_the_loss_unknown(predicted):
    rows = np.flatnonzero(~predicted.cohort.event)
    few = predicted.take(np.append(rows, np.flatnonzero(predicted.cohort.event)[:5]))
    found = modality_values(few, followed(few), CONFIG)
    assert all(np.isnan(each.ibs_loss.value) for each in found)


def test_one_modality_has_nothing_to_be_compared_with(predicted):
    study = predicted.cohort.study
    alone = study.model_copy(update={"modalities": {"clinical": study.modalities["clinical"]}})
    cohort = replace(predicted.cohort, study=alone, values=predicted.cohort.values[:, :3])
    assert modality_values(replace(predicted, cohort=cohort), followed(predicted), CONFIG) == ()


def test_without_time_one_is_withheld(predicted):
    ticks = iter(range(0, 1000, 10))
    budget = Budget(5.0, lambda: float(next(ticks)))
    found = modality_values(predicted, followed(predicted), CONFIG, budget=budget)
    assert [each.modality for each in found] == ["clinical"]
    assert budget.cuts == ["modality values 1 of 2"]


def test_a_run_predicts_some_of_its_patients_again(tiny_trained):
    fitted = tiny_trained.primary.fitted
    rows, values = np.array([3, 50, 7]), fitted.prepared.blind.values
    np.testing.assert_allclose(fitted.again(values[rows], rows), fitted.blind[rows], rtol=1e-6)
