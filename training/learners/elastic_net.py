"""Cox's model under the elastic net, whose lasso part leaves out columns.

The penalty of a coefficient b is α · (mixing · |b| + (1 − mixing) / 2 · b²), times a factor of its
column (Simon, Friedman, Hastie and Tibshirani, "Regularization paths for Cox's proportional hazards
model via coordinate descent", J Stat Softw 2011).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.cox import RiskSets
from accomplice.training.estimators.newton import Newton, maximise

#: Predicted gain of a step, as a fraction of 1 + |objective|, below which it is the last.
GAIN = 1e-9
#: Maximum number of sweeps over the coordinates in one step.
SWEEPS = 100
#: Excess over a column's penalty, as a fraction of it, up to which a gradient is no violation.
ROUNDING = 1e-9
#: Maximum number of columns that join a fit at once: of correlated columns few will stay.
JOINING = 100


def null_penalty(X: Array, risk_sets: RiskSets, relative: Array, mixing: float) -> float:
    """Return the least penalty α at which all coefficients are 0.

    Args:
        X: (n, p) design.
        risk_sets: risk sets of the same n patients.
        relative: (p,) factor of each column's penalty, > 0.
        mixing: share of the lasso in the penalty, > 0.
    """
    gradient = X.T @ risk_sets.residuals(np.zeros(len(X)))
    return float((np.abs(gradient) / (mixing * relative)).max(initial=0.0))


def elastic_net_path(
    X: Array, risk_sets: RiskSets, relative: Array, penalties: Sequence[float], mixing: float
) -> Iterator[Array]:
    """Yield the coefficients (p,) at each penalty α; each fit starts at those of the one before.

    They maximise log partial likelihood − Σ α · relative · (mixing · |b| + (1 − mixing) / 2 · b²).
    A fit is of the columns with a coefficient, and of those whose gradient exceeds their penalty by
    most; it is repeated with further columns until none is left whose gradient does.

    Args:
        X: (n, p) design.
        risk_sets: risk sets of the same n patients.
        relative: (p,) factor of each column's penalty, > 0.
        penalties: penalties α of a column with factor 1, from strong to weak.
        mixing: share of the lasso in the penalty, above 0 and up to 1.

    Example:
        >>> X, time = np.array([[1.0, 0], [0, 0], [1, 1], [0, 1]]), np.array([1.0, 2.0, 3.0, 4.0])
        >>> risk_sets = RiskSets(time, np.ones(4, dtype=bool))
        >>> path = elastic_net_path(X, risk_sets, np.ones(2), (1.0, 0.1), mixing=1.0)
        >>> [beta.round(4).tolist() for beta in path]
        [[0.0, -0.3466], [2.2976, -4.6955]]
    """
    X = X[risk_sets.order]
    beta = np.zeros(X.shape[1])
    for penalty in penalties:
        lasso, ridge = penalty * mixing * relative, penalty * (1 - mixing) * relative
        used = beta != 0
        joining = _violating(X, risk_sets, beta, lasso, used)
        while True:
            used[joining] = True
            beta = beta.copy()
            beta[used] = _fit(X[:, used], risk_sets, lasso[used], ridge[used], beta[used])
            joining = _violating(X, risk_sets, beta, lasso, used)
            if not len(joining):
                break
        yield beta


def _violating(x: Array, risk_sets: RiskSets, beta: Array, lasso: Array, used: Bools) -> Ints:
    """Return the columns, at most ``JOINING``, whose gradients exceed their penalties most.

    Args:
        x: (n, p) design of patients in the order of ``risk_sets``.
        risk_sets: risk sets of the n patients.
        beta: (p,) coefficients.
        lasso: (p,) penalty of each |b|.
        used: (p,) columns that are left out, since they are fitted already.
    """
    gradient = x.T @ risk_sets.residuals_sorted(x @ beta)
    excess = np.where(used, 0.0, np.abs(gradient) / lasso)
    largest = np.argsort(-excess, kind="stable")[:JOINING]
    return largest[excess[largest] > 1 + ROUNDING]


def _fit(x: Array, risk_sets: RiskSets, lasso: Array, ridge: Array, start: Array) -> Array:
    """Maximise the penalised likelihood of a few columns by a proximal Newton method.

    Args:
        x: (n, p) design of patients in the order of ``risk_sets``.
        risk_sets: risk sets of the n patients.
        lasso: (p,) penalty of each |b|.
        ridge: (p,) penalty of each b² / 2.
        start: (p,) first coefficients.

    Returns:
        (p,) coefficients; those that the lasso leaves out are exactly 0.
    """
    if not len(start):
        return start

    def cost(beta: Array) -> float:
        return float(lasso @ np.abs(beta) + 0.5 * ridge @ beta**2)

    def evaluate(_: Ints, points: Array) -> tuple[Array, Newton]:
        beta = points[0]
        value, gradient, information = risk_sets.evaluate_sorted(x, x @ beta)
        objective = value - cost(beta)

        def newton(_: Bools) -> tuple[Array, Bools]:
            # As a diagonal: of columns that repeat each other the information is singular.
            information.flat[:: len(beta) + 1] += 1e-9 * (1 + information.trace() / len(beta))
            linear = gradient + information @ beta
            information.flat[:: len(beta) + 1] += ridge
            target = lasso_minimum(information, linear, lasso, beta)
            step = target - beta
            gain = gradient @ step - cost(target) + cost(beta)
            return step[None], np.array([gain < GAIN * (1 + abs(objective))])

        return np.array([objective]), newton

    ascent = maximise(evaluate, start[None])
    # The last step costs nothing more, and ends where coefficients are exactly 0.
    return np.asarray((ascent.point + ascent.step * ascent.converged[:, None])[0])


def lasso_minimum(Q: Array, linear: Array, penalty: Array, start: Array) -> Array:
    """Return the b (p,) at which bᵀQb / 2 − linearᵀb + Σ penalty · |b| is least.

    Sweeps of coordinate descent (Friedman, Hastie and Tibshirani, "Regularization paths for
    generalized linear models via coordinate descent", J Stat Softw 2010) choose which coefficients
    are 0 and the others' signs; given both, the others are the solution of a linear system.

    Args:
        Q: (p, p) symmetric, positive definite.
        linear: (p,) linear term.
        penalty: (p,) penalty of each |b|.
        start: (p,) first point.

    Example:
        >>> lasso_minimum(np.eye(3), np.array([3.0, -2.0, 0.5]), np.ones(3), np.zeros(3)).tolist()
        [2.0, -1.0, 0.0]
    """
    b, curvature = start.copy(), Q.diagonal().tolist()
    bounds = penalty.tolist()
    for _ in range(SWEEPS):
        slope = linear - Q @ b
        moved = (b != 0) | (np.abs(slope) > penalty * (1 + ROUNDING))
        for j in np.flatnonzero(moved).tolist():
            old = float(b[j])
            reach = float(slope[j]) + curvature[j] * old
            new = max(abs(reach) - bounds[j], 0.0) / curvature[j]
            new = new if reach > 0 else -new
            if new != old:
                slope -= (new - old) * Q[j]
                b[j] = new
        _descend_face(Q, linear, penalty, b)
        slope = np.abs(linear - Q @ b)
        if (slope[b == 0] <= penalty[b == 0] * (1 + ROUNDING)).all():
            break
    return b


def _descend_face(Q: Array, linear: Array, penalty: Array, b: Array) -> None:
    """Move the coefficients that are not 0 to their minimum, leaving out those that reach 0.

    The arguments are those of :func:`lasso_minimum`; ``b`` is changed.
    """
    while len(kept := np.flatnonzero(b)):
        own = b[kept]
        sign = np.sign(own)
        aim = np.linalg.solve(Q[np.ix_(kept, kept)], linear[kept] - penalty[kept] * sign)
        crossed = np.flatnonzero(aim * sign <= 0)
        if not len(crossed):
            b[kept] = aim
            return
        share = own[crossed] / (own[crossed] - aim[crossed])
        first = share.argmin()
        b[kept] = own + share[first] * (aim - own)
        b[kept[crossed[first]]] = 0.0
