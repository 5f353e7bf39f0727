"""Cox's model fitted to many simulated cohorts of one size at once.

The likelihood is that of :mod:`estimators.cox` with a leading dimension for the cohorts. An
iteration of Newton's method takes a few cumulative sums for all cohorts, without a loop over them.
Simulated times are continuous, so ties are not handled: events count in the order given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.newton import Newton, maximise

#: Lower bound of linear predictors, relative to the cohort's highest: exp(-500) is negligible.
LOWEST = -500.0
#: Newton decrement gᵀH⁻¹g below which the next step is the last.
PROMISED = 1e-8
#: Maximum number of evaluations of each cohort's likelihood, those of halved steps included.
EVALUATIONS = 25


class CoxFits(NamedTuple):
    """Estimates of m cohorts."""

    beta: Array
    """(m, p) log hazard ratios."""
    variance: Array
    """(m, p, p) inverse of the information; huge where the likelihood has no maximum."""


def fit_many(X: Array, event: Bools) -> CoxFits:
    """Maximise the partial likelihood of each cohort by Newton's method with halved steps.

    Args:
        X: (m, p, n) design, each cohort's patients by falling time.
        event: (m, n) whether the event was observed, in the same order.

    Returns:
        The estimates; one without a finite maximum is left at its last step.
    """
    m, p = X.shape[:2]
    variance = np.zeros((m, p, p))
    summed = np.einsum("mpn,mn->mp", X, event.astype(float))

    def evaluate(rows: Ints, beta: Array) -> tuple[Array, Newton]:
        value, gradient, information = _evaluate(X[rows], event[rows], summed[rows], beta)

        def newton(accepted: Bools) -> tuple[Array, Bools]:
            # Without events in a cell the information tends to 0: this keeps it invertible.
            trace = np.trace(information[accepted], axis1=1, axis2=2)
            floor = 1e-12 * (1 + trace / p)[:, None, None] * np.eye(p)
            variance[rows[accepted]] = inverse = np.linalg.inv(information[accepted] + floor)
            step = np.einsum("mpq,mq->mp", inverse, gradient[accepted])
            return step, np.einsum("mp,mp->m", gradient[accepted], step) < PROMISED

        return value, newton

    found = maximise(evaluate, np.zeros((m, p)), EVALUATIONS)
    # So close to the maximum, Newton's step leaves an error of the order of its square.
    beta = np.where(found.converged[:, None], found.point + found.step, found.point)
    return CoxFits(beta, variance)


def _evaluate(X: Array, event: Bools, summed: Array, beta: Array) -> tuple[Array, Array, Array]:
    """Return log partial likelihoods (m,), gradients (m, p) and information matrices (m, p, p).

    Args:
        X: (m, p, n) design by falling time.
        event: (m, n) whether the event was observed, in the same order.
        summed: (m, p) sum of the design over the events.
        beta: (m, p) coefficients at which to evaluate.
    """
    eta = np.matmul(beta[:, None, :], X)[:, 0]
    eta = np.maximum(eta - eta.max(axis=1, keepdims=True), LOWEST)
    weight = np.exp(eta)
    total = np.cumsum(weight, axis=1)
    value = ((eta - np.log(total)) * event).sum(axis=1)
    rate = event / total
    # Each event's average of the design over its risk set; 0 where there is no event.
    mean = np.cumsum(X * weight[:, None], axis=2) * rate[:, None]
    gradient = summed - mean.sum(axis=2)
    # Expected events of each patient: its weight over the risk sets up to its own time.
    expected = weight * np.cumsum(rate[:, ::-1], axis=1)[:, ::-1]
    second = np.matmul(X * expected[:, None], X.transpose(0, 2, 1))
    return value, gradient, second - np.matmul(mean, mean.transpose(0, 2, 1))
