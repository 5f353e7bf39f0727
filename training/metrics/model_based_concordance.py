"""Concordance that a model expects of patients by their predictions alone, without outcomes.

The less the patients' risks differ, the harder it is to rank them, even by a model that is right.
If event times follow the predicted curves, Uno's C with truncation at τ tends to the model-based
concordance (van Klaveren et al., "A new concordance measure for risk prediction models in external
validation settings", Stat Med 2016; here with events to τ only). An observed C below it means that
risks or their effects differ from those predicted; a C that fell together with it, that the
patients' risks differ less.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from accomplice.data.arrays import Array, Reals
from accomplice.training.estimators.checks import UndefinedMetricError, checked_finite
from accomplice.training.estimators.hazard import TimeGrid, survival

#: Nodes of the Gauss-Legendre rule in each bin; the integrals are exact to some 1e-10 as long as
#: the hazards of a pair sum to less than 30 in a bin.
NODES = 16


def model_based_concordance(risk: Reals, grid: TimeGrid, cumulative: Array, tau: float) -> float:
    """Return the concordance to τ of risks if event times follow the predicted curves.

    Args:
        risk: (n,) predicted risk by which patients are ranked, higher is worse.
        grid: the j bins of the curves; under proportional hazards, any grid will do.
        cumulative: (n, j + 1) predicted cumulative hazards at the grid's edges; with a common
            baseline, ``np.exp(log_hz)[:, None] * baseline``.
        tau: months to which events count, as of Uno's C; at most the grid's horizon.

    Returns:
        Σ_ij p_ij ([r_i > r_j] + ½ [r_i = r_j]) / Σ_ij p_ij over all pairs of two patients, with
        p_ij = P(T_i < min(T_j, τ)) = ∫₀^τ S_j(t) f_i(t) dt and f the density of the event time. The
        integrals are taken by a Gauss-Legendre rule within each bin, where hazards are constant;
        patients are summed in order of risk at each node, so that no pairs are made: O(n log n).

    Raises:
        UndefinedMetricError: fewer than two patients, or no event is expected by τ.
        ValueError: a risk that is not finite or of another shape.

    Example:
        >>> grid, log_hz = TimeGrid(np.array([0.0, 60.0])), np.log([1.0, 3.0])
        >>> cumulative = np.exp(log_hz)[:, None] * np.array([0.0, 0.5])
        >>> round(model_based_concordance(log_hz, grid, cumulative, 60.0), 6)
        0.75
    """
    return float(model_based_contributions(risk, grid, cumulative, tau).mean())


def model_based_contributions(risk: Reals, grid: TimeGrid, cumulative: Array, tau: float) -> Array:
    """Return each patient's contribution (n,) to `model_based_concordance`, which is their mean.

    They are the infinitesimal jackknife's, as `metrics.concordance.concordance_contributions`: the
    difference of both, patient by patient, gives the interval of observed less expected.
    Arguments and errors are those of `model_based_concordance`.

    Example:
        >>> grid, log_hz = TimeGrid(np.array([0.0, 60.0])), np.log([1.0, 1.0, 3.0])
        >>> cumulative = np.exp(log_hz)[:, None] * np.array([0.0, 0.5])
        >>> model_based_contributions(log_hz, grid, cumulative, 60.0).round(3)
        array([0.61, 0.61, 0.83])
    """
    n = len(cumulative)
    risk = checked_finite("risk", risk, (n,))
    order = np.argsort(risk, kind="stable")
    ranked = risk[order]
    first = np.searchsorted(ranked, ranked, side="left")
    last = np.searchsorted(ranked, ranked, side="right")
    concordant, comparable = np.zeros(n), np.zeros(n)
    for alive, dies in _nodes(grid, cumulative[order], tau):
        below, above = _sums(alive), _sums(dies)
        # As the earlier of a pair, then as the later; pairs of a patient with itself are left out.
        lower = (below[first] + below[last] - alive) / 2
        higher = above[-1] - (above[first] + above[last] + dies) / 2
        concordant += (dies * lower + alive * higher).sum(axis=1)
        comparable += (dies * (below[-1] - alive) + alive * (above[-1] - dies)).sum(axis=1)
    total = comparable.sum() / 2
    if n < 2 or total <= 0:
        raise UndefinedMetricError(
            f"no model-based concordance: {n} patients, no pair with an event expected by {tau:g}"
        )
    value = concordant.sum() / 2 / total
    found = np.empty(n)
    found[order] = value + (concordant - value * comparable) * (n / total)
    return found


def _nodes(grid: TimeGrid, cumulative: Array, tau: float) -> Iterator[tuple[Array, Array]]:
    """Yield survival (n, k) at the k nodes of each bin up to τ, and density times weight (n, k)."""
    node, weight = np.polynomial.legendre.leggauss(NODES)
    stops = np.append(grid.edges[grid.edges < tau], min(tau, grid.horizon))
    at = grid.at(cumulative, stops)
    for left, increment in zip(at.T[:-1], np.diff(at).T, strict=True):
        alive = survival(left[:, None] + increment[:, None] * (1 + node) / 2)
        yield alive, alive * increment[:, None] * weight / 2


def _sums(values: Array) -> Array:
    """Return the sums (n + 1, k) of the first 0 … n rows (n, k)."""
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
