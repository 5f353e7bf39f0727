"""Immortal time: an early event precludes treatment, so that the treated seem to live longer.

Suissa, "Immortal time bias in pharmacoepidemiology", Am J Epidemiol 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.treatment.trial_range import TrialRange


@dataclass(frozen=True)
class Early:
    """Events before the landmark in one arm."""

    events: int
    patients: int

    @property
    def share(self) -> float:
        """Part of the arm's patients."""
        return self.events / max(self.patients, 1)


def early_events(treated: Array, time: Array, event: Bools, landmark: float) -> tuple[Early, Early]:
    """Count the early events of the treated and of the untreated.

    Args:
        treated: (n,) 1, 0, or NaN for patients who are left out.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        landmark: months after which the treatment has begun in all who get it.
    """
    early = event & (time <= landmark)
    treated_, untreated = (
        Early(int((early & (treated == arm)).sum()), int((treated == arm).sum())) for arm in (1, 0)
    )
    return treated_, untreated


def strongest(trials: TrialRange | None, late: Estimate) -> float:
    """Return the lowest credible hazard ratio of a treatment, at most 1.

    Args:
        trials: range of trials, if one is known; its lower end is the answer.
        late: hazard ratio from the landmark on, which immortal time does not touch; the lower end
            of its interval is the answer without trials, and 1 where it is not known.
    """
    low = late.low if trials is None else trials.low
    return 1.0 if math.isnan(low) else min(low, 1.0)


def fewer_by_chance(one: Early, other: Early, odds: float = 1.0) -> float:
    """Chance that one group has so few of the early events or fewer.

    Fisher's exact test, for a true odds ratio ``odds`` of the one group against the other (his
    noncentral hypergeometric distribution).
    """
    events = one.events + other.events
    counts = range(max(0, events - other.patients), min(events, one.patients) + 1)

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    weights = np.array(
        [
            log_choose(one.patients, k)
            + log_choose(other.patients, events - k)
            + k * math.log(odds)
            for k in counts
        ]
    )
    chance = np.exp(weights - weights.max())
    return float(chance[: one.events - counts[0] + 1].sum() / chance.sum())
