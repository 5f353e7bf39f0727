"""A marker and survival, unadjusted: the hazard ratio, and Kaplan-Meier curves of two halves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.hazard_ratios import HazardRatio, fit_effects
from accomplice.training.estimators.kaplan_meier import KaplanMeier, judged_horizon

#: Months at which survival is reported in numbers, where patients are followed that long.
MARKS = (12.0, 36.0, 60.0)
#: Months between counts of the patients at risk.
STEPS = (1, 2, 3, 6, 12, 24, 60)
#: Points of a survival curve: none is a patient's own time.
POINTS = 200


@dataclass(frozen=True)
class GroupCurve:
    """Kaplan–Meier survival of one half of the patients."""

    name: str
    patients: int
    events: int
    survival: Array
    """(t,) at the association's months."""
    low: Array
    high: Array
    at_marks: tuple[tuple[float, float, float], ...]
    """Survival with its interval at each of the association's marks."""
    at_risk: tuple[int, ...]
    """Patients still followed at each of the association's risk months."""


@dataclass(frozen=True)
class Association:
    """The marker and survival, unadjusted."""

    per_sd: HazardRatio
    months: Array
    """(t,) of the curves."""
    marks: tuple[float, ...]
    """Months at which survival is reported in numbers."""
    risk_months: tuple[float, ...]
    """Months at which patients at risk are counted."""
    groups: tuple[GroupCurve, GroupCurve]
    """Patients at or below the median, and above."""


def associate(x: Array, time: Array, event: Bools) -> Association:
    """Unadjusted association of a marker (n,), in standard deviations, with survival."""
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
    """Return the members (n,) of the high half; the median is low, unless no value is above it."""
    high = x > np.median(x)
    return high if high.any() else x >= np.median(x)


def _with_interval(curve: KaplanMeier, month: float) -> tuple[float, float, float]:
    low, high = curve.interval(month)
    return float(curve.at(month)), float(low), float(high)
