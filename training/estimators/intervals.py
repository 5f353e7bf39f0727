"""Values with their intervals, and bootstrap percentile intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.training.estimators.outcome import UndefinedMetricError


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


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


def percentile_interval(values: Array, level: float = 0.95) -> Interval:
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


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval; NaN where the patients do not determine it."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> dict[str, float | None]:
        """Return it as plain data, undefined figures as null."""
        return {k: known(v) for k, v in vars(self).items()}


def estimate(figures: Array) -> Estimate:
    """Estimate a figure from its value for all patients and for each bootstrap draw (1 + d,)."""
    if np.isnan(figures[0]):
        return Estimate(math.nan)
    try:
        return Estimate(float(figures[0]), *percentile_interval(figures[1:]))
    except UndefinedMetricError:
        return Estimate(math.nan)


def or_nan(compute: Callable[[], float]) -> float:
    """Return a figure, or NaN where the patients do not determine it."""
    try:
        return compute()
    except UndefinedMetricError:
        return math.nan


def known(value: float) -> float | None:
    """Return a figure as JSON has it: null where it is undefined."""
    return float(value) if math.isfinite(value) else None


class ChiSquare(NamedTuple):
    """A chi-square statistic and its upper tail."""

    statistic: float
    p_value: float


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return P(χ² > statistic) by the finite series for whole degrees (Abramowitz 26.4.4–5)."""
    half = statistic / 2
    if half == 0:
        return 1.0
    tail = math.erfc(math.sqrt(half)) if degrees % 2 else 0.0
    for power in np.arange(0.5 if degrees % 2 else 0.0, degrees / 2):
        tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(tail, 1.0)
