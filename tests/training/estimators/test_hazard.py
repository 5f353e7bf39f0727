"""Curve arithmetic against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.hazard import (
    TimeGrid,
    accumulate,
    from_survival,
    log_risk,
    restricted_mean,
    survival,
)

untimed = settings(deadline=None)
MONTHS = st.floats(0.01, 200)


@st.composite
def grids(draw):
    """A grid of 1 to 6 bins, none of them narrower than a day."""
    widths = draw(st.lists(st.floats(0.05, 40), min_size=1, max_size=6))
    return TimeGrid(np.concatenate([[0.0], np.cumsum(widths)]))


@st.composite
def curves(draw, rows=3):
    """A grid and cumulative hazards (rows, j + 1) on it, some of them flat in places."""
    grid = draw(grids())
    step = st.one_of(st.just(0.0), st.floats(1e-12, 5))
    size = rows * grid.bins
    steps = draw(st.lists(step, min_size=size, max_size=size))
    return grid, accumulate(np.array(steps).reshape(rows, grid.bins))


@st.composite
def cohorts(draw):
    """Times with heavy ties, and events."""
    rows = draw(st.lists(st.tuples(MONTHS | st.integers(1, 6), st.booleans()), min_size=1))
    time = np.array([float(t) for t, _ in rows])
    return time, np.array([e for _, e in rows])


class TestGrid:
    @untimed
    @given(case=cohorts(), horizon=MONTHS, most=st.integers(1, 12), each=st.integers(1, 10))
    def test_rises_from_zero_to_the_horizon_in_at_most_so_many_bins(
        self, case, horizon, most, each
    ):
        grid = TimeGrid.fit(*case, horizon, most, each)
        assert grid.edges[0] == 0
        assert grid.edges[-1] == grid.horizon == horizon
        assert (np.diff(grid.edges) > 0).all()
        assert 1 <= grid.bins <= most

    def test_bins_hold_about_equally_many_events(self):
        rng = np.random.default_rng(0)
        time = rng.exponential(20, 400)
        event = rng.random(400) < 0.6
        grid = TimeGrid.fit(time, event, 60.0, 10, 8)
        held = grid.events(time, event).sum(axis=0)
        assert grid.bins == 10
        assert held.max() - held.min() <= 1

    def test_events_after_the_horizon_do_not_count(self):
        time, event = np.arange(1.0, 101.0), np.ones(100, dtype=bool)
        grid = TimeGrid.fit(time, event, 24.0, 12, 8)
        assert grid.bins == 3  # 24 events, 8 in each
        np.testing.assert_array_equal(TimeGrid.fit(time[:24], event[:24], 24.0).edges, grid.edges)

    def test_heavy_ties_make_fewer_bins(self):
        time = np.repeat([3.0, 7.0], [60, 40])
        grid = TimeGrid.fit(time, np.ones(100, dtype=bool), 10.0, 12, 8)
        np.testing.assert_array_equal(grid.edges, [0, 5, 10])

    @pytest.mark.parametrize("seen", [0, 1])
    def test_one_event_or_none_still_makes_a_grid(self, seen):
        time, event = np.array([5.0, 8.0, 9.0]), np.arange(3) < seen
        grid = TimeGrid.fit(time, event, 9.0)
        assert grid.horizon == 9
        assert grid.events(time, event).sum() == seen
        assert np.isfinite(grid.exposure(time)).all()


class TestCounting:
    @untimed
    @given(grid=grids(), case=cohorts())
    def test_exposure_adds_up_to_the_time_at_risk(self, grid, case):
        time, _ = case
        spent = grid.exposure(time)
        assert ((spent >= 0) & (spent <= 1)).all()
        np.testing.assert_allclose(
            spent @ np.diff(grid.edges), np.minimum(time, grid.horizon), rtol=1e-9, atol=1e-9
        )

    @untimed
    @given(grid=grids(), case=cohorts())
    def test_each_event_up_to_the_horizon_is_counted_once_in_its_bin(self, grid, case):
        time, event = case
        marks = grid.events(time, event)
        np.testing.assert_array_equal(marks.sum(axis=1), event & (time <= grid.horizon))
        for i, j in np.argwhere(marks):
            assert grid.edges[j] < time[i] <= grid.edges[j + 1]

    def test_event_on_an_edge_belongs_to_the_bin_it_ends(self):
        grid = TimeGrid(np.array([0.0, 10.0, 20.0]))
        marks = grid.events(np.array([10.0, 20.0, 20.1]), np.ones(3, dtype=bool))
        np.testing.assert_array_equal(marks, [[1, 0], [0, 1], [0, 0]])


class TestCurve:
    @untimed
    @given(case=curves(), times=st.lists(MONTHS, min_size=2, max_size=8))
    def test_survival_never_rises(self, case, times):
        grid, cumulative = case
        # Edges are where rounding could lift it by one unit in the last place.
        asked = np.sort(np.concatenate([times, grid.edges, np.nextafter(grid.edges, np.inf)]))
        curve = survival(grid.at(cumulative, asked))
        assert ((curve >= 0) & (curve <= 1)).all()
        assert (np.diff(curve, axis=-1) <= 0).all()

    @untimed
    @given(case=curves(), times=st.lists(st.just(0.0) | MONTHS, min_size=1, max_size=6))
    def test_at_interpolates(self, case, times):
        grid, cumulative = case
        expected = [np.interp(times, grid.edges, row) for row in cumulative]
        np.testing.assert_allclose(
            grid.at(cumulative, np.array(times)), expected, rtol=1e-12, atol=1e-15
        )

    @untimed
    @given(case=curves())
    def test_at_the_edges_is_the_curve_itself(self, case):
        grid, cumulative = case
        np.testing.assert_allclose(grid.at(cumulative, grid.edges), cumulative, rtol=1e-15)

    @untimed
    @given(case=curves(rows=4), times=st.lists(MONTHS, min_size=4, max_size=4))
    def test_at_own_is_the_diagonal_of_at(self, case, times):
        grid, cumulative = case
        time = np.array(times)
        np.testing.assert_array_equal(
            grid.at_own(cumulative, time), np.diagonal(grid.at(cumulative, time))
        )

    @untimed
    @given(case=curves(), times=st.lists(st.floats(0, 400), max_size=5))
    def test_a_product_with_the_readings_is_at(self, case, times):
        grid, cumulative = case
        asked = np.array(times)
        read = cumulative @ grid.readings(asked)
        np.testing.assert_allclose(read, grid.at(cumulative, asked), rtol=1e-12, atol=1e-12)

    def test_at_takes_any_leading_dimensions(self):
        grid = TimeGrid(np.array([0.0, 10.0, 20.0]))
        cumulative = np.arange(24.0).reshape(2, 4, 3)
        found = grid.at(cumulative, np.array([5.0, 20.0]))
        assert found.shape == (2, 4, 2)
        np.testing.assert_array_equal(found[1, 2], [18.5, 20.0])

    @untimed
    @given(case=curves())
    def test_accumulation_undoes_differences(self, case):
        _, cumulative = case
        again = accumulate(np.diff(cumulative, axis=-1))
        np.testing.assert_allclose(again, cumulative, rtol=1e-12)


class TestRestrictedMean:
    @untimed
    @given(case=curves(), share=st.floats(0.02, 1))
    def test_is_the_area_under_survival(self, case, share):
        grid, cumulative = case
        horizon = share * grid.horizon
        # Gauss-Legendre in many pieces of each bin: the curve is smooth inside one.
        nodes, weights = np.polynomial.legendre.leggauss(12)
        stops = np.unique(np.append(grid.edges[grid.edges < horizon], horizon))
        area = np.zeros(len(cumulative))
        for low, high in pairwise(stops):
            cut = np.linspace(low, high, 5)
            for a, b in pairwise(cut):
                t = (a + b) / 2 + (b - a) / 2 * nodes
                area += (b - a) / 2 * survival(grid.at(cumulative, t)) @ weights
        np.testing.assert_allclose(restricted_mean(grid, cumulative, horizon), area, rtol=1e-6)

    def test_of_a_constant_hazard_has_its_closed_form(self):
        grid = TimeGrid(np.array([0.0, 10.0, 25.0, 60.0]))
        cumulative = 0.02 * grid.edges[None]
        for horizon in (5.0, 10.0, 36.0, 60.0):
            expected = (1 - np.exp(-0.02 * horizon)) / 0.02
            assert restricted_mean(grid, cumulative, horizon)[0] == pytest.approx(expected)

    def test_without_hazard_is_the_horizon(self):
        grid = TimeGrid(np.array([0.0, 10.0, 60.0]))
        assert restricted_mean(grid, np.zeros((1, 3)), 36.0)[0] == 36


class TestLogRisk:
    def test_of_proportional_hazards_is_the_linear_predictor_up_to_a_constant(self):
        log_hz = np.array([-2.0, 0.0, 0.3, 5.0])
        cumulative = np.exp(log_hz)[:, None] * np.array([0.0, 0.1, 0.15, 0.4])
        np.testing.assert_allclose(np.diff(log_risk(cumulative)), np.diff(log_hz), rtol=1e-12)

    @untimed
    @given(case=curves(), more=st.floats(0.1, 5))
    def test_more_hazard_is_more_risk(self, case, more):
        _, cumulative = case
        dying = cumulative[:, 1:].sum(axis=1) > 1e-290
        before, after = log_risk(cumulative), log_risk(cumulative * (1 + more))
        assert (after[dying] > before[dying]).all()

    def test_without_hazard_is_finite(self):
        assert np.isfinite(log_risk(np.zeros((2, 4)))).all()


def test_cumulative_hazard_of_a_survival_and_of_none():
    survived = np.array([1.0, 0.5, 1e-40, 0.0])
    expected = [0.0, np.log(2), 40 * np.log(10), 300 * np.log(10)]
    np.testing.assert_allclose(from_survival(survived), expected, rtol=1e-12)
    np.testing.assert_allclose(survival(from_survival(survived[:3])), survived[:3], rtol=1e-12)
