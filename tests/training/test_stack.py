"""The stack: a useless learner does no harm, known slope and level are found again, curves rise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import StackConfig
from training.hazard import TimeGrid, accumulate, survival
from training.stack import Stack, fit_stack

untimed = settings(deadline=None, max_examples=40)
GRID = TimeGrid(np.array([0.0, 6.0, 15.0, 30.0, 60.0]))
#: Hazard gathered in each bin by the average patient.
GATHERED = np.array([0.03, 0.02, 0.025, 0.015]) * np.diff(GRID.edges)
#: Priors that have nothing to say.
WIDE = StackConfig(share_sd=100, slope_sd=100, level_sd=100)
USUAL = StackConfig(share_sd=0.25, slope_sd=0.1, level_sd=0.05)


def simulate(n, seed, effect=0.8):
    """Piecewise-exponential survival: true cumulative hazard (n, j + 1), time and event."""
    rng = np.random.default_rng(seed)
    curve = accumulate(np.exp(effect * rng.normal(size=n))[:, None] * GATHERED)
    due = rng.exponential(size=n)
    death = [np.interp(d, c, GRID.edges, right=np.inf) for d, c in zip(due, curve, strict=True)]
    left = np.minimum(rng.uniform(10, 100, n), 60.0)
    return curve, np.minimum(death, left), np.array(death) <= left


def noise(n, seed, spread=0.8):
    """Curves that know nothing of the patients but their average."""
    rng = np.random.default_rng(seed)
    return accumulate(np.exp(rng.normal(0, spread, n))[:, None] * GATHERED)


def stretched(curve, slope, level):
    """Curve whose log is drawn out around its mean by ``slope`` and then moved by ``level``."""
    ends = np.log(curve[:, 1:])
    ends = ends.mean(axis=0) + slope * (ends - ends.mean(axis=0)) + level
    return np.pad(np.exp(ends), ((0, 0), (1, 0)))


def likelihood(curve, time, event):
    """Piecewise-exponential log-likelihood of curves, a patient."""
    gathered = np.diff(curve, axis=1)
    happened = GRID.events(time, event)
    lost = (gathered * GRID.exposure(time)).sum()
    return float(((happened * np.log(np.maximum(gathered, 1e-10))).sum() - lost) / len(time))


@st.composite
def problems(draw):
    """Two learners of any quality on few patients with many ties."""
    n = draw(st.integers(1, 8))
    size = 2 * n * GRID.bins
    step = st.just(0.0) | st.floats(1e-9, 2) | st.floats(0, 400)
    gathered = np.array(draw(st.lists(step, min_size=size, max_size=size)))
    time = np.array(draw(st.lists(st.integers(1, 60), min_size=n, max_size=n)), dtype=float)
    event = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return accumulate(gathered.reshape(2, n, GRID.bins)), time, event


class TestCurve:
    @untimed
    @given(problem=problems(), config=st.sampled_from([USUAL, WIDE]))
    def test_share_lies_between_the_learners_and_curves_never_fall(self, problem, config):
        learners, time, event = problem
        stack = fit_stack(learners, time, event, GRID, config)
        assert 0 <= stack.share <= 1
        assert stack.slope > 0
        curve = stack.cumulative(learners)
        assert curve.shape == learners.shape[1:]
        assert np.isfinite(curve).all()
        assert (curve[:, 0] == 0).all()
        assert (np.diff(curve, axis=1) >= 0).all()

    @untimed
    @given(
        problem=problems(),
        share=st.floats(0, 1),
        slope=st.floats(0.3, 3),
        level=st.floats(-2, 2),
    )
    def test_any_slope_and_level_leave_a_curve(self, problem, share, slope, level):
        learners, _, _ = problem
        stack = Stack(share, slope, level, np.log(np.cumsum(GATHERED)))
        curve = stack.cumulative(learners)
        assert np.isfinite(curve).all()
        assert (np.diff(curve, axis=1) >= 0).all()

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_without_slope_and_level_it_is_the_mean_of_the_survivals(self, share):
        anchor, net = simulate(30, 0)[0], noise(30, 1)
        stack = Stack(share, 1.0, 0.0, np.zeros(4))
        expected = (1 - share) * survival(anchor) + share * survival(net)
        np.testing.assert_allclose(survival(stack.cumulative(np.stack([anchor, net]))), expected)

    def test_json_round_trip_is_exact(self):
        curve, time, event = simulate(100, 11)
        learners = np.stack([curve, noise(100, 1)])
        stack = fit_stack(learners, time, event, GRID, USUAL)
        again = Stack.from_json(json.loads(json.dumps(stack.to_json(), allow_nan=False)))
        np.testing.assert_array_equal(again.cumulative(learners), stack.cumulative(learners))

    def test_without_events_it_is_still_a_curve(self):
        curve, time, event = simulate(50, 10)
        stack = fit_stack(np.stack([curve, curve]), time, event & False, GRID, USUAL)
        found = stack.cumulative(np.stack([curve, curve]))
        assert np.isfinite(found).all()
        assert (np.diff(found, axis=1) >= 0).all()


class TestShare:
    @pytest.mark.parametrize("seed", range(4))
    def test_useless_network_does_no_harm_on_fresh_patients(self, seed):
        curve, time, event = simulate(300, seed)
        both = fit_stack(np.stack([curve, noise(300, seed + 10)]), time, event, GRID, USUAL)
        alone = fit_stack(np.stack([curve, curve]), time, event, GRID, USUAL)
        fresh, then, died = simulate(4000, seed + 50)
        with_net = both.cumulative(np.stack([fresh, noise(4000, seed + 70)]))
        without = alone.cumulative(np.stack([fresh, fresh]))
        # For scale: knowing the patients at all is worth some 0.1.
        worth = likelihood(fresh, then, died) - likelihood(noise(4000, 0, 0.0), then, died)
        assert worth > 0.08
        assert likelihood(without, then, died) - likelihood(with_net, then, died) < 0.15 * worth

    def test_network_that_says_the_reverse_has_no_part(self):
        curve, time, event = simulate(400, 3)
        stack = fit_stack(np.stack([curve, stretched(curve, -1.0, 0.0)]), time, event, GRID, USUAL)
        assert stack.share == 0

    def test_better_network_takes_over(self):
        curve, time, event = simulate(3000, 4)
        assert fit_stack(np.stack([noise(3000, 1), curve]), time, event, GRID, USUAL).share > 0.85

    def test_equal_learners_share_equally(self):
        curve, time, event = simulate(200, 5)
        assert fit_stack(np.stack([curve, curve]), time, event, GRID, USUAL).share == 0.5

    def test_share_is_the_likeliest_under_its_prior(self):
        curve, time, event = simulate(250, 6, effect=0.5)
        learners = np.stack([stretched(curve, 0.5, 0.1), noise(250, 3, 0.3)])
        found = fit_stack(learners, time, event, GRID, USUAL)
        shares = np.linspace(0, 1, 201)

        def posterior(share):
            pooled = Stack(share, 1.0, 0.0, np.zeros(4)).cumulative(learners)
            fit = len(time) * likelihood(pooled, time, event)
            return fit - (share - 0.5) ** 2 / (2 * USUAL.share_sd**2)

        best = shares[np.argmax([posterior(s) for s in shares])]
        assert 0 < best < 1
        assert found.share == pytest.approx(best, abs=0.02)


class TestCalibration:
    @pytest.mark.parametrize("slope", [0.75, 1.0, 1.4])
    @pytest.mark.parametrize("level", [-0.3, 0.0, 0.4])
    def test_known_slope_and_level_are_found_again(self, slope, level):
        curve, time, event = simulate(6000, 1)
        # The learners say it too loudly or softly, and too high or low, by known factors.
        wrong = stretched(curve, 1 / slope, -level)
        stack = fit_stack(np.stack([wrong, wrong]), time, event, GRID, WIDE)
        assert stack.slope == pytest.approx(slope, abs=0.07)
        assert stack.level == pytest.approx(level, abs=0.06)

    def test_few_events_stay_at_the_priors(self):
        curve, time, event = simulate(300, 2)
        event &= np.arange(300) < 12
        wrong = stretched(curve, 1 / 1.4, 0.0)
        stack = fit_stack(
            np.stack([wrong, noise(300, 1)]),
            time,
            event,
            GRID,
            StackConfig(share_sd=0.01, slope_sd=0.01, level_sd=0.01),
        )
        assert stack.share == pytest.approx(0.5, abs=0.03) or stack.share == 0
        assert stack.slope == pytest.approx(1.0, abs=0.03)
        assert stack.level == pytest.approx(0.0, abs=0.03)

    def test_expected_events_equal_those_seen(self):
        curve, time, event = simulate(800, 8)
        wrong = stretched(curve, 1.2, 0.5)
        learners = np.stack([wrong, wrong])
        stack = fit_stack(learners, time, event, GRID, WIDE)
        expected = GRID.at_own(stack.cumulative(learners), time).sum()
        assert expected == pytest.approx(event.sum(), rel=1e-3)
