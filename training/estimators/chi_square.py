"""A chi-square statistic with its p value."""

from __future__ import annotations

from typing import NamedTuple, Self

from scipy.special import chdtrc


class ChiSquare(NamedTuple):
    """A chi-square statistic and its p value."""

    statistic: float
    """The statistic, at least 0."""
    p_value: float
    """Probability of a larger statistic under the null hypothesis."""

    @classmethod
    def of(cls, statistic: float, degrees: float) -> Self:
        """Return the statistic with its p value P(χ² > statistic), on ``degrees`` of freedom.

        Args:
            statistic: the statistic, at least 0.
            degrees: degrees of freedom.
        """
        return cls(statistic, float(chdtrc(degrees, statistic)))
