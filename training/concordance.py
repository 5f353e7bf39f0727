"""Does a higher risk meet the event earlier? Concordance and time-dependent AUC.

All are O(n log n) and vectorised over patients. Only the order of `risk` counts, so any monotone
transform of it gives the same number; risks that are exactly equal count one half (scikit-survival
lets them differ by 1e-8).
"""

from __future__ import annotations

import numpy as np

from training.metrics import (
    Bools,
    Floats,
    Ints,
    KaplanMeier,
    Reals,
    UndefinedMetricError,
    checked_finite,
    checked_outcome,
    checked_times,
    inverse_censoring,
)


def harrell_c(event: Bools, time: Reals, risk: Reals) -> float:
    """Tell how often, of two patients, the one with the earlier event had the higher risk.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.

    Returns:
        Concordant pairs plus half of those tied in risk, over the comparable pairs: one has
        an event, the other was followed longer, or equally long but censored (Harrell 1996).

    Raises:
        UndefinedMetricError: no comparable pair.
        ValueError: as `checked_outcome`; a risk that is not finite or of another shape.
    """
    event, time = checked_outcome(event, time)
    longer, favourable = _pairs(event, time, checked_finite("risk", risk, event.shape))
    return _share(event.astype(np.float64), longer, favourable)


def uno_c(
    event: Bools, time: Reals, risk: Reals, censoring: KaplanMeier, tau: float | None = None
) -> float:
    """Weigh each pair of `harrell_c` by the inverse probability that it was not censored.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.
        censoring: KaplanMeier, from `training.metrics.censoring`.
        tau: only events before this time count; by default all do.

    Returns:
        As `harrell_c` with weight G(time)⁻² of the earlier event (Uno et al. 2011).

    Raises:
        UndefinedMetricError: no comparable pair before tau, or an event in one where G is 0:
            lower tau.
        ValueError: as `harrell_c`.
    """
    event, time = checked_outcome(event, time)
    longer, favourable = _pairs(event, time, checked_finite("risk", risk, event.shape))
    counted = event & (longer > 0) & (time < (np.inf if tau is None else tau))
    return _share(inverse_censoring(censoring, time, counted) ** 2, longer, favourable)


def _share(weight: Floats, longer: Ints, favourable: Floats) -> float:
    total = float(weight @ longer)
    if total == 0:
        raise UndefinedMetricError(
            "no comparable pair: nobody with an event (before tau) whom another patient outlived"
        )
    return float(weight @ favourable) / total


def _pairs(event: Bools, time: Floats, risk: Floats) -> tuple[Ints, Floats]:
    """Count, for each patient (n,), who was followed longer, and who of them had a lower risk.

    Ties in risk count one half. Rows of censored patients mean nothing.
    """
    n = event.size
    # Within a tied time events come first, so whoever is comparable to an event stands later.
    order = np.lexsort((risk, ~event, time))
    event, time, risk = event[order], time[order], risk[order]
    group_end = _run_ends((time[1:] != time[:-1]) | (event[1:] != event[:-1]))
    by_risk = np.argsort(risk, kind="stable")
    rank = np.empty(n, dtype=np.int64)
    rank[by_risk] = np.arange(n)
    # Equal risks are ranked in the order of position, and so is a group: neither counts as lower.
    lower = _lower_later(rank)
    new_risk = risk[by_risk][1:] != risk[by_risk][:-1]
    new_group = np.diff(group_end[by_risk]) != 0
    tied = np.empty(n, dtype=np.int64)
    tied[by_risk] = _run_ends(new_risk) - _run_ends(new_risk | new_group)
    longer, favourable = np.empty(n, dtype=np.int64), np.empty(n)
    longer[order] = n - group_end
    favourable[order] = lower + 0.5 * tied
    return longer, favourable


def _run_ends(new: Bools) -> Ints:
    """Return for each position (n,) where its run ends, given where (n − 1,) a new one begins."""
    ends = np.append(np.flatnonzero(new), new.size) + 1
    return np.repeat(ends, np.diff(ends, prepend=0))


def _lower_later(rank: Ints) -> Ints:
    """Count for each entry of a permutation of 0…n−1 the smaller entries after it.

    A radix sort from the highest bit: two entries part at the first bit in which they differ,
    and there, within the block that agrees above it, the zeros after a one are counted.
    """
    n = rank.size
    count = np.zeros(n, dtype=np.int64)
    position = np.arange(n)
    entries = rank
    for bit in reversed(range((n - 1).bit_length())):
        zero = (entries >> bit) & 1 == 0
        zeros = np.concatenate(([0], np.cumsum(zero)))
        start = (entries >> (bit + 1)) << (bit + 1)
        middle = np.minimum(start + (1 << bit), n)
        end = np.minimum(start + (2 << bit), n)
        count[entries] += np.where(zero, 0, zeros[end] - zeros[:-1])
        earlier_zeros = zeros[:-1] - zeros[start]
        target = np.where(zero, start + earlier_zeros, middle + position - start - earlier_zeros)
        moved = np.empty_like(entries)
        moved[target] = entries
        entries = moved
    return count[rank]


def cumulative_dynamic_auc(
    event: Bools, time: Reals, risk: Reals, times: Reals, censoring: KaplanMeier
) -> Floats:
    """Tell how well risk parts those with an event by a time from those followed beyond it.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,) or (n, t), predicted risk, higher is worse; one for all times, or one for
            each.
        times: (t,), rising.
        censoring: KaplanMeier, from `training.metrics.censoring`.

    Returns:
        AUC (t,): Σ over cases i, controls j of (1[risk_i > risk_j] + ½ 1[risk_i = risk_j]) /
        G(time_i), over controls · Σ 1 / G(time_i) (Uno et al. 2007; Hung & Chiang 2010).

    Raises:
        UndefinedMetricError: at some time there is no case or no control, or a case has G = 0.
        ValueError: as `harrell_c`; times that do not rise.
    """
    event, time = checked_outcome(event, time)
    times = checked_times(times)
    by_time = np.ndim(risk) == 2
    risk = checked_finite("risk", risk, (event.size, times.size) if by_time else event.shape)
    weight = inverse_censoring(censoring, time, event & (time <= times[-1]))
    auc = np.empty(times.size)
    for column, instant in enumerate(times):
        if by_time or column == 0:
            rank = np.unique(risk[:, column] if by_time else risk, return_inverse=True)[1]
        case, control = event & (time <= instant), time > instant
        if not case.any() or not control.any():
            raise UndefinedMetricError(
                f"no AUC at {instant:g}: {np.count_nonzero(case)} patients with an event by then, "
                f"{np.count_nonzero(control)} followed beyond; choose other times"
            )
        tied = np.bincount(rank[control], minlength=event.size)
        favourable = (np.cumsum(tied) - 0.5 * tied)[rank[case]]
        auc[column] = weight[case] @ favourable / (weight[case].sum() * np.count_nonzero(control))
    return auc


def mean_auc(auc: Reals, times: Reals, survival: KaplanMeier) -> float:
    """Average `cumulative_dynamic_auc` over the times at which patients have their events.

    Args:
        auc: (t,), from and for `cumulative_dynamic_auc`.
        times: (t,), from and for `cumulative_dynamic_auc`.
        survival: KaplanMeier, of the judged patients.

    Returns:
        Σ auc(t_k) (S(t_{k−1}) − S(t_k)) / (1 − S(t_last)), as scikit-survival (Lambert &
        Chevret 2016).

    Raises:
        UndefinedMetricError: no event by the last time.
        ValueError: shapes that differ, times that do not rise.
    """
    times = checked_times(times)
    auc = checked_finite("auc", auc, times.shape)
    drop = -np.diff(survival.at(times), prepend=1.0)
    if drop.sum() <= 0:
        raise UndefinedMetricError(f"no mean AUC: no event by {times[-1]:g}")
    return float(auc @ drop / drop.sum())
