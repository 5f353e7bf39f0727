"""Harrell's and Uno's concordance index of predicted risk and event time.

The functions are O(n log n) and vectorised over patients. Only the order of `risk` counts, so any
increasing transform of it gives the same number. Pairs of exactly equal risk count one half;
scikit-survival also takes risks that differ by less than 1e-8 as equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.training.estimators.checks import (
    UndefinedMetricError,
    checked_finite,
    checked_outcome,
)
from accomplice.training.estimators.kaplan_meier import (
    Censoring,
    GroupedCensoring,
    inverse_censoring,
)


def harrell_c(event: Bools, time: Reals, risk: Reals) -> float:
    """Return Harrell's C: the share of comparable pairs whose earlier event had the higher risk.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
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
    weights = ranks.events()
    return _share(weights, ranks, ranks.lower([weights])[0][0])


class Concordances(NamedTuple):
    """Harrell's and Uno's concordance of the same patients."""

    harrell: float
    uno: float


def concordances(
    event: Bools, time: Reals, risk: Reals, censoring: Censoring, tau: float | None = None
) -> Concordances:
    """Return Harrell's and Uno's concordance from one ranking; NaN where one is undefined.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.
        censoring: distribution of the censoring time, as for `inverse_censoring`.
        tau: only events before this time count for Uno's C; by default all do.

    Returns:
        Harrell's as `harrell_c`; Uno's with weight 1 / (G(t) G'(t)) of a pair with its earlier
        event at t, where G and G' are the distributions of the two patients' censoring times: with
        one distribution, G(t)⁻² (Uno et al., "On the C-statistics for evaluating overall adequacy
        of risk prediction procedures with censored survival data", Stat Med 2011). Uno's is
        undefined without a comparable pair before tau, or where G is 0 at such an event.

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
    defined = ranks.weights(censoring, tau)
    favourable = iter(ranks.lower([each for each in defined if each])[0])
    return Concordances(
        *(_share(each, ranks, next(favourable)) if each else math.nan for each in defined)
    )


class Contributions(NamedTuple):
    """Patients' contributions (n,) to Harrell's and Uno's concordance, which are their means."""

    harrell: Array
    uno: Array


def concordance_contributions(
    event: Bools, time: Reals, risk: Reals, censoring: Censoring, tau: float | None = None
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
    counted = zip(*ranks.lower([each for each in defined if each], both=True), strict=True)
    found, n = [], ranks.event.size
    for each in defined:
        if each is None:
            found.append(np.full(n, np.nan))
            continue
        favourable, unfavourable = next(counted)
        longer = ranks.followed_longer(each.group)
        value, total = _share(each, ranks, favourable), _sum(each, longer)
        before = each.own(np.stack([ranks.before(weight) for weight in each.of_event]))
        moved = unfavourable - value * before
        for weight, right, all_longer in zip(each.of_event, favourable, longer, strict=True):
            moved += weight * (right - value * all_longer)
        found.append(value + moved * (n / total))
    return Contributions(*found)


@dataclass(frozen=True)
class _PairWeights:
    """Weights of comparable pairs, by the patient with the event and the group of the other."""

    of_event: Array
    """(g, n) weight of each patient's event in a pair with a patient of each group."""
    group: Ints
    """(n,) group of each patient."""

    def own(self, values: Array) -> Array:
        """Return of values (g, n) those of each patient's own group (n,)."""
        if len(values) == 1:
            return np.asarray(values[0])
        return np.asarray(values[self.group, np.arange(self.group.size)])


def _sum(weights: _PairWeights, of_event: Array) -> float:
    """Return the weighted sum of a number (g, n) of patients of each group, for each event."""
    return sum(float(w @ c) for w, c in zip(weights.of_event, of_event, strict=True))


def _share(weights: _PairWeights, ranks: _Ranks, favourable: Array) -> float:
    return _sum(weights, favourable) / _sum(weights, ranks.followed_longer(weights.group))


@dataclass(frozen=True)
class _Ranks:
    """Patients sorted so that those comparable to an event come after it."""

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
    ends: Ints
    """(n,) position in `order` of the first patient followed longer than each patient or, for an
    event, equally long but censored."""

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
        ends = np.empty(event.size, dtype=np.int64)
        ends[order] = _run_ends(group)
        return cls(event, time, order, group, by_risk, new_risk, ends)

    def followed_longer(self, group: Ints) -> Array:
        """Count for each patient those of each group (g, n) after `ends`."""
        if not group.any():
            return np.asarray((group.size - self.ends)[None])
        placed = group[self.order] == np.arange(group.max() + 1)[:, None]
        sums = np.pad(np.cumsum(placed, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
        return np.asarray(sums[:, -1:] - sums[:, self.ends])

    @cached_property
    def one_group(self) -> Ints:
        """(n,) label 0 of the group of all patients, in an array without memory of its own."""
        return np.broadcast_to(np.int64(0), self.ends.shape)

    def events(self) -> _PairWeights:
        """Return the weights of Harrell's C; raise UndefinedMetricError without a pair."""
        return self._checked(self.event.astype(np.float64)[None], self.one_group)

    def inverse_censoring(self, censoring: Censoring, tau: float | None) -> _PairWeights:
        """Return the weights of Uno's C; raise UndefinedMetricError where it is undefined."""
        early = self.time < (np.inf if tau is None else tau)
        counted = self.event & (self.ends < self.event.size) & early
        own = inverse_censoring(censoring, self.time, counted)
        if not isinstance(censoring, GroupedCensoring):
            return self._checked(own[None] ** 2, self.one_group)
        return self._checked(own * censoring.inverse_by_group(self.time), censoring.group)

    def weights(self, censoring: Censoring, tau: float | None) -> list[_PairWeights | None]:
        """Return the weights of Harrell's and of Uno's C, None for one that is undefined."""
        found: list[_PairWeights | None] = []
        for weights in (self.events, lambda: self.inverse_censoring(censoring, tau)):
            try:
                found.append(weights())
            except UndefinedMetricError:
                found.append(None)
        return found

    def _checked(self, of_event: Array, group: Ints) -> _PairWeights:
        found = _PairWeights(of_event, group)
        if _sum(found, self.followed_longer(group)) == 0:
            raise UndefinedMetricError(
                "no comparable pair: no patient with an event (before tau) whom another patient "
                "outlived"
            )
        return found

    def before(self, weight: Array) -> Array:
        """Sum for each patient (n,) the weights of those whose earlier event is comparable."""
        sums = np.concatenate(([0.0], np.cumsum(weight[self.order])))
        found = np.empty(self.event.size)
        found[self.order] = sums[_run_starts(self.group)]
        return found

    def lower(
        self, weights: Sequence[_PairWeights], *, both: bool = False
    ) -> tuple[list[Array], list[Array]]:
        """Count for each patient those followed longer at a lower risk; equal risks count one half.

        Args:
            weights: weights of pairs, 0 for the censored.
            both: whether the second of the results is computed, else it is empty.

        Returns:
            For each of ``weights`` the counts (g, n) of patients of each group, without meaning for
            the censored; and the sum (n,) of the weights over patients with an earlier event at a
            higher risk. Equal risks count one half.
        """
        n = self.event.size
        # Groups are the same for several weights: each is counted once.
        groupings = {id(each.group): each.group for each in weights}
        members = {
            key: [(group == k)[self.order] for k in range(group.max() + 1)]
            for key, group in groupings.items()
        }
        placed = [w[self.order] for each in weights for w in each.of_event] if both else []
        rank = np.empty(n, dtype=np.int64)
        rank[self.by_risk] = np.arange(n)
        inside = [member for found in members.values() for member in found]
        # Equal risks are ranked by place, and so is a group: neither counts as lower or higher.
        lower, higher = _crossings(rank, inside, placed)
        new_group = np.diff(_run_ends(self.group)[self.by_risk]) != 0
        new_either = self.new_risk | new_group

        def with_ties(
            crossed: Array, values: Sequence[NDArray[Any]], bounds: Callable[[Bools], Ints]
        ) -> Array:
            found = np.empty((len(values), n))
            near, far = bounds(new_either), bounds(self.new_risk)
            for made, own, value in zip(found, crossed, values, strict=True):
                sums = np.concatenate(([0.0], np.cumsum(value[self.by_risk])))
                tied = np.empty(n)
                tied[self.by_risk] = np.abs(sums[far] - sums[near])
                made[self.order] = own + 0.5 * tied
            return found

        ends = np.cumsum([len(each) for each in members.values()])
        favourable = np.split(with_ties(lower, inside, _run_ends), ends)[:-1]
        counts = dict(zip(members, favourable, strict=True))
        del lower, inside
        ends = np.cumsum([len(each.of_event) for each in weights])[:-1]
        unfavourable = np.split(with_ties(higher, placed, _run_starts), ends) if both else []
        sums = [each.own(found) for each, found in zip(weights, unfavourable, strict=False)]
        return [counts[id(each.group)] for each in weights], sums


def _run_ends(new: Bools) -> Ints:
    """Return for each position (n,) where its run ends, given where (n − 1,) a new one begins."""
    ends = np.append(np.flatnonzero(new), new.size) + 1
    return np.repeat(ends, np.diff(ends, prepend=0))


def _run_starts(new: Bools) -> Ints:
    """Return for each position (n,) where its run starts, given where (n − 1,) a new one begins."""
    starts = np.append(0, np.flatnonzero(new) + 1)
    return np.repeat(starts, np.diff(starts, append=new.size + 1))


def _crossings(
    rank: Ints, members: Sequence[Bools], weights: Sequence[Array]
) -> tuple[Array, Array]:
    """Count for each entry of a permutation of 0…n−1 the smaller entries after it.

    A radix sort from the highest bit: two entries are separated at the first bit in which they
    differ. There, within the block that agrees in all higher bits, the zeros after a one are
    counted, and the weights of the ones before a zero are summed.

    Args:
        rank: (n,) the permutation.
        members: m masks (n,) of the entries that are counted.
        weights: w arrays (n,), a weight of each entry.

    Returns:
        For each mask the counts (m, n), and for each array of weights its sum (w, n)
        over the larger entries before.
    """
    n = rank.size
    count, above = np.zeros((len(members), n)), np.zeros((len(weights), n))
    counted, by_rank = np.empty((len(members), n), dtype=bool), np.empty((len(weights), n))
    for ranked, values in zip((*counted, *by_rank), (*members, *weights), strict=True):
        ranked[rank] = values
    position = np.arange(n)
    entries = rank
    for bit in reversed(range((n - 1).bit_length())):
        zero = (entries >> bit) & 1 == 0
        zeros = np.concatenate(([0], np.cumsum(zero)))
        start = (entries >> (bit + 1)) << (bit + 1)
        middle = np.minimum(start + (1 << bit), n)
        end = np.minimum(start + (2 << bit), n)
        for total, ranked in zip(count, counted, strict=True):
            inside = np.concatenate(([0], np.cumsum(zero & ranked[entries])))
            total[entries] += np.where(zero, 0, inside[end] - inside[:-1])
        for total, ranked in zip(above, by_rank, strict=True):
            ones = np.concatenate(([0.0], np.cumsum(np.where(zero, 0.0, ranked[entries]))))
            total[entries] += np.where(zero, ones[:-1] - ones[start], 0.0)
        earlier_zeros = zeros[:-1] - zeros[start]
        target = np.where(zero, start + earlier_zeros, middle + position - start - earlier_zeros)
        moved = np.empty_like(entries)
        moved[target] = entries
        entries = moved
    return count[:, rank], above[:, rank]
