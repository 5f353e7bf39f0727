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
    # The band holds at all thresholds, so it is wider than an interval at one.
    assert found.gain.low[place] < ends[0] < ends[1] < found.gain.high[place]
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


def models_of(n, seed, noise):
    """Outcomes, and curves of two models that know the risk with noise of an SD each."""
    rng = np.random.default_rng([n, seed])
    risk = 0.8 * rng.normal(size=n)
    death, left = rng.exponential(50 / np.exp(risk)), rng.uniform(10, 90, n)
    time = np.minimum(np.minimum(death, left), 60.0)
    followed = BootstrappedOutcome.of(time, (death <= left) & (death <= 60), 58.0, 200, seed)
    curves = {}
    for name, sd in zip(("model", "other"), noise, strict=True):
        seen = risk + sd * rng.normal(size=n)
        kept = 0.64 / (0.64 + sd**2)
        hazard = 0.02 * np.exp(kept * seen + 0.32 * (1 - kept))
        curves[name] = hazard[:, None] * GRID.edges
    return followed, curves


def certain(n, seed, noise):
    """Whether a gain, and a loss, is certain at some threshold, and over all together."""
    followed, curves = models_of(n, seed, noise)
    found = decisions(followed, GRID, curves, "other", [12.0, 36.0, 58.0])
    gain, loss = max(max(d.gain.low) for d in found), min(min(d.gain.high) for d in found)
    return gain > 0, loss < 0, found[0].overall.above > 0, found[0].overall.below < 0


def test_of_equal_models_none_gains_and_of_unequal_ones_the_better():
    equal = np.array([certain(200, seed, (0.6, 0.6)) for seed in range(80)])
    assert equal[:, :2].any(axis=1).mean() < 0.1
    assert equal[:, 2:].any(axis=1).mean() < 0.13
    better = np.array([certain(200, seed, (0.2, 2.0)) for seed in range(20)])
    assert better[:, 0].mean() > 0.7
    assert better[:, 2].mean() > 0.8
    assert not better[:, [1, 3]].any()
