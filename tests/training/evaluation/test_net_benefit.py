"""Decision curves of several models on the same draws."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.net_benefit import decisions
from accomplice.training.metrics.net_benefit import (
    THRESHOLDS,
    net_benefit_contributions,
    thresholds_among,
)
from tests.fixtures.oracles import bootstrap_interval

GRID = TimeGrid(np.linspace(0, 60, 13))


@pytest.fixture(scope="module")
def patients():
    """BootstrappedOutcome patients, the true curves and one curve for all."""
    rng = np.random.default_rng(1)
    risk = rng.normal(size=300)
    death, left = rng.exponential(50 / np.exp(risk)), rng.uniform(4, 80, 300)
    time = np.minimum(np.minimum(death, left), 60.0)
    event = (death <= left) & (death <= 60)
    truth = 0.02 * np.exp(risk)[:, None] * GRID.edges
    flat = np.tile(0.022 * GRID.edges, (300, 1))
    return BootstrappedOutcome.of(time, event, 55.0, 200, 0), {"model": truth, "flat": flat}


def test_are_the_net_benefits_and_their_paired_difference(patients):
    followed, curves = patients
    (found,) = decisions(followed, GRID, curves, "flat", [36.0])
    thresholds = np.array(found.thresholds)
    risks = {k: 1 - survival(GRID.at(c, np.array([36.0])))[:, 0] for k, c in curves.items()}
    parts = {
        name: net_benefit_contributions(
            followed.event, followed.time, risk, thresholds, 36.0, followed.weights
        )
        for name, risk in risks.items()
    }
    for name, part in parts.items():
        np.testing.assert_allclose(found.benefit[name], part.mean(axis=0))
    gain = parts["model"] - parts["flat"]
    np.testing.assert_allclose(found.gain.value, gain.mean(axis=0), atol=1e-12)
    place = len(thresholds) // 2
    ends = bootstrap_interval(lambda rows: gain[rows, place].mean(), 300, 200, 0)
    assert (found.gain.low[place], found.gain.high[place]) == pytest.approx(tuple(ends))
    assert max(found.gain.low) > 0
    assert found.everybody[0] > found.everybody[-1]


def test_without_a_baseline_there_is_no_gain(patients):
    followed, curves = patients
    (found,) = decisions(followed, GRID, {"model": curves["model"]}, "", [12.0])
    assert np.isnan(found.gain.value).all()
    assert len(found.gain.low) == len(found.thresholds) == len(found.benefit["model"])


def test_thresholds_lie_among_the_risks():
    found = thresholds_among(np.linspace(0.2, 0.4, 100))
    assert 0.2 <= found[0] <= found[-1] <= 0.4
    (one,) = thresholds_among(np.full(10, 0.51))
    assert one in THRESHOLDS
    assert one == pytest.approx(0.51, abs=0.02)
