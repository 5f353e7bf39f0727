"""The stack: a useless learner does no harm, known slope and level are found again, curves rise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from accomplice.training.config import StackConfig
from accomplice.training.estimators.hazard import TimeGrid, accumulate, survival
from accomplice.training.learners import stack as module
from accomplice.training.learners.stack import Stack, fit_stack, weighted

untimed = settings(deadline=None, max_examples=40)
GRID = TimeGrid(np.array([0.0, 6.0, 15.0, 30.0, 60.0]))
#: Hazard gathered in each bin by the average patient.
GATHERED = np.array([0.03, 0.02, 0.025, 0.015]) * np.diff(GRID.edges)
#: Priors that have nothing to say.
WIDE = StackConfig(equal=0, slope_sd=100, level_sd=100)
USUAL = StackConfig(equal=4, slope_sd=0.1, level_sd=0.05)


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


def pointwise(curve, time, event):
    """Piecewise-exponential log-likelihood (n,) of each patient's curve."""
    gathered = np.diff(curve, axis=1)
    seen = GRID.events(time, event) * np.log(np.maximum(gathered, 1e-10))
    return (seen - gathered * GRID.exposure(time)).sum(axis=1)


def likelihood(curve, time, event):
    """Piecewise-exponential log-likelihood of curves, a patient."""
    return float(pointwise(curve, time, event).mean())


@st.composite
def problems(draw):
    """Two to five learners of any quality on few patients with many ties."""
    n, learners = draw(st.integers(1, 8)), draw(st.integers(2, 5))
    size = learners * n * GRID.bins
    step = st.just(0.0) | st.floats(1e-9, 2) | st.floats(0, 400)
    gathered = np.array(draw(st.lists(step, min_size=size, max_size=size)))
    time = np.array(draw(st.lists(st.integers(1, 60), min_size=n, max_size=n)), dtype=float)
    event = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return accumulate(gathered.reshape(learners, n, GRID.bins)), time, event


class TestCurve:
    @untimed
    @given(problem=problems(), config=st.sampled_from([USUAL, WIDE]))
    def test_weights_are_parts_of_one_and_curves_never_fall(self, problem, config):
        learners, time, event = problem
        stack = fit_stack(learners, time, event, GRID, config)
        assert stack.weights.shape == learners.shape[:1]
        assert (stack.weights >= 0).all()
        assert stack.weights.sum() == pytest.approx(1)
        assert stack.slope > 0
        curve = stack.cumulative(learners)
        assert curve.shape == learners.shape[1:]
        assert np.isfinite(curve).all()
        assert (curve[:, 0] == 0).all()
        assert (np.diff(curve, axis=1) >= 0).all()

    @untimed
    @given(
        problem=problems(),
        parts=st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda w: sum(w[:2]) > 0.01),
        slope=st.floats(0.3, 3),
        level=st.floats(-2, 2),
    )
    def test_any_weights_slope_and_level_leave_a_curve(self, problem, parts, slope, level):
        learners, _, _ = problem
        weights = np.array(parts[: len(learners)])
        stack = Stack(weights / weights.sum(), slope, level, np.log(np.cumsum(GATHERED)))
        curve = stack.cumulative(learners)
        assert np.isfinite(curve).all()
        assert (np.diff(curve, axis=1) >= 0).all()

    @pytest.mark.parametrize("weights", [[1, 0], [0.3, 0.7], [0, 0, 1], [0.1, 0.2, 0.3, 0.4]])
    def test_without_slope_and_level_it_is_the_mean_of_the_survivals(self, weights):
        learners = np.stack([noise(30, seed) for seed in range(len(weights))])
        stack = Stack(np.array(weights, dtype=float), 1.0, 0.0, np.zeros(4))
        expected = sum(w * survival(c) for w, c in zip(weights, learners, strict=True))
        np.testing.assert_allclose(survival(stack.cumulative(learners)), expected)

    def test_json_round_trip_is_exact(self):
        curve, time, event = simulate(100, 11)
        learners = np.stack([curve, noise(100, 1)])
        stack = fit_stack(learners, time, event, GRID, USUAL)
        again = Stack.from_json(json.loads(json.dumps(stack.to_json(), allow_nan=False)))
        np.testing.assert_array_equal(again.weights, stack.weights)
        np.testing.assert_array_equal(again.cumulative(learners), stack.cumulative(learners))

    def test_without_events_it_is_still_a_curve(self):
        curve, time, event = simulate(50, 10)
        stack = fit_stack(np.stack([curve, curve]), time, event & False, GRID, USUAL)
        found = stack.cumulative(np.stack([curve, curve]))
        assert np.isfinite(found).all()
        assert (np.diff(found, axis=1) >= 0).all()


def posterior(weights, learners, time, event, equal):
    """Log-posterior of weights (l,), the prior as evidence for equal ones."""
    density = [pointwise(c, time, event) for c in learners]
    mixed = np.log(np.maximum(weights @ np.exp(density), 1e-300)).sum()
    return float(mixed + equal / len(weights) * np.log(np.maximum(weights, 1e-300)).sum())


class TestWeights:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("useless", [1, 3])
    def test_useless_learners_do_little_harm_on_fresh_patients(self, seed, useless):
        curve, time, event = simulate(300, seed)
        others = [noise(300, seed + 10 + i) for i in range(useless)]
        both = fit_stack(np.stack([curve, *others]), time, event, GRID, USUAL)
        alone = fit_stack(np.stack([curve, curve]), time, event, GRID, USUAL)
        fresh, then, died = simulate(4000, seed + 50)
        others = [noise(4000, seed + 70 + i) for i in range(useless)]
        with_net = both.cumulative(np.stack([fresh, *others]))
        without = alone.cumulative(np.stack([fresh, fresh]))
        # For scale: knowing the patients at all is worth some 0.1.
        worth = likelihood(fresh, then, died) - likelihood(noise(4000, 0, 0.0), then, died)
        assert worth > 0.08
        assert likelihood(without, then, died) - likelihood(with_net, then, died) < 0.15 * worth

    # The prior of two patients keeps the weight off 0.
    @pytest.mark.parametrize(("n", "most"), [(400, 0.08), (4000, 0.02)])
    @pytest.mark.parametrize("seed", [3, 4, 5])
    def test_learner_that_says_the_reverse_has_almost_no_part(self, n, most, seed):
        curve, time, event = simulate(n, seed)
        stack = fit_stack(np.stack([curve, stretched(curve, -1.0, 0.0)]), time, event, GRID, USUAL)
        assert stack.weights[1] < most

    @pytest.mark.parametrize("place", range(4))
    def test_better_learner_takes_over(self, place):
        curve, time, event = simulate(3000, 4)
        learners = [noise(3000, seed) for seed in range(3)]
        learners.insert(place, curve)
        stack = fit_stack(np.stack(learners), time, event, GRID, USUAL)
        assert stack.weights[place] > 0.85

    @pytest.mark.parametrize("count", [2, 3, 4, 5])
    def test_equal_learners_share_equally(self, count):
        curve, time, event = simulate(200, 5)
        stack = fit_stack(np.stack([curve] * count), time, event, GRID, USUAL)
        np.testing.assert_allclose(stack.weights, 1 / count, rtol=1e-12)

    @pytest.mark.parametrize("equal", [0.0, 4.0, 60.0])
    def test_two_weights_are_the_likeliest_under_their_prior(self, equal):
        curve, time, event = simulate(250, 6)
        # Each knows other patients.
        known = (np.arange(250) % 3 == 0)[:, None]
        other = noise(250, 3)
        learners = np.stack([np.where(known, curve, other), np.where(known, other, curve)])
        found = fit_stack(learners, time, event, GRID, USUAL.model_copy(update={"equal": equal}))
        grid = np.linspace(0.001, 0.999, 999)
        height = [posterior(np.array([1 - w, w]), learners, time, event, equal) for w in grid]
        best = grid[np.argmax(height)]
        assert 0.01 < best < 0.99
        assert found.weights[1] == pytest.approx(best, abs=0.005)

    @pytest.mark.parametrize("count", [3, 4, 5])
    def test_many_weights_are_the_likeliest_under_their_prior(self, count):
        curve, time, event = simulate(250, 6, effect=0.5)
        others = [noise(250, seed, 0.3) for seed in range(count - 1)]
        learners = np.stack([stretched(curve, 0.5, 0.1), *others])

        def loss(logits):
            weights = np.exp(logits - logits.max())
            return -posterior(weights / weights.sum(), learners, time, event, USUAL.equal)

        best = minimize(loss, np.zeros(count), method="BFGS").x
        best = np.exp(best - best.max()) / np.exp(best - best.max()).sum()
        found = fit_stack(learners, time, event, GRID, USUAL).weights
        np.testing.assert_allclose(found, best, atol=0.002)

    def test_much_prior_evidence_keeps_weights_equal(self):
        curve, time, event = simulate(200, 4)
        config = USUAL.model_copy(update={"equal": 1e6})
        stack = fit_stack(
            np.stack([curve, noise(200, 1), noise(200, 2)]), time, event, GRID, config
        )
        np.testing.assert_allclose(stack.weights, 1 / 3, atol=1e-3)

    @untimed
    @given(problem=problems(), data=st.data())
    def test_order_of_the_learners_is_no_matter(self, problem, data):
        learners, time, event = problem
        order = data.draw(st.permutations(range(len(learners))))
        first = fit_stack(learners, time, event, GRID, USUAL)
        second = fit_stack(learners[order], time, event, GRID, USUAL)
        np.testing.assert_allclose(second.weights, first.weights[order], atol=1e-6)


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
            StackConfig(equal=1e4, slope_sd=0.01, level_sd=0.01),
        )
        np.testing.assert_allclose(stack.weights, 0.5, atol=0.03)
        assert stack.slope == pytest.approx(1.0, abs=0.03)
        assert stack.level == pytest.approx(0.0, abs=0.03)

    def test_expected_events_equal_those_seen(self):
        curve, time, event = simulate(800, 8)
        wrong = stretched(curve, 1.2, 0.5)
        learners = np.stack([wrong, wrong])
        stack = fit_stack(learners, time, event, GRID, WIDE)
        expected = GRID.at_own(stack.cumulative(learners), time).sum()
        assert expected == pytest.approx(event.sum(), rel=1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_patients_alike_are_weighted_alike_wherever_they_stand(n):
    rng = np.random.default_rng(0)
    curves, weights = np.repeat(rng.random((2, 4, 1, 13)), n, axis=2), rng.dirichlet(np.ones(4))
    found = weighted(weights, curves)
    assert (found == found[:, :1]).all()
    np.testing.assert_allclose(found[:, 0], np.einsum("l,klj->kj", weights, curves[:, :, 0]))


class TestManyPatients:
    """Of many patients a sample is fitted, beside the same priors."""

    def fit(self, monkeypatch, most):
        truth, time, event = simulate(3000, 5)
        monkeypatch.setattr(module, "MOST", most)
        flat = stretched(truth, 0.8, 0.1)
        return fit_stack(np.stack([flat, noise(3000, 1)]), time, event, GRID, USUAL)

    def test_it_finds_what_all_would(self, monkeypatch):
        whole, some = (self.fit(monkeypatch, most) for most in (3000, 1500))
        assert some.slope != whole.slope
        np.testing.assert_allclose(some.weights, whole.weights, atol=0.1)
        assert some.slope == pytest.approx(whole.slope, abs=0.1)
        assert some.level == pytest.approx(whole.level, abs=0.1)

    def test_priors_weigh_as_much_as_beside_all(self, monkeypatch):
        truth, time, event = simulate(3000, 5)
        narrow = StackConfig(equal=1e5, slope_sd=0.001, level_sd=0.001)
        monkeypatch.setattr(module, "MOST", 1500)
        found = fit_stack(np.stack([truth, noise(3000, 1)]), time, event, GRID, narrow)
        np.testing.assert_allclose(found.weights, 0.5, atol=0.02)
        assert found.slope == pytest.approx(1, abs=0.03)
