"""Texts on the sample size of a prediction model, by the criteria of `data.checks.sample_size`.

R² is the Cox-Snell R² adjusted for optimism, as in the criteria.
"""

from __future__ import annotations

from dataclasses import replace

from rich.table import Table

from accomplice.data.checks.sample_size import (
    SHRINKAGE,
    USUAL_R2,
    Population,
    SampleSize,
    expected_shrinkage,
    parameters_borne,
)
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError


def population_of(
    cohort: Cohort | None,
    rate: float | None,
    mean_follow_up: float | None,
    horizon: float | None,
) -> Population:
    """Return the population of given figures, completed from a cohort.

    Args:
        cohort: cohort from which figures that are None are taken; None: all three are needed.
        rate: events per unit of time.
        mean_follow_up: mean follow-up, in that unit.
        horizon: time at which the risk is predicted, in that unit.

    Raises:
        InputError: without a cohort, one of the three is missing.
    """
    given = {"rate": rate, "mean_follow_up": mean_follow_up, "horizon": horizon}
    known = {name: value for name, value in given.items() if value is not None}
    if cohort is not None:
        return replace(Population.of(cohort), **known)
    missing = [f"--{name.replace('_', '-')}" for name in given if name not in known]
    if missing:
        raise InputError(
            f"--prediction needs {', '.join(missing)}: give them in one unit of time, such as "
            "years, or name the study file of a cohort"
        )
    return Population(**known)


def anticipated(population: Population, c: float | None, r2: float | None) -> tuple[float, str]:
    """Return the anticipated R² and its source in words; without C or R² a usual one is taken.

    Raises:
        InputError: both are given, or C is at most 0.5.
    """
    if c is not None and r2 is not None:
        raise InputError("--c and --r2 say the same in two ways: give one of them")
    if r2 is not None:
        return r2, "as given"
    if c is not None and c <= 0.5:
        raise InputError(f"--c {c:g}: a model that ranks no better than chance needs no patients")
    if c is not None:
        return population.r2_of_c(c), f"from C = {c:g}"
    return USUAL_R2 * population.most_r2, f"{USUAL_R2:g} of its maximum, where nothing is known"


def assumptions(population: Population, parameters: int, r2: float, source: str) -> list[str]:
    """Return the assumptions as lines of text."""
    return [
        f"patients  {population.share:.2f} events each: rate {population.rate:.4g}, mean follow-up "
        f"{population.mean_follow_up:.4g}, risk {population.risk:.0%} by {population.horizon:.4g}",
        f"model     {parameters} candidate parameters, Cox-Snell R² {r2:.3f} ({source}; at most "
        f"{population.most_r2:.3f})",
    ]


def table(found: SampleSize) -> Table:
    """Return a table of the criteria, with patients, events and events for each parameter."""
    made = Table("criterion", "patients", "events", "events a\nparameter")
    for column in made.columns[1:]:
        column.justify = "right"
    for each in found.criteria:
        alone = replace(found, criteria=(each,))
        numbers = str(alone.patients), str(alone.events), f"{alone.events_per_parameter:.1f}"
        made.add_row(each.name, *numbers)
    return made


def conclusion(found: SampleSize, r2: float, patients: int | None) -> list[str]:
    """Return sentences on the size needed and, if given, on a number of patients."""
    lines = [
        f"needs {found.patients} patients with {found.events} events, "
        f"{found.events_per_parameter:.1f} a parameter: {found.decides.name} decides"
    ]
    if patients is not None:
        shrinkage = expected_shrinkage(patients, found.parameters, r2)
        most = parameters_borne(patients, r2)
        lines.append(
            f"at n = {patients} effects are expected to shrink to {shrinkage:.2f} of their size; "
            f"{most} parameter{'s' * (most != 1)} would keep {SHRINKAGE:g} of it"
        )
    return lines
