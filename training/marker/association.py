"""Unadjusted association of a marker with survival: hazard ratio and Kaplan–Meier curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.hazard_ratios import HazardRatio, fit_effects
from accomplice.training.estimators.kaplan_meier import KaplanMeier, judged_horizon

#: Months at which survival is reported as a number, up to the judged horizon; if that is below the
#: first, half of it.
MARKS = (12.0, 36.0, 60.0)
#: Candidate intervals between the counts of the patients at risk, in months: the first one of which
#: at most seven fit into the judged horizon is taken, or else a fifth of the horizon.
STEPS = (1, 2, 3, 6, 12, 24, 60)
#: Number of points of a survival curve, evenly spaced from 0 to the judged horizon.
POINTS = 200


@dataclass(frozen=True)
class GroupCurve:
    """Kaplan–Meier survival of one half of the patients, by the marker."""

    name: str
    """``low`` or ``high``."""
    patients: int
    """Number of patients."""
    events: int
    """Number of events."""
    survival: Array
    """(t,) survival at ``Association.months``."""
    low: Array
    """(t,) lower bounds of its 95 % intervals; NaN where survival is 0 or 1."""
    high: Array
    """(t,) upper bounds of its 95 % intervals; NaN where survival is 0 or 1."""
    at_marks: tuple[tuple[float, float, float], ...]
    """(m,) survival, lower and upper bound at each of ``Association.marks``."""
    at_risk: tuple[int, ...]
    """Number of patients still followed at each of ``Association.risk_months``."""


@dataclass(frozen=True)
class Association:
    """Unadjusted association of a marker with survival."""

    per_sd: HazardRatio
    """Hazard ratio for one standard deviation of the marker."""
    months: Array
    """(t,) months of the survival curves."""
    marks: tuple[float, ...]
    """Months at which survival is reported as a number."""
    risk_months: tuple[float, ...]
    """Months at which patients at risk are counted."""
    groups: tuple[GroupCurve, GroupCurve]
    """Curves of the low and of the high half; see :func:`above_median`."""


def associate(x: Array, time: Array, event: Bools) -> Association:
    """Estimate the unadjusted association of a marker with survival.

    Args:
        x: (n,) marker in standard deviations.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.

    Raises:
        ValueError: there are no patients, no event was observed, or all have the same marker.
    """
    end = judged_horizon(time, event, float(time.max()))
    months = np.linspace(0, end, POINTS)
    marks = tuple(m for m in MARKS if m <= end) or (end / 2,)
    step = next((s for s in STEPS if end / s <= 7), end / 5)
    risk_months = tuple(np.arange(0, end + 1e-9, step).tolist())
    high = above_median(x)
    groups = []
    for name, rows in (("low", ~high), ("high", high)):
        curve = KaplanMeier.fit(time[rows], event[rows])
        low_end, high_end = curve.interval(months)
        bounds = [_with_interval(curve, m) for m in marks]
        at_risk = [int((time[rows] >= m).sum()) for m in risk_months]
        groups.append(
            GroupCurve(
                name,
                int(rows.sum()),
                int(event[rows].sum()),
                curve.at(months),
                low_end,
                high_end,
                tuple(bounds),
                tuple(at_risk),
            )
        )
    first, second = groups
    per_sd = fit_effects(x, time, event).ratio(1)
    return Association(per_sd, months, marks, risk_months, (first, second))


def above_median(x: Array) -> Bools:
    """Return whether each value (n,) belongs to the high half.

    These are the values above the median, or from the median on if it is the largest value.
    """
    high = x > np.median(x)
    return high if high.any() else x >= np.median(x)


def _with_interval(curve: KaplanMeier, month: float) -> tuple[float, float, float]:
    """Return survival at a month, with lower and upper bound of its 95 % interval."""
    low, high = curve.interval(month)
    return float(curve.at(month)), float(low), float(high)
