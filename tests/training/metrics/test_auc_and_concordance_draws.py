"""All draws at once say what each draw says by itself."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.intervals import resamples
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.metrics import auc_and_concordance_draws as pairwise
from accomplice.training.metrics.auc_and_concordance_draws import (
    auc_contributions,
    drawn_auc,
    drawn_concordances,
)
from accomplice.training.metrics.concordance import harrell_c
from tests.fixtures.oracles import cumulative_dynamic_auc, uno_c


def patients(n, seed=0, digits=6):
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=n), 1)
    death, left = rng.exponential(30 / np.exp(risk)), rng.uniform(4, 80, n)
    time = np.round(np.minimum(death, left), digits) + 1
    return death <= left, time, risk


def drawn(n, draws=20, seed=1):
    rows = list(resamples(n, draws, seed))
    return rows, np.stack([np.bincount(r, minlength=n) for r in rows]).astype(float)


@pytest.mark.parametrize("digits", [0, 6])
def test_concordances_are_those_of_each_draw(monkeypatch, digits):
    monkeypatch.setattr(pairwise, "CHUNK", 7)
    event, time, risk = patients(90, digits=digits)
    weights, other = censoring(time, event), np.zeros(90)
    rows, counts = drawn(90)
    found = drawn_concordances(event, time, np.stack([risk, other]), weights, 40.0, counts)
    harrell = [harrell_c(event[r], time[r], risk[r]) for r in rows]
    uno = [uno_c(event[r], time[r], risk[r], weights, 40.0) for r in rows]
    np.testing.assert_array_equal(found[0, 0], harrell)
    np.testing.assert_allclose(found[0, 1], uno, rtol=1e-12)
    assert (found[1] == 0.5).all()


def test_auc_is_that_of_each_draw():
    event, time, risk = patients(90)
    weights = censoring(time, event)
    rows, counts = drawn(90)
    (found,) = drawn_auc(event, time, risk[None], 20.0, weights, counts)
    for r, auc in zip(rows, found, strict=True):
        expected = cumulative_dynamic_auc(event[r], time[r], risk[r], np.array([20.0]), weights)
        assert auc == pytest.approx(expected[0], rel=1e-12)


def test_a_draw_without_pairs_has_no_figure():
    event, time, risk = patients(30)
    weights, nobody = censoring(time, event), np.zeros((1, 30))
    nobody[0, 0] = 30
    assert np.isnan(drawn_concordances(event, time, risk[None], weights, 40.0, nobody)).all()
    assert np.isnan(drawn_auc(event, time, risk[None], 20.0, weights, nobody)).all()
    everybody = np.ones((1, 30))
    assert np.isnan(drawn_auc(event, time, risk[None], 0.5, weights, everybody)).all()
    with pytest.raises(UndefinedMetricError):
        drawn_auc(event, time, risk[None], 20.0, censoring(time[:2] * 0 + 1, event[:2]), everybody)


class TestContributions:
    def test_their_mean_is_the_auc(self):
        event, time, risk = patients(200)
        weights = censoring(time, event)
        (expected,) = cumulative_dynamic_auc(event, time, risk, np.array([20.0]), weights)
        parts = auc_contributions(event, time, risk, 20.0, weights)
        assert parts.mean() == pytest.approx(expected, rel=1e-12)

    def test_are_the_derivative_by_how_often_a_patient_counts(self):
        event, time, risk = patients(60)
        weights, n = censoring(time, event), 60
        parts = auc_contributions(event, time, risk, 20.0, weights)
        counts = np.ones((2 * n, n))
        counts[:n] += 1e-5 * np.eye(n)
        counts[n:] -= 1e-5 * np.eye(n)
        (auc,) = drawn_auc(event, time, risk[None], 20.0, weights, counts)
        slope = (auc[:n] - auc[n:]) / 2e-5
        np.testing.assert_allclose(parts - parts.mean(), n * slope, atol=1e-6)

    def test_of_a_month_without_cases_are_unknown(self):
        event, time, risk = patients(60)
        weights = censoring(time, event)
        assert np.isnan(auc_contributions(event, time, risk, 0.5, weights)).all()
