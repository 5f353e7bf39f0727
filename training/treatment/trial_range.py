"""The range of a treatment's hazard ratio in randomised trials, as the study file gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from accomplice.data.study_parts import Treatment
from accomplice.training.estimators.intervals import Estimate


@dataclass(frozen=True)
class TrialRange:
    """Range of the hazard ratio of a treatment in trials."""

    low: float
    """Lowest hazard ratio."""
    high: float
    """Highest hazard ratio."""
    source: str = ""
    """Citation of the trials."""

    def __str__(self) -> str:
        return f"the {self.low:g} to {self.high:g} of trials"

    @property
    def cited(self) -> str:
        """The range with its source, in words."""
        return f"{self} ({self.source or 'the study file names none'})"

    @classmethod
    def of(cls, treatment: Treatment) -> Self | None:
        """Return the range of a treatment; None if the study file gives none."""
        if treatment.expected_hr is None:
            return None
        return cls(*treatment.expected_hr, treatment.expected_hr_source)

    def side(self, hr: Estimate) -> Literal["", "below", "above"]:
        """Return the side of the range on which a whole interval lies; empty if it overlaps."""
        return "below" if hr.high < self.low else "above" if hr.low > self.high else ""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest hazard ratio."""
        return self.low, self.high
