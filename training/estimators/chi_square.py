"""A chi-square statistic with its p value."""

from __future__ import annotations

from typing import NamedTuple, Self

from scipy.special import chdtrc


class ChiSquare(NamedTuple):
    """A chi-square statistic and its upper tail."""

    statistic: float
    p_value: float

    @classmethod
    def of(cls, statistic: float, degrees: int) -> Self:
        """Return the statistic with its p value P(χ² > statistic) at ``degrees`` of freedom."""
        return cls(statistic, float(chdtrc(degrees, statistic)))
