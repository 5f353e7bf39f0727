"""The interface of metrics: value, each patient's contribution to it, and bootstrap draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.kaplan_meier import Censoring


@dataclass(frozen=True, eq=False)
class Outcome:
    """Observed outcomes of n patients, their censoring distribution, and the judged horizon."""

    time: Array
    """(n,) months of follow-up."""
    event: Bools
    """(n,) whether the event was observed."""
    weights: Censoring
    """Distribution of the censoring time in the whole cohort, for inverse weights."""
    horizon: float
    """Months to which predictions are judged."""

    def take(self, rows: Ints | Bools) -> Self:
        """Return the patients at ``rows``, with the cohort's weights."""
        weights = self.weights.take(rows)
        return type(self)(self.time[rows], self.event[rows], weights, self.horizon)


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
        return ModelOutput(*(values[rows] for values in self))


class Score(ABC):
    """One metric, or several that are computed together; undefined values are NaN."""

    #: Number of metrics (k).
    parts: ClassVar[int] = 1

    @abstractmethod
    def whole(self, outcome: Outcome, model: ModelOutput) -> Array:
        """Return the value (k,) of each metric on all n patients."""

    @abstractmethod
    def contributions(self, outcome: Outcome, model: ModelOutput) -> Array:
        """Return each patient's contribution (k, n) to each metric, which is their mean."""

    def draws(self, outcome: Outcome, models: Sequence[ModelOutput], counts: Array) -> Array:
        """Return the values (m, k, d) of each model, metric and bootstrap draw.

        By default they are means of the contributions; a metric that is no mean over patients may
        override this by an exact computation.

        Args:
            outcome: observed outcomes of n patients.
            models: predictions of these patients by m models.
            counts: (d, n) how often each patient is in each draw.
        """
        size = counts.sum(axis=1)
        return np.stack([self.contributions(outcome, model) @ counts.T / size for model in models])
