"""Slow or plain forms of metrics and intervals, which the product's are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.training.estimators.intervals import percentile_interval, resamples
from accomplice.training.estimators.kaplan_meier import KaplanMeier, inverse_censoring
from accomplice.training.estimators.outcome import (
    UndefinedMetricError,
    checked_finite,
    checked_outcome,
    checked_times,
)
from accomplice.training.metrics.brier import brier_contributions, time_average
from accomplice.training.metrics.concordance import _Ranks, _share


def uno_c(
    event: Bools, time: Reals, risk: Reals, censoring: KaplanMeier, tau: float | None = None
) -> float:
    """Weigh each pair of `harrell_c` by the inverse probability that it was not censored.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,), predicted risk, higher is worse.
        censoring: KaplanMeier, from `kaplan_meier.censoring`.
        tau: only events before this time count; by default all do.

    Returns:
        As `harrell_c` with weight G(time)⁻² of the earlier event (Uno et al. 2011).

    Raises:
        UndefinedMetricError: no comparable pair before tau, or an event in one where G is 0:
            lower tau.
        ValueError: as `harrell_c`.
    """
    ranks = _Ranks.of(event, time, risk)
    return _share(ranks.inverse_censoring(censoring, tau), ranks.longer, ranks.lower()[0])


def brier_score(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: KaplanMeier
) -> Array:
    """Return the mean (t,) over patients of `brier_contributions`."""
    return brier_contributions(event, time, survival, times, censoring).mean(axis=0)


def integrated_brier_score(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: KaplanMeier
) -> float:
    """Average `brier_score` over `times`."""
    return float(time_average(brier_score(event, time, survival, times, censoring), times))


def cumulative_dynamic_auc(
    event: Bools, time: Reals, risk: Reals, times: Reals, censoring: KaplanMeier
) -> Array:
    """Tell how well risk parts those with an event by a time from those followed beyond it.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        risk: (n,) or (n, t), predicted risk, higher is worse; one for all times, or one for
            each.
        times: (t,), rising.
        censoring: KaplanMeier, from `kaplan_meier.censoring`.

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


def bootstrap_interval(
    statistic: Callable[[Ints], float], n: int, draws: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Bound a statistic by the percentiles of its bootstrap draws.

    For a paired difference, let `statistic` score both models on the same rows and subtract.

    Args:
        statistic: the statistic of the patients in the rows (n,) int.
        n: patients.
        draws: resamples.
        seed: the same seed gives the same rows, whatever the statistic.
        level: coverage.

    Returns:
        The (1 ± level) / 2 quantiles over the draws (Efron & Tibshirani 1993).

    Raises:
        UndefinedMetricError: the statistic was undefined or NaN in more than a tenth of the
            draws; up to that, such draws are left out.
        ValueError: n or draws below 1, or a level outside (0, 1).
    """
    if n < 1 or draws < 1 or not 0 < level < 1:
        raise ValueError(f"need n and draws > 0, 0 < level < 1; got {n=}, {draws=}, {level=}")
    values = []
    for rows in resamples(n, draws, seed):
        try:
            values.append(statistic(rows))
        except UndefinedMetricError:
            values.append(np.nan)
    return percentile_interval(np.array(values), level)
