"""Censored outcomes: Kaplan–Meier, the censoring distribution, Brier scores, bootstrap intervals.

Ranks are judged in `metrics.concordance`, calibration in `metrics.calibration`. Every function
takes and returns arrays. Arrays of patients share one order; `time` and `times` share one unit.
The censoring distribution is an object handed in, so that a whole evaluation, its bootstrap
draws included, weighs with the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Reals: TypeAlias = NDArray[np.floating[Any]]


class UndefinedMetricError(ValueError):
    """These patients do not determine the metric; a bootstrap draw may meet it by chance."""


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def checked_outcome(event: Bools, time: Reals) -> tuple[Bools, Floats]:
    """Refuse an outcome that no metric could use.

    Args:
        event: (n,) bool, True where the event was seen, False where the patient was censored.
        time: (n,), time of the event or of censoring.

    Returns:
        Event (n,) bool and time (n,) float64.

    Raises:
        ValueError: no patients, unequal lengths, an event that is not boolean, a time that is
            not finite.
    """
    event, time = np.asarray(event), np.asarray(time)
    # The dtype is also what tells `event` from `time` when a caller swaps the two.
    if event.dtype != np.bool_:
        raise ValueError(f"event must be boolean, got {event.dtype}: pass event.astype(bool)")
    if event.ndim != 1 or event.shape != time.shape or not event.size:
        raise ValueError(
            f"event and time must be (n,) with n > 0, got shapes {event.shape} and {time.shape}"
        )
    return event, checked_finite("time", time, event.shape)


def checked_finite(name: str, values: Reals, shape: tuple[int, ...]) -> Floats:
    """Return `values` as float64, or say what is wrong with them.

    Args:
        name: what the error text calls them.
        values: `shape`, the numbers to check.
        shape: the shape they must have.

    Returns:
        The values, float64.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {numbers.shape}")
    if bad := int(np.count_nonzero(~np.isfinite(numbers))):
        raise ValueError(f"{name} must be finite, got {bad} of {numbers.size} that are not")
    return numbers


def checked_survival(name: str, survival: Reals, shape: tuple[int, ...]) -> Floats:
    """Return `survival` as float64 in [0, 1], or say what is wrong as `checked_finite` does."""
    numbers = checked_finite(name, survival, shape)
    if bad := int(np.count_nonzero((numbers < 0) | (numbers > 1))):
        raise ValueError(f"{name} must lie in [0, 1], got {bad} of {numbers.size} outside")
    return numbers


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """A right-continuous step curve from 1, with Greenwood's variance of its logarithm.

    Attributes:
        times: (k,), the distinct observed times, rising.
        survival: (k,), the curve from each of these times on.
        variance: (k,), variance of log survival, Σ d / (Y (Y − d)); infinite where the curve is
            0.
    """

    times: Floats
    survival: Floats
    variance: Floats

    @classmethod
    def fit(cls, time: Reals, event: Bools) -> KaplanMeier:
        """Estimate the survival curve; at a tied time, events come before censoring.

        Args:
            time: (n,), time of the event or of censoring.
            event: (n,) bool, True where the event was seen, False where censored.

        Returns:
            S(t) = Π over u ≤ t of 1 − d(u) / Y(u), of d events among Y at risk (Kaplan & Meier
            1958).

        Raises:
            ValueError: as `checked_outcome`.
        """
        times, events, _, at_risk = _counts(time, event)
        return cls._product_limit(times, events, at_risk)

    @classmethod
    def _product_limit(cls, times: Floats, leave: Floats, at_risk: Floats) -> KaplanMeier:
        ratio = np.divide(leave, at_risk, out=np.zeros_like(leave), where=leave > 0)
        stay = at_risk - leave
        step = np.divide(ratio, stay, out=np.zeros_like(leave), where=stay > 0)
        step[(leave > 0) & (stay == 0)] = np.inf
        return cls(times, np.cumprod(1 - ratio), np.cumsum(step))

    @property
    def last(self) -> float:
        """The longest follow-up; past it the curve carries its last value and is a guess."""
        return float(self.times[-1])

    def at(self, times: Reals | float) -> Floats:
        """Read the curve at `times` (any shape), as S(t)."""
        return self._read(self.survival, 1.0, times, "right")

    def before(self, times: Reals | float) -> Floats:
        """Read the curve just before `times` (any shape), as S(t−)."""
        return self._read(self.survival, 1.0, times, "left")

    def interval(self, times: Reals | float, level: float = 0.95) -> tuple[Floats, Floats]:
        """Bound the curve point by point.

        Args:
            times: any shape, where to read it.
            level: coverage.

        Returns:
            Low and high, each of the shape of `times`: S^exp(±z √variance / log S), the log-log
            interval of Kalbfleisch & Prentice; NaN where the curve is 0 or 1, which it does not
            bound.
        """
        survival = self.at(times)
        deviation = np.sqrt(self._read(self.variance, 0.0, times, "right"))
        inside = (survival > 0) & (survival < 1)
        log = np.log(np.where(inside, survival, 0.5))
        spread = NormalDist().inv_cdf(0.5 + level / 2) * np.where(inside, deviation, 0) / -log
        low, high = np.exp(np.exp(spread) * log), np.exp(np.exp(-spread) * log)
        return np.where(inside, low, np.nan), np.where(inside, high, np.nan)

    def _read(
        self, values: Floats, start: float, times: Reals | float, side: Literal["left", "right"]
    ) -> Floats:
        index = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side=side)
        # Not by a copy with `start` in front: whoever reads a few times would pay for the curve.
        found = np.where(index > 0, values[np.maximum(index - 1, 0)], start)
        return np.asarray(found, dtype=np.float64)


def censoring(time: Reals, event: Bools) -> KaplanMeier:
    """Estimate the distribution of the censoring time, for inverse probability weights.

    Args:
        time: (n,), time of the event or of censoring.
        event: (n,) bool, True where the event was seen, False where censored.

    Returns:
        G(t) = Π over u ≤ t of 1 − c(u) / (Y(u) − d(u)): those with an event at u have
        left the risk set before the c(u) censored there. The convention of scikit-survival.

    Raises:
        ValueError: as `checked_outcome`.
    """
    times, events, censored, at_risk = _counts(time, event)
    return KaplanMeier._product_limit(times, censored, at_risk - events)


def _counts(time: Reals, event: Bools) -> tuple[Floats, Floats, Floats, Floats]:
    event, time = checked_outcome(event, time)
    times, index = np.unique(time, return_inverse=True)
    total = np.bincount(index).astype(np.float64)
    events = np.bincount(index, weights=event).astype(np.float64)
    at_risk = event.size - np.cumsum(total) + total
    return times, events, total - events, at_risk


def inverse_censoring(censoring: KaplanMeier, time: Floats, needed: Bools) -> Floats:
    """Weigh those who were seen for those whom censoring hid.

    Args:
        censoring: KaplanMeier, from `censoring`.
        time: (n,), times at which the patients were seen.
        needed: (n,) bool, who enters the metric.

    Returns:
        Weights (n,): 1 / G(time) where needed, else 0.

    Raises:
        UndefinedMetricError: G is 0, or past its follow-up, at a needed time.
    """
    probability = censoring.at(time)
    hidden = needed & ((probability <= 0) | (time > censoring.last))
    if count := int(np.count_nonzero(hidden)):
        raise UndefinedMetricError(
            f"inverse censoring weights are undefined at {count} of the needed times: in the "
            f"censoring distribution nobody was followed that long (it ends at "
            f"{censoring.last:g}). Truncate earlier: a smaller tau or smaller times"
        )
    return np.divide(1.0, probability, out=np.zeros_like(probability), where=needed)


def checked_times(times: Reals) -> Floats:
    """Return `times` (t,) as float64; raise ValueError unless they rise and are finite."""
    instants = checked_finite("times", times, (np.size(times),))
    if not instants.size or (np.diff(instants) <= 0).any():
        raise ValueError("times must rise strictly and hold at least one time")
    return instants


def brier_contributions(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: KaplanMeier
) -> Floats:
    """Score each patient's predicted survival at each time.

    Their mean over patients is `brier_score`, over a resample of rows a bootstrap draw of it,
    and the difference of two models' contributions is paired.

    Args:
        event: (n,) bool, True where the event was seen, False where censored.
        time: (n,), time of the event or of censoring.
        survival: (n, t), predicted probability to be event-free after each of `times`.
        times: (t,), rising.
        censoring: KaplanMeier, from `censoring`.

    Returns:
        Contributions (n, t): S(t)² / G(time) with an event by t, (1 − S(t))² / G(t) where
        followed beyond t, 0 where censored by t (Graf et al. 1999).

    Raises:
        UndefinedMetricError: as `inverse_censoring`.
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape; times
            that do not rise.
    """
    contributions = np.empty(np.shape(survival))
    for column, scores in enumerate(_brier_columns(event, time, survival, times, censoring)):
        contributions[:, column] = scores
    return contributions


def brier_score(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: KaplanMeier
) -> Floats:
    """Score predicted survival at each time: 0 is perfect, a constant 0.5 gets 0.25.

    Parameters, errors and formula are those of `brier_contributions`.

    Returns:
        Scores (t,).
    """
    columns = _brier_columns(event, time, survival, times, censoring)
    return np.array([scores.mean() for scores in columns])


def _brier_columns(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: KaplanMeier
) -> Iterator[Floats]:
    """Yield the contributions (n,) of one time after the other, to hold no second (n, t)."""
    event, time = checked_outcome(event, time)
    times = checked_times(times)
    survival = checked_survival("survival", survival, (event.size, times.size))
    case_weight = inverse_censoring(censoring, time, event & (time <= times[-1]))
    # Everybody followed beyond one of the times has the same weight there.
    control_weight = inverse_censoring(censoring, times, times < time.max())
    for column, (instant, one) in enumerate(zip(times, control_weight, strict=True)):
        control = time > instant
        predicted = survival[:, column]
        yield np.where(control, (1 - predicted) ** 2 * one, predicted**2 * case_weight)


def time_average(values: Reals, times: Reals) -> Floats:
    """Average over time by the trapezoid rule.

    Args:
        values: (…, t), such as `brier_contributions`, to get integrated scores by patient.
        times: (t,), rising, at least two.

    Returns:
        Average (…): ∫ values dt / (times[-1] − times[0]).

    Raises:
        ValueError: fewer than two times, or times that do not rise.
    """
    times = checked_times(times)
    if times.size < 2:
        raise ValueError("an average over time needs two times or more, got one")
    return np.asarray(np.trapezoid(values, times, axis=-1) / (times[-1] - times[0]))


def integrated_brier_score(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: KaplanMeier
) -> float:
    """Average `brier_score` over `times`, by `time_average`; parameters and errors are theirs."""
    return float(time_average(brier_score(event, time, survival, times, censoring), times))


def bootstrap_interval(
    statistic: Callable[[Ints], float], n: int, draws: int, seed: int, level: float = 0.95
) -> Interval:
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


def resamples(n: int, draws: int, seed: int) -> Iterator[Ints]:
    """Yield the rows (n,) of each bootstrap draw; the same seed gives the same rows."""
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield generator.integers(0, n, n)


def percentile_interval(values: Floats, level: float = 0.95) -> Interval:
    """Do as `bootstrap_interval` from the statistic's values (draws,), NaN where undefined.

    The ends are the (draws + 1) p-th ordered values, between two of them in proportion (Davison &
    Hinkley, Bootstrap Methods and their Application, 1997, section 5.2.1).

    Raises:
        UndefinedMetricError: as `bootstrap_interval`.
    """
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * values.size:
        raise UndefinedMetricError(
            f"the statistic is undefined in {values.size - defined.size} of {values.size} "
            "bootstrap draws: too few patients or events for an interval"
        )
    # Of b draws the k-th lies beyond k / (b + 1) of the distribution: plain quantiles, between the
    # first and the last at their places among b − 1, would make 95 % of 200 draws a 94 % interval.
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(defined, ends, method="weibull")
    return Interval(float(low), float(high))
