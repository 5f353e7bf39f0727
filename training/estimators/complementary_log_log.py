"""Regression of a binary outcome with the complementary log-log link, for many weightings at once.

Under proportional hazards the log cumulative hazard at a month is a linear predictor, so that an
event by then has the probability 1 − exp(−exp(linear predictor)) (McCullagh and Nelder,
"Generalized Linear Models", 1989, section 4.3).
"""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.newton import Newton, maximise

#: Decrease of a log-likelihood ℓ that counts as rounding, as a fraction of 1 + |ℓ|.
ROUNDING = 1e-12
#: Minimum change of a linear predictor by the last step for which the likelihood is taken to have
#: no maximum.
LONG = 1e-3


def fit_complementary_log_log(
    design: Array,
    offset: Array,
    case: Bools,
    weight: Array,
    start: Array,
    gain_limit: float = 0.0,
    change_limit: float = 0.0,
) -> Array:
    """Fit P(case) = 1 − exp(−exp(offset + design @ β)) by weighted maximum likelihood.

    Fisher scoring with halved steps; the log-likelihood is concave in β. A fit ends after a step
    within one of the two limits ``gain_limit`` and ``change_limit``.

    Args:
        design: (n, k) design matrix.
        offset: (n,) part of the linear predictor that is not fitted.
        case: (n,) whether the patient had the event.
        weight: (d, n) weights of the patients in each of d fits, at least 0.
        start: (d, k) first β of each fit.
        gain_limit: limit of twice a step's predicted gain of log-likelihood, as a fraction of the
            sum of weights.
        change_limit: limit of a step's largest change of a coefficient.

    Returns:
        (d, k) β; NaN where the likelihood has no maximum, as where the design separates the cases
        from the others, where it does not determine β, or where the steps do not reach a limit.

    Example:
        One case among two has the probability 1 − exp(−log 2):

        >>> ones = np.ones((2, 1))
        >>> beta = fit_complementary_log_log(
        ...     ones, np.zeros(2), np.array([True, False]), np.ones((1, 2)), np.zeros((1, 1)),
        ...     change_limit=1e-9,
        ... )
        >>> print(round(float(np.exp(beta[0, 0])), 6), round(float(np.log(2)), 6))
        0.693147 0.693147
    """
    k = design.shape[1]
    squares = (design[:, :, None] * design[:, None, :]).reshape(-1, k * k)

    def evaluate(rows: Ints, beta: Array) -> tuple[Array, Newton]:
        predictor, own = offset + beta @ design.T, weight[rows]
        hazard, probability = _hazard(predictor)
        value = (own * np.where(case, np.log(probability), -hazard)).sum(axis=1)

        def newton(accepted: Bools) -> tuple[Array, Bools]:
            score, information = derivatives(case, own[accepted], predictor[accepted])
            slope, square = score @ design, (information @ squares).reshape(-1, k, k)
            size = np.prod(np.diagonal(square, axis1=1, axis2=2), axis=1)
            step = np.full(slope.shape, np.nan)
            determined = np.linalg.det(square) > 1e-12 * size
            step[determined] = np.linalg.solve(square[determined], slope[determined, :, None])[
                ..., 0
            ]
            near = (slope * step).sum(axis=1) < gain_limit * own[accepted].sum(axis=1)
            return step, near | (np.abs(step).max(axis=1) <= change_limit) | ~determined

        return value, newton

    found = maximise(evaluate, start, rounding=ROUNDING)
    # Where the design separates the cases, the likelihood flattens but the steps stay long.
    maximum = found.converged & (np.abs(found.step @ design.T).max(axis=1) < LONG)
    return np.where(maximum[:, None], found.point + found.step, np.nan)


def derivatives(case: Bools, weight: Array, predictor: Array) -> tuple[Array, Array]:
    """Return score and expected information (d, n) of each patient's linear predictor.

    Args:
        case: (n,) whether the patient had the event.
        weight: (d, n) weights w.
        predictor: (d, n) log cumulative hazard η; with λ = exp(η) and p = 1 − exp(−λ) the score is
            w (case − p) λ / p and the information w λ² (1 − p) / p.

    Example:
        >>> score, information = derivatives(
        ...     np.array([True, False]), np.ones((1, 2)), np.log(np.log([[2.0, 2.0]]))
        ... )
        >>> print(score.round(6), information.round(6))
        [[ 0.693147 -0.693147]] [[0.480453 0.480453]]
    """
    hazard, probability = _hazard(predictor)
    score = weight * (case - probability) * (hazard / probability)
    return score, weight * hazard**2 * (1 - probability) / probability


def _hazard(predictor: Array) -> tuple[Array, Array]:
    """Return cumulative hazard and probability of the event, elementwise."""
    # Beyond these bounds the probability is within 1e-13 of 0 or 1.
    hazard = np.exp(np.clip(predictor, -30.0, 3.5))
    return hazard, -np.expm1(-hazard)
