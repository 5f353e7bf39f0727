"""The interval of a patient's survival: its shape, its state, and odd designs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from accomplice.training.config import configure
from accomplice.training.estimators.hazard_posterior import fit_posterior
from accomplice.training.fitting import survival_interval as fitting
from accomplice.training.fitting.survival_interval import fit_survival_interval, make_terms
from accomplice.training.models.survival_interval import (
    LogHazards,
    SurvivalInterval,
    Terms,
    ends,
)
from tests.benchmarks.interval_coverage import coverage, gastric, plain
from tests.conftest import TINY


@pytest.fixture(scope="module")
def interval(tiny_trained) -> SurvivalInterval:
    return tiny_trained.primary.model.interval


@pytest.fixture(scope="module")
def forward(tiny_trained, small_cohort):
    model = tiny_trained.primary.model
    found = model.ensemble.forward(model.blind(small_cohort.values), small_cohort.centre)
    return model.ensemble.pooled(found), found.design


def test_holds_the_prediction_and_never_falls(interval, forward):
    cumulative, design = forward
    low, high = ends(interval.log_hazards(cumulative, design))
    assert low.shape == high.shape == cumulative.shape
    assert (low[:, 0] == 0).all()
    assert (high[:, 0] == 0).all()
    assert (np.diff(low, axis=1) >= 0).all()
    assert (np.diff(high, axis=1) >= 0).all()
    assert (low <= cumulative + 1e-12).all()
    assert (cumulative <= high + 1e-12).all()


def test_is_wider_where_ensemble_and_posterior_disagree(interval, forward):
    cumulative, design = forward
    apart = interval.log_hazards(5 * cumulative, design)
    own = interval.log_hazards(cumulative, design)
    assert (apart.centre > own.centre).all()
    assert apart.variance.mean() > own.variance.mean()


def test_an_interval_is_1_28_standard_deviations():
    found = LogHazards(np.zeros((1, 1)), np.full((1, 1), 4.0))
    low, high = np.log(ends(found)[:, 0, 1])
    assert high == pytest.approx(2 * 1.2815515655)
    assert low == -high


def test_is_rebuilt_from_its_arrays(interval, forward):
    again = SurvivalInterval.from_arrays(interval.arrays())
    for one, other in zip(again.log_hazards(*forward), interval.log_hazards(*forward), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_patient_is_kept(interval, small_cohort):
    """No array has a row for each training patient."""
    n = len(small_cohort)
    assert all(n not in array.shape for array in interval.arrays().values())


@pytest.mark.parametrize("p", [1, 3, 300])
def test_terms_of_any_width_are_standardised(p):
    rng = np.random.default_rng(p)
    design = rng.standard_normal((120, p)) * 3 + 1
    terms, blocks, scales = make_terms(design, np.arange(p) >= 2, rng)
    found = terms.of(design)
    assert found.shape == (120, len(blocks))
    assert blocks.max() == len(scales) - 1
    assert np.isfinite(found).all()
    if p == 3:
        np.testing.assert_allclose(found[:, :3].std(axis=0), 1, rtol=0.02)
    curved = found[:, blocks == blocks.max()]
    assert (curved**2).mean() == pytest.approx(1, rel=0.01)
    # The curved terms hold nothing that the linear ones do.
    linear = found[:, blocks < blocks.max()]
    if p < 100:
        assert np.abs(linear.T @ curved / 120).max() < 0.1


def test_a_design_without_variation_gives_the_level_alone():
    rng = np.random.default_rng(0)
    design = np.ones((100, 4))
    terms, blocks, scales = make_terms(design, np.zeros(4, dtype=bool), rng)
    assert isinstance(terms, Terms)
    assert np.isfinite(terms.of(design)).all()
    assert len(blocks) == terms.of(design).shape[1]
    assert len(scales) == blocks.max() + 1


def test_some_of_many_patients_stand_for_all(tiny_trained, tiny_config, monkeypatch):
    prepared = tiny_trained.primary.fitted.prepared
    given = SimpleNamespace(weight=1.0, rows=0)

    def recorded(Z, blocks, scales, grid, time, event, weight):
        given.rows, given.weight = len(Z), weight
        return fit_posterior(Z, blocks, scales, grid, time, event, weight)

    monkeypatch.setattr(fitting, "MOST_PATIENTS", 100)
    monkeypatch.setattr(fitting, "fit_posterior", recorded)
    fit_survival_interval(prepared, tiny_config)
    assert given.rows == 100
    assert given.weight == len(prepared.cohort) / 100


@pytest.mark.parametrize("world", [gastric, plain])
def test_holds_the_truth_in_about_four_of_five_fresh_patients(world):
    """Small fits of small cohorts; `make bench ONLY=interval` measures the usual ones."""
    rows = [coverage(world(150, seed), configure([*TINY, f"seed={seed}"])) for seed in range(6)]
    mean = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
    for key in ("12 months", "36 months", "60 months"):
        assert 0.65 < mean[key] < 0.95, (key, mean)
    assert mean["width / error"] < 4
