"""Harrell's and Uno's concordance index of predicted risk and event time.

The functions are O(n log n) and vectorised over patients. Only the order of `risk` counts, so any
increasing transform of it gives the same number. Pairs of exactly equal risk count one half;
scikit-survival also takes risks that differ by less than 1e-8 as equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.training.estimators.kaplan_meier import KaplanMeier, inverse_censoring
from accomplice.training.estimators.outcome import (
    UndefinedMetricError,
    checked_finite,
    checked_outcome,
)


def harrell_c(event: Bools, time: Reals, risk: Reals) -> float:
    """Return Harrell's C: the share of comparable pairs whose earlier event had the higher risk.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.

    Returns:
        Concordant pairs plus half of those tied in risk, over the comparable pairs. In these one
        patient has an event and the other was followed longer, or equally long but censored
        (Harrell, Lee and Mark, "Multivariable prognostic models", Stat Med 1996).

    Raises:
        UndefinedMetricError: no comparable pair.
        ValueError: as `checked_outcome`; a risk that is not finite or of another shape.

    Example:
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
        >>> round(harrell_c(event, time, np.array([3.0, 1.0, 2.0])), 4)
        0.6667
    """
    ranks = _Ranks.of(event, time, risk)
    return _share(ranks.events(), ranks.longer, ranks.lower()[0])


class Concordances(NamedTuple):
    """Harrell's and Uno's concordance of the same patients."""

    harrell: float
    uno: float


def concordances(
    event: Bools, time: Reals, risk: Reals, censoring: KaplanMeier, tau: float | None = None
) -> Concordances:
    """Return Harrell's and Uno's concordance from one ranking; NaN where one is undefined.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.
        censoring: KaplanMeier, from `kaplan_meier.censoring`.
        tau: only events before this time count for Uno's C; by default all do.

    Returns:
        Harrell's as `harrell_c`; Uno's with weight G(time)⁻² of each pair's earlier event (Uno et
        al., "On the C-statistics for evaluating overall adequacy of risk prediction procedures with
        censored survival data", Stat Med 2011). Uno's is undefined without a comparable pair
        before tau, or where G is 0 at such an event.

    Raises:
        ValueError: as `harrell_c`.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
        >>> weights = censoring(time, event)
        >>> found = concordances(event, time, np.array([3.0, 1.0, 2.0]), weights)
        >>> round(found.harrell, 4), round(found.uno, 4)
        (0.6667, 0.6667)
    """
    ranks = _Ranks.of(event, time, risk)
    favourable = ranks.lower()[0]
    return Concordances(
        *(
            math.nan if weight is None else _share(weight, ranks.longer, favourable)
            for weight in ranks.weights(censoring, tau)
        )
    )


class Contributions(NamedTuple):
    """Patients' contributions (n,) to Harrell's and Uno's concordance, which are their means."""

    harrell: Array
    uno: Array


def concordance_contributions(
    event: Bools, time: Reals, risk: Reals, censoring: KaplanMeier, tau: float | None = None
) -> Contributions:
    """Return each patient's contribution to both concordances; resampling then needs no ranking.

    C = N / D, where N and D sum N_ij and D_ij over the comparable pairs of a patient i, who has the
    event, and a patient j. If patient k counted m_k times, they would sum m_i m_j N_ij and
    m_i m_j D_ij. The derivative of C by m_k where all are 1 is k's influence

        ψ_k = (Σ_j N_kj + Σ_i N_ik − C (Σ_j D_kj + Σ_i D_ik)) / D,    Σ_k ψ_k = 0,

    and the contribution C + n ψ_k. To first order a bootstrap draw of C is the mean of the drawn
    rows' contributions, and the difference of two models' contributions is paired. This is the
    infinitesimal jackknife (Jaeckel, Bell Laboratories memorandum, 1972; Efron, The Jackknife, the
    Bootstrap and Other Resampling Plans, SIAM 1982, chapter 6). Its error, relative to the width of
    an interval, vanishes as events grow: widths agreed with the bootstrap's within 4 % with 40
    events among 20,000 patients, 3 % with 120 among 200, 1 % with 12,000 among 20,000.

    Arguments and ValueError are those of `concordances`; the censoring distribution is not
    resampled.

    Returns:
        Contributions (n,) to Harrell's and to Uno's C; NaN where that C is undefined.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
        >>> weights, risk = censoring(time, event), np.array([3.0, 1.0, 2.0])
        >>> parts = concordance_contributions(event, time, risk, weights).harrell
        >>> parts.round(4), round(float(parts.mean()), 4)
        (array([1.3333, 0.3333, 0.3333]), 0.6667)
    """
    ranks = _Ranks.of(event, time, risk)
    defined = ranks.weights(censoring, tau)
    favourable, unfavourable = ranks.lower([w for w in defined if w is not None])
    found, rest, n = [], iter(unfavourable), ranks.event.size
    for weight in defined:
        if weight is None:
            found.append(np.full(n, np.nan))
            continue
        value, total = _share(weight, ranks.longer, favourable), float(weight @ ranks.longer)
        concordant = weight * favourable + next(rest)
        comparable = weight * ranks.longer + ranks.before(weight)
        found.append(value + (concordant - value * comparable) * (n / total))
    return Contributions(*found)


def _share(weight: Array, longer: Ints, favourable: Array) -> float:
    return float(weight @ favourable) / float(weight @ longer)


@dataclass(frozen=True)
class _Ranks:
    """Patients sorted so that those comparable to an event stand after it."""

    event: Bools
    """(n,) as given."""
    time: Array
    """(n,) as given."""
    order: Ints
    """(n,) patients by time, at one time events before the censored, then by risk."""
    group: Bools
    """(n − 1,) whether the next patient in `order` has another time or another event status."""
    by_risk: Ints
    """(n,) positions in `order`, by rising risk; equal risks by position."""
    new_risk: Bools
    """(n − 1,) whether the next of `by_risk` has another risk."""
    longer: Ints
    """(n,) number followed longer or, for an event, equally long but censored."""

    @classmethod
    def of(cls, event: Bools, time: Reals, risk: Reals) -> _Ranks:
        """Sort n patients; raise ValueError as `harrell_c`."""
        event, time = checked_outcome(event, time)
        risk = checked_finite("risk", risk, event.shape)
        order = np.lexsort((risk, ~event, time))
        e, t, r = event[order], time[order], risk[order]
        group = (t[1:] != t[:-1]) | (e[1:] != e[:-1])
        by_risk = np.argsort(r, kind="stable")
        new_risk = r[by_risk][1:] != r[by_risk][:-1]
        longer = np.empty(event.size, dtype=np.int64)
        longer[order] = event.size - _run_ends(group)
        return cls(event, time, order, group, by_risk, new_risk, longer)

    def events(self) -> Array:
        """Return the weights (n,) of Harrell's C; raise UndefinedMetricError without a pair."""
        return self._checked(self.event.astype(np.float64))

    def inverse_censoring(self, censoring: KaplanMeier, tau: float | None) -> Array:
        """Return the weights (n,) of Uno's C; raise UndefinedMetricError where it is undefined."""
        early = self.time < (np.inf if tau is None else tau)
        counted = self.event & (self.longer > 0) & early
        return self._checked(inverse_censoring(censoring, self.time, counted) ** 2)

    def weights(self, censoring: KaplanMeier, tau: float | None) -> list[Array | None]:
        """Return the weights (n,) of Harrell's and of Uno's C, None for one that is undefined."""
        found: list[Array | None] = []
        for weigh in (self.events, lambda: self.inverse_censoring(censoring, tau)):
            try:
                found.append(weigh())
            except UndefinedMetricError:
                found.append(None)
        return found

    def _checked(self, weight: Array) -> Array:
        if weight @ self.longer == 0:
            raise UndefinedMetricError(
                "no comparable pair: no patient with an event (before tau) whom another patient "
                "outlived"
            )
        return weight

    def before(self, weight: Array) -> Array:
        """Sum for each patient (n,) the weights of those whose earlier event is comparable."""
        sums = np.concatenate(([0.0], np.cumsum(weight[self.order])))
        found = np.empty(self.event.size)
        found[self.order] = sums[_run_starts(self.group)]
        return found

    def lower(self, weights: Sequence[Array] = ()) -> tuple[Array, Array]:
        """Count for each patient those followed longer at a lower risk; equal risks count one half.

        Args:
            weights: w arrays (n,), 0 for the censored.

        Returns:
            Counts (n,), without meaning for the censored; and for each array of weights the sum
            (w, n) over patients with an earlier event at a higher risk; equal risks count one half.
        """
        n = self.event.size
        placed = [weight[self.order] for weight in weights]
        rank = np.empty(n, dtype=np.int64)
        rank[self.by_risk] = np.arange(n)
        # Equal risks are ranked by place, and so is a group: neither counts as lower or higher.
        lower, higher = _crossings(rank, placed)
        new_group = np.diff(_run_ends(self.group)[self.by_risk]) != 0
        new_either = self.new_risk | new_group
        tied = np.empty(n, dtype=np.int64)
        tied[self.by_risk] = _run_ends(self.new_risk) - _run_ends(new_either)
        favourable, unfavourable = np.empty(n), np.empty((len(placed), n))
        favourable[self.order] = lower + 0.5 * tied
        for found, above, weight in zip(unfavourable, higher, placed, strict=True):
            sums = np.concatenate(([0.0], np.cumsum(weight[self.by_risk])))
            equal = np.empty(n)
            equal[self.by_risk] = sums[_run_starts(new_either)] - sums[_run_starts(self.new_risk)]
            found[self.order] = above + 0.5 * equal
        return favourable, unfavourable


def _run_ends(new: Bools) -> Ints:
    """Return for each position (n,) where its run ends, given where (n − 1,) a new one begins."""
    ends = np.append(np.flatnonzero(new), new.size) + 1
    return np.repeat(ends, np.diff(ends, prepend=0))


def _run_starts(new: Bools) -> Ints:
    """Return for each position (n,) where its run starts, given where (n − 1,) a new one begins."""
    starts = np.append(0, np.flatnonzero(new) + 1)
    return np.repeat(starts, np.diff(starts, append=new.size + 1))


def _crossings(rank: Ints, weights: Sequence[Array]) -> tuple[Ints, Array]:
    """Count for each entry of a permutation of 0…n−1 the smaller entries after it.

    A radix sort from the highest bit: two entries part at the first bit in which they differ,
    and there, within the block that agrees above it, the zeros after a one are counted, and the
    ones before a zero weighed.

    Args:
        rank: (n,) the permutation.
        weights: w arrays (n,), a weight of each entry.

    Returns:
        Counts (n,), and for each array of weights its sum (w, n) over the larger entries before.
    """
    n = rank.size
    count, above = np.zeros(n, dtype=np.int64), np.zeros((len(weights), n))
    by_rank = np.empty((len(weights), n))
    for ranked, weight in zip(by_rank, weights, strict=True):
        ranked[rank] = weight
    position = np.arange(n)
    entries = rank
    for bit in reversed(range((n - 1).bit_length())):
        zero = (entries >> bit) & 1 == 0
        zeros = np.concatenate(([0], np.cumsum(zero)))
        start = (entries >> (bit + 1)) << (bit + 1)
        middle = np.minimum(start + (1 << bit), n)
        end = np.minimum(start + (2 << bit), n)
        count[entries] += np.where(zero, 0, zeros[end] - zeros[:-1])
        for total, ranked in zip(above, by_rank, strict=True):
            ones = np.concatenate(([0.0], np.cumsum(np.where(zero, 0.0, ranked[entries]))))
            total[entries] += np.where(zero, ones[:-1] - ones[start], 0.0)
        earlier_zeros = zeros[:-1] - zeros[start]
        target = np.where(zero, start + earlier_zeros, middle + position - start - earlier_zeros)
        moved = np.empty_like(entries)
        moved[target] = entries
        entries = moved
    return count[rank], above[:, rank]
