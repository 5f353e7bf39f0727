"""Cox's model fitted to many simulated cohorts of one size at once.

The likelihood of :mod:`estimators.cox` with a leading dimension: Newton's method on hundreds of
cohorts costs some cumulative sums an iteration, and no loop over cohorts. A simulated time is
continuous, so ties are not treated: events are taken one after the other, in the order given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.newton import Newton, maximise

#: A linear predictor this far below the cohort's highest weighs nothing.
LOWEST = -500.0
#: Twice the gain still promised at which an estimate is one step away, and evaluations at most.
PROMISED, EVALUATIONS = 1e-8, 25


class CoxFits(NamedTuple):
    """The estimates of m cohorts."""

    beta: Array
    """(m, p) log hazard ratios."""
    variance: Array
    """(m, p, p) inverse of the information; huge where the likelihood has no maximum."""


def fit_many(X: Array, event: Bools) -> CoxFits:
    """Maximise the partial likelihood of each cohort by Newton's method with halved steps.

    Args:
        X: (m, p, n) design, each cohort's patients by falling time.
        event: (m, n) whether the event was seen, in that order.

    Returns:
        The estimates; one that runs off to infinity is left where the last step brought it.
    """
    m, p = X.shape[:2]
    variance = np.zeros((m, p, p))
    summed = np.einsum("mpn,mn->mp", X, event.astype(float))

    def evaluate(rows: Ints, beta: Array) -> tuple[Array, Newton]:
        value, gradient, information = _evaluate(X[rows], event[rows], summed[rows], beta)

        def newton(kept: Bools) -> tuple[Array, Bools]:
            # Without events in a cell the information dies away: this keeps it invertible.
            trace = np.trace(information[kept], axis1=1, axis2=2)
            floor = 1e-12 * (1 + trace / p)[:, None, None] * np.eye(p)
            variance[rows[kept]] = inverse = np.linalg.inv(information[kept] + floor)
            step = np.einsum("mpq,mq->mp", inverse, gradient[kept])
            return step, np.einsum("mp,mp->m", gradient[kept], step) < PROMISED

        return value, newton

    found = maximise(evaluate, np.zeros((m, p)), EVALUATIONS)
    # So near the top a last step is exact to the square of what is left.
    beta = np.where(found.converged[:, None], found.point + found.step, found.point)
    return CoxFits(beta, variance)


def _evaluate(X: Array, event: Bools, summed: Array, beta: Array) -> tuple[Array, Array, Array]:
    """Log partial likelihoods (m,), their gradients (m, p) and informations (m, p, p).

    Args:
        X: (m, p, n) design by falling time.
        event: (m, n) in that order.
        summed: (m, p) sum of the design over the events.
        beta: (m, p) where to evaluate.
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
    # All events up to a patient's own time expect of it this much.
    expected = weight * np.cumsum(rate[:, ::-1], axis=1)[:, ::-1]
    second = np.matmul(X * expected[:, None], X.transpose(0, 2, 1))
    return value, gradient, second - np.matmul(mean, mean.transpose(0, 2, 1))
