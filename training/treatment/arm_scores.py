"""Doubly robust scores of survival with and without a treatment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.kaplan_meier import Censoring

#: Maximum number of intervals of follow-up on which the probability of no censoring is taken as
#: constant.
CELLS = 60


def arm_scores(
    treated: Array,
    propensity: Array,
    time: Array,
    event: Bools,
    weights: Censoring,
    grid: TimeGrid,
    cumulative: Sequence[Array],
    start: float,
    months: Array,
) -> Array:
    """Return doubly robust scores (m, 2, n) of survival with and without treatment.

    With S the predicted survival in an arm from the start on, Λ its cumulative hazard, e the
    probability of the arm and G that of no censoring, the score at month t of a patient followed to
    y is

        S(t) − 1(in the arm) / e · S(t) ([event by t] / (S(y) G(y−)) − ∫ dΛ(u) / (S(u) G(u))),

    with the integral from the start to the earlier of y and t. This is the augmented inverse
    probability weighted estimate, for treatment and censoring (Bai, Tsiatis, Lu and Song, Lifetime
    Data Anal 2017; Westling, Luedtke, Gilbert and Carone, "Inference for treatment-specific
    survival curves using machine learning", JASA 2024). Its mean is consistent if either the
    predictions are correct, or both the propensities and the censoring distribution.

    Args:
        treated: (n,) 1 or 0.
        propensity: (n,) probability of treatment, inside (0, 1).
        time: (n,) months of follow-up, above the start.
        event: (n,) whether the event was observed.
        weights: distribution of the censoring time of these patients.
        grid: the j bins of the curves.
        cumulative: (n, j + 1) cumulative hazards with the treatment, and without it.
        start: month at which the patients' follow-up begins.
        months: (m,) months of the scores, rising, after the start.
    """
    own, case = np.minimum(time, months[-1]), event & (time <= months[-1])
    lost = np.unique(time[~event & (time < months[-1])])
    if len(lost) > CELLS:
        lost = np.quantile(lost, np.arange(1, CELLS) / CELLS)
    edges = np.unique([start, *lost, *months])
    of_event = _inverse(weights.before(own), case)
    begun = [grid.at(curve, np.array([start]))[:, 0] for curve in cumulative]
    arms = ((treated == 1) / propensity, (treated == 0) / (1 - propensity))
    # For each arm and patient, 1 / S and the integral at the end of the intervals so far.
    grown, gathered = np.ones((2, len(time))), np.zeros((2, len(time)))
    scores = np.empty((len(months), 2, len(time)))
    for begin, end in pairwise(edges):
        still, happened = own > begin, case & (own <= end)
        inverse = _inverse(weights.at(begin), still) + _inverse(weights.before(end), still)
        for k, curve in enumerate(cumulative):
            before = grown[k].copy()
            grown[k] = np.exp(grid.at_own(curve, np.minimum(own, end)) - begun[k])
            gathered[k] += (grown[k] - before) * inverse / 2
            if end in months:
                alive = np.exp(begun[k] - grid.at(curve, np.array([end]))[:, 0])
                residual = alive * (happened * grown[k] * of_event - gathered[k])
                scores[np.searchsorted(months, end), k] = alive - arms[k] * residual
    return scores


def _inverse(chance: Array, needed: Bools) -> Array:
    """Return 1 / chance (n,) where it is needed and above 0, else 0."""
    chance = np.broadcast_to(chance, needed.shape)
    return np.divide(1.0, chance, out=np.zeros(needed.shape), where=needed & (chance > 0))
