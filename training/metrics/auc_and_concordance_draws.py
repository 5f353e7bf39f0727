"""Concordance and time-dependent AUC of many bootstrap draws at once.

Both are fractions of pairs. If patient i is in a draw m_i times, the fraction is
Σ m_i m_j w_i k_ij / Σ m_i m_j w_i c_ij, with w_i the weight of the event, c_ij 1 for a comparable
pair and k_ij 1 for one in the right order. A matrix product scores all draws at once, many times
faster than a ranking of each. Its cost grows with the square of the patients; with many patients,
contributions are averaged instead (`concordance_contributions`, `auc_contributions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.training.estimators.checks import (
    UndefinedMetricError,
    checked_finite,
    checked_outcome,
)
from accomplice.training.estimators.kaplan_meier import (
    Censoring,
    GroupedCensoring,
    inverse_censoring,
)
from accomplice.training.metrics.concordance import concordance_contributions, concordances
from accomplice.training.metrics.score import ModelOutput, Outcome, Score

#: Patients with an event, the first of each pair, in one block.
CHUNK = 256


class ConcordanceScore(Score):
    """Harrell's and Uno's C, which share one ranking."""

    parts: ClassVar[int] = 2

    def whole(self, outcome: Outcome, model: ModelOutput) -> Array:
        """Return Harrell's and Uno's C (2,)."""
        found = concordances(
            outcome.event, outcome.time, model.risk, outcome.weights, outcome.horizon
        )
        return np.array(found)

    def contributions(self, outcome: Outcome, model: ModelOutput) -> Array:
        """Return each patient's contributions (2, n); see `concordance_contributions`."""
        found = concordance_contributions(
            outcome.event, outcome.time, model.risk, outcome.weights, outcome.horizon
        )
        return np.stack(found)

    def draws(self, outcome: Outcome, models: Sequence[ModelOutput], counts: Array) -> Array:
        """Return Harrell's and Uno's C (m, 2, d) of each draw; see `drawn_concordances`."""
        risks = np.stack([model.risk for model in models])
        return drawn_concordances(
            outcome.event, outcome.time, risks, outcome.weights, outcome.horizon, counts
        )


def drawn_concordances(
    event: Bools,
    time: Reals,
    risks: Reals,
    censoring: Censoring,
    tau: float,
    counts: Reals,
) -> Array:
    """Return `concordances` of each draw, for several models.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        risks: (m, n), predicted risks of m models, higher is worse.
        censoring: distribution of the censoring time, as for `inverse_censoring`, the same for all
            draws.
        tau: only events before this time count for Uno's C.
        counts: (d, n), how often each patient is in each draw.

    Returns:
        Harrell's and Uno's C (m, 2, d), NaN where a draw has no comparable pair; Uno's also where
        its weights are undefined.

    Raises:
        ValueError: as `checked_outcome`.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
        >>> weights, risks = censoring(time, event), np.array([[3.0, 1.0, 2.0]])
        >>> counts = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
        >>> drawn_concordances(event, time, risks, weights, 9.0, counts)[0].round(4)
        array([[0.6667, 1.    ],
               [0.6667, 1.    ]])
    """
    event, time = checked_outcome(event, time)
    cases = np.flatnonzero(event)
    early = event & (time < tau)
    ones = np.ones(cases.size)
    try:
        weight = inverse_censoring(censoring, time, early)[cases]
    except UndefinedMetricError:
        weight = np.full(cases.size, np.nan)

    def comparable(some: Ints) -> Bools:
        own = time[some, None]
        return np.asarray((time > own) | ((time == own) & ~event))

    if not isinstance(censoring, GroupedCensoring):
        return _shares(counts, cases, np.stack([ones, weight**2]), comparable, risks)

    def weighted(some: Ints) -> Array:
        return comparable(some) * censoring.inverse_by_group(time[some])[censoring.group].T

    harrell = _shares(counts, cases, ones[None], comparable, risks)
    return np.concatenate([harrell, _shares(counts, cases, weight[None], weighted, risks)], axis=1)


def drawn_auc(
    event: Bools,
    time: Reals,
    risks: Reals,
    month: float,
    censoring: Censoring,
    counts: Reals,
) -> Array:
    """Return the cumulative/dynamic AUC at one time of each draw, for several models.

    Arguments are those of `drawn_concordances` but for `month`, the time of the AUC in the unit of
    `time`.

    Returns:
        AUC (m, d), NaN where a draw has no case or no control: Σ over cases i (event by `month`)
        and controls j (followed beyond) of (1[risk_i > risk_j] + ½ 1[risk_i = risk_j]) w_j /
        G(time_i), divided by Σ w_j times Σ 1 / G(time_i), with w_j = 1 / G(month) of the control
        (Uno et al., J Am Stat Assoc 2007; Hung and Chiang, Can J Stat 2010).

    Raises:
        UndefinedMetricError: as `inverse_censoring`.
        ValueError: as `checked_outcome`.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
        >>> weights, risks = censoring(time, event), np.array([[2.0, 1.0, 3.0]])
        >>> drawn_auc(event, time, risks, 1.5, weights, np.ones((1, 3)))
        array([[0.5]])
    """
    event, time = checked_outcome(event, time)
    case = event & (time <= month)
    weight = inverse_censoring(censoring, time, case)
    cases, controls = np.flatnonzero(case), np.flatnonzero(time > month)
    rows = np.concatenate([cases, controls])
    of_control = np.concatenate(
        [np.zeros(cases.size), _of_controls(censoring, time, month)[controls]]
    )
    return _shares(
        counts[:, rows],
        np.arange(cases.size),
        weight[None, cases],
        lambda some: np.broadcast_to(of_control, (some.size, rows.size)),
        np.asarray(risks)[:, rows],
    )[:, 0]


def _of_controls(censoring: Censoring, time: Array, month: float) -> Array:
    """Return weights (n,) of those followed beyond a month, of which the largest is 1; else 0."""
    weight = inverse_censoring(censoring, month, time > month)
    return np.asarray(weight / max(weight.max(), 1e-300))


def _shares(
    counts: Reals,
    cases: Ints,
    weights: Array,
    comparable: Callable[[Ints], Array | Bools],
    risks: Reals,
) -> Array:
    """Return the weighted share of comparable pairs in which the case has the higher risk.

    Args:
        counts: (d, n) how often each patient is in each draw.
        cases: (e,) patients with an event, the first of each pair.
        weights: (w, e) weights of the cases.
        comparable: function from some of the cases (c,) to the mask (c, n) of the second patients
            of their pairs, or to their weights.
        risks: (m, n) predicted risks; a pair of equal risks counts one half.

    Returns:
        Shares (m, w, d), NaN where a draw has no comparable pair.
    """
    risks = np.asarray(risks, dtype=np.float64)
    total = np.zeros((len(weights), len(counts)))
    right = np.zeros((len(risks), *total.shape))
    for start in range(0, cases.size, CHUNK):
        some = cases[start : start + CHUNK]
        weight, drawn = weights[:, start : start + CHUNK], counts[:, some]
        pairs = comparable(some).astype(np.float64)
        total += weight @ ((counts @ pairs.T) * drawn).T
        for found, risk in zip(right, risks, strict=True):
            order = pairs * (0.5 + 0.5 * np.sign(risk[some, None] - risk))
            found += weight @ ((counts @ order.T) * drawn).T
    return np.divide(right, total, out=np.full_like(right, np.nan), where=total != 0)


def auc_contributions(
    event: Bools, time: Reals, risk: Reals, month: float, censoring: Censoring
) -> Array:
    """Return each patient's contribution to the cumulative/dynamic AUC at one time.

    The AUC is the mean of the contributions. As in
    `metrics.concordance.concordance_contributions`, a contribution is the AUC plus n times the
    patient's influence on it; the censoring distribution is not resampled.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.
        month: time of the AUC, in the unit of `time`.
        censoring: distribution of the censoring time, as for `inverse_censoring`.

    Returns:
        Contributions (n,); NaN where there is no case or no control.

    Raises:
        UndefinedMetricError: as `inverse_censoring`.
        ValueError: as `checked_outcome`; a risk that is not finite or of another shape.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
        >>> weights, risk = censoring(time, event), np.array([2.0, 1.0, 3.0])
        >>> auc_contributions(event, time, risk, 1.5, weights)
        array([ 0.5 ,  1.25, -0.25])
    """
    event, time = checked_outcome(event, time)
    risk = checked_finite("risk", risk, event.shape)
    case, control = event & (time <= month), _of_controls(censoring, time, month)
    weight = inverse_censoring(censoring, time, case)
    cases, controls = float(weight.sum()), float(control.sum())
    if not cases or not controls:
        return np.full(event.size, np.nan)
    rank = np.unique(risk, return_inverse=True)[1]
    below, above = np.bincount(rank, control), np.bincount(rank, weight)
    # The share of controls below each case, and of cases above each control; ties count one half.
    of_case = (np.cumsum(below) - 0.5 * below)[rank] / controls
    of_control = 1 - (np.cumsum(above) - 0.5 * above)[rank] / cases
    auc = float(weight @ of_case) / cases
    influence = weight / cases * (of_case - auc) + control / controls * (of_control - auc)
    return np.asarray(auc + event.size * influence)
