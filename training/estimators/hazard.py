"""Piecewise-constant hazards on a grid of time bins: the curve arithmetic that all models share.

A curve is the cumulative hazard at the grid's edges, linear between them, so that survival
``exp(-H(t))`` never rises and has a value at every time up to the grid's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints

#: Maximum number of sets of times whose bins a grid caches.
MOST_CACHED = 64
#: Lower bound of survival before the logarithm, to avoid log 0. A larger one would end the curves
#: of patients at the highest risk too early.
FLOOR = 1e-300


@dataclass(frozen=True)
class TimeGrid:
    """Bins of follow-up time, in months."""

    edges: Array
    """(j + 1,) rising, from 0 to the horizon."""

    @classmethod
    def fit(cls, time: Array, event: Bools, horizon: float, most: int = 12, each: int = 8) -> Self:
        """Divide time into bins with about equally many events.

        Args:
            time: (n,) months of follow-up.
            event: (n,) whether the event was observed.
            horizon: end of the last bin, in months.
            most: maximum number of bins.
            each: events for each bin, which set the number of bins. It is at least three, or
                ``most`` if that is less; ties and few events can make fewer bins, or bins with
                fewer events.
        """
        observed = np.sort(time[event & (time <= horizon)])
        bins = int(np.clip(len(observed) // each, min(3, most), most))
        distinct, count = np.unique(observed, return_counts=True)
        # Edges lie midway between times: none is a patient's own, and ties stay together.
        between, before = (distinct[:-1] + distinct[1:]) / 2, np.cumsum(count)[:-1]
        wanted = np.arange(1, bins) / bins * len(observed)
        nearest = np.abs(before - wanted[:, None]).argmin(axis=1) if len(before) else []
        inner = np.unique(between[nearest])
        return cls(np.concatenate([[0.0], inner[inner < horizon * (1 - 1e-9)], [horizon]]))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    @property
    def horizon(self) -> float:
        """End of the grid, in months."""
        return float(self.edges[-1])

    def exposure(self, time: Array) -> Array:
        """Return the fraction (n, j) of each bin at risk for follow-up to ``time`` (n,)."""
        part = (time[:, None] - self.edges[:-1]) / np.diff(self.edges)
        return np.clip(part, 0.0, 1.0)

    def bin_of(self, time: Array) -> Ints:
        """Return the bin (n,) of each time; a time on an edge is in the bin that ends there."""
        return np.clip(np.searchsorted(self.edges, time, side="left") - 1, 0, self.bins - 1)

    def events(self, time: Array, event: Bools) -> Array:
        """Return 1 in the bin (n, j) of a patient's event, 0 elsewhere and beyond the horizon.

        Args:
            time: (n,) months of follow-up.
            event: (n,) whether the event was observed.
        """
        observed = event & (time <= self.horizon)
        marks = np.zeros((len(time), self.bins))
        marks[np.flatnonzero(observed), self.bin_of(time)[observed]] = 1.0
        return marks

    def at(self, cumulative: Array, times: Array) -> Array:
        """Return cumulative hazards (…, t) at ``times`` (t,) from those at the edges (…, j + 1).

        Args:
            cumulative: (…, j + 1) cumulative hazards at the edges.
            times: (t,) months.
        """
        return self.between(cumulative, *self.place(times))

    def place(self, times: Array) -> tuple[Ints, Array]:
        """Return the bin (t,) of each time, and the fraction (t,) of the bin before it.

        Results are cached, since the same few times recur.
        """
        asked = np.asarray(times, dtype=float).tobytes()
        found = self._placed.get(asked)
        if found is None:
            place = self.bin_of(times)
            part = (times - self.edges[place]) / (self.edges[place + 1] - self.edges[place])
            found = place, np.minimum(np.maximum(part, 0.0), 1.0)
            if len(self._placed) >= MOST_CACHED:
                self._placed.clear()
            self._placed[asked] = found
        return found

    def readings(self, times: Array) -> Array:
        """Return the matrix M (j + 1, t) for which ``cumulative @ M == at(cumulative, times)``."""
        (place, part), columns = self.place(times), np.arange(len(times))
        found = np.zeros((len(self.edges), len(times)))
        found[place, columns] = 1 - part
        found[place + 1, columns] = part
        return found

    @cached_property
    def _placed(self) -> dict[bytes, tuple[Ints, Array]]:
        """Cached results of :meth:`place`, by the times' bytes."""
        return {}

    @staticmethod
    def between(cumulative: Array, place: Ints, part: Array) -> Array:
        """Return cumulative hazards (…, t) from (…, j + 1) at the times of a :meth:`place`.

        Args:
            cumulative: (…, j + 1) cumulative hazards at the edges.
            place: (t,) bin of each time.
            part: (t,) fraction of the bin before it, 0 to 1.
        """
        low, found = cumulative.take(place, -1), cumulative.take(place + 1, -1)
        # In place: each further array of this size takes as long as the arithmetic.
        found -= low
        found *= part
        found += low
        return found

    def at_own(self, cumulative: Array, time: Array) -> Array:
        """Return each patient's cumulative hazard (n,) at a time of their own, from (n, j + 1).

        Args:
            cumulative: (n, j + 1) cumulative hazards at the edges.
            time: (n,) months, one for each patient.
        """
        place, rows = self.bin_of(time), np.arange(len(time))
        part = (time - self.edges[place]) / (self.edges[place + 1] - self.edges[place])
        low, high = cumulative[rows, place], cumulative[rows, place + 1]
        return np.asarray(low + np.clip(part, 0.0, 1.0) * (high - low))


def survival(cumulative: Array) -> Array:
    """Return survival exp(−H) from cumulative hazard H, elementwise.

    Example:
        >>> survival(np.log([1.0, 2.0]))
        array([1. , 0.5])
    """
    return np.exp(-cumulative)


def from_survival(survived: NDArray[np.floating]) -> Array:
    """Return the cumulative hazard −log(max(S, FLOOR)) from survival S, elementwise.

    Example:
        >>> from_survival(np.array([0.5, 0.25])).round(4)
        array([0.6931, 1.3863])
    """
    return np.asarray(-np.log(np.maximum(survived, FLOOR)), dtype=float)


def hazard_ratio(log_hz: Array) -> Array:
    """Return the hazard ratio exp(log_hz), elementwise, with log_hz clipped to ±30.

    Example:
        >>> hazard_ratio(np.log([0.5, 2.0]))
        array([0.5, 2. ])
    """
    return np.exp(np.minimum(np.maximum(log_hz, -30.0), 30.0))


def bin_hazard(log_odds: NDArray[np.floating]) -> Array:
    """Return the increment of the cumulative hazard in a bin from the event's log-odds there.

    The increment is −log(1 − p) of the event's probability p, the softplus function of the
    log-odds. It is computed in their precision, elementwise.

    Example:
        >>> bin_hazard(np.zeros(1)).round(4)
        array([0.6931])
    """
    one = log_odds.dtype.type(1.0)
    # The exponential of 89 overflows in single precision; no patient survives a hazard of 80.
    odds = np.exp(np.minimum(log_odds, 80 * one))
    # This is log1p, which is slow in numpy: the rounding error of the sum is added back.
    total = odds + one
    odds -= total - one
    odds /= total
    odds += np.log(total, out=total)
    return np.asarray(odds, dtype=float)


def accumulate(increments: Array) -> Array:
    """Return the cumulative hazard at the edges (…, j + 1) from its increment in each bin (…, j).

    Example:
        >>> accumulate(np.array([0.1, 0.2])).round(4)
        array([0. , 0.1, 0.3])
    """
    found = np.zeros((*increments.shape[:-1], increments.shape[-1] + 1))
    np.cumsum(increments, axis=-1, out=found[..., 1:])
    return found


def restricted_mean(grid: TimeGrid, cumulative: Array, horizon: float) -> Array:
    """Return the restricted mean survival time (…), in months, to a horizon.

    Within a bin the hazard is constant, so that survival falls exponentially and its integral is
    exactly (S_left − S_right) / hazard.

    Args:
        grid: the j bins.
        cumulative: (…, j + 1) cumulative hazard at their edges.
        horizon: months to which the mean is restricted.

    Example:
        >>> grid, halved = TimeGrid(np.array([0.0, 10.0])), np.array([0.0, np.log(2)])
        >>> round(float(restricted_mean(grid, halved, 10.0)), 4)
        7.2135
    """
    stops = np.append(grid.edges[grid.edges < horizon], horizon)
    at = grid.at(cumulative, stops)
    curve, increment, width = survival(at), np.diff(at, axis=-1), np.diff(stops)
    small = increment < 1e-8
    area = np.where(
        small,
        curve[..., :-1],
        (curve[..., :-1] - curve[..., 1:]) / np.where(small, 1.0, increment),
    )
    return np.asarray((area * width).sum(axis=-1))


def log_risk(cumulative: Array) -> Array:
    """Return the risk (n,): the log of the mean of the cumulative hazard at the edges (n, j + 1).

    The mean leaves out the first edge, time 0. Under proportional hazards the risk is the linear
    predictor up to a constant. In general it corresponds to the log of the ensemble mortality of
    Ishwaran et al., "Random survival forests", Ann Appl Stat 2008, up to a constant and with edges
    in place of event times.

    Example:
        >>> np.exp(log_risk(np.array([[0.0, 0.1, 0.3]]))).round(4)
        array([0.2])
    """
    return np.asarray(np.log(np.maximum(cumulative[:, 1:].mean(axis=1), 1e-300)))
