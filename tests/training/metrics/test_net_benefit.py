"""Net benefit against its definition, and against Kaplan–Meier where patients are censored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring
from accomplice.training.metrics.net_benefit import net_benefit_contributions


def outcomes(seed, n=120, followed=60):
    rng = np.random.default_rng(seed)
    death, left = rng.exponential(30, n), rng.uniform(1, followed, n)
    return np.minimum(death, left), death <= left, rng.uniform(size=n)


@given(seed=st.integers(0, 50), threshold=st.floats(0.05, 0.9))
def test_without_censoring_it_is_the_counts(seed, threshold):
    time, _, risk = outcomes(seed)
    event = np.ones(len(time), dtype=bool)
    parts = net_benefit_contributions(
        event, time, risk, np.array([threshold]), 20.0, censoring(time, event)
    )
    chosen, case = risk >= threshold, time <= 20
    right, wrong = (chosen & case).sum(), (chosen & ~case).sum()
    expected = (right - wrong * threshold / (1 - threshold)) / len(time)
    assert parts.mean() == pytest.approx(expected, abs=1e-12)


@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.integers(1, 9), st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0])),
        min_size=1,
        max_size=25,
    ),
    threshold=st.sampled_from([0.0, 0.1, 0.3, 0.7]),
)
def test_is_its_definition_patient_by_patient(rows, threshold):
    at = 5.0
    # Somebody is followed beyond all, so that each weight is defined.
    rows = [*rows, (False, 10, 0.2)]
    event, time, risk = (np.array(column) for column in zip(*rows, strict=True))
    time = time.astype(float)

    def uncensored(until):
        chance = 1.0
        for month in range(1, int(until) + 1):
            here = [seen for seen, followed, _ in rows if followed == month]
            at_risk = sum(followed >= month for _, followed, _ in rows) - sum(here)
            chance *= 1 - (len(here) - sum(here)) / at_risk if at_risk else 1.0
        return chance

    benefit = 0.0
    for seen, followed, chance in rows:
        if chance >= threshold and seen and followed <= at:
            benefit += 1 / uncensored(followed)
        elif chance >= threshold and followed > at:
            benefit -= threshold / (1 - threshold) / uncensored(at)
    parts = net_benefit_contributions(
        event, time, risk, np.array([threshold]), at, censoring(time, event)
    )
    assert parts.sum() == pytest.approx(benefit, abs=1e-9)


@given(seed=st.integers(0, 50))
def test_of_everybody_it_is_that_of_kaplan_meier(seed):
    time, event, _ = outcomes(seed)
    thresholds, at = np.array([0.2, 0.5]), 20.0
    parts = net_benefit_contributions(
        event, time, np.ones(len(time)), thresholds, at, censoring(time, event)
    )
    survival = float(KaplanMeier.fit(time, event).at(at))
    expected = 1 - survival - survival * thresholds / (1 - thresholds)
    np.testing.assert_allclose(parts.mean(axis=0), expected, atol=1e-9)


def test_of_nobody_it_is_zero():
    time, event, _ = outcomes(1)
    parts = net_benefit_contributions(
        event, time, np.zeros(len(time)), np.array([0.1]), 20.0, censoring(time, event)
    )
    assert (parts == 0).all()


def test_refuses_what_is_no_probability_and_times_beyond_follow_up():
    time, event, risk = outcomes(2)
    weights = censoring(time, event)
    with pytest.raises(ValueError, match="risk must lie"):
        net_benefit_contributions(event, time, risk + 1, np.array([0.1]), 20.0, weights)
    with pytest.raises(ValueError, match="thresholds in"):
        net_benefit_contributions(event, time, risk, np.array([1.0]), 20.0, weights)
    early = censoring(np.append(time[time < 10], 9.0), np.append(event[time < 10], False))
    with pytest.raises(UndefinedMetricError):
        net_benefit_contributions(event, time, risk, np.array([0.1]), 20.0, early)
