"""The forest against a plain implementation, a binned Kaplan-Meier curve and what lines miss."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.config import ForestConfig
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.learners.anchor import fit_anchor
from accomplice.training.learners.forest import (
    RISK_PRIOR,
    SAMPLE,
    SHRINKAGE,
    SPLIT_PRIOR,
    Forest,
    fit_forest,
)
from accomplice.training.learners.learner import TREE_COLUMNS, strongest_columns
from accomplice.training.learners.trees import Cuts, grow
from accomplice.training.metrics.concordance import harrell_c

SMALL = ForestConfig(trees=30)
OBLIQUE = ForestConfig(trees=30, oblique=3)


def simulate(n, seed, effect, p=4, horizon=60.0):
    """Design, time and event where the hazard follows any effect of the columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    death = rng.exponential(35 * np.exp(-effect(X)))
    left = np.minimum(rng.uniform(10, 100, n), horizon)
    return X, np.minimum(death, left), death <= left


def fitted(X, time, event, config=SMALL, seed=0):
    grid = TimeGrid.fit(time, event, 60.0)
    return fit_forest(X, time, event, grid, np.arange(X.shape[1]), config, seed), grid


def nothing(X):
    return 0 * X[:, 0]


def xor(X):
    return 1.2 * np.sign(X[:, 0] * X[:, 1])


def slanted(X):
    return 1.5 * np.sign(X[:, 0] + X[:, 1] - X[:, 2])


def threshold(X):
    return 2.0 * (np.abs(X[:, 0]) > 1)


def curve_of(leaf, average):
    """Survival of a leaf from events and exposure (k, j) of its patients, as the module says."""
    happened, at_risk = leaf
    hazard, risk = [], (happened.sum() + RISK_PRIOR) / ((at_risk @ average).sum() + RISK_PRIOR)
    for j, base in enumerate(average):
        events, exposure = happened[:, j].sum(), at_risk[:, j].sum()
        hazard.append((events + SHRINKAGE * risk * base) / (exposure + SHRINKAGE))
    return np.exp(-np.cumsum(hazard))


class TestCurves:
    def test_one_tree_of_one_leaf_is_the_binned_hazard_of_its_sample(self):
        X, time, event = simulate(60, 0, nothing, p=1)
        forest, grid = fitted(0 * X, time, event, ForestConfig(trees=1), seed=5)
        assert len(forest.trees.feature) == 1
        rng = np.random.default_rng(5)
        rows = rng.choice(60, int(SAMPLE * 60), replace=False, shuffle=False)
        happened, at_risk = grid.events(time, event), grid.exposure(time)
        average = happened.sum(axis=0) / at_risk.sum(axis=0)
        expected = curve_of((happened[rows], at_risk[rows]), average)
        found = survival(forest.cumulative(X[:3]))[:, 1:]
        np.testing.assert_allclose(found, np.tile(expected, (3, 1)), rtol=1e-6)
        # Many patients: up to shrinkage and sample, the events of each bin over its time at risk.
        X, time, event = simulate(2500, 0, nothing, p=1)
        forest, grid = fitted(0 * X, time, event, ForestConfig(trees=50))
        happened, at_risk = grid.events(time, event), grid.exposure(time)
        hazard = happened.sum(axis=0) / at_risk.sum(axis=0)
        np.testing.assert_allclose(forest.cumulative(X[:1])[0, 1:], np.cumsum(hazard), rtol=0.01)

    def test_a_tiny_tree_equals_one_made_in_plain_python(self):
        X, time, event = simulate(24, 3, lambda X: 2.0 * (X[:, 0] > 0), p=1)
        X = np.round(X, 1)
        config = ForestConfig(trees=1, leaf=3)
        forest, grid = fitted(X, time, event, config, seed=2)
        rng = np.random.default_rng(2)
        rows = rng.choice(24, int(SAMPLE * 24), replace=False, shuffle=False)
        happened, at_risk = grid.events(time, event), grid.exposure(time)
        average = happened.sum(axis=0) / at_risk.sum(axis=0)
        seen, expected = happened.sum(axis=1), at_risk @ average
        cuts = Cuts.fit(X).at[0]

        def score(part):
            e, x = seen[part].sum() + SPLIT_PRIOR, expected[part].sum() + SPLIT_PRIOR
            return e * np.log(e / x)

        def curve(part, x):
            gains = {}
            for cut in cuts:
                low, high = part[X[part, 0] <= cut], part[X[part, 0] > cut]
                if min(len(low), len(high)) >= 3:
                    gains[cut] = score(low) + score(high) - score(part)
            best = max(gains, key=gains.get, default=None)
            if best is None or gains[best] <= 1e-12:
                return curve_of((happened[part], at_risk[part]), average)
            side = X[part, 0] > best if x > best else X[part, 0] <= best
            return curve(part[side], x)

        assert (forest.trees.feature >= 0).sum() >= 2
        plain = np.stack([curve(rows, x) for x in X[:, 0]])
        np.testing.assert_allclose(survival(forest.cumulative(X))[:, 1:], plain, rtol=1e-6)

    @pytest.mark.parametrize("seed", range(3))
    def test_rise_from_zero_for_any_patient(self, seed):
        forest, grid = fitted(*simulate(150, seed, xor))
        far = np.random.default_rng(seed).normal(0, 10, (200, 4))
        curve = forest.cumulative(np.concatenate([far, [[1e9] * 4, [-1e9] * 4]]))
        assert curve.shape == (202, grid.bins + 1)
        assert np.isfinite(curve).all()
        assert (curve[:, 0] == 0).all()
        assert (np.diff(curve, axis=1) >= 0).all()

    def test_are_the_mean_of_the_trees_survivals(self):
        X, time, event = simulate(120, 1, xor)
        forest, _ = fitted(X, time, event)
        leaves = forest.trees.leaf_nodes[forest.trees.leaves(X)]
        each = forest.survival[leaves].mean(axis=0)
        np.testing.assert_allclose(survival(forest.cumulative(X))[:, 1:], each, rtol=1e-5)

    def test_patients_are_predicted_alone_as_together(self):
        X, time, event = simulate(150, 1, xor)
        forest, _ = fitted(X, time, event)
        together = forest.cumulative(X)
        for i in range(20):
            np.testing.assert_array_equal(forest.cumulative(X[[i]])[0], together[i])
        assert forest.cumulative(X[:0]).shape == (0, together.shape[1])

    def test_only_the_given_columns_matter(self):
        X, time, event = simulate(150, 1, xor)
        grid = TimeGrid.fit(time, event, 60.0)
        forest = fit_forest(X, time, event, grid, np.array([1, 3]), SMALL, 0)
        other = X.copy()
        other[:, [0, 2]] = 99.0
        np.testing.assert_array_equal(forest.cumulative(other), forest.cumulative(X))


class TestPerformance:
    @pytest.mark.parametrize("effect", [xor, threshold])
    def test_beats_the_anchor_where_the_effect_is_not_linear(self, effect):
        X, time, event = simulate(800, 1, effect)
        forest, grid = fitted(X, time, event, ForestConfig(trees=100, leaf=10))
        anchor = fit_anchor(X, time, event, grid, np.zeros(4, dtype=bool))
        fresh, then, died = simulate(2000, 2, effect)
        ours, theirs = (harrell_c(died, then, m.cumulative(fresh)[:, -1]) for m in (forest, anchor))
        assert ours > theirs + 0.08
        assert ours > 0.62

    def test_noise_tells_patients_hardly_apart(self):
        X, time, event = simulate(600, 1, nothing)
        forest, _ = fitted(X, time, event, ForestConfig(trees=100, leaf=10))
        fresh, then, died = simulate(2000, 2, nothing)
        risk = forest.cumulative(fresh)[:, -1]
        assert abs(harrell_c(died, then, risk) - 0.5) < 0.03
        assert np.log(risk).std() < 0.25


class TestFit:
    def test_same_seed_gives_the_same_forest(self):
        X, time, event = simulate(150, 1, xor)
        first, second, other = (fitted(X, time, event, seed=s)[0].arrays() for s in (3, 3, 4))
        assert all(np.array_equal(first[k], second[k]) for k in first)
        assert not np.array_equal(first["survival"], other["survival"])

    def test_arrays_round_trip_exactly(self):
        X, time, event = simulate(150, 1, xor)
        forest, _ = fitted(X, time, event)
        again = Forest.from_json(forest.to_json(), forest.arrays())
        np.testing.assert_array_equal(again.cumulative(X), forest.cumulative(X))

    def test_batches_hold_as_many_trees_as_asked(self, monkeypatch):
        X, time, event = simulate(100, 1, xor)
        monkeypatch.setattr("accomplice.training.learners.forest.AT_ONCE", 250)
        forest, _ = fitted(X, time, event, ForestConfig(trees=7))
        assert forest.trees.count == 7
        assert forest.trees.leaves(X).shape == (7, 100)

    @pytest.mark.parametrize("case", ["constant", "ten", "ties", "few", "one column", "all", "one"])
    def test_cohorts_at_the_edge_are_answered(self, case):
        X, time, event = simulate(120, 1, xor)
        made = {
            "constant": (0 * X, time, event),
            "ten": (X[:10], time[:10], np.arange(10) < 5),
            "ties": (X, 0 * time + 7, event),
            "few": (X, time, np.arange(120) < 3),
            "one column": (X[:, :1], time, event),
            "all": (X, time, event | True),
            "one": (X[:1], time[:1], event[:1] | True),
        }
        forest, _ = fitted(*made[case])
        curve = forest.cumulative(X[:, : made[case][0].shape[1]])
        assert np.isfinite(curve).all()
        assert (np.diff(curve, axis=1) >= 0).all()


class TestSettings:
    def test_depth_is_kept(self):
        X, time, event = simulate(300, 1, xor)
        deepest = [
            len(fitted(X, time, event, ForestConfig(trees=10, depth=depth))[0].trees.levels)
            for depth in (1, 3, 12)
        ]
        assert deepest[:2] == [1, 3]
        assert deepest[2] > 3

    def test_share_of_the_columns_is_tried(self, monkeypatch):
        X, time, event = simulate(200, 1, xor, p=10)
        tried = []

        def spy(binned, cuts, rows, tree, stats, growth, rng):
            tried.append(growth.tried)
            return grow(binned, cuts, rows, tree, stats, growth, rng)

        monkeypatch.setattr("accomplice.training.learners.forest.grow", spy)
        for share in (None, 0.01, 0.33, 1.0):
            fitted(X, time, event, ForestConfig(trees=5, candidates=share))
        assert tried == [4, 1, 4, 10]
        fitted(X, time, event, ForestConfig(trees=1, candidates=1.0, oblique=2))
        assert tried[-1] == 20

    def test_all_columns_find_the_one_of_many(self):
        X, time, event = simulate(300, 1, lambda X: 2.0 * (X[:, 7] > 0), p=40)
        whole, _ = fitted(X, time, event, ForestConfig(trees=20, candidates=1.0))
        usual, _ = fitted(X, time, event, ForestConfig(trees=20))
        assert (whole.trees.feature[:20] == 7).mean() > 0.9 > (usual.trees.feature[:20] == 7).mean()


class TestOblique:
    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_patients_are_predicted_alone_as_together(self, size):
        X, time, event = simulate(150, 1, slanted)
        forest, _ = fitted(X, time, event, ForestConfig(trees=30, oblique=size))
        assert forest.trees.feature.max() >= 4
        together = forest.cumulative(X)
        for i in range(20):
            np.testing.assert_array_equal(forest.cumulative(X[[i]])[0], together[i])
        assert forest.cumulative(X[:0]).shape == (0, together.shape[1])

    def test_folds_are_predicted_alone_as_together(self):
        forests, designs = [], []
        # One fold has no combinations, and each its own columns and number of bins.
        for seed, config in enumerate((OBLIQUE, SMALL, ForestConfig(trees=20, oblique=2))):
            X, time, event = simulate(140, seed, slanted, p=6)
            grid = TimeGrid.fit(time, event, 60.0, most=4 + seed)
            columns = np.arange(seed, 6)
            forests.append(fit_forest(X, time, event, grid, columns, config, seed))
            designs.append(X)
        together = Forest.batched(forests, 6)(np.stack(designs))
        for forest, X, found in zip(forests, designs, together, strict=True):
            alone = forest.cumulative(X)
            np.testing.assert_array_equal(found[:, : alone.shape[1]], alone)

    def test_every_patient_finds_the_leaf_they_were_grown_in(self):
        X, time, event = simulate(200, 1, slanted)
        forest, _ = fitted(X, time, event, OBLIQUE)
        values = forest.combinations.beside(X)
        trees = forest.trees
        leaves = trees.leaf_nodes[trees.leaves(values)]
        for tree in range(trees.count):
            for i in range(0, 200, 17):
                node = tree
                while trees.feature[node] >= 0:
                    right = values[i, trees.feature[node]] > trees.cut[node]
                    node = trees.left[node] + int(right)
                assert leaves[tree, i] == node

    def test_only_the_given_columns_matter(self):
        X, time, event = simulate(150, 1, slanted)
        grid = TimeGrid.fit(time, event, 60.0)
        forest = fit_forest(X, time, event, grid, np.array([1, 3]), OBLIQUE, 0)
        other = X.copy()
        other[:, [0, 2]] = 99.0
        np.testing.assert_array_equal(forest.cumulative(other), forest.cumulative(X))

    def test_follows_a_slanted_border_better_than_columns_alone(self):
        X, time, event = simulate(500, 1, slanted)
        fresh = simulate(2000, 2, slanted)[0]
        alone, oblique = (
            np.log(fitted(X, time, event, config)[0].cumulative(fresh)[:, -1])
            for config in (SMALL, OBLIQUE)
        )
        truth = slanted(fresh)
        assert np.corrcoef(oblique, truth)[0, 1] > np.corrcoef(alone, truth)[0, 1] + 0.05

    def test_same_seed_gives_the_same_forest(self):
        X, time, event = simulate(150, 1, slanted)
        first, second, other = (
            fitted(X, time, event, OBLIQUE, seed=s)[0].arrays() for s in (3, 3, 4)
        )
        assert all(np.array_equal(first[k], second[k]) for k in first)
        assert not np.array_equal(first["weights"], other["weights"])

    def test_arrays_round_trip_exactly(self):
        X, time, event = simulate(150, 1, slanted)
        forest, _ = fitted(X, time, event, OBLIQUE)
        again = Forest.from_json(forest.to_json(), forest.arrays())
        np.testing.assert_array_equal(again.cumulative(X), forest.cumulative(X))

    def test_without_combinations_the_format_has_none(self):
        X, time, event = simulate(150, 1, slanted)
        forest, _ = fitted(X, time, event)
        assert set(forest.arrays()) == {"feature", "cut", "left", "columns", "survival"}
        assert Forest.from_json(forest.to_json(), forest.arrays()).combinations.count == 0

    def test_batches_hold_as_many_trees_as_asked(self):
        X, time, event = simulate(100, 1, slanted)
        forest, _ = fitted(X, time, event, ForestConfig(trees=7, oblique=2))
        assert forest.trees.count == 7
        # Each of the seven batches has as many combinations as there are columns.
        assert forest.combinations.count == 28

    @pytest.mark.parametrize("case", ["constant", "ten", "one column", "one"])
    def test_cohorts_at_the_edge_are_answered(self, case):
        X, time, event = simulate(120, 1, slanted)
        made = {
            "constant": (0 * X, time, event),
            "ten": (X[:10], time[:10], np.arange(10) < 5),
            "one column": (X[:, :1], time, event),
            "one": (X[:1], time[:1], event[:1] | True),
        }
        forest, _ = fitted(*made[case], OBLIQUE)
        curve = forest.cumulative(X[:, : made[case][0].shape[1]])
        assert np.isfinite(curve).all()
        assert (np.diff(curve, axis=1) >= 0).all()


class TestStrongest:
    def test_the_informative_column_of_thousands_is_among_them(self):
        X, time, event = simulate(200, 1, lambda X: 0.7 * X[:, 1234], p=2000)
        found = strongest_columns(X, time, event)
        assert len(found) == TREE_COLUMNS
        assert 1234 in found
        assert (np.diff(found) > 0).all()

    def test_follow_the_log_rank_statistic(self):
        X, time, event = simulate(60, 2, lambda X: X[:, 3], p=TREE_COLUMNS + 40)
        X[:, 7] = 5.0
        statistic = np.zeros(X.shape[1])
        for i in np.flatnonzero(event):
            statistic += X[i] - X[time >= time[i]].mean(axis=0)
        statistic = np.abs(statistic) / np.maximum(X.std(axis=0), 1e-9)
        statistic[7] = 0.0
        expected = np.sort(np.argsort(-statistic)[:TREE_COLUMNS])
        np.testing.assert_array_equal(strongest_columns(X, time, event), expected)

    def test_unit_and_origin_of_a_column_are_no_matter(self):
        X, time, event = simulate(100, 2, lambda X: X[:, 3], p=TREE_COLUMNS + 40)
        rng = np.random.default_rng(0)
        other = X * rng.uniform(0.01, 100, X.shape[1]) + rng.normal(0, 5, X.shape[1])
        np.testing.assert_array_equal(
            strongest_columns(other, time, event), strongest_columns(X, time, event)
        )

    def test_few_columns_are_all_taken_but_the_constant(self):
        X, time, event = simulate(60, 2, lambda X: X[:, 3], p=9)
        X[:, [2, 5]] = 1.0
        np.testing.assert_array_equal(strongest_columns(X, time, event), [0, 1, 3, 4, 6, 7, 8])
        np.testing.assert_array_equal(strongest_columns(0 * X, time, event), [0])
