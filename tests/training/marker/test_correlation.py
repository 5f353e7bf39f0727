"""Rank correlations against their definition, and their intervals against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.marker.correlation import (
    correlations,
    spearman,
    spearman_interval,
)

values = st.lists(st.integers(-3, 3), min_size=8, max_size=8)


@given(x=values, y=values)
def test_is_the_correlation_of_mid_ranks(x, y):
    x, y = np.array(x, dtype=float), np.array(y, dtype=float)
    if x.std() and y.std():
        ranks = [((v[:, None] > v) + (v[:, None] == v) / 2).sum(axis=1) for v in (x, y)]
        expected = np.corrcoef(*ranks)[0, 1]
        assert spearman(x, y) == pytest.approx(expected, abs=1e-12)
    else:
        assert math.isnan(spearman(x, y))


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    truth = 6 / math.pi * math.asin(0.6 / 2)
    held = 0
    for _ in range(400):
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        low, high = spearman_interval(spearman(x, y), 60)
        held += low <= truth <= high
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_perfect_order_stays_within_one():
    low, high = spearman_interval(1.0, 20)
    assert 0.9 < low <= high <= 1


def test_all_features_with_an_order_but_itself_are_listed_strongest_first(small_cohort):
    study = small_cohort.study
    z = Preprocessor.fit(study, small_cohort.values).scale(small_cohort.values)
    found = correlations(study, z, "IL1R1")
    names = {c.feature for c in found}
    assert names == {n for n, f in study.features.items() if f.kind != "category"} - {"IL1R1"}
    sizes = [abs(c.value) for c in found]
    assert sizes == sorted(sizes, reverse=True)
    assert found[0].modality == "stroma"
