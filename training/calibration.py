"""Slope and observed over expected events of predictions at some months, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from training.evaluation import Estimate
from training.hazard import TimeGrid, survival
from training.metrics import (
    KaplanMeier,
    UndefinedMetricError,
    censoring,
    percentile_interval,
    resamples,
)
from training.reliability import calibration_at

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Whether predictions come true at one month."""

    month: float
    slope: Estimate
    """1 where they do; below, they are too extreme, above, too much alike."""
    observed_expected: Estimate
    """Observed over predicted risk of the event; above 1, risks are predicted too low."""
    survival: Array
    """(n,) predicted at the month."""

    @property
    def holds(self) -> bool:
        """Whether both intervals include 1."""
        return all(e.low <= 1 <= e.high for e in (self.slope, self.observed_expected))


def calibrated(
    time: Array,
    event: Bools,
    grid: TimeGrid,
    cumulative: Array,
    months: Sequence[float],
    draws: int,
    seed: int,
) -> tuple[Calibrated, ...]:
    """Judge the calibration of cumulative hazards (n, j + 1) against outcomes (n,).

    Args:
        time: follow-up in months.
        event: whether it was seen.
        grid: the j bins.
        cumulative: at the grid's edges.
        months: at which it is judged, within the follow-up.
        draws: bootstrap draws of patients behind each interval; the weights against censoring are
            those of all patients.
        seed: of the draws; the same seed draws the same patients.
    """
    weights = censoring(time, event)
    curves = survival(grid.at(cumulative, np.array(months, dtype=float)))
    found = []
    for month, predicted in zip(months, curves.T, strict=True):
        figures = np.array(
            [
                _figures(time[rows], event[rows], predicted[rows], month, weights)
                for rows in chain((np.arange(len(time)),), resamples(len(time), draws, seed))
            ]
        )
        slope, ratio = (_estimate(column) for column in figures.T)
        found.append(Calibrated(month, slope, ratio, predicted))
    return tuple(found)


def _figures(
    time: Array, event: Bools, predicted: Array, month: float, weights: KaplanMeier
) -> tuple[float, float]:
    try:
        slope = calibration_at(event, time, predicted, month, weights).slope
    except UndefinedMetricError:
        slope = math.nan
    expected = float((1 - predicted).mean())
    observed = 1 - float(KaplanMeier.fit(time, event).at(month))
    return slope, observed / expected if expected > 0 else math.nan


def _estimate(figures: Array) -> Estimate:
    try:
        return Estimate(float(figures[0]), *percentile_interval(figures[1:]))
    except UndefinedMetricError:
        return Estimate(float(figures[0]))
