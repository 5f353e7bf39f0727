"""Sensitivity of a treatment's hazard ratio to unmeasured confounding and to its change over time.

The E-value is the minimum strength of association, as a risk ratio, that an unmeasured confounder
would need with both treatment and event, given the recorded features, to explain a hazard ratio
away (VanderWeele and Ding, "Sensitivity analysis in observational research: introducing the
E-value", Ann Intern Med 2017). The tipping points are the hazard ratios that a binary confounder
would need, by the difference of its prevalence between the arms (Lin, Psaty and Kronmal, "Assessing
the sensitivity of regression results to unmeasured confounders in observational studies",
Biometrics 1998).

If the effect changes with time, one hazard ratio is an average. Therefore proportional hazards are
tested, and the hazard ratio from later landmarks on and the gain in restricted mean survival time
are reported too; the latter does not assume proportional hazards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array
from accomplice.training.estimators.intervals import Estimate, finite_or_none
from accomplice.training.treatment.rate import mean

#: Differences of prevalence at which tipping points are listed.
DIFFERENCES = (0.1, 0.2, 0.3, 0.4, 0.5)
#: Number of intervals of time over which the gain of survival is integrated.
INTERVALS = 20


@dataclass(frozen=True)
class Unrecorded:
    """Strength of an unmeasured confounder that would explain a hazard ratio away."""

    e_value: float
    """E-value of the estimate."""
    e_value_limit: float
    """E-value of the interval's end nearer to 1; 1 if the interval includes 1."""
    tipping: tuple[float, ...]
    """Hazard ratio of a binary confounder at each of ``DIFFERENCES`` that moves the estimate to 1;
    infinite where none is strong enough."""
    tipping_limit: tuple[float, ...]
    """The same for the interval's end nearer to 1."""

    @classmethod
    def of(cls, hr: Estimate) -> Unrecorded | None:
        """Return the strengths for a hazard ratio with its interval; None if it is NaN.

        Example:
            >>> found = Unrecorded.of(Estimate(0.56, 0.46, 0.69))
            >>> round(found.e_value, 2), round(found.e_value_limit, 2)
            (2.35, 1.91)
        """
        if math.isnan(hr.value) or math.isnan(hr.low):
            return None
        limit = nearer_to_one(hr)
        at = np.array(DIFFERENCES)
        return cls(
            e_value(hr.value),
            e_value(limit),
            tuple(tipping_points(hr.value, at).tolist()),
            tuple(tipping_points(limit, at).tolist()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the strengths as plain data, infinite ones as null."""
        rows = zip(DIFFERENCES, self.tipping, self.tipping_limit, strict=True)
        return {
            "e_value": self.e_value,
            "e_value_limit": self.e_value_limit,
            "tipping": [
                {"difference": d, "hr": finite_or_none(e), "hr_limit": finite_or_none(limit)}
                for d, e, limit in rows
            ],
        }


@dataclass(frozen=True)
class OverTime:
    """Change of the treatment's hazard ratio over follow-up."""

    p: float
    """p value of the test of proportional hazards."""
    ratios: tuple[tuple[float, Estimate], ...]
    """Landmark in months, and the hazard ratio from it on, as far as enough patients are left."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, undefined ones as null."""
        ratios = [{"month": month, "hr": hr.to_json()} for month, hr in self.ratios]
        return {"p_proportional": finite_or_none(self.p), "by_landmark": ratios}


def rmst_gain(gained: Array, step: float) -> Estimate:
    """Return the mean gain in restricted mean survival time, in months.

    It is the integral of the mean gain of survival, by the trapezoid rule from a gain of 0; the
    interval is that of the mean of each patient's integrated score.

    Args:
        gained: (m, n) doubly robust scores of the gain of survival at months a step apart, the
            first a step after the patients are compared.
        step: months from one to the next.

    Example:
        >>> print(rmst_gain(np.array([[0.05, 0.05], [0.10, 0.10]]), 30.0))
        3.000 (3.000 to 3.000)
    """
    return mean(step * (gained.sum(axis=0) - gained[-1] / 2))


def nearer_to_one(hr: Estimate) -> float:
    """Return the end of the interval of a hazard ratio that is nearer to 1; 1 if it includes 1.

    Example:
        >>> nearer_to_one(Estimate(0.5, 0.3, 0.8)), nearer_to_one(Estimate(0.9, 0.7, 1.2))
        (0.8, 1.0)
    """
    return min(hr.high, 1.0) if hr.value < 1 else max(hr.low, 1.0)


def e_value(hr: float) -> float:
    """Return the E-value of a hazard ratio of a common event.

    The risk ratio is about r = (1 − 0.5^√hr) / (1 − 0.5^√(1/hr)), or its inverse if that is larger;
    the E-value is r + √(r (r − 1)). With rare events the hazard ratio would be the risk ratio
    itself, and the E-value larger.

    Example:
        >>> [round(e_value(hr), 2) for hr in (0.5, 1.0, 2.0)]
        [2.61, 1.0, 2.61]
    """
    risk_ratio: float = (1 - 0.5 ** math.sqrt(hr)) / (1 - 0.5 ** math.sqrt(1 / hr))
    larger = max(risk_ratio, 1 / risk_ratio)
    return larger + math.sqrt(larger * (larger - 1))


def tipping_points(hr: float, difference: Array) -> Array:
    """Return the hazard ratios (k,) of binary confounders that would explain a hazard ratio away.

    A confounder of hazard ratio Γ and prevalences p and q in the arms, p − q = d, multiplies the
    hazard ratio by about (1 + (Γ − 1) p) / (1 + (Γ − 1) q). With p + q = 1 this is B, the hazard
    ratio or its inverse, at Γ = 1 + (B − 1) / (p − B q); no Γ is large enough unless
    d > (B − 1) / (B + 1), which gives infinity. With common events a stronger one is needed, since
    those at higher risk leave first.

    Args:
        hr: the hazard ratio, or an end of its interval.
        difference: (k,) differences d of prevalence between the arms, in (0, 1), in the direction
            of the confounding.

    Example:
        >>> tipping_points(0.7, np.array([0.1, 0.2, 0.4])).round(2)
        array([  inf, 16.  ,  2.58])
    """
    factor = max(hr, 1 / hr)
    room = (1 + difference) / 2 - factor * (1 - difference) / 2
    found = np.divide(factor - 1, room, out=np.full(len(difference), np.inf), where=room > 0)
    return np.asarray(1 + (found if factor > 1 else np.zeros(len(difference))))
