"""What expression scores, against numpy's interpolation; whoever shares a value shares a rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.preprocessing.expression_ranks import FEW, SCORES, Ranks, assay_scores

untimed = settings(deadline=None, max_examples=100)
#: Quantiles of an assay: far apart, close together, shared.
VALUES = (
    st.floats(-1e6, 1e6).map(lambda v: round(v, 9))
    | st.integers(-3, 3).map(float)
    | st.sampled_from([-1e300, 1e300])
)


@st.composite
def assays(draw, features=2):
    columns = [
        draw(
            st.lists(VALUES, min_size=41, max_size=41).map(sorted) | VALUES.map(lambda v: [v] * 41)
        )
        for _ in range(features)
    ]
    return np.array(columns).T


@untimed
@given(tables=st.lists(assays(), min_size=1, max_size=3), seed=st.integers(0, 2**16))
def test_few_patients_score_as_numpy_interpolates(tables, seed):
    rng = np.random.default_rng(seed)
    ranks = Ranks(tuple(assay_scores(table, np.array([True, True])) for table in tables))
    assert ranks.features.tolist() == [0, 1]
    known = np.concatenate(tables)
    near = np.nextafter(known, rng.choice([-np.inf, np.inf], known.shape))
    measured = np.concatenate([known, near, [[np.nan] * 2, [1e308] * 2, [-1e308] * 2]])
    for start in range(0, len(measured), FEW):
        some = measured[start : start + FEW]
        found = ranks.score(some)
        for own, scores in zip(found, ranks.by_preprocessor, strict=True):
            for e, (quantiles, score) in enumerate(scores.values()):
                expected = np.interp(some[:, e], quantiles, score)
                expected[np.isnan(some[:, e])] = np.nan
                np.testing.assert_allclose(own[:, e], expected, rtol=0, atol=1e-12)


def test_many_patients_score_as_each_of_them():
    rng = np.random.default_rng(0)
    ranks = Ranks((assay_scores(np.sort(rng.normal(size=(41, 3)), axis=0), np.ones(3, bool)),) * 2)
    measured = rng.normal(size=(5 * FEW, 3))
    measured[rng.random(measured.shape) < 0.2] = np.nan
    together = ranks.score(measured)
    assert together.shape == (2, 5 * FEW, 3)
    for i in range(len(measured)):
        np.testing.assert_array_equal(ranks.score(measured[[i]])[:, 0], together[:, i])


@pytest.mark.parametrize("n", [1, FEW + 1])
def test_what_is_missing_scores_nothing_even_where_all_have_one_value(n):
    ranks = Ranks((assay_scores(np.full((41, 1), 2.0), np.array([True])),))
    assert np.isnan(ranks.score(np.full((n, 1), np.nan))).all()
    assert (ranks.score(np.full((n, 1), 9.0)) == 0).all()


def test_those_who_share_a_value_score_as_the_middle_of_their_ranks():
    table = np.concatenate([np.zeros(20), np.arange(1.0, 22.0)])[:, None]
    ((quantiles, score),) = assay_scores(table, np.array([True])).values()
    assert quantiles.tolist() == [*range(22)]
    assert score[0] == pytest.approx((SCORES[0] + SCORES[19]) / 2)
    np.testing.assert_array_equal(score[1:], SCORES[20:])


@pytest.mark.parametrize("n", [1, FEW, 3 * FEW])
def test_features_of_a_wide_assay_come_some_at_a_time(n, monkeypatch):
    rng = np.random.default_rng(n)
    tables = [np.sort(rng.normal(size=(41, 7)), axis=0) for _ in range(2)]
    ranks = Ranks(tuple(assay_scores(table, np.ones(7, bool)) for table in tables))
    measured = rng.normal(size=(n, 7))
    whole = ranks.score(measured)
    for at_once in (1, 3 * 2 * n):
        monkeypatch.setattr("accomplice.data.preprocessing.expression_ranks.AT_ONCE", at_once)
        np.testing.assert_array_equal(ranks.score(measured), whole)


@pytest.mark.parametrize("n", [1, FEW + 1])
def test_quantiles_next_to_one_another_have_a_score_and_no_slope(n):
    table = np.array([0.0] * 20 + [5e-324] * 21)[:, None]
    ranks = Ranks((assay_scores(table, np.array([True])),))
    assert np.isfinite(ranks.score(np.zeros((n, 1)))).all()
    assert (ranks.score(np.ones((n, 1))) > ranks.score(np.zeros((n, 1)))).all()
