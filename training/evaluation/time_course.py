"""Curves over follow-up: survival by risk group, time-dependent AUC and Brier score.

They are computed at round months, or at the judged horizon in place of later ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.splits import within
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.kaplan_meier import observed_survival
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome, band
from accomplice.training.evaluation.record import Curve, RiskGroup
from accomplice.training.metrics.brier import brier_contributions

#: Candidate intervals between the months of a curve, in months.
STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 60.0, 120.0)
#: Maximum number of months of a curve.
MOST_MONTHS = 30
#: Maximum number of months at which patients at risk are counted, month 0 apart.
MOST_MARKS = 6
#: Names of the thirds of rising risk.
GROUPS = ("low risk", "middle risk", "high risk")
#: Floor of the cumulative hazard before patients are ranked: values below it are ties.
HAZARD_FLOOR = 1e-6


def months_to(horizon: float, most: int = MOST_MONTHS) -> Array:
    """Return round months (t,), evenly spaced, above 0 and up to a horizon.

    Args:
        horizon: end of follow-up that is judged, in months.
        most: maximum number of months.

    Returns:
        The months; the horizon alone if it is shorter than the smallest step.
    """
    # The judged horizon may be the number just below a round month, which is then included.
    reach = horizon * (1 + 1e-9)
    step = next((s for s in STEPS if reach / s < most + 1), STEPS[-1])
    found = [step * k for k in range(1, int(reach / step) + 1)]
    return np.array(found or [horizon], dtype=np.float64)


def marks_to(horizon: float) -> Array:
    """Return the months (m,), from 0, at which patients at risk are counted."""
    return np.append(0.0, months_to(horizon, MOST_MARKS))


def risk_groups(
    followed: BootstrappedOutcome, risk: Array, group: Ints, months: Array, marks: Array
) -> tuple[RiskGroup, ...]:
    """Estimate survival in thirds of rising risk, by `kaplan_meier.observed_survival`.

    Args:
        followed: outcomes of n patients.
        risk: (n,) risk score, higher is worse.
        group: (n,) label; risks are comparable within a label, and thirds are formed within each.
        months: (t,) months of the curves; those after the judged horizon are replaced by it.
        marks: (m,) months at which patients at risk are counted; those after the judged horizon are
            replaced by it.

    Returns:
        A group for each third that is not empty; equal risks stay together. Survival is NaN
        after the end of the group's follow-up, unless it has fallen to 0. Bands are 95 % intervals
        by Greenwood's variance on the log-log scale, NaN where survival is 0 or 1.
    """
    third, groups = thirds(risk, group), []
    for place, name in enumerate(GROUPS):
        member = third == place
        if not member.any():
            continue
        own = followed.take(member)
        time, at = own.time, np.minimum(months, followed.horizon)
        curve = observed_survival(time, own.event, own.weights)
        ended = (curve.last < at) & (curve.survival[-1] > 0)
        value, low, high = (
            np.where(ended, np.nan, read) for read in (curve.at(at), *curve.interval(at))
        )
        at_risk = [int((time >= min(mark, followed.horizon)).sum()) for mark in marks]
        groups.append(
            RiskGroup(
                name=name,
                patients=int(member.sum()),
                events=own.events,
                survival=Curve(value=tuple(value), low=tuple(low), high=tuple(high)),
                at_risk=tuple(at_risk),
            )
        )
    return tuple(groups)


def thirds(risk: Array, group: Ints) -> Ints:
    """Return each patient's third (n,) of risk within their group: 0 is the lowest, 2 the highest.

    Patients of equal risk share the third of their middle rank.

    Args:
        risk: (n,) risk score.
        group: (n,) label of the patients who are divided together.
    """
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
    """Estimate the time-dependent AUC of each model at each month, with bands.

    Cumulative/dynamic AUC by IPCW (Uno et al., "Evaluating prediction rules for t-year survivors
    with censored regression models", JASA 2007); the score is the log cumulative hazard predicted
    at the month, less the mean of the patient's group.

    Args:
        followed: outcomes of n patients, with bootstrap draws.
        grid: time bins of the curves.
        curves: model -> cumulative hazards (n, j + 1).
        group: (n,) label of the patients whose risks are comparable.
        months: (t,) months; those after the judged horizon are replaced by it.

    Returns:
        Model -> AUC (t,); NaN at months with no event before or no patient followed beyond, in the
        cohort or in more than a tenth of the draws.
    """
    drawn = np.empty((len(curves), len(followed.draws.counts), len(months)))
    for t, month in enumerate(np.minimum(months, followed.horizon)):
        at = [_at(grid, cumulative, month) for cumulative in curves.values()]
        risks = [within(np.log(np.maximum(hazard, HAZARD_FLOOR)), group) for hazard in at]
        drawn[:, :, t] = followed.auc(month, *risks)
    return {name: band(auc) for name, auc in zip(curves, drawn, strict=True)}


def brier_over_time(
    followed: BootstrappedOutcome,
    grid: TimeGrid,
    curves: Mapping[str, Array],
    months: Sequence[float] | Array,
) -> dict[str, Curve]:
    """Estimate the Brier score, weighted by IPCW, of each model at each month, with bands.

    Args:
        followed: outcomes of n patients, with bootstrap draws.
        grid: time bins of the curves.
        curves: model -> cumulative hazards (n, j + 1).
        months: (t,) months; those after the judged horizon are replaced by it.

    Returns:
        Model -> Brier score (t,).
    """
    found = {}
    for name, cumulative in curves.items():
        drawn = []
        for month in np.minimum(months, followed.horizon):
            alive = survival(_at(grid, cumulative, month))[:, None]
            at, outcome = np.array([month]), (followed.event, followed.time)
            parts = brier_contributions(*outcome, alive, at, followed.weights)
            drawn.append(followed.draws.mean(parts[:, 0]))
        found[name] = band(np.stack(drawn, axis=1))
    return found


def _at(grid: TimeGrid, cumulative: Array, month: float) -> Array:
    """Return the cumulative hazard (n,) at a month, from (n, j + 1)."""
    return np.asarray(grid.at(cumulative, np.array([month]))[:, 0])
