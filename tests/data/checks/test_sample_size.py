"""Riley's sample size against pmsampsize (version 1.1.3), its definition, and its inverse."""

from __future__ import annotations

import math

import pytest

from accomplice.data.checks.sample_size import Population, expected_shrinkage, sample_size
from accomplice.data.errors import InputError

#: The worked example: recurrence of venous thromboembolism (Riley et al., Stat Med 2019).
EXAMPLE = Population(rate=0.065, mean_follow_up=2.07, horizon=2)


@pytest.mark.parametrize(
    ("parameters", "r2", "rate", "patients", "for_optimism", "events_per_parameter"),
    [
        (30, 0.051, 0.065, 5143, 1039, 23.07),
        (25, 0.051, 0.065, 4286, 866, 23.07),
        (25, 0.065, 0.065, 3335, 859, 17.95),
        (50, 0.051, 0.065, 8572, 1731, 23.07),
        (25, 0.051, 0.1, 4286, 731, 35.49),
    ],
)
def test_equals_pmsampsize(parameters, r2, rate, patients, for_optimism, events_per_parameter):
    found = sample_size(Population(rate, 2.07, 2), parameters, r2)
    shrinkage, optimism, _ = found.criteria
    assert shrinkage.patients == found.patients == patients
    # The package rounds the events of 10,000 patients up to find the largest R².
    assert optimism.patients == pytest.approx(for_optimism, abs=1)
    assert found.events_per_parameter == pytest.approx(events_per_parameter, abs=0.005)
    assert found.decides is shrinkage


def test_overall_risk_is_known_to_within_its_margin():
    """At the n asked for, the wider side of the interval is 0.05, and at n − 1 more."""
    for population in (EXAMPLE, Population(0.02, 40, 60), Population(0.001, 30, 12)):
        n = sample_size(population, 5, 0.05 * population.most_r2).criteria[2].patients

        def off(patients, population=population):
            se = math.sqrt(population.rate / (patients * population.mean_follow_up))
            risks = [
                1 - math.exp(-max(population.rate + z * se, 0) * population.horizon)
                for z in (-1.959964, 1.959964)
            ]
            return max(abs(risk - population.risk) for risk in risks)

        assert off(n) <= 0.05 + 1e-9 < off(n - 1) or n == 1


def test_few_parameters_are_decided_by_the_overall_risk():
    found = sample_size(Population(0.02, 40, 60), 1, 0.3)
    assert found.decides is found.criteria[2]
    assert found.patients > found.criteria[0].patients


@pytest.mark.parametrize(("patients", "parameters"), [(5143, 30), (400, 30), (100, 500)])
def test_expected_shrinkage_is_the_inverse_of_the_first_criterion(patients, parameters):
    found = expected_shrinkage(patients, parameters, 0.051)
    assert 0.051 <= found < 1
    if parameters < patients:
        again = parameters / ((found - 1) * math.log(1 - 0.051 / found))
        assert again == pytest.approx(patients, rel=1e-6)


def test_r2_rises_with_concordance_and_events():
    few, many = Population(0.02, 10, 60), Population(0.02, 40, 60)
    assert few.r2_of_c(0.5) == 0
    assert few.r2_of_c(0.65) < few.r2_of_c(0.75) < many.r2_of_c(0.75) < many.most_r2


@pytest.mark.parametrize("r2", [0.0, -0.1, 0.6, 0.95])
def test_an_impossible_r2_is_refused(r2):
    with pytest.raises(InputError, match="not possible"):
        sample_size(EXAMPLE, 10, r2)
