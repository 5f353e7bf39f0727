"""Power of a treatment-by-marker interaction, by simulation.

A treatment-by-marker interaction needs several times the events that the treatment itself needs,
and those small cohorts that do show one overstate it. So before anything is collected, or believed:
draw cohorts of the size asked for whose truth is known, analyse each as a paper would (a Cox model
of treatment, marker, their product and a clinical index; Wald's test of the product), and count.

The errors of size and sign among the significant are those of Gelman and Carlin, "Beyond power
calculations", Perspect Psychol Sci 2014. The closed form follows Schoenfeld, "Sample-size formula
for the proportional-hazards regression model", Biometrics 1983, and Peterson and George, "Sample
size requirements and length of study for testing interaction in a 2 × k factorial design when
time-to-failure is the outcome", Control Clin Trials 1993.
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

Scale = Literal["half", "sd"]

NORMAL = NormalDist()
#: Of the log-hazard that the clinical index explains: alone it ranks with a C-index of about .70.
SPREAD = 0.8
#: Mean of the upper half of a standard normal marker, in SD; the lower half's is its negative.
HALF_MEAN = math.sqrt(2 / math.pi)
#: Patients of the sample for the baseline hazard and the closed form.
POPULATION = 20_000
#: Rows (patients of all cohorts) that are fitted together: what a processor's cache holds.
ROWS = 50_000
#: Patients of the largest cohort that is simulated.
LARGEST = 100_000
#: The search for a size ends here.
MOST = 20_000


def default_follow_up() -> Array:
    """Accrual at a steady rate over two thirds of the study, all followed to its end."""
    return np.linspace(1 / 3, 1.0, 200)


@dataclass(frozen=True, eq=False)
class Scenario:
    """True effects and distribution of the simulated patients, and their analysis."""

    hr_low: float = 0.48
    """Hazard ratio of the treatment where the marker is low (its average over that half)."""
    ratio: float = 0.76 / 0.48
    """Hazard ratio of the treatment in the high half, over that in the low half; with the scale
    ``sd``, at a marker one SD higher, over that at the lower one."""
    hr_marker: float = 1.0
    """Hazard ratio of the marker among the untreated, high half over low half or per SD."""
    events: float = 0.45
    """Share of the patients whose event is seen."""
    treated: float = 0.6
    """Share of the patients who are treated, whatever their marker and index."""
    known: float = 1.0
    """Share of the patients whose marker and treatment are recorded; the others are left out."""
    scale: Scale = "half"
    """Whether the marker acts, and is analysed, by halves or linearly per SD."""
    alpha: float = 0.05
    """Two-sided level of the test."""
    follow_up: Array = field(default_factory=default_follow_up)
    """(k,) equally likely times to which a patient would be followed, in any unit."""

    @property
    def interaction(self) -> float:
        """The log hazard ratio that is looked for."""
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
        """Number of patients with marker and treatment recorded."""
        return round(patients * self.known)

    def patients_for(self, events: float) -> int:
        """Return the patients needed for a number of events among the analysed."""
        return math.ceil(events / (self.events * self.known))

    def draw(self, rng: np.random.Generator, cohorts: int, n: int) -> tuple[Array, Array]:
        """Draw designs (m, 4, n) and potential follow-up (m, n) of m cohorts of n analysed."""
        marker = rng.standard_normal((cohorts, n))
        if self.scale == "half":
            marker = (marker > np.median(marker, axis=1, keepdims=True)).astype(float)
        treated = (rng.random((cohorts, n)) < self.treated).astype(float)
        index = SPREAD * rng.standard_normal((cohorts, n))
        followed = self.follow_up[rng.integers(len(self.follow_up), size=(cohorts, n))]
        return np.stack([treated, marker, treated * marker, index], axis=1), followed

    @cached_property
    def baseline(self) -> float:
        """Log of the constant baseline hazard under which the share of events is as asked."""
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
        """Closed form: the variance of the interaction's estimate times the analysed patients.

        In each arm the marker's slope has variance 1 / (d · v), with d events and v the marker's
        variance among them; the interaction is the difference of two slopes. For halves that is
        the sum of 1 / events over the four cells.
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
        """Return the assumptions as plain data, without the follow-up of single patients."""
        found = asdict(self)
        del found["follow_up"]
        return found | {"index_spread": SPREAD}


@dataclass(frozen=True)
class Power:
    """Results of the simulated cohorts of one size."""

    patients: int
    """In the cohort, whether or not the marker was measured."""
    analysed: int
    """With marker and treatment recorded."""
    events: float
    """Among the analysed, on average."""
    draws: int
    """Cohorts simulated."""
    seen: int
    """Cohorts in which the interaction was significant, on either side."""
    ratio: float
    """Median estimate of the ratio of hazard ratios."""
    exaggeration: float
    """Type M: mean size of the significant estimates over the true one (logs); NaN if none."""
    wrong_sign: float
    """Type S: share of the significant estimates on the wrong side of 1; NaN if none."""

    @property
    def power(self) -> float:
        """Share of the cohorts that show the interaction."""
        return self.seen / self.draws

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the power, by the number of simulated cohorts (Wilson)."""
        low, high = wilson(self.seen, self.draws)
        return float(low), float(high)


@dataclass(frozen=True)
class Needed:
    """The number of patients that gives the wanted power."""

    patients: int
    low: int
    """95 % by the simulation."""
    high: int
    events: int
    """Expected among the analysed."""
    bound: Literal["about", "more than", "fewer than"] = "about"
    """Whether the search ended at its upper or lower bound instead."""


def approximate(scenario: Scenario, patients: float) -> float:
    """Return the power by the closed form, without simulation.

    Φ(|β| / se − z) + Φ(−|β| / se − z), with β the interaction, se² its `unit_variance` over the
    analysed patients, and z the critical value (Schoenfeld 1983; Peterson and George 1993).
    """
    variance = scenario.unit_variance / (patients * scenario.known)
    size, critical = scenario.interaction / math.sqrt(variance), scenario.critical
    return NORMAL.cdf(size - critical) + NORMAL.cdf(-size - critical)


def simulate(
    scenario: Scenario, patients: int, draws: int, seed: int, tick: Tick = silent
) -> Power:
    """Draw and analyse cohorts of one size.

    The same arguments give the same result, whatever other sizes are simulated.

    Args:
        scenario: of the simulated patients.
        patients: in each cohort.
        draws: cohorts.
        seed: of the draws.
        tick: progress callback.
    """
    n = scenario.analysed(patients)
    rng = np.random.default_rng([seed, patients])
    estimate, error, events = np.empty(draws), np.empty(draws), 0
    at_once = max(1, ROWS // n)
    for start in range(0, draws, at_once):
        tick(f"{patients} patients", start, draws)
        part = slice(start, min(start + at_once, draws))
        X, event = observed(scenario, rng, part.stop - start, n)
        fits = fit_many(X, event)
        estimate[part] = fits.beta[:, 2]
        error[part] = np.sqrt(fits.variance[:, 2, 2])
        events += int(event.sum())
    tick(f"{patients} patients", draws, draws)
    found = estimate[np.abs(estimate) > scenario.critical * error]
    true = scenario.interaction
    judged = len(found) > 0 and true != 0
    return Power(
        patients=patients,
        analysed=n,
        events=events / draws,
        draws=draws,
        seen=len(found),
        ratio=float(np.exp(np.median(estimate))),
        exaggeration=float(np.abs(found).mean() / abs(true)) if judged else math.nan,
        wrong_sign=float((found * true < 0).mean()) if judged else math.nan,
    )


def observed(
    scenario: Scenario, rng: np.random.Generator, cohorts: int, n: int
) -> tuple[Array, Bools]:
    """Draw the designs (m, 4, n) and events (m, n) of m cohorts of n, by falling time."""
    X, followed = scenario.draw(rng, cohorts, n)
    log_hz = np.matmul(scenario.effects, X)
    time = rng.standard_exponential((cohorts, n)) * np.exp(-scenario.baseline - log_hz)
    event = time <= followed
    order = np.argsort(-np.minimum(time, followed), axis=1)
    return np.take_along_axis(X, order[:, None], axis=2), np.take_along_axis(event, order, axis=1)


def curve(
    scenario: Scenario, sizes: Sequence[int], draws: int, seed: int, tick: Tick = silent
) -> list[Power]:
    """Simulate each size, smallest first."""
    return [simulate(scenario, n, draws, seed, tick) for n in sorted(set(sizes))]


def needed(scenario: Scenario, draws: int, seed: int, tick: Tick = silent) -> Needed | None:
    """Search for the patients that show the interaction with the power ``ENOUGH_POWER``.

    The closed form says where to begin; cohorts of that size are simulated, and the size is
    corrected, until the power there is near the goal. The last correction is an interpolation: the
    mean of Wald's statistic grows with the root of the patients.

    Returns:
        The patients with an interval; None without an interaction, for which no size is enough.
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
