"""Multiple imputation: known values stay, what depends on what is kept, and Rubin's rules."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.hazard_ratios import HazardRatio, fit_effects
from accomplice.training.estimators.imputation.multiple import impute, pooled


def with_gaps(n=4000, seed=0):
    """Two columns of correlation 0.6, the second missing more often where the first is high."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = 3 + 2 * (0.6 * x + 0.8 * rng.normal(size=n))
    gone = rng.random(n) < 1 / (1 + np.exp(-x))
    return np.column_stack([x, y]), gone


def imputed(Z, seed, imputations):
    """Draws for patients whose outcome tells nothing of the covariates."""
    rng = np.random.default_rng(9)
    n = len(Z)
    return impute(Z, rng.exponential(10, n) + 0.1, rng.random(n) < 0.5, seed, imputations)


class TestImpute:
    def test_known_values_stay_and_draws_differ(self):
        full, gone = with_gaps(300)
        Z = full.copy()
        Z[gone, 1] = np.nan
        drawn = imputed(Z, 1, 4)
        assert (drawn[:, ~gone] == full[~gone]).all()
        assert np.isfinite(drawn).all()
        assert len(np.unique(drawn[:, gone.argmax(), 1])) == 4
        np.testing.assert_array_equal(drawn, imputed(Z, 1, 4))

    def test_moments_are_those_of_the_complete_data_where_means_would_be_off(self):
        full, gone = with_gaps()
        Z = full.copy()
        Z[gone, 1] = np.nan
        drawn = imputed(Z, 0, 5)
        assert abs(np.nanmean(Z[:, 1]) - 3) > 0.3
        assert drawn[:, :, 1].mean() == pytest.approx(3.0, abs=0.08)
        assert drawn[:, :, 1].std() == pytest.approx(2.0, abs=0.08)
        correlations = [np.corrcoef(each.T)[0, 1] for each in drawn]
        assert np.mean(correlations) == pytest.approx(0.6, abs=0.03)

    def test_a_patient_without_any_value_is_drawn_from_all(self):
        full, _ = with_gaps(500)
        Z = np.vstack([full, [np.nan, np.nan]])
        drawn = np.array([imputed(Z, s, 1)[0, -1] for s in range(60)])
        assert drawn.mean(axis=0) == pytest.approx([0, 3], abs=0.9)
        assert np.corrcoef(drawn.T)[0, 1] > 0.3

    def test_constant_and_empty_columns_are_filled_with_what_is_known(self):
        full, gone = with_gaps(100)
        Z = np.column_stack([full, np.where(gone, np.nan, 7.0), np.full(100, np.nan)])
        drawn = imputed(Z, 0, 2)
        assert (drawn[:, :, 2] == 7.0).all()
        assert (drawn[:, :, 3] == 0.0).all()

    def test_the_outcome_tells_of_the_missing_values(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2, 1500))
        death = rng.exponential(20 * np.exp(-0.8 * y))
        left = rng.uniform(5, 60, 1500)
        time, event = np.minimum(death, left) + 1e-3, death <= left
        gone = rng.random(1500) < 0.4
        Z = np.column_stack([x, np.where(gone, np.nan, y)])
        drawn = impute(Z, time, event, seed=0, imputations=10)
        fits = [fit_effects(each, time, event).ratio(0, 1) for each in drawn]
        found = pooled(fits)
        assert found.low < np.exp(0.8) < found.high
        complete = fit_effects(np.column_stack([x, y]), time, event).ratio(0, 1)
        alone = fit_effects(Z[~gone], time[~gone], event[~gone]).ratio(0, 1)
        assert complete.se < found.se < 1.15 * alone.se
        assert found.log == pytest.approx(alone.log, abs=2 * alone.se)


class TestPooled:
    def test_rubins_rules(self):
        logs, errors = [-0.7, -0.4, -0.1], [0.2, 0.25, 0.3]
        ratios = [HazardRatio.of(b, s, 200, 90) for b, s in zip(logs, errors, strict=True)]
        found = pooled(ratios)
        within, between = np.mean(np.square(errors)), np.var(logs, ddof=1)
        assert found.log == pytest.approx(-0.4)
        assert found.se == pytest.approx(np.sqrt(within + 4 / 3 * between))
        assert found.degrees == pytest.approx(2 * (1 + within / (4 / 3 * between)) ** 2)
        assert (found.patients, found.events) == (200, 90)

    def test_one_stays_and_equal_ones_give_the_normal_interval(self):
        one = HazardRatio.of(-0.5, 0.2, 100, 50)
        assert pooled([one]) == one
        assert pooled([one, one]) == one

    def test_an_undetermined_one_makes_all_so(self):
        lost = HazardRatio.of(np.nan, np.nan, 100, 50)
        assert not pooled([HazardRatio.of(-0.5, 0.2, 100, 50), lost]).known
