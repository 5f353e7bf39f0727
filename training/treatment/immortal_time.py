"""Immortal time: an early event precludes treatment, so that the treated seem to live longer.

Suissa, "Immortal time bias in pharmacoepidemiology", Am J Epidemiol 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.rows.treatment import is_option
from accomplice.data.study import Study
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.treatment.trial_range import TrialRange


@dataclass(frozen=True)
class Early:
    """Early events, those up to the landmark, in one arm."""

    events: int
    """Number of patients with the event up to the landmark."""
    patients: int
    """Number of all patients of the arm."""

    @property
    def share(self) -> float:
        """Share of the arm's patients with an early event; 0 without patients."""
        return self.events / max(self.patients, 1)


@dataclass(frozen=True)
class EarlyEvents:
    """Early events in both arms, by stratum."""

    strata: tuple[tuple[Early, Early], ...]
    """Early events of the treated and of the untreated, for each stratum."""

    @property
    def treated(self) -> Early:
        """Early events of all treated patients."""
        return self._all(0)

    @property
    def untreated(self) -> Early:
        """Early events of all untreated patients."""
        return self._all(1)

    def _all(self, arm: int) -> Early:
        both = [pair[arm] for pair in self.strata]
        return Early(sum(e.events for e in both), sum(e.patients for e in both))

    def fewer_by_chance(self, odds: float = 1.0) -> float:
        """Return the mid p value of so few early events among the treated.

        It is P(K < k) + P(K = k) / 2, with k the early events of the treated and K their number
        under a common odds ratio: the sum over the strata, in each of which it has Fisher's
        noncentral hypergeometric distribution given the margins (Gart, "Point and interval
        estimation of the common odds ratio in the combination of 2 x 2 tables with fixed
        marginals", Biometrika 1970). The exact p value would rarely reach its level with few events
        (Lancaster, "Significance tests in discrete distributions", JASA 1961).

        Args:
            odds: the common odds ratio of an early event, treated against untreated.
        """
        chance, least = np.ones(1), 0
        for treated, untreated in self.strata:
            counts, own = _noncentral(treated, untreated, odds)
            chance, least = np.convolve(chance, own), least + counts[0]
        seen = self.treated.events - least
        return float(chance[:seen].sum() + chance[seen] / 2)


def early_events(
    treated: Array, time: Array, event: Bools, landmark: float, stratum: Ints
) -> EarlyEvents:
    """Count the early events of the treated and of the untreated.

    Args:
        treated: (n,) 1, 0, or NaN for patients who are left out.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        landmark: month by which the treatment has begun in all who get it.
        stratum: (n,) stratum of each patient; negative for patients who are left out.
    """
    early = event & (time <= landmark)

    def count(arm: int, rows: Bools) -> Early:
        own = rows & (treated == arm)
        return Early(int((early & own).sum()), int(own.sum()))

    names = np.unique(stratum[stratum >= 0]).tolist()
    return EarlyEvents(tuple((count(1, stratum == s), count(0, stratum == s)) for s in names))


def strata(study: Study, values: Array) -> Ints:
    """Return the stratum (n,) of patients for whom the treatment is an option; -1 for all others.

    Strata are the combinations of levels, missing ones included, of the features that decide
    whether the treatment is an option; without such features, of those of the baseline ``stage``.
    Features without levels do not count. Both early events and treatment depend on the strata.

    Args:
        study: the study; without a treatment all patients get -1.
        values: (n, p) coded features.
    """
    if study.treatment is None:
        return np.full(len(values), -1)
    names = list(study.treatment.eligible) or list(study.baselines.get("stage", ()))
    position = {name: j for j, (name, f) in enumerate(study.features.items()) if f.levels}
    columns = values[:, [position[name] for name in names if name in position]]
    known = np.nan_to_num(columns, nan=-1.0)
    found = np.unique(known, axis=0, return_inverse=True)[1].reshape(-1)
    return np.where(is_option(study, values), found, -1)


def lowest_credible_hr(trials: TrialRange | None, late: Estimate) -> float:
    """Return the lowest credible hazard ratio of a treatment, at most 1.

    Args:
        trials: range of trials, whose lower end is returned; None if unknown.
        late: hazard ratio from the landmark on, free of immortal time. Without trials the lower end
            of its interval is returned, or 1 if that is NaN.
    """
    low = late.low if trials is None else trials.low
    return 1.0 if math.isnan(low) else min(low, 1.0)


def _noncentral(one: Early, other: Early, odds: float) -> tuple[range, Array]:
    """Return the possible counts of one group's events, with their probabilities."""
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
    return counts, chance / chance.sum()
