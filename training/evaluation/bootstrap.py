"""Patients whose outcome is known, and the bootstrap draws of them that all figures share.

A figure is an array (1 + d, …): of all patients, then of each of d draws. Differences of two
figures are therefore paired. Of few patients each draw is scored anew. Of many, the draws are of
`FEW` random blocks of patients, and a draw takes the mean of the patients' contributions: what it
costs no longer grows with patients times draws, and standard errors stay within some 2 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.intervals import Estimate, resamples
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.estimators.outcome import UndefinedMetricError
from accomplice.training.evaluation.record import Curve
from accomplice.training.metrics.brier import brier_by_patient
from accomplice.training.metrics.calibration import (
    observed_expected,
    observed_expected_contributions,
)
from accomplice.training.metrics.concordance import concordance_contributions
from accomplice.training.metrics.concordance_draws import (
    auc_contributions,
    drawn_auc,
    drawn_concordances,
)
from accomplice.training.metrics.score import Outcome

#: Patients up to whom each is drawn by themselves, and blocks of more.
FEW = 2000
#: Events below which nothing is said of a group of patients.
FEWEST_EVENTS = 10


@dataclass(frozen=True, eq=False)
class BootstrapDraws:
    """Bootstrap draws of patients, or of blocks of patients."""

    counts: Array
    """(1 + d, u) how often each draw holds each unit; the first holds each once."""
    unit: Ints
    """(n,) unit of each patient."""
    single: bool
    """Whether each patient is a unit of their own."""

    @classmethod
    def of(cls, n: int, draws: int, seed: int) -> Self:
        """Draw from n patients."""
        units = min(n, FEW)
        counts = np.ones((1 + draws, units))
        for row, rows in zip(counts[1:], resamples(units, draws, seed), strict=True):
            row[:] = np.bincount(rows, minlength=units)
        single = n <= FEW
        unit = np.arange(n)
        if not single:
            unit = np.random.default_rng(seed).permutation(unit) % units
        return cls(counts, unit, single)

    def take(self, rows: Ints | Bools) -> Self:
        """Return the same draws of some of the patients."""
        return type(self)(self.counts, self.unit[rows], self.single)

    @cached_property
    def own(self) -> Array:
        """(1 + d, n) how often each draw holds each patient, where each is a unit."""
        whole = self.unit.size == self.counts.shape[1]
        return self.counts if whole else self.counts[:, self.unit]

    def mean(self, parts: Array) -> Array:
        """Figure (1 + d, …) that is the mean of the patients' parts (n, …); NaN where nobody is."""
        columns = parts.reshape(len(parts), math.prod(parts.shape[1:]))
        if self.single:
            counts, sums, sizes = self.own, columns, np.ones(len(parts))
        else:
            counts, units = self.counts, self.counts.shape[1]
            sums = np.stack([np.bincount(self.unit, c, units) for c in columns.T], axis=1)
            sizes = np.bincount(self.unit, minlength=units).astype(float)
        total = (counts @ sizes)[:, None]
        made = np.divide(
            counts @ sums,
            total,
            out=np.full((len(counts), columns.shape[1]), np.nan),
            where=total > 0,
        )
        return np.asarray(made.reshape(len(counts), *parts.shape[1:]))


@dataclass(frozen=True, eq=False)
class BootstrappedOutcome(Outcome):
    """Outcomes of n patients, and how predictions are scored on bootstrap draws of them."""

    draws: BootstrapDraws

    @classmethod
    def of(cls, time: Array, event: Bools, horizon: float, draws: int, seed: int) -> Self:
        """Follow a whole cohort."""
        return cls(
            time, event, censoring(time, event), horizon, BootstrapDraws.of(len(time), draws, seed)
        )

    def __len__(self) -> int:
        return len(self.time)

    @property
    def events(self) -> int:
        """Patients with an event to the horizon."""
        return int((self.event & (self.time <= self.horizon)).sum())

    def take(self, rows: Ints | Bools) -> Self:
        """Return some of the patients, in the same draws and with the cohort's weights."""
        return type(self)(
            self.time[rows], self.event[rows], self.weights, self.horizon, self.draws.take(rows)
        )

    def uno_c(self, *risks: Array) -> list[Array]:
        """Uno's C (1 + d,) to the horizon of the risks (n,) of each model."""
        if self.draws.single:
            counts = self.draws.own
            outcome = self.event, self.time, np.stack(risks), self.weights, self.horizon
            return list(drawn_concordances(*outcome, counts)[:, 1])
        return [
            self.draws.mean(
                concordance_contributions(
                    self.event, self.time, risk, self.weights, self.horizon
                ).uno
            )
            for risk in risks
        ]

    def auc(self, month: float, *risks: Array) -> list[Array]:
        """Time-dependent AUC (1 + d,) at a month of the risks (n,) of each model."""
        if self.draws.single:
            counts = self.draws.own
            found = drawn_auc(self.event, self.time, np.stack(risks), month, self.weights, counts)
            return list(found)
        return [
            self.draws.mean(auc_contributions(self.event, self.time, risk, month, self.weights))
            for risk in risks
        ]

    def brier_averages(self, grid: TimeGrid, cumulative: Array) -> Array:
        """Each patient's Brier score (n,), averaged to the horizon."""
        return brier_by_patient(self, grid, cumulative)[0]

    def observed_expected(self, survival: Array, month: float) -> Array:
        """Observed over predicted risk (1 + d,) of patients with survival (n,) at a month."""
        month = min(month, self.horizon)
        if self.draws.single:
            counts = self.draws.own
            observed = 1 - drawn_survival(self.time, self.event, month, counts)
            expected = self.draws.mean(1 - survival)
            return np.divide(
                observed, expected, out=np.full_like(observed, np.nan), where=expected > 0
            )
        try:
            observed_expected(self.event, self.time, survival, month)
        except UndefinedMetricError:
            return np.full(len(self.draws.counts), np.nan)
        return self.draws.mean(
            observed_expected_contributions(self.event, self.time, survival, month)
        )


def drawn_survival(time: Array, event: Bools, month: float, counts: Array) -> Array:
    """Kaplan-Meier survival (d,) at a month of each draw (d, n); NaN past its follow-up."""
    order = np.argsort(time, kind="stable")
    drawn, time, event = counts[:, order], time[order], event[order]
    starts = np.flatnonzero(np.append(True, time[1:] != time[:-1]))
    starts = starts[time[starts] <= month]
    beyond = drawn[:, np.searchsorted(time, month) :].sum(axis=1)
    if not starts.size:
        return np.where(beyond > 0, 1.0, np.nan)
    at_risk = np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1][:, starts]
    stop = np.searchsorted(time, month, side="right")
    died = np.add.reduceat((drawn * event)[:, :stop], starts, axis=1)
    rate = np.divide(died, at_risk, out=np.zeros_like(died), where=at_risk > 0)
    curve = np.prod(1 - rate, axis=1)
    known = (beyond > 0) | (curve <= 0)
    return np.where(known, curve, np.nan)


def band(figure: Array) -> Curve:
    """Return figures (1 + d, t) with their pointwise 95 % band."""
    made = [Estimate.of_draws(column) for column in figure.T]
    value, low, high = (tuple(getattr(e, k) for e in made) for k in ("value", "low", "high"))
    return Curve(value=value, low=low, high=high)
