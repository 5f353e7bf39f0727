"""Figures stay true where censoring depends on the centre; bounds are wide, cohorts few."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.characteristics.censoring import calibrated, figures, world

COHORTS, PATIENTS = 6, 800


def test_a_perfect_model_is_found_perfect_where_the_sicker_centre_is_followed_shorter():
    found = figures("centre", PATIENTS, COHORTS, gains=False)
    assert (found["by"] == "centre").all()
    assert (found["month"] < 58).all()
    means = found.drop(columns="by").mean()
    for month in (24, 36):
        assert abs(means[f"slope at {month}"] - 1) < 0.1
        assert abs(means[f"O/E at {month}"] - 1) < 0.05
        assert abs(means[f"Brier error at {month}"]) < 0.008


def test_by_one_distribution_for_all_it_is_not():
    made = [world("centre", 3000, np.random.default_rng(seed)) for seed in range(3)]
    assert np.mean([calibrated(each, alike=True)["slope at 48"] for each in made]) > 1.12


def test_the_mean_gain_is_near_where_the_untreated_are_lost():
    found = figures("treatment", 500, 2)
    assert np.abs(found["gain error"]).mean() < 14
    assert found["by"].str.contains("treatment").all()
