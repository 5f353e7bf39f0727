"""Net benefit of acting on a predicted risk: decision curves.

Vickers and Elkin, "Decision curve analysis", Med Decis Making 2006; with censoring as Vickers et
al., "Extensions to decision curve analysis", BMC Med Inform Decis Mak 2008, by inverse weights.
"""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Reals
from accomplice.training.estimators.checks import checked_finite, checked_outcome
from accomplice.training.estimators.kaplan_meier import Censoring, inverse_censoring

#: Thresholds of a decision curve: minimum event probabilities at which one would act.
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.025), 3)


def thresholds_among(risks: Array) -> Array:
    """Return the thresholds (t,) between the 2nd and 98th centile of predicted risks.

    Below them nearly all patients would be treated, above them nearly none. If no threshold lies
    between the centiles, the one nearest to their middle is returned.

    Args:
        risks: predicted probabilities of an event, of any shape.

    Example:
        >>> thresholds_among(np.array([0.1, 0.2]))
        array([0.125, 0.15 , 0.175])
    """
    low, high = np.quantile(risks, [0.02, 0.98])
    found = THRESHOLDS[(low <= THRESHOLDS) & (high >= THRESHOLDS)]
    if not len(found):
        found = THRESHOLDS[[int(np.abs(THRESHOLDS - (low + high) / 2).argmin())]]
    return np.asarray(found)


def net_benefit_contributions(
    event: Bools,
    time: Reals,
    risk: Reals,
    thresholds: Reals,
    at: float,
    censoring: Censoring,
) -> Array:
    """Return each patient's contribution to the net benefit of treating from each threshold on.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted probability of an event by `at`.
        thresholds: (t,), minimum probabilities p, in [0, 1), at which one would act.
        at: time by which an event counts, in the unit of `time`.
        censoring: distribution of the censoring time, as for `inverse_censoring`.

    Returns:
        Contributions (n, t) whose mean over patients is the net benefit: the share of patients
        treated who have the event by `at`, less the share treated who do not times p / (1 − p).
        Patients censored by `at` have weight 0, others 1 / G(min(time, at)) with G the survival
        function of censoring. With all treated, this is the net benefit by the Kaplan–Meier
        estimate.

    Raises:
        UndefinedMetricError: as `inverse_censoring`.
        ValueError: as `checked_outcome`; risks outside [0, 1], not finite or of another shape;
            thresholds outside [0, 1) or not finite.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> event, time, risk = np.array([True, False]), np.array([1.0, 3.0]), np.full(2, 0.6)
        >>> weights = censoring(time, event)
        >>> net_benefit_contributions(event, time, risk, np.array([0.5]), 2.0, weights)
        array([[ 1.],
               [-1.]])
    """
    event, time = checked_outcome(event, time)
    risk = checked_finite("risk", risk, event.shape)
    thresholds = checked_finite("thresholds", thresholds, (np.size(thresholds),))
    if ((risk < 0) | (risk > 1)).any() or ((thresholds < 0) | (thresholds >= 1)).any():
        raise ValueError("risk must lie in [0, 1], thresholds in [0, 1)")
    case, control = event & (time <= at), time > at
    weight = inverse_censoring(censoring, np.minimum(time, at), case | control)
    gain = np.where(case, weight, 0.0)[:, None]
    harm = np.where(control, weight, 0.0)[:, None] * (thresholds / (1 - thresholds))
    return np.asarray((risk[:, None] >= thresholds) * (gain - harm))
