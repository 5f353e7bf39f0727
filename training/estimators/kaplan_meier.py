"""Kaplan-Meier and Nelson-Aalen estimators, the censoring distribution, and IPC weights."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from accomplice.data.arrays import Array, Bools, Reals
from accomplice.data.cells.rounding import round_off
from accomplice.training.estimators.outcome import UndefinedMetricError, checked_outcome


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """A right-continuous step curve from 1, with Greenwood's variance of its logarithm.

    Attributes:
        times: (k,), the distinct observed times, rising.
        survival: (k,), the curve from each of these times on.
        variance: (k,), variance of log survival, Σ d / (Y (Y − d)); infinite where the curve is
            0.
    """

    times: Array
    survival: Array
    variance: Array

    @classmethod
    def fit(cls, time: Reals, event: Bools) -> KaplanMeier:
        """Estimate the survival curve; at a tied time, events come before censoring.

        Args:
            time: (n,), time of the event or of censoring.
            event: (n,) bool, True where the event was seen, False where censored.

        Returns:
            S(t) = Π over u ≤ t of 1 − d(u) / Y(u), with d events among Y at risk (Kaplan & Meier,
            "Nonparametric estimation from incomplete observations", JASA 1958).

        Raises:
            ValueError: as `checked_outcome`.
        """
        times, events, _, at_risk = _counts(time, event)
        return cls._product_limit(times, events, at_risk)

    @classmethod
    def _product_limit(cls, times: Array, leave: Array, at_risk: Array) -> KaplanMeier:
        """Return the curve of times (k,) from the numbers who leave (k,) and are at risk (k,)."""
        ratio = np.divide(leave, at_risk, out=np.zeros_like(leave), where=leave > 0)
        stay = at_risk - leave
        step = np.divide(ratio, stay, out=np.zeros_like(leave), where=stay > 0)
        step[(leave > 0) & (stay == 0)] = np.inf
        return cls(times, np.cumprod(1 - ratio), np.cumsum(step))

    @property
    def last(self) -> float:
        """Longest follow-up; beyond it the curve keeps its last value."""
        return float(self.times[-1])

    def at(self, times: Reals | float) -> Array:
        """Read the curve at `times` (any shape), as S(t)."""
        return self._read(self.survival, 1.0, times, "right")

    def before(self, times: Reals | float) -> Array:
        """Read the curve just before `times` (any shape), as S(t−)."""
        return self._read(self.survival, 1.0, times, "left")

    def interval(self, times: Reals | float, level: float = 0.95) -> tuple[Array, Array]:
        """Bound the curve point by point.

        Args:
            times: times at which the curve is read, of any shape.
            level: coverage.

        Returns:
            Low and high, each of the shape of `times`: S^exp(±z √variance / log S), the log-log
            interval (Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data, 1980);
            NaN where S is 0 or 1, for which it is undefined.
        """
        survival = self.at(times)
        deviation = np.sqrt(self._read(self.variance, 0.0, times, "right"))
        inside = (survival > 0) & (survival < 1)
        log = np.log(np.where(inside, survival, 0.5))
        spread = NormalDist().inv_cdf(0.5 + level / 2) * np.where(inside, deviation, 0) / -log
        low, high = np.exp(np.exp(spread) * log), np.exp(np.exp(-spread) * log)
        return np.where(inside, low, np.nan), np.where(inside, high, np.nan)

    def _read(
        self, values: Array, start: float, times: Reals | float, side: Literal["left", "right"]
    ) -> Array:
        """Return step values (k,), `start` before the first, at or just before `times`."""
        index = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side=side)
        # A copy of the values with `start` in front would cost more than to read a few times.
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

    Example:
        >>> time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False])
        >>> censoring(time, event).survival.round(4)
        array([1.    , 0.6667, 0.6667, 0.    ])
    """
    times, events, censored, at_risk = _counts(time, event)
    return KaplanMeier._product_limit(times, censored, at_risk - events)


def _counts(time: Reals, event: Bools) -> tuple[Array, Array, Array, Array]:
    """Return the distinct times and the events, censored and patients at risk at each (k,)."""
    event, time = checked_outcome(event, time)
    times, index = np.unique(time, return_inverse=True)
    total = np.bincount(index).astype(np.float64)
    events = np.bincount(index, weights=event).astype(np.float64)
    at_risk = event.size - np.cumsum(total) + total
    return times, events, total - events, at_risk


def inverse_censoring(censoring: KaplanMeier, time: Array, needed: Bools) -> Array:
    """Return inverse probability of censoring weights (IPCW).

    Args:
        censoring: distribution of the censoring time, from `censoring`.
        time: (n,), time at which each patient's weight is taken.
        needed: (n,) bool, whether the metric needs the patient's weight.

    Returns:
        Weights (n,): 1 / G(time) where needed, else 0.

    Raises:
        UndefinedMetricError: at a needed time, G is 0 or the follow-up of the distribution ended.

    Example:
        >>> time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False])
        >>> inverse_censoring(censoring(time, event), time, event).round(4)
        array([1. , 0. , 1.5, 0. ])
    """
    probability = censoring.at(time)
    hidden = needed & ((probability <= 0) | (time > censoring.last))
    if count := int(np.count_nonzero(hidden)):
        raise UndefinedMetricError(
            f"inverse censoring weights are undefined at {count} of the needed times: in the "
            f"censoring distribution no patient was followed that long (it ends at "
            f"{censoring.last:g}). Truncate earlier: a smaller tau or smaller times"
        )
    return np.divide(1.0, probability, out=np.zeros_like(probability), where=needed)


#: Part of the patients still followed at the judged horizon, as far as events allow.
STILL_FOLLOWED = 0.1


def judged_horizon(time: Array, event: Bools, horizon: float) -> float:
    """Return the time to which predictions of these patients can be judged.

    It is the time at which a tenth of the patients is still followed, rounded down to three
    significant digits, or the first event if that is later; but at most ``horizon``, and below the
    longest follow-up, where the censoring weights end.

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was seen; at least one was.
        horizon: months to which a model predicts.

    Example:
        >>> time = np.arange(1.0, 102.0)
        >>> judged_horizon(time, time < 50, horizon=120.0)
        91.0
    """
    last = round_off(float(np.quantile(time, 1 - STILL_FOLLOWED)), up=False)
    return min(horizon, max(last, float(time[event].min())), float(np.nextafter(time.max(), 0)))


def nelson_aalen(time: Array, event: Bools, weight: Array | None = None) -> Array:
    """Return the Nelson-Aalen cumulative hazard at each patient's own time.

    Args:
        time: (n,) follow-up.
        event: (n,) whether the event was seen.
        weight: (n,) hazard ratio of each patient, by whose sum the patients at risk count (Breslow,
            Biometrics 1974); None: 1 for all.

    Returns:
        (n,) Σ d / Y over the times up to the patient's, with d events among Y at risk (Aalen,
        "Nonparametric inference for a family of counting processes", Ann Stat 1978).

    Example:
        >>> nelson_aalen(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, True]))
        array([0.25      , 0.58333333, 0.58333333, 1.58333333])
    """
    times, place = np.unique(time, return_inverse=True)
    at_risk = np.bincount(place, weight, len(times))[::-1].cumsum()[::-1]
    return np.asarray(np.cumsum(np.bincount(place, event, len(times)) / at_risk)[place])
