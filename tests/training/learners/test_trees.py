"""Trees against brute force over every cut and a plain walk from the root, one row at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.training.learners.trees import BINS, FEW, LOOKED_UP, Cuts, Growth, Trees, grow, join

untimed = settings(deadline=None, max_examples=60)


def score(first, second):
    """Value of a node as in boosting: the square of the one sum over the other."""
    return first**2 / (second + 1.0)


def growth(depth=4, fewest=2, tried=99):
    return Growth(depth, fewest, tried, score)


def planted(X, depth=4, fewest=2, tried=99, count=3, seed=0, stats=None):
    """Trees on samples of X with statistics drawn at random, and all that they were made from."""
    rng = np.random.default_rng(seed)
    cuts = Cuts.fit(X)
    binned = cuts.bin(X)
    rows = np.concatenate([rng.permutation(len(X))[: max(1, len(X) - i)] for i in range(count)])
    tree = np.concatenate([np.full(max(1, len(X) - i), i) for i in range(count)])
    if stats is None:
        stats = rng.normal(size=len(X)), rng.uniform(0.1, 1, len(X))
    own = stats[0][rows], stats[1][rows]
    trees, leaf = grow(binned, cuts, rows, tree, own, growth(depth, fewest, tried), rng)
    return trees, leaf, rows, tree, own


def walk(trees, tree, x):
    """Leaf and depth of one row, node by node."""
    node, depth = tree, 0
    while trees.feature[node] >= 0:
        node = trees.left[node] + int(x[trees.feature[node]] > trees.cut[node])
        depth += 1
    return node, depth


@st.composite
def designs(draw, most=30):
    """Few rows with ties, constant columns and neighbouring floating-point numbers."""
    n, p = draw(st.integers(1, most)), draw(st.integers(1, 4))
    value = st.integers(-2, 2).map(float) | st.floats(-5, 5) | st.just(np.nextafter(1.0, 2.0))
    columns = [draw(st.lists(value, min_size=n, max_size=n) | st.just([0.0] * n)) for _ in range(p)]
    return np.array(columns).T.reshape(n, p)


class TestCuts:
    @untimed
    @given(X=designs(most=60))
    def test_lie_between_values_and_are_nobodys(self, X):
        for column, cuts in zip(X.T, Cuts.fit(X).at, strict=True):
            assert len(cuts) < BINS
            assert (np.diff(cuts) > 0).all()
            assert not np.isin(cuts, column).any()
            values = np.unique(column)
            place = np.searchsorted(values, cuts)
            assert ((place > 0) & (place < len(values))).all()
            np.testing.assert_array_equal(cuts, (values[place - 1] + values[place]) / 2)

    @pytest.mark.parametrize("column", [[1.0, np.nextafter(1.0, 2)], [5e-324, 0.0]])
    def test_neighbouring_numbers_are_not_parted(self, column):
        assert len(Cuts.fit(np.array(column)[:, None]).at[0]) == 0

    @untimed
    @given(X=designs())
    def test_few_values_are_all_told_apart(self, X):
        X = np.round(X)
        binned = Cuts.fit(X).bin(X)
        for column, own in zip(X.T, binned.T, strict=True):
            np.testing.assert_array_equal(own, np.unique(column, return_inverse=True)[1])

    @pytest.mark.parametrize("digits", [8, 1])
    def test_many_values_are_parted_about_equally(self, digits):
        column = np.round(np.random.default_rng(0).lognormal(size=5000), digits)
        cuts = Cuts.fit(column[:, None])
        size = np.bincount(cuts.bin(column[:, None])[:, 0])
        if digits == 8:
            assert len(size) == BINS
            assert size.min() > 0.95 * 5000 / BINS
        # A cut is the nearest that there is to its place, found by looking at all of them.
        values, count = np.unique(column, return_counts=True)
        before = np.cumsum(count)[:-1]
        wanted = np.arange(1, BINS) / BINS * len(column)
        nearest = np.abs(before - wanted[:, None]).argmin(axis=1)
        expected = np.unique(((values[:-1] + values[1:]) / 2)[nearest])
        np.testing.assert_array_equal(cuts.at[0], expected)

    def test_bin_and_cut_agree_for_any_value(self):
        rng = np.random.default_rng(0)
        cuts = Cuts.fit(rng.normal(size=(300, 1)))
        fresh = np.concatenate([rng.normal(size=200), cuts.at[0], [-1e9, 1e9]])[:, None]
        binned = cuts.bin(fresh)[:, 0]
        for b, cut in enumerate(cuts.at[0]):
            np.testing.assert_array_equal(binned > b, fresh[:, 0] > cut)


class TestGrow:
    @untimed
    @given(X=designs(most=16), seed=st.integers(0, 99), fewest=st.integers(1, 4))
    def test_first_cut_is_the_best_of_all(self, X, seed, fewest):
        trees, leaf, rows, _, stats = planted(X, depth=1, fewest=fewest, count=1, seed=seed)
        best = 0.0
        for j in range(X.shape[1]):
            for cut in Cuts.fit(X).at[j]:
                right = X[rows, j] > cut
                if min(right.sum(), (~right).sum()) >= fewest:
                    parts = [score(*(s[side].sum() for s in stats)) for side in (right, ~right)]
                    best = max(best, sum(parts) - score(*(s.sum() for s in stats)))
        if trees.feature[0] < 0:
            assert best < 1e-9
            return
        sides = [leaf == trees.left[0] + side for side in (0, 1)]
        reached = sum(score(*(s[side].sum() for s in stats)) for side in sides)
        assert reached - score(*(s.sum() for s in stats)) == pytest.approx(best, abs=1e-9)

    @untimed
    @given(
        X=designs(),
        seed=st.integers(0, 99),
        depth=st.integers(1, 6),
        fewest=st.integers(1, 5),
        tried=st.integers(1, 4),
    )
    def test_limits_are_kept_and_every_row_finds_its_leaf_again(
        self, X, seed, depth, fewest, tried
    ):
        trees, leaf, rows, tree, _ = planted(X, depth, fewest, tried, seed=seed)
        found = trees.leaf_nodes[trees.leaves(X)]
        assert found.shape == (trees.count, len(X))
        np.testing.assert_array_equal(found[tree, rows], leaf)
        assert (trees.feature[leaf] == -1).all()
        for i, x in enumerate(X):
            for k in range(trees.count):
                node, deep = walk(trees, k, x)
                assert found[k, i] == node
                assert deep <= depth
        cut = trees.feature >= 0
        held = np.bincount(leaf, minlength=len(cut))
        if cut.any():
            assert held[~cut & np.isin(np.arange(len(cut)), leaf)].min() >= min(fewest, len(X) - 2)
        # Each cut makes two nodes, none of them empty.
        assert len(cut) == trees.count + 2 * cut.sum()
        assert (held[~cut] > 0).all()

    def test_no_leaf_below_fewest(self):
        X = np.random.default_rng(0).normal(size=(500, 3))
        for fewest in (1, 7, 30, 250, 251):
            trees, leaf, *_ = planted(X, depth=9, fewest=fewest, count=1)
            assert np.bincount(leaf)[np.unique(leaf)].min() >= fewest
            assert (len(trees.feature) > 1) == (fewest <= 250)

    def test_trees_grow_alone_as_together(self):
        rng = np.random.default_rng(1)
        X = rng.normal(size=(80, 3))
        stats = rng.normal(size=80), rng.uniform(0.1, 1, 80)
        together, _, rows, tree, _ = planted(X, count=4, stats=stats)
        cuts = Cuts.fit(X)
        for k in range(4):
            own = rows[tree == k]
            picked = stats[0][own], stats[1][own]
            alone, _ = grow(cuts.bin(X), cuts, own, own * 0, picked, growth(), rng)
            first = [walk(alone, 0, x) for x in X]
            other = [walk(together, k, x) for x in X]
            assert [d for _, d in first] == [d for _, d in other]
            parts = [np.unique([n for n, _ in w], return_inverse=True)[1] for w in (first, other)]
            assert len(set(zip(*map(tuple, parts), strict=True))) == len(set(parts[0]))

    def test_a_node_whose_columns_are_constant_draws_again(self):
        X = np.zeros((40, 30))
        X[:, 17] = np.arange(40)
        stats = np.where(np.arange(40) < 20, 1.0, -1.0), np.ones(40)
        found = []
        for seed in range(20):
            trees, *_ = planted(X, depth=60, tried=3, count=1, seed=seed, stats=stats)
            found.append(trees.feature[0])
        # The chance to miss the one column in 60 draws is 1 in 560, each time.
        assert set(found) == {17}
        once = [planted(X, 1, tried=3, count=1, seed=s, stats=stats)[0] for s in range(20)]
        assert {t.feature[0] for t in once} == {-1, 17}

    @pytest.mark.parametrize("tried", [1, 9])
    def test_no_varying_column_leaves_roots(self, tried):
        trees, leaf, _, tree, _ = planted(np.zeros((20, 3)), tried=tried)
        assert (trees.feature == [-1, -1, -1]).all()
        np.testing.assert_array_equal(leaf, tree)
        assert trees.leaf_nodes.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(trees.leaves(np.ones((2, 3))), [[0, 0], [1, 1], [2, 2]])

    def test_same_seed_gives_the_same_trees(self):
        X = np.random.default_rng(0).normal(size=(100, 6))
        made = [planted(X, tried=2, seed=s)[0].arrays() for s in (1, 1, 2)]
        assert all(np.array_equal(made[0][k], made[1][k]) for k in made[0])
        assert not all(np.array_equal(made[0][k], made[2][k]) for k in made[0])


class TestTrees:
    @untimed
    @given(X=designs(), seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4))
    def test_joined_trees_keep_their_answers_in_their_order(self, X, seeds):
        grown = []
        for seed in seeds:
            trees, *_ = planted(X, count=1 + seed % 3, seed=seed)
            grown.append((trees, np.random.default_rng(seed).normal(size=(len(trees.feature), 2))))
        joined, value = join(grown)
        assert joined.count == sum(trees.count for trees, _ in grown)
        expected = np.concatenate([v[t.leaf_nodes][t.leaves(X)] for t, v in grown])
        np.testing.assert_array_equal(value[joined.leaf_nodes][joined.leaves(X)], expected)

    def test_nothing_joined_is_no_tree(self):
        trees, value = join([])
        assert (trees.count, len(value)) == (0, 0)
        for n in (3, 300):
            assert trees.leaves(np.ones((n, 2))).shape == (0, n)

    def test_arrays_round_trip_exactly(self):
        X = np.random.default_rng(0).normal(size=(60, 4))
        trees, *_ = planted(X)
        again = Trees.from_arrays(trees.count, trees.arrays())
        for name, array in trees.arrays().items():
            np.testing.assert_array_equal(again.arrays()[name], array)
            assert again.arrays()[name].dtype == array.dtype
        np.testing.assert_array_equal(again.leaves(X), trees.leaves(X))

    def test_rows_are_answered_in_any_layout_and_beyond_any_value(self):
        X = np.random.default_rng(0).normal(size=(60, 4))
        trees, *_ = planted(X)
        expected = trees.leaves(X)
        for other in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.astype(np.float32)):
            same = trees.leaves(other)
            np.testing.assert_array_equal(same, expected)
        for extreme in (np.inf, -np.inf, np.nan, 1e308):
            found = trees.leaf_nodes[trees.leaves(np.full((1, 4), extreme))]
            assert (trees.feature[found] == -1).all()
        assert trees.leaves(X[:0]).shape == (3, 0)

    @pytest.mark.parametrize("n", [0, 1, FEW - 1, FEW, 64, 65, 1000])
    def test_few_rows_are_answered_as_many(self, n):
        X = np.random.default_rng(n).normal(size=(n, 4))
        trees, *_ = planted(np.random.default_rng(0).normal(size=(60, 4)))
        found = trees.leaf_nodes[trees.leaves(X)]
        each = [[walk(trees, k, x)[0] for x in X] for k in range(trees.count)]
        np.testing.assert_array_equal(found, np.reshape(each, (trees.count, n)))

    @untimed
    @given(n=st.integers(0, 2000), count=st.integers(0, 50_000))
    def test_batches_hold_each_row_once(self, n, count):
        batches = list(replace(join([])[0], count=count).batches(n))
        assert np.concatenate([np.arange(n)[b] for b in batches] or [[]]).tolist() == [*range(n)]
        longest = max((len(range(n)[b]) for b in batches), default=0)
        assert longest <= 64 or longest * count <= LOOKED_UP
