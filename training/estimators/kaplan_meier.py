"""Kaplan-Meier and Nelson-Aalen estimators, the censoring distribution, and IPC weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, Protocol, Self

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints, Reals
from accomplice.data.cells.rounding import round_off
from accomplice.training.estimators.checks import UndefinedMetricError, checked_outcome

#: Width of the classes of predicted log-hazard ratio of censoring that share a curve.
STEP = 0.2
#: Fraction of patients who are still followed at the judged horizon; see :func:`judged_horizon`.
STILL_FOLLOWED = 0.1


class Censoring(Protocol):
    """Distribution of the censoring time, the same for all patients or one for each of n."""

    @property
    def last(self) -> float:
        """Longest follow-up."""

    def at(self, times: Reals | float) -> Array:
        """Return the probability G(t) of no censoring by t, for times (n,) or one for all."""

    def before(self, times: Reals | float) -> Array:
        """Return G(t−), the probability of no censoring before t, for times (n,) or one."""

    def take(self, rows: Ints | Bools) -> Self:
        """Return the distribution of the patients at ``rows``."""


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """A survival curve, right-continuous from 1, with Greenwood's variance of its logarithm.

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
            event: (n,) bool, True where the event was observed, False where censored.

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
        """Return the curve of times (k,), from the numbers of events (k,) and at risk (k,)."""
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
        """Return S(t) at `times` of any shape."""
        return self._read(self.survival, 1.0, times, "right")

    def before(self, times: Reals | float) -> Array:
        """Return S(t−), just before `times` of any shape."""
        return self._read(self.survival, 1.0, times, "left")

    def take(self, rows: Ints | Bools) -> Self:  # noqa: ARG002
        """Return this curve: as a censoring distribution it is the same for all patients."""
        return self

    def interval(self, times: Reals | float, level: float = 0.95) -> tuple[Array, Array]:
        """Return the pointwise confidence interval of the curve.

        Args:
            times: times of any shape.
            level: confidence level.

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
        # Padding the values with `start` would copy them all for a few times.
        found = np.where(index > 0, values[np.maximum(index - 1, 0)], start)
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class GroupedCensoring:
    """Distribution of the censoring time of n patients, one curve for each of g groups."""

    times: Array
    """(k,) rising, distinct times."""
    survival: Array
    """(g, 1 + k) probability of no censoring: 1 at first, then from each of ``times`` on."""
    group: Ints
    """(n,) group of each patient; each of 0 … g − 1 occurs."""

    @property
    def last(self) -> float:
        """Longest follow-up."""
        return float(self.times[-1])

    def at(self, times: Reals | float) -> Array:
        """Return each patient's G(t) (n,), for times (n,) or one for all."""
        return self._read(times, "right")

    def before(self, times: Reals | float) -> Array:
        """Return each patient's G(t−) (n,), for times (n,) or one for all."""
        return self._read(times, "left")

    def inverse_by_group(self, times: Array, side: Literal["left", "right"] = "right") -> Array:
        """Return 1 / G (g, t) of each group at times (t,), or just before; 0 where G is 0.

        Args:
            times: (t,) times.
            side: ``right`` for G(t), ``left`` for G(t−).
        """
        chance = self.survival[:, np.searchsorted(self.times, times, side=side)]
        return np.divide(1.0, chance, out=np.zeros_like(chance), where=chance > 0)

    def take(self, rows: Ints | Bools) -> GroupedCensoring:
        """Return the distributions of the patients at ``rows``; unused curves are dropped."""
        kept, group = np.unique(self.group[rows], return_inverse=True)
        return GroupedCensoring(self.times, self.survival[kept], group)

    def _read(self, times: Reals | float, side: Literal["left", "right"]) -> Array:
        index = np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side=side)
        return np.asarray(self.survival[self.group, index])


def censoring(time: Reals, event: Bools) -> KaplanMeier:
    """Estimate the distribution of the censoring time, for inverse probability weights.

    Args:
        time: (n,), time of the event or of censoring.
        event: (n,) bool, True where the event was observed, False where censored.

    Returns:
        G(t) = Π over u ≤ t of 1 − c(u) / (Y(u) − d(u)), with c censored and d events among Y at
        risk: at a tied time, events come before censoring, as in scikit-survival.

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


def inverse_censoring(censoring: Censoring, time: Reals | float, needed: Bools) -> Array:
    """Return inverse probability of censoring weights (IPCW).

    Args:
        censoring: distribution of the censoring time, from `censoring` or, where it differs between
            the n patients, from `estimators.censoring`.
        time: (n,), time at which each patient's weight is taken; or one time for all.
        needed: (n,) bool, whether the patient's weight is needed.

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
    hidden = needed & ((probability <= 0) | (np.asarray(time) > censoring.last))
    if count := int(np.count_nonzero(hidden)):
        raise UndefinedMetricError(
            f"inverse censoring weights are undefined at {count} of the needed times: in the "
            f"censoring distribution no patient was followed that long (it ends at "
            f"{censoring.last:g}). Truncate earlier: a smaller tau or smaller times"
        )
    return np.divide(1.0, probability, out=np.zeros(needed.shape), where=needed)


def observed_survival(time: Array, event: Bools, weights: Censoring | None = None) -> KaplanMeier:
    """Return the Kaplan-Meier curve of n patients, weighted if their censoring differs.

    With a distribution of the censoring time by group, each patient at risk at u has weight
    1 / G(u−), with G of the patient's group. With Y and d the weighted numbers at risk and of
    events, and M = Y² / Σ G(u−)⁻², the variance of the curve's logarithm is Σ d / ((Y − d) M) (Xie
    and Liu, "Adjusted Kaplan-Meier estimator and log-rank test with inverse probability of
    treatment weighting for survival data", Stat Med 2005).

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed.
        weights: distribution of the censoring time; if absent or the same for all patients, the
            curve is not weighted.

    Example:
        >>> time, event = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
        >>> observed_survival(time, event).survival.round(4)
        array([0.6667, 0.6667, 0.    ])
    """
    if not isinstance(weights, GroupedCensoring):
        return KaplanMeier.fit(time, event)
    times, place = np.unique(time, return_inverse=True)
    weight = weights.inverse_by_group(times, "left")
    shape = weight.shape
    cells = weights.group * shape[1] + place
    leaving = np.bincount(cells, minlength=weight.size).reshape(shape)
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    died = np.bincount(cells, event, weight.size).reshape(shape)
    whole, part = (weight * at_risk).sum(axis=0), (weight * died).sum(axis=0)
    size = whole**2 / np.maximum((weight**2 * at_risk).sum(axis=0), 1e-300)
    rate = np.divide(part, whole, out=np.zeros_like(part), where=part > 0)
    # Where all patients at risk have the event, the rate is 1 without rounding error.
    rate[died.sum(axis=0) == at_risk.sum(axis=0)] = 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(rate > 0, rate / ((1 - rate) * size), 0.0)
    return KaplanMeier(times, np.cumprod(1 - rate), np.cumsum(step))


def power_curves(time: Array, event: Bools, stratum: Ints, ratio: Array) -> GroupedCensoring:
    """Return the distribution of the censoring time by stratum and by hazard ratio within it.

    With r the hazard ratios within a stratum, c the number censored at u, Σ_c r the sum over these
    and Σ r that over all at risk, the curve for a ratio of 1 is the product over u of (1 − Σ_c r /
    Σ r)^(c / Σ_c r): without ties the estimate of Kalbfleisch and Prentice. Patients whose log
    ratios lie in a class of width ``STEP`` are a group; its curve is this one to the power of their
    mean ratio.

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed; if so, the patient is not censored.
        stratum: (n,) stratum of each patient.
        ratio: (n,) hazard ratio of each patient's censoring within the stratum.

    Example:
        >>> time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False])
        >>> power_curves(time, event, np.zeros(4, dtype=int), np.ones(4)).at(2.0).round(4)
        array([0.6667, 0.6667, 0.6667, 0.6667])
    """
    times, place = np.unique(time, return_inverse=True)
    group = np.empty(len(time), dtype=int)
    curves: list[Array] = []
    for s in np.unique(stratum):
        rows = np.flatnonzero(stratum == s)
        level = np.unique(np.round(np.log(ratio[rows]) / STEP), return_inverse=True)[1]
        mean = np.bincount(level, ratio[rows]) / np.bincount(level)
        own, at, died = mean[level], place[rows], event[rows]
        leaving = np.bincount(at, own, len(times))
        censored = np.bincount(at, own * ~died, len(times))
        at_risk = np.cumsum(leaving[::-1])[::-1] - (leaving - censored)
        count = np.bincount(at, ~died, len(times))
        part = np.divide(censored, at_risk, out=np.zeros_like(at_risk), where=censored > 0)
        power = np.divide(count, censored, out=np.zeros_like(at_risk), where=censored > 0)
        with np.errstate(divide="ignore"):
            log_curve = np.cumsum(power * np.log1p(-np.minimum(part, 1.0)))
        group[rows] = len(curves) + level
        curves += [np.exp(r * log_curve) for r in mean]
    return GroupedCensoring(
        times, np.pad(np.stack(curves), ((0, 0), (1, 0)), constant_values=1), group
    )


def judged_horizon(time: Array, event: Bools, horizon: float, reach: float = math.inf) -> float:
    """Return the month to which predictions of these patients can be judged.

    A tenth of the patients is still followed then. The month is rounded down to three significant
    digits. It is at most ``reach`` but not before the first event, and in any case at most
    ``horizon`` and below the longest follow-up, at which the censoring weights end.

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed; at least one was.
        horizon: months to which a model predicts.
        reach: months to which every group with its own censoring distribution is followed.

    Example:
        >>> time = np.arange(1.0, 102.0)
        >>> judged_horizon(time, time < 50, horizon=120.0)
        91.0
    """
    last = round_off(float(np.quantile(time, 1 - STILL_FOLLOWED)), up=False)
    last = min(last, reach)
    return min(horizon, max(last, float(time[event].min())), float(np.nextafter(time.max(), 0)))


def nelson_aalen(time: Array, event: Bools, weight: Array | None = None) -> Array:
    """Return the Nelson-Aalen cumulative hazard at each patient's own time.

    Args:
        time: (n,) follow-up.
        event: (n,) whether the event was observed.
        weight: (n,) hazard ratio of each patient, for the estimate of Breslow (Biometrics 1974);
            None: 1 for all.

    Returns:
        (n,) Σ d / Y over the times up to the patient's own, with d events and Y the number at risk
        or, with ``weight``, the sum of their hazard ratios (Aalen, "Nonparametric inference for a
        family of counting processes", Ann Stat 1978).

    Example:
        >>> nelson_aalen(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, True]))
        array([0.25      , 0.58333333, 0.58333333, 1.58333333])
    """
    times, place = np.unique(time, return_inverse=True)
    at_risk = np.bincount(place, weight, len(times))[::-1].cumsum()[::-1]
    return np.asarray(np.cumsum(np.bincount(place, event, len(times)) / at_risk)[place])
