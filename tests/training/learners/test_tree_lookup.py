"""The sieve against a plain walk from the root, one row and one tree at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.training.learners.tree_lookup import LeafLookup, Splits
from accomplice.training.learners.trees import Trees

untimed = settings(deadline=None, max_examples=100)


def planted(rng, count, cuts, columns=3, values=5):
    """Trees of some cuts each, at random nodes, columns and few values."""
    feature, cut, left = [-1] * count, [0.0] * count, [0] * count
    for tree in range(count):
        leaves = [tree]
        for _ in range(cuts[tree]):
            node = leaves.pop(rng.integers(len(leaves)))
            feature[node] = int(rng.integers(columns))
            cut[node] = float(rng.integers(values)) + 0.5
            left[node] = len(feature)
            leaves += [len(feature), len(feature) + 1]
            feature, cut, left = feature + [-1] * 2, cut + [0.0] * 2, left + [0] * 2
    arrays = {"feature": np.array(feature), "cut": np.array(cut), "left": np.array(left)}
    return Trees.from_arrays(count, arrays)


def sieved(trees, X):
    """Leaf (trees, n) of each row, by the sieve."""
    splits = Splits.of(trees.feature, trees.cut)
    nodes = (trees.count, trees.left, trees.levels, trees.tree, trees.leaf_nodes)
    return trees.leaf_nodes[LeafLookup.of(splits, *nodes).leaves(X)]


def walked(trees, X):
    """Leaf (trees, n) of each row, node by node."""
    found = np.empty((trees.count, len(X)), int)
    for k in range(trees.count):
        for i, x in enumerate(X):
            node = k
            while trees.feature[node] >= 0:
                node = trees.left[node] + int(x[trees.feature[node]] > trees.cut[node])
            found[k, i] = node
    return found


@untimed
@given(
    cuts=st.lists(st.integers(0, 12), max_size=6),
    n=st.integers(0, 200),
    seed=st.integers(0, 2**16),
)
def test_every_row_falls_where_it_walks(cuts, n, seed):
    rng = np.random.default_rng(seed)
    trees = planted(rng, len(cuts), cuts)
    X = rng.integers(0, 6, (n, 3)).astype(float)
    X[rng.random(X.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf, 1e308])
    found = sieved(trees, X)
    assert found.shape == (len(cuts), n)
    np.testing.assert_array_equal(found, walked(trees, X))


@pytest.mark.parametrize("leaves", [1, 2, 3, 4, 255, 256, 257, 700])
def test_leaves_may_be_more_than_a_byte_counts(leaves):
    # A chain: each cut parts its lowest value from the rest. Beside it is a tree without a cut.
    cuts = leaves - 1
    inner, child = np.arange(cuts), 2 + 2 * np.arange(cuts)
    node = np.append(0, child + 1)
    feature, cut, left = -np.ones(2 + 2 * cuts), np.zeros(2 + 2 * cuts), np.zeros(2 + 2 * cuts)
    feature[node[inner]], cut[node[inner]], left[node[inner]] = 0, inner + 0.5, child
    trees = Trees.from_arrays(2, {"feature": feature, "cut": cut, "left": left})
    X = np.arange(leaves)[:, None] * 1.0
    found = sieved(trees, X)
    assert found[0].tolist() == [*child, node[-1]]
    assert found[1].tolist() == [1] * leaves


def test_values_at_a_cut_go_left_and_neighbours_of_it_right():
    trees = planted(np.random.default_rng(0), 1, [1], columns=1, values=1)
    X = np.array([[0.5], [np.nextafter(0.5, 1)], [np.nextafter(0.5, 0)]])
    assert sieved(trees, X).tolist() == [[1, 2, 1]]


def test_nodes_that_no_root_leads_to_are_nobodys():
    trees = Trees.from_arrays(
        1,
        {
            "feature": np.array([0, -1, -1, 0, -1, -1]),
            "cut": np.array([0.5, 0, 0, 9.0, 0, 0]),
            "left": np.array([1, 0, 0, 4, 0, 0]),
        },
    )
    assert sieved(trees, np.array([[0.0], [1.0]])).tolist() == [[1, 2]]
