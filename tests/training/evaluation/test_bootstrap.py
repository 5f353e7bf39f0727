"""One set of draws for all figures: each draw's figure is the metric of the patients it holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.intervals import Estimate, percentile_interval, resamples
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.evaluation import bootstrap as module
from accomplice.training.evaluation.bootstrap import (
    BootstrapDraws,
    BootstrappedOutcome,
    band,
    drawn_survival,
)
from tests.fixtures.oracles import cumulative_dynamic_auc, uno_c

GRID = TimeGrid(np.linspace(0, 60, 13))


def patients(n=150, seed=0, digits=6):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, left = rng.exponential(30 / np.exp(risk)), rng.uniform(4, 80, n)
    time = np.round(np.minimum(death, left), digits) + 1
    return time, death <= left, risk


class TestDraws:
    def test_means_are_those_of_the_drawn_patients(self):
        parts = np.random.default_rng(0).normal(size=(50, 3))
        found = BootstrapDraws.of(50, 30, 4).mean(parts)
        np.testing.assert_allclose(found[0], parts.mean(axis=0))
        for mean, rows in zip(found[1:], resamples(50, 30, 4), strict=True):
            np.testing.assert_allclose(mean, parts[rows].mean(axis=0))

    def test_some_patients_are_drawn_as_among_all(self):
        parts = np.random.default_rng(0).normal(size=50)
        chosen = np.arange(50) % 3 == 0
        found = BootstrapDraws.of(50, 30, 4).take(chosen).mean(parts[chosen])
        for mean, rows in zip(found[1:], resamples(50, 30, 4), strict=True):
            assert mean == pytest.approx(parts[rows][chosen[rows]].mean())

    def test_reordered_patients_keep_their_draws(self):
        parts, order = np.arange(50.0), np.random.default_rng(1).permutation(50)
        draws = BootstrapDraws.of(50, 30, 4)
        np.testing.assert_allclose(draws.take(order).mean(parts[order]), draws.mean(parts))

    def test_blocks_of_many_patients_vary_as_the_patients_do(self, monkeypatch):
        parts = np.random.default_rng(0).exponential(size=(6000, 1))
        monkeypatch.setattr(module, "FEW", 500)
        draws = BootstrapDraws.of(6000, 2000, 4)
        assert not draws.single
        found = draws.mean(parts)
        assert found[0, 0] == pytest.approx(parts.mean())
        assert found[1:].std() == pytest.approx(parts.std() / math.sqrt(6000), rel=0.08)

    def test_fewer_are_the_first_of_more(self):
        few, more = BootstrapDraws.of(50, 10, 4), BootstrapDraws.of(50, 30, 4)
        np.testing.assert_array_equal(few.counts, more.first(10).counts)

    @pytest.mark.parametrize("blocks", [100, 20])
    def test_rows_are_the_drawn_patients(self, monkeypatch, blocks):
        monkeypatch.setattr(module, "FEW", blocks)
        parts, draws = np.random.default_rng(0).normal(size=60), BootstrapDraws.of(60, 15, 4)
        assert draws.single == (blocks == 100)
        means = [parts[rows].mean() for rows in draws.rows()]
        assert means[0] == parts.mean()
        np.testing.assert_allclose(draws.mean(parts), means, rtol=1e-12)

    def test_nobody_has_no_mean(self):
        found = BootstrapDraws.of(50, 3, 0).take(np.zeros(50, dtype=bool)).mean(np.zeros(0))
        assert np.isnan(found).all()


@pytest.mark.parametrize("digits", [0, 6])
@pytest.mark.parametrize("month", [0.5, 12.0, 55.0])
def test_survival_is_that_of_each_draw(digits, month):
    time, event, _ = patients(60, digits=digits)
    rows = list(resamples(60, 40, 3))
    counts = np.stack([np.bincount(r, minlength=60) for r in rows]).astype(float)
    found = drawn_survival(time, event, month, counts)
    for r, alive in zip(rows, found, strict=True):
        curve = KaplanMeier.fit(time[r], event[r])
        if curve.last < month and curve.survival[-1] > 0:
            assert math.isnan(alive)
        else:
            assert alive == pytest.approx(float(curve.at(month)), abs=1e-12)


class TestFigures:
    def test_are_the_metrics_of_a_group(self):
        time, event, risk = patients()
        every = BootstrappedOutcome.of(time, event, 50.0, 10, 0)
        chosen = risk < 0.5
        group, weights = every.take(chosen), every.weights
        outcome = event[chosen], time[chosen], risk[chosen]
        expected = uno_c(*outcome, weights, 50.0)
        assert group.uno_c(risk[chosen])[0][0] == pytest.approx(expected, rel=1e-12)
        (auc,) = cumulative_dynamic_auc(*outcome, np.array([20.0]), weights)
        assert group.auc(20.0, risk[chosen])[0][0] == pytest.approx(auc, rel=1e-12)
        assert group.events == (event & (time <= 50) & chosen).sum()

    @pytest.mark.parametrize("pairs", [2000, 0])
    def test_all_metrics_are_drawn_as_each_alone(self, monkeypatch, pairs):
        time, event, risk = patients()
        monkeypatch.setattr(module, "PAIRS", pairs)
        every = BootstrappedOutcome.of(time, event, 50.0, 30, 0)
        assert every.draws.exact == (pairs > 0)
        curves = np.exp(risk)[:, None] * GRID.edges / 30
        output, _ = every.output(risk, GRID, curves)
        (found,) = every.figures([output])
        np.testing.assert_array_equal(found["uno_c"], every.uno_c(risk)[0])
        np.testing.assert_allclose(found["ibs"], every.draws.mean(output.brier), rtol=1e-12)
        whole = BootstrappedOutcome.of(time, event, 50.0, 0, 0).figures([output])[0]
        for name, figure in whole.items():
            assert figure.shape == (1,)
            assert figure[0] == pytest.approx(found[name][0], abs=1e-12)

    def test_of_many_are_as_wide_as_of_few(self, monkeypatch):
        time, event, risk = patients(1500)
        alive = np.exp(-0.02 * np.exp(risk) * 24)
        few = BootstrappedOutcome.of(time, event, 50.0, 600, 0)
        monkeypatch.setattr(module, "FEW", 1000)
        many = BootstrappedOutcome.of(time, event, 50.0, 600, 0)
        assert few.draws.single
        assert not many.draws.single
        for figure in (
            lambda each: each.uno_c(risk)[0],
            lambda each: each.auc(24.0, risk)[0],
            lambda each: each.observed_expected(alive, 24.0),
        ):
            expected, found = figure(few), figure(many)
            assert found[0] == pytest.approx(expected[0], rel=1e-10)
            assert found[1:].std() == pytest.approx(expected[1:].std(), rel=0.12)

    def test_beyond_the_last_follow_up_nothing_is_observed(self):
        time, event, _ = patients()
        early = BootstrappedOutcome.of(np.minimum(time, 20.0), event & (time <= 20), 50.0, 5, 0)
        assert np.isnan(early.observed_expected(np.full(150, 0.5), 30.0)).all()


class TestSpans:
    def test_hold_the_middle_of_the_draws(self):
        figure = np.random.default_rng(0).normal(size=(401, 2))
        said = Estimate.of_draws(figure[:, 0])
        assert (said.low, said.high) == percentile_interval(figure[1:, 0])
        curve = band(figure)
        assert (curve.value[0], curve.low[0], curve.high[0]) == (said.value, said.low, said.high)

    def test_that_the_draws_leave_open_are_unknown(self):
        figure = np.append(0.5, np.where(np.arange(100) < 15, np.nan, 0.4))
        assert math.isnan(Estimate.of_draws(figure).value)
        assert math.isnan(Estimate.of_draws(np.full(5, np.nan)).low)
        assert math.isnan(Estimate.of_draws(np.array([0.5])).value)
