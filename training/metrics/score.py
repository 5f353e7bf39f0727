"""The interface of metrics: a figure of all patients, each patient's part, and bootstrap draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.kaplan_meier import KaplanMeier


@dataclass(frozen=True, eq=False)
class Outcome:
    """Observed outcomes of n patients, their censoring distribution, and the judged horizon."""

    time: Array
    """(n,) months of follow-up."""
    event: Bools
    """(n,)."""
    weights: KaplanMeier
    """Distribution of the censoring time in the whole cohort."""
    horizon: float
    """Months to which predictions are judged."""

    def take(self, rows: Ints | Bools) -> Self:
        """Return the patients at ``rows``, with the cohort's weights."""
        return type(self)(self.time[rows], self.event[rows], self.weights, self.horizon)


class ModelOutput(NamedTuple):
    """A model's predictions of n patients, as far as the metrics need them."""

    risk: Array
    """(n,) log-hazard risk, less the mean of the patient's fold; higher is worse."""
    brier: Array
    """(n,) Brier score, averaged over time to the horizon."""
    survival: Array
    """(n,) predicted survival at half the horizon."""

    def take(self, rows: Ints) -> ModelOutput:
        """Return the patients at ``rows``."""
        return ModelOutput(*(each[rows] for each in self))


class Score(ABC):
    """One figure or several that are computed together; undefined ones are NaN."""

    #: Number of figures (k).
    parts: ClassVar[int] = 1

    @abstractmethod
    def whole(self, outcome: Outcome, model: ModelOutput) -> Array:
        """Return the figures (k,) of all n patients."""

    @abstractmethod
    def contributions(self, outcome: Outcome, model: ModelOutput) -> Array:
        """Return each patient's part (k, n) in the figures, which are their means."""

    def draws(self, outcome: Outcome, models: Sequence[ModelOutput], counts: Array) -> Array:
        """Return the figures (m, k, d) of each model and bootstrap draw.

        Here they are the means of the contributions; a score that is no mean of patients may do
        better.

        Args:
            outcome: of n patients.
            models: of m models.
            counts: (d, n) how often each draw holds each patient.
        """
        size = counts.sum(axis=1)
        return np.stack([self.contributions(outcome, each) @ counts.T / size for each in models])
