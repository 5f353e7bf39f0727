"""All cut-points, and the price of the best one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.hazard_ratios import fit_effects
from accomplice.training.marker.cutpoints import cut_sizes, logrank_scores, scan_cuts, standardised


def patients(n, effect, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    death = rng.exponential(30 * np.exp(-effect * x))
    left = rng.uniform(5, 90, n)
    return x, np.minimum(death, left), death <= left


@given(values=st.lists(st.integers(0, 6), min_size=2, max_size=40))
def test_patients_of_one_value_stay_together(values):
    rising = np.sort(np.array(values, dtype=float))
    for size in cut_sizes(rising):
        assert rising[size - 1] < rising[size]
        assert 0.1 <= size / len(rising) <= 0.9


def test_scores_sum_to_zero_and_give_the_logrank_numerator():
    x, time, event = patients(80, 0.5, 1)
    time = np.ceil(time / 5)
    scores = logrank_scores(time, event)
    assert scores.sum() == pytest.approx(0, abs=1e-9)
    high, expected = x > 0, 0.0
    for moment in np.unique(time[event]):
        at_risk, died = time >= moment, event & (time == moment)
        expected += died[high].sum() - died.sum() * at_risk[high].sum() / at_risk.sum()
    assert scores[high].sum() == pytest.approx(expected)


def test_standardised_statistics_have_mean_zero_and_variance_one_under_permutation():
    _, time, event = patients(60, 0, 2)
    rng = np.random.default_rng(0)
    rows = rng.permuted(np.tile(logrank_scores(time, event), (20_000, 1)), axis=1)
    found = standardised(rows, np.array([6, 30, 54]))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(found.var(axis=0), 1, atol=0.04)


class TestScan:
    def test_ratio_at_the_median_is_that_of_the_halves(self):
        x, time, event = patients(101, 0.5, 3)
        scan = scan_cuts(x, time, event)
        high = (x > np.sort(x)[round(101 / 2) - 1]).astype(float)
        assert scan.median == fit_effects(high, time, event).ratio(1)

    def test_best_is_the_largest_logrank_statistic_of_all(self):
        x, time, event = patients(120, 0.4, 4)
        scan = scan_cuts(x, time, event)
        below = cut_sizes(np.sort(x))
        scores = logrank_scores(time, event)[np.argsort(x)]
        statistic = np.abs(standardised(scores[None], below)[0])
        assert scan.share[scan.best] == below[statistic.argmax()] / len(x)
        assert scan.p_best == pytest.approx(math.erfc(statistic.max() / math.sqrt(2)))

    def test_a_strong_marker_stays_significant_at_all_cuts(self):
        scan = scan_cuts(*patients(300, 1.0, 5))
        assert scan.significant > 0.95
        assert scan.p_corrected <= 0.001

    def test_corrected_p_is_near_the_limit_of_miller_and_siegmund(self):
        # Their formula for the best of all cuts from the 10th to the 90th percentile, Biometrics
        # 1982: the oracle for what the permutation finds.
        for seed in range(4):
            x, time, event = patients(250, 0.15, 10 + seed)
            scan = scan_cuts(x, time, event)
            b = 2**0.5 * _inverse_erfc(scan.p_best)
            density = math.exp(-(b**2) / 2) / math.sqrt(2 * math.pi)
            limit = 4 * density / b + density * (b - 1 / b) * math.log(0.9 * 0.9 / (0.1 * 0.1))
            assert scan.p_corrected > scan.p_best
            assert scan.p_corrected == pytest.approx(min(limit, 1), abs=0.12)

    def test_without_an_effect_the_corrected_p_is_small_as_seldom_as_it_should_be(self):
        found = []
        for seed in range(40):
            x, time, event = patients(80, 0, 100 + seed)
            scan = scan_cuts(x, time, event, seed)
            found.append((scan.p_best, scan.p_corrected))
        naive, corrected = np.array(found).T
        assert np.mean(corrected < 0.2) == pytest.approx(0.2, abs=0.2)
        assert np.mean(naive < 0.05) > 2 * np.mean(corrected < 0.05)

    def test_seed_decides_the_permutations(self):
        x, time, event = patients(80, 0.2, 7)
        assert scan_cuts(x, time, event, 1).p_corrected == scan_cuts(x, time, event, 1).p_corrected


def _inverse_erfc(p):
    from statistics import NormalDist

    return -NormalDist().inv_cdf(p / 2) / 2**0.5
