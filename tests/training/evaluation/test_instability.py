"""The spread of the ensemble's answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.evaluation import instability as module
from accomplice.training.evaluation.instability import QUANTILES, SHARE, instability

GRID = TimeGrid(np.linspace(0, 60, 13))


@dataclass(frozen=True)
class Spread:
    """Ten members whose hazards are known factors of one another."""

    factors: np.ndarray
    grid = GRID

    def replicates(self, values, centre=None):
        return self.factors[:, None, None] * self.cumulative(values)

    def cumulative(self, values, centre=None):
        age = np.nan_to_num(values[:, 0], nan=60.0)
        return 0.01 * np.exp((age - 60) / 20)[:, None] * GRID.edges


def test_members_who_agree_are_stable(small_cohort):
    found = instability(Spread(np.ones(10)), small_cohort, 36.0, 0)
    assert found.mean_difference == pytest.approx(0, abs=1e-12)
    assert max(found.widest) == pytest.approx(0, abs=1e-12)
    assert list(found.predicted) == sorted(found.predicted)


def test_members_who_differ_are_told_apart_patient_by_patient(small_cohort):
    ensemble = Spread(np.linspace(0.5, 1.5, 10))
    found = instability(ensemble, small_cohort, 36.0, 0)
    values, at = small_cohort.prognostic().values, np.array([36.0])
    each = survival(GRID.at(ensemble.replicates(values), at))[..., 0]
    low, high = np.quantile(each, [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0)
    np.testing.assert_allclose(found.widest, np.quantile(high - low, QUANTILES))
    for below, middle, above in zip(found.low, found.predicted, found.high, strict=True):
        assert below < middle < above


def test_of_many_patients_a_sample_is_asked(small_cohort, monkeypatch):
    monkeypatch.setattr(module, "MOST_PATIENTS", 7)
    found = instability(Spread(np.linspace(0.5, 1.5, 10)), small_cohort, 36.0, 0)
    assert len(found.predicted) == 1


def test_a_run_s_ensemble_is_unstable(tiny_trained, small_cohort):
    ensemble = tiny_trained.primary.fitted.ensemble
    reviewed = tiny_trained.primary.review.instability
    assert instability(ensemble, small_cohort, reviewed.month, 0) == reviewed
    assert 0 < reviewed.mean_difference < 0.5
