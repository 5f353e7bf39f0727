"""A model's course over follow-up: survival by risk group, time-dependent AUC, Brier score.

All is taken at round months, never at a patient's own time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.splits import within
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome, band
from accomplice.training.evaluation.record import Curve, RiskGroup
from accomplice.training.metrics.brier import brier_contributions

#: Round steps, in months, and at most how many of them reach the horizon.
STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 60.0, 120.0)
MOST_MONTHS, MOST_MARKS = 30, 6
GROUPS = ("low risk", "middle risk", "high risk")
#: Cumulative hazards below it rank as equal: smaller differences do not rank patients.
FAINTEST = 1e-6


def months_to(horizon: float, most: int = MOST_MONTHS) -> Array:
    """Return round months (t,) above 0 to a horizon, evenly spaced; itself if none is below."""
    # The judged horizon lies a hair before a round one that all were followed to.
    reach = horizon * (1 + 1e-9)
    step = next((s for s in STEPS if reach / s < most + 1), STEPS[-1])
    found = [step * k for k in range(1, int(reach / step) + 1)]
    return np.array(found or [horizon], dtype=np.float64)


def marks_to(horizon: float) -> Array:
    """Return the months at which patients at risk are counted, from 0."""
    return np.append(0.0, months_to(horizon, MOST_MARKS))


def risk_groups(
    followed: BootstrappedOutcome, risk: Array, group: Ints, months: Array, marks: Array
) -> tuple[RiskGroup, ...]:
    """Estimate survival in thirds of rising risk.

    Args:
        followed: n patients.
        risk: (n,) higher is worse.
        group: (n,) patients whose risks may be compared; thirds are taken within each.
        months: (t,) of the curves.
        marks: (m,) at which patients at risk are counted.

    Returns:
        A group for each third that is not empty; equal risks stay together. Survival is NaN
        where the group's follow-up has ended, its band is Greenwood's on the log-log scale.
    """
    third, found = thirds(risk, group), []
    for place, name in enumerate(GROUPS):
        member = third == place
        if not member.any():
            continue
        time, event = followed.time[member], followed.event[member]
        curve, at = KaplanMeier.fit(time, event), np.minimum(months, followed.horizon)
        ended = (curve.last < at) & (curve.survival[-1] > 0)
        value, low, high = (
            np.where(ended, np.nan, each) for each in (curve.at(at), *curve.interval(at))
        )
        held = [int((time >= min(mark, followed.horizon)).sum()) for mark in marks]
        found.append(
            RiskGroup(
                name=name,
                patients=int(member.sum()),
                events=followed.take(member).events,
                survival=Curve(value=tuple(value), low=tuple(low), high=tuple(high)),
                at_risk=tuple(held),
            )
        )
    return tuple(found)


def thirds(risk: Array, group: Ints) -> Ints:
    """Return the third (n,) of rising risk within each group: 0, 1 or 2."""
    found = np.zeros(len(risk), dtype=int)
    for label in np.unique(group):
        member = np.flatnonzero(group == label)
        place, count = np.unique(risk[member], return_inverse=True, return_counts=True)[1:]
        middle = (np.cumsum(count) - count / 2)[place] / len(member)
        found[member] = np.minimum((3 * middle).astype(int), 2)
    return found


def auc_over_time(
    followed: BootstrappedOutcome,
    grid: TimeGrid,
    curves: Mapping[str, Array],
    group: Ints,
    months: Array,
) -> dict[str, Curve]:
    """Take the time-dependent AUC of each model's predicted risk at each month.

    Args:
        followed: n patients.
        grid: of the curves.
        curves: model -> (n, j + 1) cumulative hazards.
        group: (n,) patients whose risks may be compared.
        months: (t,).

    Returns:
        Model -> AUC (t,), NaN at months with no event before or no patient followed beyond.
    """
    found = np.empty((len(curves), len(followed.draws.counts), len(months)))
    for t, month in enumerate(np.minimum(months, followed.horizon)):
        at = [_at(grid, cumulative, month) for cumulative in curves.values()]
        risks = [within(np.log(np.maximum(each, FAINTEST)), group) for each in at]
        found[:, :, t] = followed.auc(month, *risks)
    return {name: band(figure) for name, figure in zip(curves, found, strict=True)}


def brier_over_time(
    followed: BootstrappedOutcome,
    grid: TimeGrid,
    curves: Mapping[str, Array],
    months: Sequence[float] | Array,
) -> dict[str, Curve]:
    """Take the Brier score of each model at each month; arguments as `auc_over_time`."""
    found = {}
    for name, cumulative in curves.items():
        figures = []
        for month in np.minimum(months, followed.horizon):
            alive = survival(_at(grid, cumulative, month))[:, None]
            at, outcome = np.array([month]), (followed.event, followed.time)
            parts = brier_contributions(*outcome, alive, at, followed.weights)
            figures.append(followed.draws.mean(parts[:, 0]))
        found[name] = band(np.stack(figures, axis=1))
    return found


def _at(grid: TimeGrid, cumulative: Array, month: float) -> Array:
    return np.asarray(grid.at(cumulative, np.array([month]))[:, 0])
