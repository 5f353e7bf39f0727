"""Minimum sample size to develop a survival prediction model: the criteria of Riley et al.

Riley et al., "Minimum sample size for developing a multivariable prediction model: part II - binary
and time-to-event outcomes", Stat Med 2019, and "Calculating the sample size required for developing
a clinical prediction model", BMJ 2020. With P candidate parameters, anticipated Cox-Snell R² and S
the expected shrinkage, n = P / ((S − 1) ln(1 − R² / S)); three criteria are to be met:

1. shrinkage: S ≥ 0.9;
2. optimism of at most 0.05 in Nagelkerke's R²: S ≥ R² / (R² + 0.05 max R²);
3. overall risk at the horizon, by an exponential distribution, known to within ± 0.05.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq

from accomplice.data.cohort import Cohort, Patients
from accomplice.data.errors import InputError
from accomplice.data.preprocessing.repeats import repeated_features

#: Minimum expected shrinkage of the effects.
SHRINKAGE = 0.9
#: Largest optimism in Nagelkerke's R², and largest error of the overall risk at the horizon.
OPTIMISM, MARGIN = 0.05, 0.05
#: Nagelkerke's R² to anticipate where nothing is known of the model (Riley et al., BMJ 2020).
USUAL_R2 = 0.15


@dataclass(frozen=True)
class Population:
    """Event rate, follow-up and horizon of the patients to be recruited, in any one time unit."""

    rate: float
    """Events in a unit of time of one patient's follow-up."""
    mean_follow_up: float
    """Mean follow-up, with or without the event."""
    horizon: float
    """Time to which risk is predicted."""

    @classmethod
    def of(cls, cohort: Cohort) -> Population:
        """Return rate, mean follow-up and horizon of a cohort in months, followed to its horizon.

        Raises:
            InputError: no event by the horizon.
        """
        time = cohort.time.clip(max=cohort.horizon)
        events = int((cohort.event & (cohort.time <= cohort.horizon)).sum())
        if not events:
            raise InputError(
                f"study '{cohort.study.name}' has no event of '{cohort.endpoint}' within "
                f"{cohort.horizon:g} months: a rate is needed"
            )
        return cls(events / float(time.sum()), float(time.mean()), cohort.horizon)

    @property
    def share(self) -> float:
        """Events for each patient."""
        return self.rate * self.mean_follow_up

    @property
    def most_r2(self) -> float:
        """Largest Cox-Snell R²: 1 − exp(2 ln L₀ / n) of a model without predictors.

        ln L₀ / n = φ ln φ − φ of an exponential distribution with φ events for each patient, the
        mean follow-up taken as the unit of time (Riley et al., BMJ 2020).

        Example:
            >>> round(Population(0.065, 2.07, 2).most_r2, 3)
            0.555
        """
        return -math.expm1(2 * self.share * (math.log(self.share) - 1))

    @property
    def risk(self) -> float:
        """Overall risk of the event by the horizon."""
        return -math.expm1(-self.rate * self.horizon)

    def r2_of_c(self, c: float) -> float:
        """Return the Cox-Snell R² that goes with a concordance C.

        D = 5.50 (C − 0.5) + 10.26 (C − 0.5)³ (Jinks, Royston and Parmar, BMC Med Res Methodol
        2015), R²_D = (π D² / 8) / (π² / 6 + π D² / 8) (Royston and Sauerbrei, Stat Med 2004),
        R²_OQ = (π² / 6) R²_D / (1 − (1 − π² / 6) R²_D) (Royston, Stata J 2006), and the likelihood
        ratio of E events among n patients is −E ln(1 − R²_OQ) (Riley et al. 2019).

        Example:
            >>> round(Population(0.065, 2.07, 2).r2_of_c(0.7), 3)
            0.057
        """
        d = 5.50 * (c - 0.5) + 10.26 * (c - 0.5) ** 3
        explained, noise = math.pi / 8 * d**2, math.pi**2 / 6
        r2_d = explained / (noise + explained)
        r2_oq = noise * r2_d / (1 - (1 - noise) * r2_d)
        return float(1 - (1 - r2_oq) ** self.share)


@dataclass(frozen=True)
class Criterion:
    """One criterion of the sample size, and the number of patients that meets it."""

    name: str
    """Name of the criterion, such as ``shrinkage of 0.9 or more``."""
    patients: int
    """Minimum number of patients."""


@dataclass(frozen=True)
class SampleSize:
    """Minimum sample size by all criteria."""

    criteria: tuple[Criterion, ...]
    """Shrinkage, optimism and overall risk."""
    parameters: int
    """Candidate parameters."""
    share: float
    """Events for each patient."""

    @property
    def decides(self) -> Criterion:
        """The criterion with the largest number of patients."""
        return max(self.criteria, key=lambda each: each.patients)

    @property
    def patients(self) -> int:
        """Patients needed."""
        return self.decides.patients

    @property
    def events(self) -> int:
        """Events needed, rounded up."""
        return math.ceil(self.patients * self.share)

    @property
    def events_per_parameter(self) -> float:
        """Events needed for each parameter."""
        return self.patients * self.share / self.parameters


def parameters_of(patients: Patients) -> int:
    """Return the parameters of a linear model of a cohort, at least 1.

    They are one for a feature and, for a category, the levels that occur less one. A feature with
    one value in all patients, or with those of another, has none.
    """
    features, values = [*patients.study.features.values()], patients.values
    repeats = {j for j, _ in repeated_features(values, [each.kind for each in features])}
    occur = [len(np.unique(column[~np.isnan(column)])) for column in values.T]
    read = [
        max(count - 1, 0) if each.kind == "category" else int(count > 1)
        for j, (each, count) in enumerate(zip(features, occur, strict=True))
        if j not in repeats
    ]
    return max(sum(read), 1)


def sample_size(population: Population, parameters: int, r2: float) -> SampleSize:
    """Return the minimum number of patients to develop a survival prediction model.

    Args:
        population: event rate, mean follow-up and horizon of the patients.
        parameters: candidate parameters, ≥ 1: one for a number that acts linearly, one fewer than
            its levels for a category, more for a spline or a product.
        r2: anticipated Cox-Snell R², adjusted for optimism.

    Raises:
        InputError: patients have more than one event each, or R² is not between 0 and its maximum,
            which the event rate sets, and 0.9.

    Example:
        >>> found = sample_size(Population(0.065, 2.07, 2), parameters=30, r2=0.051)
        >>> found.patients, found.events, round(found.events_per_parameter, 2), found.decides.name
        (5143, 692, 23.07, 'shrinkage of 0.9 or more')
    """
    if population.share > 1 + 1e-9:
        raise InputError(
            f"{population.share:.3g} events a patient are not possible: follow-up ends with the "
            "event, so that rate × mean follow-up is at most 1; are both in one unit of time?"
        )
    most = min(population.most_r2, SHRINKAGE)
    if not 0 < r2 < most:
        raise InputError(
            f"an anticipated Cox-Snell R² of {r2:.3f} is not possible: with {population.share:.2f} "
            f"events a patient it lies between 0 and {most:.3f}"
        )
    shrinkage = r2 / (r2 + OPTIMISM * population.most_r2)
    needed = {
        f"shrinkage of {SHRINKAGE:g} or more": _patients(parameters, r2, SHRINKAGE),
        f"optimism of {OPTIMISM:g} or less in R²": _patients(parameters, r2, shrinkage),
        f"overall risk within {MARGIN:g}": _for_risk(population),
    }
    criteria = tuple(Criterion(name, math.ceil(n)) for name, n in needed.items())
    return SampleSize(criteria, parameters, population.share)


def expected_shrinkage(patients: int, parameters: int, r2: float) -> float:
    """Return the shrinkage S that patients are expected to give: it solves criterion 1 for S.

    Example:
        >>> round(expected_shrinkage(5143, 30, 0.051), 3)
        0.9
    """
    low, high = r2 * (1 + 1e-9), 1 - 1e-9
    if _patients(parameters, r2, low) > patients:
        return r2
    return float(brentq(lambda s: 1 / _patients(parameters, r2, s) - 1 / patients, low, high))


def parameters_borne(patients: int, r2: float) -> int:
    """Return the most parameters for which patients are enough by the first criterion.

    Example:
        >>> parameters_borne(5143, 0.051)
        30
    """
    return math.floor(patients / _patients(1, r2, SHRINKAGE))


def _patients(parameters: int, r2: float, shrinkage: float) -> float:
    return parameters / ((shrinkage - 1) * math.log1p(-r2 / shrinkage))


def _for_risk(population: Population) -> float:
    """Return the patients with whom the 95 % interval of the overall risk is within ± MARGIN.

    The interval is that of the rate, λ ± z √(λ / follow-up of all patients).
    """
    rate, horizon, z = population.rate, population.horizon, NormalDist().inv_cdf(0.975)
    ends = (population.risk - MARGIN, population.risk + MARGIN)
    reach = min(abs(-math.log1p(-end) / horizon - rate) for end in ends if 0 < end < 1)
    return rate * (z / reach) ** 2 / population.mean_follow_up
