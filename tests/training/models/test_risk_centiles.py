"""Where a risk stands among the training patients'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.models.risk_centiles import (
    GROUPS,
    PROBABILITIES,
    centile,
    group,
    quantiles,
)

RISKS = st.lists(st.floats(-8, 8), min_size=1, max_size=60).map(np.array)


def test_centiles_of_a_normal_risk_are_its_distribution() -> None:
    rng = np.random.default_rng(0)
    kept = quantiles(rng.normal(size=20_000))
    # Standard normal quartiles and tails.
    found = centile(np.array([-0.6745, 0.0, 0.6745, 1.645]), kept)
    np.testing.assert_allclose(found, [25, 50, 75, 95], atol=1)


def test_thirds_hold_a_third_each() -> None:
    risk = np.random.default_rng(1).gumbel(size=900)
    names, sizes = np.unique(group(centile(risk, quantiles(risk))), return_counts=True)
    assert set(names) == set(GROUPS)
    np.testing.assert_allclose(sizes, 300, atol=3)
    assert group(centile(np.sort(risk), quantiles(risk))).tolist()[::450] == ["low", "middle"]


@pytest.mark.parametrize("n", [60, 61, 200, 1000])
def test_no_kept_number_is_a_patients_own(n: int) -> None:
    risk = np.random.default_rng(n).normal(size=n)
    kept = quantiles(risk)
    assert kept.shape == PROBABILITIES.shape
    assert not set(kept.tolist()) & set(risk.tolist())
    assert risk.min() < kept[0]
    assert kept[-1] < risk.max()


def test_one_risk_for_all_is_in_the_middle() -> None:
    kept = quantiles(np.zeros(80))
    np.testing.assert_allclose(centile(np.zeros(2), kept), 50)
    assert group(centile(np.zeros(1), kept)).tolist() == ["middle"]


@given(training=RISKS, asked=RISKS)
def test_a_higher_risk_never_stands_lower(training: np.ndarray, asked: np.ndarray) -> None:
    found = centile(np.sort(asked), quantiles(training))
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 100)).all()
    assert set(group(found)) <= set(GROUPS)
