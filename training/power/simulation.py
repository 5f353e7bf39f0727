"""Power of a treatment-by-marker interaction, by simulation.

A treatment-by-marker interaction needs several times the events that the treatment's own effect
needs, and small cohorts in which it is significant overstate it. The simulation draws cohorts of
known effects, analyses each as a paper would (a Cox model of treatment, marker, their product and a
clinical index; Wald's test of the product), and counts the significant ones.

The errors of size (type M) and sign (type S) among the significant estimates are those of Gelman
and Carlin, "Beyond power calculations", Perspect Psychol Sci 2014. The closed form follows
Schoenfeld, "Sample-size formula for the proportional-hazards regression model", Biometrics 1983,
and Peterson and George, "Sample size requirements and length of study for testing interaction in a
2 × k factorial design when time-to-failure is the outcome", Control Clin Trials 1993.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.intervals import wilson
from accomplice.training.estimators.policy import ENOUGH_POWER, EVENTS_TO_SIMULATE
from accomplice.training.power.cox_batched import fit_many
from accomplice.training.progress import Tick, silent

#: Scale of the marker: high or low by its median, or linear per SD.
Scale = Literal["half", "sd"]

#: The standard normal distribution.
NORMAL = NormalDist()
#: SD of the log-hazard explained by the clinical index, whose C-index alone is about 0.70.
SPREAD = 0.8
#: Mean of the upper half of a standard normal marker, in SD; the lower half's is its negative.
HALF_MEAN = math.sqrt(2 / math.pi)
#: Patients of the sample that gives the baseline hazard and the closed form.
POPULATION = 20_000
#: Patients of all cohorts that are fitted together: as many as a processor's cache holds.
ROWS = 50_000
#: Maximum number of patients of a simulated cohort.
LARGEST = 100_000
#: Maximum number of patients in the search for the size needed, unless its minimum is larger.
MOST = 20_000


def default_follow_up() -> Array:
    """Return follow-up times (200,) under accrual at a steady rate over two thirds of a study.

    All are followed to the end of the study, at time 1.
    """
    return np.linspace(1 / 3, 1.0, 200)


@dataclass(frozen=True, eq=False)
class Scenario:
    """True effects and distribution of the simulated patients, and their analysis."""

    hr_low: float = 0.48
    """Hazard ratio of the treatment in the half of low marker; with the scale ``sd``, at the mean
    marker of that half."""
    ratio: float = 0.76 / 0.48
    """Hazard ratio of the treatment in the half of high marker over that in the low half; with the
    scale ``sd``, its factor for a marker one SD higher."""
    hr_marker: float = 1.0
    """Hazard ratio of the marker among the untreated, high half over low half or per SD."""
    events: float = 0.45
    """Fraction of the analysed patients with an observed event."""
    treated: float = 0.6
    """Share of the analysed patients who are treated, independent of marker and index."""
    known: float = 1.0
    """Share of the patients who are analysed: marker and treatment are recorded."""
    scale: Scale = "half"
    """Whether the marker acts, and is analysed, by halves or linearly per SD."""
    alpha: float = 0.05
    """Two-sided level of the test."""
    follow_up: Array = field(default_factory=default_follow_up)
    """(k,) equally likely times to which a patient without the event is followed, in any unit."""

    @property
    def interaction(self) -> float:
        """True coefficient of the product of treatment and marker, on the log-hazard scale."""
        return math.log(self.ratio)

    @property
    def effects(self) -> Array:
        """Log hazard ratios (4,) of treatment, marker, their product and the index."""
        centre = math.log(self.hr_low)
        if self.scale == "sd":
            centre += HALF_MEAN * self.interaction
        return np.array([centre, math.log(self.hr_marker), self.interaction, 1.0])

    @property
    def critical(self) -> float:
        """Critical value of Wald's statistic."""
        return NORMAL.inv_cdf(1 - self.alpha / 2)

    def analysed(self, patients: int) -> int:
        """Return how many of a number of patients have marker and treatment recorded."""
        return round(patients * self.known)

    def patients_for(self, events: float) -> int:
        """Return the number of patients that gives a number of expected events."""
        return math.ceil(events / (self.events * self.known))

    def draw(self, rng: np.random.Generator, cohorts: int, n: int) -> tuple[Array, Array]:
        """Draw designs (m, 4, n) and potential follow-up (m, n) of m cohorts of n patients.

        The four covariates are those of :attr:`effects`.
        """
        marker = rng.standard_normal((cohorts, n))
        if self.scale == "half":
            marker = (marker > np.median(marker, axis=1, keepdims=True)).astype(float)
        treated = (rng.random((cohorts, n)) < self.treated).astype(float)
        index = SPREAD * rng.standard_normal((cohorts, n))
        followed = self.follow_up[rng.integers(len(self.follow_up), size=(cohorts, n))]
        return np.stack([treated, marker, treated * marker, index], axis=1), followed

    @cached_property
    def baseline(self) -> float:
        """Log of the constant baseline hazard under which the share of events is :attr:`events`."""
        X, followed = self._population
        log_hz = self.effects @ X
        low, high = -40.0, 40.0
        scaled = np.log(followed) + log_hz
        scaled -= scaled.mean()
        for _ in range(60):
            middle = (low + high) / 2
            share = float(-np.expm1(-np.exp(middle + scaled)).mean())
            low, high = (middle, high) if share < self.events else (low, middle)
        return (low + high) / 2 - float((np.log(followed) + log_hz).mean())

    @cached_property
    def _population(self) -> tuple[Array, Array]:
        X, followed = self.draw(np.random.default_rng(0), 1, POPULATION)
        return X[0], followed[0]

    @cached_property
    def unit_variance(self) -> float:
        """Variance of the interaction's estimate, by a closed form, times the analysed patients.

        In each arm the marker's slope has variance 1 / (d · v), with d events and v the marker's
        variance among them; the interaction is the difference of the two slopes. For halves this
        is the sum of 1 / events over the four cells.
        """
        X, followed = self._population
        hazard = np.exp(self.baseline + self.effects @ X)
        chance = -np.expm1(-hazard * followed) / POPULATION
        found = 0.0
        for arm in (X[0] == 0, X[0] == 1):
            weight, marker = chance[arm], X[1][arm]
            mean = float(weight @ marker / weight.sum())
            found += 1 / float(weight @ (marker - mean) ** 2)
        return found

    def describe(self) -> dict[str, Any]:
        """Return the assumptions as plain data, without the times of follow-up."""
        found = asdict(self)
        del found["follow_up"]
        return found | {"index_spread": SPREAD}


@dataclass(frozen=True)
class Power:
    """Results of the simulated cohorts of one size."""

    patients: int
    """Patients of a cohort, analysed or not."""
    analysed: int
    """Patients of a cohort with marker and treatment recorded."""
    events: float
    """Mean number of events among the analysed."""
    draws: int
    """Number of simulated cohorts."""
    significant: int
    """Number of cohorts in which the interaction was significant, in either direction."""
    ratio: float
    """Median estimate of the ratio of hazard ratios."""
    exaggeration: float
    """Type M error: mean absolute significant estimate over the true one, of log ratios; NaN if no
    estimate is significant or the true one is 0."""
    wrong_sign: float
    """Type S error: fraction of the significant estimates with the wrong sign; NaN as above."""

    @property
    def power(self) -> float:
        """Share of the cohorts in which the interaction was significant."""
        return self.significant / self.draws

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the power, Wilson's for a share of the simulated cohorts."""
        low, high = wilson(self.significant, self.draws)
        return float(low), float(high)


@dataclass(frozen=True)
class Needed:
    """The number of patients that gives the wanted power."""

    patients: int
    low: int
    """Lower end of the simulation's 95 % interval for ``patients``; equal to ``patients`` if that
    is a bound of the search."""
    high: int
    """Upper end of that interval; equal to ``patients`` in that case too."""
    events: int
    """Expected events among the analysed."""
    bound: Literal["about", "more than", "fewer than"] = "about"
    """``more than`` or ``fewer than`` if the size needed lies beyond the bounds of the search; then
    ``patients`` is the bound."""


def approximate(scenario: Scenario, patients: float) -> float:
    """Return the power by the closed form, without simulation.

    It is Φ(β / se − z) + Φ(−β / se − z), with β the interaction, se² its `unit_variance` over the
    analysed patients, and z the critical value (Schoenfeld 1983; Peterson and George 1993).
    """
    variance = scenario.unit_variance / (patients * scenario.known)
    size, critical = scenario.interaction / math.sqrt(variance), scenario.critical
    return NORMAL.cdf(size - critical) + NORMAL.cdf(-size - critical)


def simulate(
    scenario: Scenario, patients: int, draws: int, seed: int, tick: Tick = silent
) -> Power:
    """Draw and analyse cohorts of one size.

    The result depends on the arguments alone, not on other sizes that are simulated.

    Args:
        scenario: effects and distribution of the simulated patients.
        patients: patients of each cohort, analysed or not.
        draws: number of cohorts.
        seed: seed of the cohorts.
        tick: progress callback.
    """
    n = scenario.analysed(patients)
    rng = np.random.default_rng([seed, patients])
    estimate, error, events = np.empty(draws), np.empty(draws), 0
    at_once = max(1, ROWS // n)
    for start in range(0, draws, at_once):
        tick(f"{patients} patients", start, draws)
        rows = slice(start, min(start + at_once, draws))
        X, event = observed(scenario, rng, rows.stop - start, n)
        fits = fit_many(X, event)
        estimate[rows] = fits.beta[:, 2]
        error[rows] = np.sqrt(fits.variance[:, 2, 2])
        events += int(event.sum())
    tick(f"{patients} patients", draws, draws)
    significant = estimate[np.abs(estimate) > scenario.critical * error]
    true = scenario.interaction
    defined = len(significant) > 0 and true != 0
    return Power(
        patients=patients,
        analysed=n,
        events=events / draws,
        draws=draws,
        significant=len(significant),
        ratio=float(np.exp(np.median(estimate))),
        exaggeration=float(np.abs(significant).mean() / abs(true)) if defined else math.nan,
        wrong_sign=float((significant * true < 0).mean()) if defined else math.nan,
    )


def observed(
    scenario: Scenario, rng: np.random.Generator, cohorts: int, n: int
) -> tuple[Array, Bools]:
    """Draw designs (m, 4, n) and events (m, n) of m cohorts of n patients, by falling time."""
    X, followed = scenario.draw(rng, cohorts, n)
    log_hz = np.matmul(scenario.effects, X)
    time = rng.standard_exponential((cohorts, n)) * np.exp(-scenario.baseline - log_hz)
    event = time <= followed
    order = np.argsort(-np.minimum(time, followed), axis=1)
    return np.take_along_axis(X, order[:, None], axis=2), np.take_along_axis(event, order, axis=1)


def curve(
    scenario: Scenario, sizes: Sequence[int], draws: int, seed: int, tick: Tick = silent
) -> list[Power]:
    """Return the results of each distinct size, smallest first; see :func:`simulate`."""
    return [simulate(scenario, n, draws, seed, tick) for n in sorted(set(sizes))]


def needed(scenario: Scenario, draws: int, seed: int, tick: Tick = silent) -> Needed | None:
    """Search for the number of patients that gives the power ``ENOUGH_POWER``.

    The search starts from the closed form. Cohorts of the size are simulated and the size is
    corrected, up to three times, until the power is within 0.05 of the goal or the size needed is
    beyond a bound: the patients that give ``EVENTS_TO_SIMULATE`` expected events, or `MOST`. A
    correction assumes that the mean of Wald's statistic grows with the square root of the number of
    patients.

    Args:
        scenario: effects and distribution of the simulated patients.
        draws: number of cohorts of each size.
        seed: seed of the cohorts.
        tick: progress callback.

    Returns:
        The size with an interval; None without an interaction, for which no size is enough.
    """
    if scenario.interaction == 0:
        return None
    critical = scenario.critical
    wanted = NORMAL.inv_cdf(ENOUGH_POWER) + critical
    least = scenario.patients_for(EVENTS_TO_SIMULATE)

    def corrected(patients: int, power: float) -> float:
        inside = min(max(power, scenario.alpha), 1 - 0.5 / draws)
        return patients * (wanted / (NORMAL.inv_cdf(inside) + critical)) ** 2

    size = wanted**2 * scenario.unit_variance / scenario.interaction**2 / scenario.known
    for _ in range(3):
        tried = int(min(max(round(size), least), max(MOST, least)))
        at = simulate(scenario, tried, draws, seed, tick)
        size = corrected(tried, at.power)
        if abs(at.power - ENOUGH_POWER) < 0.05:
            break
        if (tried >= MOST and size > tried) or (tried == least and size < tried):
            break
    high, low = (corrected(tried, power) for power in at.interval)
    bound: Literal["about", "more than", "fewer than"] = "about"
    if size > MOST:
        bound, size = "more than", MOST
    elif size < least:
        bound, size = "fewer than", least
    if bound != "about":
        low = high = size
    events = round(at.events / tried * size)
    return Needed(round(size), math.floor(low), math.ceil(high), events, bound)
