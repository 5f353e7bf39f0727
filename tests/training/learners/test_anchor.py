"""The penalised Cox: how its penalties are chosen, and its curves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from accomplice.training.budget import UNLIMITED
from accomplice.training.config import configure
from accomplice.training.estimators.cox import RiskSets, baseline_hazard, fit_cox
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.learners import anchor as module
from accomplice.training.learners.anchor import Anchor, fit_anchor
from accomplice.training.learners.elastic_net import elastic_net_path
from accomplice.training.learners.learner import TrainingData


def simulate(n, p, seed=0, digits=1, effect=0.6):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    death = rng.exponential(30 * np.exp(-X[:, : min(p, 3)].sum(axis=1) * effect))
    left = rng.uniform(5, 90, n)
    return X, np.round(np.minimum(death, left), digits) + 0.1, death <= left


class TestAnchor:
    def setup_method(self):
        self.X, self.time, self.event = simulate(200, 8, seed=5)
        self.grid = TimeGrid.fit(self.time, self.event, 60.0)
        self.markers = np.arange(8) >= 4

    def fit(self, **changed):
        given_ = {"X": self.X, "time": self.time, "event": self.event, "grid": self.grid}
        return fit_anchor(**(given_ | {"markers": self.markers} | changed))

    def test_baseline_makes_expected_events_equal_those_seen(self):
        anchor = self.fit()
        log_hz = anchor.log_hz(self.X)
        spent = np.exp(log_hz)[:, None] * np.diff(anchor.baseline) * self.grid.exposure(self.time)
        seen = self.grid.events(self.time, self.event)
        np.testing.assert_allclose(spent.sum(axis=0), seen.sum(axis=0))
        assert log_hz.mean() == pytest.approx(0, abs=1e-12)

    def test_chosen_penalty_is_applied_with_its_ratio(self):
        anchor = self.fit(ratios=(3.0,), penalties=(0.1,))
        weights = self.event.sum() * 0.1 * np.where(self.markers, 3.0, 1.0)
        expected = fit_cox(self.X, RiskSets(self.time, self.event), weights)
        np.testing.assert_allclose(anchor.beta, expected, atol=1e-9)
        assert (anchor.penalty, anchor.ratio) == (0.1, 3.0)

    def test_noise_is_shrunk_and_signal_is_not(self):
        noise = np.random.default_rng(1).normal(size=self.X.shape)
        assert self.fit(X=noise).penalty > self.fit().penalty
        # Markers that say nothing, beside clinical columns that do, are penalised more.
        assert self.fit().ratio == 4.0

    def test_same_seed_gives_the_same_anchor(self):
        first, second = self.fit(seed=3), self.fit(seed=3)
        np.testing.assert_array_equal(first.beta, second.beta)
        np.testing.assert_array_equal(first.baseline, second.baseline)

    def test_scale_of_time_changes_no_coefficient(self):
        other = TimeGrid(self.grid.edges * 30)
        np.testing.assert_allclose(
            self.fit(time=self.time * 30, grid=other).beta, self.fit().beta, atol=1e-9
        )

    def test_few_events_take_the_strongest_penalty(self):
        event = np.zeros_like(self.event)
        event[np.flatnonzero(self.event)[:3]] = True
        anchor = self.fit(event=event)
        assert anchor.penalty == 3.0
        assert np.isfinite(anchor.cumulative(self.X)).all()

    def test_cumulative_hazard_rises_and_orders_as_the_risk(self):
        anchor = self.fit()
        curve = anchor.cumulative(self.X)
        assert (np.diff(curve, axis=1) >= 0).all()
        np.testing.assert_array_equal(np.argsort(curve[:, -1]), np.argsort(anchor.log_hz(self.X)))

    def test_json_round_trip_is_exact(self):
        anchor = self.fit()
        again = Anchor.from_json(json.loads(json.dumps(anchor.to_json())))
        np.testing.assert_array_equal(again.cumulative(self.X), anchor.cumulative(self.X))
        assert (again.penalty, again.ratio) == (anchor.penalty, anchor.ratio)

    def test_baseline_of_a_constant_hazard_is_recovered(self):
        rng = np.random.default_rng(0)
        log_hz = rng.normal(0, 0.7, 20_000)
        death = rng.exponential(1 / (0.03 * np.exp(log_hz)))
        time = np.minimum(death, 50.0)
        grid = TimeGrid(np.linspace(0, 50, 6))
        found = baseline_hazard(log_hz, time, death <= 50, grid)
        np.testing.assert_allclose(found, 0.03 * grid.edges, rtol=0.05)


class TestElasticNet(TestAnchor):
    """Everything that holds of the ridge, and what the lasso adds."""

    mixing = 0.5

    def fit(self, **changed):
        return super().fit(**({"mixing": self.mixing} | changed))

    def test_chosen_penalty_is_applied_with_its_ratio(self):
        anchor = self.fit(ratios=(3.0,), penalties=(0.1,))
        weights = self.event.sum() * 0.1 * np.where(self.markers, 3.0, 1.0)
        path = elastic_net_path(self.X, RiskSets(self.time, self.event), weights, (1.0,), 0.5)
        np.testing.assert_allclose(anchor.beta, next(path), atol=1e-9)
        assert (anchor.penalty, anchor.ratio) == (pytest.approx(0.1), 3.0)

    def test_few_events_take_the_strongest_penalty(self):
        event = np.zeros_like(self.event)
        event[np.flatnonzero(self.event)[:3]] = True
        anchor = self.fit(event=event, mixing=1.0)
        assert (anchor.beta == 0).all()
        assert np.isfinite(anchor.cumulative(self.X)).all()

    @pytest.mark.parametrize("mixing", [0.3, 1.0])
    def test_leaves_out_noise_and_keeps_signal(self, mixing):
        X, time, event = simulate(300, 60, seed=1)
        grid = TimeGrid.fit(time, event, 60.0)
        beta = fit_anchor(X, time, event, grid, np.zeros(60, bool), mixing=mixing).beta
        assert beta[:3].min() > np.abs(beta[3:]).max()
        assert np.count_nonzero(beta[3:]) < 30

    def test_weak_penalties_are_left_untried_without_a_change_of_the_choice(self, monkeypatch):
        short = self.fit()
        monkeypatch.setattr("accomplice.training.learners.anchor.PATIENCE", 99)
        np.testing.assert_array_equal(self.fit().beta, short.beta)

    def test_design_without_variation_gives_one_curve(self):
        anchor = self.fit(X=0 * self.X + 2.0)
        assert (anchor.beta == 0).all()
        assert len(np.unique(anchor.cumulative(self.X)[:, -1])) == 1


def test_setting_decides_the_share_of_the_lasso():
    X, time, event = simulate(200, 30, seed=5)
    grid, markers = TimeGrid.fit(time, event, 60.0), np.arange(30) >= 4
    data = TrainingData(X, time, event, grid, markers)
    ridge, sparse = (
        Anchor.fit(data, configure(settings), UNLIMITED) for settings in ((), ("anchor.mixing=1",))
    )
    assert np.count_nonzero(ridge.beta) == 30
    assert 3 <= np.count_nonzero(sparse.beta) < 25


class TestManyPatients:
    """Of many patients a sample chooses the penalty."""

    def fit(self, n, most, monkeypatch, events=None):
        X, time, event = simulate(n, 6, seed=2, effect=0.3)
        if events is not None:
            event &= np.cumsum(event) <= events
        monkeypatch.setattr(module, "MOST_COMPARED", most)
        grid = TimeGrid.fit(time, event, 60.0)
        return X, time, event, fit_anchor(X, time, event, grid, np.arange(6) >= 3)

    def test_the_penalty_is_applied_to_all_patients(self, monkeypatch):
        X, time, event, anchor = self.fit(2000, 500, monkeypatch)
        weights = event.sum() * anchor.penalty * np.where(np.arange(6) >= 3, anchor.ratio, 1.0)
        expected = fit_cox(X, RiskSets(time, event), weights)
        np.testing.assert_allclose(anchor.beta, expected, atol=1e-5)

    def test_it_is_that_of_the_sample_and_does_not_grow_with_the_patients(self, monkeypatch):
        _, _, event, anchor = self.fit(2000, 500, monkeypatch)
        some = module._compared(event, 0)
        assert len(some) == 500
        tried = event.sum() * anchor.penalty / event[some].sum()
        assert np.isclose(tried, module.PENALTIES).any()

    def test_up_to_so_many_all_choose(self, monkeypatch):
        *_, whole = self.fit(500, 5000, monkeypatch)
        *_, same = self.fit(500, 500, monkeypatch)
        np.testing.assert_array_equal(whole.beta, same.beta)

    @pytest.mark.parametrize("events", [40, 300])
    def test_rare_events_are_all_in_the_sample(self, events, monkeypatch):
        monkeypatch.setattr(module, "ENOUGH_EVENTS", 100)
        _, _, event, anchor = self.fit(2000, 500, monkeypatch, events)
        assert event.sum() == events
        assert event[module._compared(event, 0)].sum() >= min(events, 100)
        assert np.isfinite(anchor.beta).all()
