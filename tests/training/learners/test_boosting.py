"""Boosting: its likelihood by definition, honest slope and rounds, and cohorts at the edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

from accomplice.training.budget import Budget
from accomplice.training.config import BoostingConfig, configure
from accomplice.training.estimators.cox import RiskSets, RiskSums, baseline_hazard
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.learners import boosting as module
from accomplice.training.learners.anchor import fit_anchor
from accomplice.training.learners.boosting import FLATTEST, STEEPEST, Boosting, fit_boosting
from accomplice.training.metrics.concordance import harrell_c

untimed = settings(deadline=None)
SMALL = BoostingConfig(members=3, max_rounds=60, patience=10, learning_rate=0.1)


def simulate(n, seed, effect, p=4, horizon=60.0):
    """Design, time and event where the hazard follows any effect of the columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    death = rng.exponential(35 * np.exp(-effect(X)))
    left = np.minimum(rng.uniform(10, 100, n), horizon)
    return X, np.minimum(death, left), death <= left


def nothing(X):
    return 0 * X[:, 0]


def threshold(X):
    return 2.0 * (np.abs(X[:, 0]) > 1)


def fitted(X, time, event, config=SMALL, seed=0):
    grid = TimeGrid.fit(time, event, 60.0)
    return fit_boosting(X, time, event, grid, np.arange(X.shape[1]), config, seed)


class TestManyPatients:
    """Above a number of patients members are fewer, and the rest are a sample."""

    @pytest.fixture
    def few(self, monkeypatch):
        monkeypatch.setattr(module, "FEW", 200)

    @pytest.mark.parametrize(("n", "members"), [(200, 3), (201, 2), (900, 2)])
    def test_members_times_patients_stay_the_same(self, few, n, members, monkeypatch):
        seen, boost = [], module.boost

        def spy(X, *args):
            seen.append(len(X))
            return boost(X, *args)

        monkeypatch.setattr(module, "boost", spy)
        assert fitted(*simulate(n, 1, threshold)).members == members
        assert seen == [min(n, 3 * 200 // members)]

    def test_they_rank_as_well(self, few):
        new, time, event = simulate(500, 9, threshold)
        found = fitted(*simulate(900, 1, threshold)).log_hz(new).mean(axis=0)
        assert harrell_c(event, time, found) > harrell_c(event, time, threshold(new)) - 0.05

    @pytest.mark.parametrize(("n", "rate"), [(200, 0.1), (250, 0.125), (900, 0.2)])
    def test_the_rate_grows_with_them(self, few, n, rate, monkeypatch):
        rates = []
        monkeypatch.setattr(
            module,
            "boost",
            lambda X, _, fold, members, config, *rest: (
                rates.append(config.learning_rate) or ([], np.zeros((members, len(X))))
            ),
        )
        fitted(*simulate(n, 1, threshold))
        assert rates == [pytest.approx(rate)]

    def test_rounds_are_judged_a_few_at_a_time(self, few):
        found = fitted(*simulate(900, 1, threshold))
        rounds = found.trees.count // found.members
        assert rounds > 0
        assert rounds % module.JUDGED_EACH == 0

    def test_the_last_rounds_are_judged_when_time_runs_out(self, few):
        clock = iter(np.arange(100.0))
        budget = Budget(4.5, lambda: next(clock))
        X, time, event = simulate(900, 1, threshold)
        grid = TimeGrid.fit(time, event, 60.0)
        found = fit_boosting(X, time, event, grid, np.arange(4), SMALL, 0, budget)
        assert 0 < found.trees.count // found.members < module.JUDGED_EACH
        assert budget.cuts

    def test_a_tree_grows_on_so_many_at_most(self, monkeypatch):
        monkeypatch.setattr(module, "MOST_GROWN", 50)
        grown, grow = [], module.grow

        def spy(binned, cuts, rows, tree, *rest):
            grown.append(np.bincount(tree).max())
            return grow(binned, cuts, rows, tree, *rest)

        monkeypatch.setattr(module, "grow", spy)
        fitted(*simulate(200, 1, threshold))
        assert set(grown) == {50}


class TestRounds:
    @pytest.mark.parametrize("seed", range(3))
    def test_noise_stops_them_early(self, seed):
        X, time, event = simulate(400, seed, nothing)
        found = fitted(X, time, event, BoostingConfig())
        assert found.trees.count // found.members < 40
        assert found.log_hz(X).std() < 0.15

    def test_are_kept_as_far_as_the_held_out_patients_gain(self):
        X, time, event = simulate(500, 1, threshold)
        sums, part = RiskSums.of(time, event), np.arange(500) % 3
        rounds, log_hz = module.boost(X, sums, part, 3, SMALL, np.random.default_rng(0))
        weight = np.stack([part != m for m in range(3)]).astype(float)
        reached, total = [], np.zeros((3, 500))
        for trees, step in rounds:
            total = total + step[trees.leaf_nodes[trees.leaves(X)]]
            held_out = sums.value(total, total**0) - sums.value(total, weight)
            reached.append(held_out.sum())
        np.testing.assert_allclose(total, log_hz, atol=1e-9)
        null = (sums.value(0 * total, total**0) - sums.value(0 * total, weight)).sum()
        assert np.argmax(reached) == len(reached) - 1
        assert reached[-1] > null + 5
        # No more rounds would have been better: as many as the patience is follow in vain.
        longer = SMALL.model_copy(update={"max_rounds": len(rounds) + 5})
        again, _ = module.boost(X, sums, part, 3, longer, np.random.default_rng(0))
        assert len(again) == len(rounds)

    def test_of_which_none_gains_none_is_kept(self):
        # Trees that cannot be cut say nothing, whatever rounding adds.
        X, time, event = simulate(200, 1, threshold)
        found = fitted(0 * X, time, event)
        assert found.trees.count == 0
        assert (found.log_hz(X) == 0).all()
        expected = baseline_hazard(np.zeros(200), time, event, TimeGrid.fit(time, event, 60.0))
        np.testing.assert_allclose(found.cumulative(X), np.tile(expected, (200, 1)), atol=1e-12)

    def test_likelihood_that_is_no_number_keeps_none(self, monkeypatch):
        X, time, event = simulate(100, 1, threshold)
        monkeypatch.setattr(RiskSums, "value", lambda self, h, w: np.full(len(h), np.nan))
        found = fitted(X, time, event)
        assert found.trees.count == 0
        assert np.isfinite(found.cumulative(X)).all()

    def test_rate_above_one_is_refused(self):
        with pytest.raises(ValueError, match="less than or equal to 1"):
            configure(["boosting.learning_rate=1.5"])


class TestHonesty:
    def test_slope_and_baseline_come_from_held_out_patients(self, monkeypatch):
        X, time, event = simulate(300, 2, threshold)
        own, seen = module.boost, {}

        def watched(X, sums, part, members, config, rng, budget):
            seen["rounds"], seen["log_hz"] = own(X, sums, part, members, config, rng, budget)
            seen["part"] = part
            return seen["rounds"], seen["log_hz"]

        monkeypatch.setattr(module, "boost", watched)
        found = fitted(X, time, event)
        log_hz = seen["log_hz"] - seen["log_hz"].mean(axis=1, keepdims=True)
        honest = log_hz[seen["part"], np.arange(300)]
        slope = found.step[found.step != 0][0] / seen["rounds"][0][1][seen["rounds"][0][1] != 0][0]
        grid = TimeGrid.fit(time, event, 60.0)
        np.testing.assert_allclose(
            found.baseline, baseline_hazard(slope * honest, time, event, grid)
        )
        assert FLATTEST <= slope <= STEEPEST
        if FLATTEST < slope < STEEPEST:
            # The likeliest slope of the honest log-hazards under its ridge.
            sets, ridge = RiskSets(time, event), 0.02 * event.sum()
            near = [
                sets.value(s * honest) - ridge * s**2 / 2
                for s in slope + np.array([-0.02, 0, 0.02])
            ]
            assert np.argmax(near) == 1
        # A member's own held-out patients got their log-hazard from trees that never saw them.
        np.testing.assert_allclose(found.log_hz(X), slope * log_hz, atol=1e-9)

    def test_level_of_a_member_is_no_matter(self, monkeypatch):
        X, time, event = simulate(240, 2, threshold)
        plain, own = fitted(X, time, event), module.boost

        def lifted(X, sums, part, members, config, rng, budget):
            rounds, log_hz = own(X, sums, part, members, config, rng, budget)
            (trees, step), level = rounds[0], np.arange(members) * 3.0
            by_node = np.zeros(len(step))
            by_node[trees.leaf_nodes[trees.leaves(X)]] = level[:, None]
            return [(trees, step + by_node), *rounds[1:]], log_hz + level[:, None]

        monkeypatch.setattr(module, "boost", lifted)
        np.testing.assert_allclose(fitted(X, time, event).cumulative(X), plain.cumulative(X))

    def test_curves_are_calibrated_on_fresh_patients(self):
        X, time, event = simulate(1500, 3, threshold)
        found = fitted(X, time, event)
        fresh, then, died = simulate(4000, 4, threshold)
        grid = TimeGrid.fit(time, event, 60.0)
        expected = grid.at_own(found.cumulative(fresh), then).sum()
        assert expected == pytest.approx(died.sum(), rel=0.08)


class TestPerformance:
    def test_finds_a_threshold_that_the_anchor_misses(self):
        X, time, event = simulate(800, 1, threshold)
        found = fitted(X, time, event)
        assert (found.trees.feature == 0).sum() > (found.trees.feature > 0).sum() / 2
        anchor = fit_anchor(
            X, time, event, TimeGrid.fit(time, event, 60.0), np.zeros(4, dtype=bool)
        )
        fresh, then, died = simulate(2000, 2, threshold)
        ours, theirs = (harrell_c(died, then, m.cumulative(fresh)[:, -1]) for m in (found, anchor))
        assert ours > theirs + 0.08
        assert ours > 0.62


class TestFit:
    def test_curves_are_the_mean_of_the_members_and_rise_from_zero(self):
        X, time, event = simulate(200, 1, threshold)
        for members in (2, 3, 7):
            found = fitted(X, time, event, SMALL.model_copy(update={"members": members}))
            assert found.members == members
            curve = found.cumulative(np.concatenate([X, 1e6 * X]))
            assert np.isfinite(curve).all()
            assert (curve[:, 0] == 0).all()
            assert (np.diff(curve, axis=1) >= 0).all()
            each = np.exp(found.log_hz(X))[..., None] * found.baseline
            np.testing.assert_allclose(survival(curve[:200]), survival(each).mean(axis=0))

    def test_patients_are_predicted_alone_as_together(self):
        X, time, event = simulate(200, 1, threshold)
        found = fitted(X, time, event)
        together = found.cumulative(X)
        for i in range(20):
            np.testing.assert_allclose(found.cumulative(X[[i]])[0], together[i], rtol=1e-12)
        assert found.cumulative(X[:0]).shape == (0, together.shape[1])

    def test_only_the_given_columns_matter(self):
        X, time, event = simulate(200, 1, threshold)
        grid = TimeGrid.fit(time, event, 60.0)
        found = fit_boosting(X, time, event, grid, np.array([0, 3]), SMALL, 0)
        other = X.copy()
        other[:, [1, 2]] = 99.0
        np.testing.assert_array_equal(found.cumulative(other), found.cumulative(X))

    def test_same_seed_gives_the_same_trees(self):
        X, time, event = simulate(200, 1, threshold)
        first, second, other = (fitted(X, time, event, seed=s).arrays() for s in (3, 3, 4))
        assert all(np.array_equal(first[k], second[k]) for k in first)
        assert not np.array_equal(first["baseline"], other["baseline"])

    @pytest.mark.parametrize("effect", [threshold, nothing])
    def test_arrays_round_trip_exactly(self, effect):
        X, time, event = simulate(200, 1, effect)
        found = fitted(X, time, event)
        again = Boosting.from_json(found.to_json(), found.arrays())
        np.testing.assert_array_equal(again.cumulative(X), found.cumulative(X))

    def test_many_patients_are_drawn_down(self, monkeypatch):
        X, time, event = simulate(400, 1, threshold)
        monkeypatch.setattr(module, "FEW", 100)
        seen = []
        own = module.boost
        monkeypatch.setattr(module, "boost", lambda X, *rest: seen.append(len(X)) or own(X, *rest))
        found = fitted(X, time, event)
        assert seen == [150]
        # Events so rare that the draw holds hardly one are no reason to refuse the fit.
        rare = np.arange(400) < 6
        assert np.isfinite(fitted(X, time, rare).cumulative(X)).all()
        assert np.isfinite(found.cumulative(X)).all()

    @pytest.mark.parametrize("events", range(8))
    def test_few_events_are_answered(self, events):
        X, time, _ = simulate(60, 1, threshold)
        found = fitted(X, time, np.arange(60) < events, BoostingConfig(max_rounds=20))
        curve = found.cumulative(X)
        assert np.isfinite(curve).all()
        assert (np.diff(curve, axis=1) >= 0).all()
        if events >= 4:
            assert found.members == events // 2 or found.members == 5

    @pytest.mark.parametrize("case", ["constant", "ten", "ties", "one column", "all", "one"])
    def test_cohorts_at_the_edge_are_answered(self, case):
        X, time, event = simulate(120, 1, threshold)
        made = {
            "constant": (0 * X, time, event),
            "ten": (X[:10], time[:10], np.arange(10) < 5),
            "ties": (X, 0 * time + 7, event),
            "one column": (X[:, :1], time, event),
            "all": (X, time, event | True),
            "one": (X[:1], time[:1], event[:1] | True),
        }
        found = fitted(*made[case])
        curve = found.cumulative(X[:, : made[case][0].shape[1]])
        assert np.isfinite(curve).all()
        assert (np.diff(curve, axis=1) >= 0).all()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_patients_alike_have_the_same_curve_wherever_they_stand(n):
    rng = np.random.default_rng(0)
    log_hz = np.repeat(rng.normal(size=(2, 3, 1)), n, axis=2)
    baseline = np.cumsum(rng.uniform(0, 0.3, (2, 1, 1, 13)), axis=-1)
    baseline[..., 0] = 0
    there = np.array([[1.0, 1, 1], [1, 1, 0]])
    curve = module.mean_of_members(log_hz, there, baseline)
    assert (curve == curve[:, :1]).all()
    assert (curve[..., 0] == 0).all()
    for k, members in enumerate((3, 2)):
        each = np.exp(-np.exp(log_hz[k, :members, 0, None]) * baseline[k, 0])
        np.testing.assert_allclose(np.exp(-curve[k, 0]), each.mean(axis=0))
