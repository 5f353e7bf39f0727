"""Many Cox models at once against the fit of one, its likelihood and R's survival."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.power.cox_batched import fit_many

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "cox.json").read_text())


def cohorts(m, n, seed=0, spread=1.0):
    """By falling time: treatment, marker, their product and an index (m, 4, n), time and event."""
    rng = np.random.default_rng(seed)
    treated, high = rng.random((2, m, n)) < 0.5
    index = spread * rng.normal(size=(m, n))
    X = np.stack([treated, high, treated & high, index], axis=1).astype(float)
    log_hz = np.array([-0.7, 0.2, 0.5, 1.0]) @ X
    death = rng.exponential(size=(m, n)) * np.exp(-log_hz)
    left = rng.uniform(0.2, 1.5, (m, n))
    time, event = np.minimum(death, left), death <= left
    order = np.argsort(-time, axis=1)
    return (
        np.take_along_axis(X, order[:, None], axis=2),
        np.take_along_axis(time, order, axis=1),
        np.take_along_axis(event, order, axis=1),
    )


def exact(X, risk_sets):
    """One model's estimate, with a last Newton step, and the inverse of its information."""
    beta = fit_cox(X, risk_sets, np.zeros(X.shape[1]))
    _, gradient, information = risk_sets.evaluate(X, X @ beta)
    beta = beta + np.linalg.solve(information, gradient)
    return beta, np.linalg.inv(risk_sets.evaluate(X, X @ beta)[2])


@pytest.mark.parametrize(("n", "spread"), [(60, 0.5), (150, 1.0), (800, 3.0)])
def test_every_fit_is_the_single_fit(n, spread):
    X, time, event = cohorts(25, n, seed=n, spread=spread)
    fits = fit_many(X, event)
    for one in range(25):
        beta, variance = exact(X[one].T, RiskSets(time[one], event[one]))
        np.testing.assert_allclose(fits.beta[one], beta, atol=1e-6)
        np.testing.assert_allclose(fits.variance[one], variance, rtol=1e-5, atol=1e-6)


def test_equals_r_without_ties():
    case = REFERENCE["distinct"]
    time, event = np.array(case["time"], dtype=float), np.array(case["event"])
    order = np.argsort(-time)
    X = np.array(case["x"])[order].T[None]
    fits = fit_many(X, event[order][None])
    np.testing.assert_allclose(fits.beta[0], case["plain"]["beta"], atol=1e-6)


def test_a_fit_does_not_depend_on_its_neighbours():
    X, _, event = cohorts(6, 90)
    together, alone = fit_many(X, event), fit_many(X[2:3], event[2:3])
    np.testing.assert_allclose(together.beta[2], alone.beta[0], atol=1e-9)


def test_a_cell_without_events_is_not_significant():
    X, _, event = cohorts(4, 120)
    event = event & (X[:, 2] == 0)
    fits = fit_many(X, event)
    error = np.sqrt(fits.variance[:, 2, 2])
    assert np.isfinite(fits.beta).all()
    assert (np.abs(fits.beta[:, 2]) < 0.5 * error).all()


def test_no_events_at_all_and_an_empty_arm_have_no_verdict():
    X, _, event = cohorts(2, 50)
    X[:, 0] = X[:, 2] = 0
    event[1] = False
    fits = fit_many(X, event)
    assert np.isfinite(fits.beta).all()
    assert (np.abs(fits.beta[:, 2]) < 1e-3 * np.sqrt(fits.variance[:, 2, 2])).all()
