"""The interval of a patient's survival: its shape, its state, and odd designs."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.config import configure
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.hazard_posterior import fit_posterior
from accomplice.training.fitting import survival_interval as fitting
from accomplice.training.fitting.survival_interval import draw_patients, leading_axes, make_terms
from accomplice.training.models.survival_interval import (
    LogHazards,
    SurvivalInterval,
    ends,
)
from tests.benchmarks.characteristics.patient_interval import coverage, gastric, plain
from tests.conftest import TINY

GRID = TimeGrid(np.array([0.0, 10.0, 25.0, 60.0]))
NONE = np.zeros(1, dtype=bool)
DRAWS = np.random.default_rng(0)


@pytest.fixture(scope="module")
def interval(tiny_trained) -> SurvivalInterval:
    return tiny_trained.primary.model.interval


@pytest.fixture(scope="module")
def forward(tiny_trained, small_cohort):
    model = tiny_trained.primary.model
    values, read = model.blind(small_cohort.values), model.interval.terms.of
    found = model.ensemble.forward(values, small_cohort.centre, read)
    return model.ensemble.pooled(found), found.terms


def test_holds_the_prediction_and_never_falls(interval, forward):
    cumulative, terms = forward
    low, high = ends(interval.log_hazards(cumulative, terms))
    assert low.shape == high.shape == cumulative.shape
    assert (low[:, 0] == 0).all()
    assert (high[:, 0] == 0).all()
    assert (np.diff(low, axis=1) >= 0).all()
    assert (np.diff(high, axis=1) >= 0).all()
    assert (low <= cumulative + 1e-12).all()
    assert (cumulative <= high + 1e-12).all()


def test_is_wider_where_ensemble_and_posterior_disagree(interval, forward):
    cumulative, terms = forward
    apart = interval.log_hazards(5 * cumulative, terms)
    own = interval.log_hazards(cumulative, terms)
    assert (apart.centre > own.centre).all()
    assert apart.variance.mean() > own.variance.mean()


@pytest.mark.parametrize(("month", "hazard", "sd"), [(5, 0.5, 1), (20, 1 + 2 / 3, 2), (60, 4, 3)])
def test_is_read_at_a_month(month, hazard, sd):
    found = LogHazards(np.log([[1.0, 2.0, 4.0]]), np.array([[1.0, 4.0, 9.0]]))
    assert np.concatenate(found.at(GRID, month)) == pytest.approx([hazard, sd])


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
    for block in range(blocks.max() + 1):
        assert (found[:, blocks == block] ** 2).mean() == pytest.approx(1, rel=0.01)
    # The curved terms hold nothing that the linear ones do.
    linear, curved = found[:, blocks < blocks.max()], found[:, blocks == blocks.max()]
    assert len(scales) == (2 if p == 1 else 3)
    assert np.abs(linear.T @ curved / 120).max() < 0.1


def test_terms_of_a_binary_column_are_linear_alone():
    rng = np.random.default_rng(0)
    terms, blocks, scales = make_terms(np.repeat([[0.0], [1.0]], 60, axis=0), NONE, rng)
    assert len(blocks) == len(scales) == 1
    assert np.abs(terms.of(np.array([[0.5], [3.0]]))).max() < 10


@pytest.mark.parametrize("shape", [(100, 7), (100, 300), (300, 100)])
def test_leading_axes_are_those_of_the_whole_decomposition(shape):
    X = np.random.default_rng(0).standard_normal(shape) * np.geomspace(5, 0.1, shape[1])
    found, expected = leading_axes(X, 20), np.linalg.svd(X, full_matrices=False)[2][:20]
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.abs((found * expected).sum(axis=1)), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(60, 400), (400, 60), (15, 90)])
def test_leading_axes_are_the_same_at_each_call_and_no_more_than_the_rank(shape):
    """The columns of an indicator of each level, and of each pattern of missing values, are few."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((shape[0], 9)) @ rng.standard_normal((9, shape[1]))
    found = leading_axes(X, 20)
    assert found.shape == (9, shape[1])
    assert np.allclose(found @ found.T, np.eye(9), atol=1e-6)
    assert np.allclose(X @ found.T @ found, X, atol=1e-6)
    assert all(leading_axes(X.copy(), 20).tobytes() == found.tobytes() for _ in range(3))


def test_leading_axes_of_many_rows_and_columns_are_the_same_at_each_call():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((1100, 25)) @ rng.standard_normal((25, 1200))
    found = leading_axes(X, 20)
    expected = np.linalg.svd(X, full_matrices=False)[2][:20]
    assert np.allclose(np.abs((found * expected).sum(axis=1)), 1.0, atol=1e-6)
    assert leading_axes(X.copy(), 20).tobytes() == found.tobytes()


def test_a_design_without_variation_gives_the_level_alone():
    terms, blocks, scales = make_terms(np.ones((100, 4)), np.zeros(4, bool), rng=DRAWS)
    assert terms.of(np.ones((3, 4))).shape == (3, 0)
    assert len(blocks) == len(scales) == 0
    time, event = np.linspace(1, 60, 100), np.arange(100) % 2 == 0
    found = fit_posterior(np.zeros((100, 0)), blocks, scales, GRID, time, event, np.ones(100))
    rate = np.log(GRID.events(time, event).sum(axis=0) / GRID.exposure(time).sum(axis=0))
    np.testing.assert_allclose(found.level, rate, atol=0.05)


class TestSample:
    """Of many patients some stand for all."""

    def test_events_come_first_and_time_at_risk_is_kept(self, monkeypatch):
        monkeypatch.setattr(fitting, "MOST_PATIENTS", 1000)
        event = np.arange(50_000) % 500 == 0
        rows, weight, loss = draw_patients(event, np.random.default_rng(1))
        assert len(rows) == len({*rows.tolist()}) == 1000
        assert event[rows].sum() == event.sum() == 100
        assert (weight[event[rows]] == 1).all()
        assert weight[~event[rows]].sum() == pytest.approx(49_900)
        assert loss == pytest.approx(1 + 100 / 900)

    @pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
    def test_the_sample_has_the_cohort_s_rate(self, monkeypatch, share):
        monkeypatch.setattr(fitting, "MOST_PATIENTS", 1000)
        event = np.random.default_rng(2).random(20_000) < share
        rows, weight, _ = draw_patients(event, np.random.default_rng(1))
        seen = event[rows].sum() / weight.sum()
        assert seen == pytest.approx(event.mean(), rel=1e-9)

    def test_the_interval_of_a_sample_covers(self, monkeypatch):
        """Rare events: most of the information is kept, and the variance tells what is lost."""
        monkeypatch.setattr(fitting, "MOST_PATIENTS", 300)
        beta, covered = np.array([0.5, -0.4, 0.0]), []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            X = rng.standard_normal((3000, 3))
            time = rng.exponential(900 * np.exp(-X @ beta))
            followed = rng.uniform(20, 80, 3000)
            event = time <= np.minimum(followed, 60)
            rows, weight, loss = draw_patients(event, rng)
            found = fit_posterior(
                X[rows],
                np.zeros(3, dtype=int),
                np.array([0.5]),
                GRID,
                np.minimum(time, followed)[rows],
                event[rows],
                weight,
            )
            fresh = rng.standard_normal((500, 3))
            variance = loss * np.einsum("ij,jk,ik->i", fresh, found.covariance[3:, 3:], fresh)
            error = np.abs(fresh @ (found.coefficients - beta))
            covered.append((error <= 1.2816 * np.sqrt(variance)).mean())
        assert 0.73 < np.mean(covered) < 0.9


@pytest.mark.parametrize("world", [gastric, plain])
def test_holds_the_truth_in_about_four_of_five_fresh_patients(world):
    """Small fits of small cohorts; `make bench ONLY=interval` measures the usual ones."""
    rows = [coverage(world(150, seed), configure([*TINY, f"seed={seed}"])) for seed in range(6)]
    mean = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
    for key in ("12 months", "36 months", "60 months"):
        assert 0.65 < mean[key] < 0.95, (key, mean)
    assert mean["width / error"] < 4
