"""Bootstrap draws of patients, and observed outcomes with the draws that all statistics share.

A statistic is an array (1 + d, …): its value in all patients, then in each of d draws, so that the
difference of two statistics is paired; `Estimate.of_draws` computes its interval. How draws are
made and scored depends on the number of patients:

- up to `PAIRS`, each draw is scored anew: concordances by pairs, Kaplan-Meier and calibration
  slopes by weighted counts;
- above, a draw's statistic is the mean of the patients' contributions (infinitesimal jackknife, see
  `metrics.concordance.concordance_contributions`); widths of intervals agree within some 4 %;
- above `FEW`, not patients but `FEW` random blocks of them are drawn, so that costs do not grow
  with patients times draws; standard errors agree within some 2 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.intervals import Estimate, resamples
from accomplice.training.estimators.kaplan_meier import (
    Censoring,
    GroupedCensoring,
    censoring,
    inverse_censoring,
)
from accomplice.training.evaluation.record import Curve
from accomplice.training.metrics.auc_and_concordance_draws import (
    ConcordanceScore,
    auc_contributions,
    drawn_auc,
)
from accomplice.training.metrics.brier import brier_by_patient
from accomplice.training.metrics.calibration import (
    observed_expected_contributions,
)
from accomplice.training.metrics.score import ModelOutput, Outcome, Score
from accomplice.training.metrics.table import METRICS

#: Maximum number of patients for whom each draw is scored anew, not by contributions.
PAIRS = 2000
#: Maximum number of patients who are drawn singly; above, blocks are drawn.
FEW = 2000


@dataclass(frozen=True, eq=False)
class BootstrapDraws:
    """Bootstrap draws of patients, or of blocks of patients."""

    counts: Array
    """(1 + d, u) number of times that a draw includes a unit; the first row is 1 for each unit."""
    unit: Ints
    """(n,) unit of each patient."""
    single: bool
    """Whether each patient is a unit."""

    @classmethod
    def of(cls, n: int, draws: int, seed: int) -> Self:
        """Draw n patients, or their blocks, with replacement.

        With one seed, fewer draws are the first ones of more.
        """
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
        """Return the same draws of the patients at ``rows``."""
        return type(self)(self.counts, self.unit[rows], self.single)

    def first(self, draws: int) -> Self:
        """Return the first ``draws`` of the draws."""
        return type(self)(self.counts[: 1 + draws], self.unit, self.single)

    @property
    def exact(self) -> bool:
        """Whether each draw is scored anew, not by the patients' contributions."""
        return self.single and self.counts.shape[1] <= PAIRS

    def rows(self) -> Iterator[Ints]:
        """Yield all rows of patients, then those of each draw, which may repeat."""
        for counts in self.counts:
            yield np.repeat(np.arange(self.unit.size), counts[self.unit].astype(int))

    @cached_property
    def patient_counts(self) -> Array:
        """(1 + d, n) number of times that a draw includes each patient's unit."""
        whole = np.array_equal(self.unit, np.arange(self.counts.shape[1]))
        return self.counts if whole else self.counts[:, self.unit]

    def mean(self, parts: Array) -> Array:
        """Return the mean (1 + d, …) of values (n, …); NaN where a draw includes no patient."""
        columns = parts.reshape(len(parts), math.prod(parts.shape[1:]))
        if self.single:
            counts, sums, sizes = self.patient_counts, columns, np.ones(len(parts))
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
    """Observed outcomes of n patients, and the bootstrap draws on which models are scored."""

    draws: BootstrapDraws

    @classmethod
    def of(
        cls,
        time: Array,
        event: Bools,
        horizon: float,
        draws: int,
        seed: int,
        weights: Censoring | None = None,
    ) -> Self:
        """Draw from a whole cohort, whose censoring distribution gives the weights in every draw.

        Args:
            time: (n,) months of follow-up.
            event: (n,) whether the event was observed.
            horizon: months to which models are judged.
            draws: number d of draws.
            seed: seed of the draws.
            weights: distribution of the censoring time; if absent, the same for all patients.
        """
        drawn = BootstrapDraws.of(len(time), draws, seed)
        return cls(time, event, weights or censoring(time, event), horizon, drawn)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def events(self) -> int:
        """Number of patients with an event up to the horizon."""
        return int((self.event & (self.time <= self.horizon)).sum())

    def take(self, rows: Ints | Bools) -> Self:
        """Return the patients at ``rows``, in the same draws and with the cohort's weights."""
        weights, draws = self.weights.take(rows), self.draws.take(rows)
        return type(self)(self.time[rows], self.event[rows], weights, self.horizon, draws)

    def first(self, draws: int) -> Self:
        """Return the same patients with the first ``draws`` of the draws."""
        return replace(self, draws=self.draws.first(draws))

    def output(self, risk: Array, grid: TimeGrid, cumulative: Array) -> tuple[ModelOutput, Array]:
        """Return the predictions as :class:`ModelOutput`, and the Brier score by time (t,).

        Args:
            risk: (n,) log-hazard, less the mean of the patient's fold.
            grid: bins of the curves.
            cumulative: (n, j + 1) cumulative hazards.
        """
        averages, by_time = brier_by_patient(self, grid, cumulative)
        middle = survival(grid.at(cumulative, np.array([self.horizon / 2])))[:, 0]
        return ModelOutput(risk, averages, middle), by_time

    def figures(self, models: Sequence[ModelOutput]) -> list[dict[str, Array]]:
        """Return each metric of ``METRICS`` (1 + d,) for each model; NaN where it is undefined."""
        scores = dict.fromkeys(metric.score for metric in METRICS.values())
        made = {score: self._scored(score, models) for score in scores}
        return [
            {name: made[metric.score][i, metric.part] for name, metric in METRICS.items()}
            for i in range(len(models))
        ]

    def _scored(self, score: Score, models: Sequence[ModelOutput]) -> Array:
        """Return the k figures of a score for each of m models (m, k, 1 + d)."""
        if self.draws.exact or len(self.draws.counts) == 1:
            whole = np.stack([score.whole(self, each) for each in models])[..., None]
            if len(self.draws.counts) == 1:
                return whole
            drawn = score.draws(self, models, self.draws.patient_counts[1:])
            return np.concatenate([whole, drawn], axis=-1)
        return np.stack([self.draws.mean(score.contributions(self, each).T).T for each in models])

    def uno_c(self, *risks: Array) -> list[Array]:
        """Return Uno's C (1 + d,) of each model's risks (n,), to the horizon."""
        none = np.empty(0)
        models = [ModelOutput(risk, none, none) for risk in risks]
        return list(self._scored(ConcordanceScore(), models)[:, 1])

    def auc(self, month: float, *risks: Array) -> list[Array]:
        """Return the time-dependent AUC (1 + d,) of each model's risks (n,), at a month."""
        outcome = self.event, self.time
        if self.draws.exact:
            counts = self.draws.patient_counts
            return list(drawn_auc(*outcome, np.stack(risks), month, self.weights, counts))
        return [
            self.draws.mean(auc_contributions(*outcome, risk, month, self.weights))
            for risk in risks
        ]

    def brier_averages(self, grid: TimeGrid, cumulative: Array) -> Array:
        """Return each patient's Brier score (n,), averaged over time to the horizon."""
        return brier_by_patient(self, grid, cumulative)[0]

    def observed_expected(self, alive: Array, month: float) -> Array:
        """Return observed over expected events (1 + d,) for survival (n,) predicted at a month.

        Beyond the horizon the horizon is taken; NaN where the ratio is undefined.
        """
        month = min(month, self.horizon)
        if isinstance(self.weights, GroupedCensoring):
            return self._weighted_ratio(alive, month, self.weights)
        if self.draws.exact:
            counts = self.draws.patient_counts
            observed = 1 - drawn_survival(self.time, self.event, month, counts)
            expected = self.draws.mean(1 - alive)
            return np.divide(
                observed, expected, out=np.full_like(observed, np.nan), where=expected > 0
            )
        try:
            parts = observed_expected_contributions(self.event, self.time, alive, month)
        except UndefinedMetricError:
            return np.full(len(self.draws.counts), np.nan)
        return self.draws.mean(parts)

    def _weighted_ratio(self, alive: Array, month: float, weights: GroupedCensoring) -> Array:
        """Return Σ w [event by the month] / Σ w over the mean predicted risk (1 + d,).

        The weights w are those of `metrics.calibration.calibration_at`; with one censoring
        distribution for all the first ratio is 1 − Kaplan-Meier survival.
        """
        case = self.event & (self.time <= month)
        weight = inverse_censoring(
            weights, np.minimum(self.time, month), case | (self.time > month)
        )
        observed, known = self.draws.mean(np.stack([weight * case, weight], axis=1)).T
        expected = known * self.draws.mean(1 - alive)
        ratio = np.divide(
            observed, expected, out=np.full_like(observed, np.nan), where=expected > 0
        )
        return np.asarray(ratio)


def drawn_survival(time: Array, event: Bools, month: float, counts: Array) -> Array:
    """Return Kaplan-Meier survival (d,) at a month in draws (d, n); NaN past their follow-up."""
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
    """Return a statistic (1 + d, t) as a curve with its pointwise 95 % band.

    Value and band are NaN where the draws do not determine an interval.
    """
    made = [Estimate.of_draws(column) for column in figure.T]
    value, low, high = (tuple(getattr(e, k) for e in made) for k in ("value", "low", "high"))
    return Curve(value=value, low=low, high=high)


def simultaneous_bands(figures: Sequence[Array]) -> list[Curve]:
    """Return statistics (1 + d, t) as curves with simultaneous 95 % bands.

    A band is the value ± c standard errors of its draws; c is the 95th percentile over draws of the
    largest distance of any statistic from its value, in standard errors (the sup-t band: Montiel
    Olea and Plagborg-Møller, "Simultaneous confidence bands", J Appl Econom 2019).
    """
    joined = np.concatenate(figures, axis=1)
    value, away = joined[0], joined[1:] - joined[0]
    se = away.std(axis=0)
    moved = se > 0
    largest = np.abs(away[:, moved] / se[moved]).max(axis=1, initial=0.0)
    reach = np.quantile(largest[np.isfinite(largest)], 0.95) * se
    ends = np.cumsum([figure.shape[1] for figure in figures])[:-1]
    parts = (np.split(each, ends) for each in (value, value - reach, value + reach))
    return [
        Curve(value=tuple(v), low=tuple(low), high=tuple(high))
        for v, low, high in zip(*parts, strict=True)
    ]


def standardised_mean(figures: Sequence[Array]) -> Estimate:
    """Return the mean of several statistics (1 + d, t), each over its standard error.

    It is a global test of all statistics. The mean's standard error is that of its draws, so that
    the test is valid for any correlation between them (O'Brien, "Procedures for comparing samples
    with multiple endpoints", Biometrics 1984). NaN where no statistic varies.
    """
    joined = np.concatenate(figures, axis=1)
    se = (joined[1:] - joined[0]).std(axis=0)
    moved = se > 0
    if not moved.any():
        return Estimate(math.nan)
    mean = (joined[:, moved] / se[moved]).mean(axis=1)
    return Estimate.normal(float(mean[0]), float((mean[1:] - mean[0]).std()))
