"""Metrics of perfect predictions where the sicker patients are followed shorter."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.estimators.kaplan_meier import censoring, inverse_censoring, power_curves
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import slopes
from accomplice.training.metrics.auc_and_concordance_draws import (
    auc_contributions,
    drawn_auc,
    drawn_concordances,
)
from accomplice.training.metrics.brier import brier_contributions
from accomplice.training.metrics.calibration import (
    calibration_at,
    calibration_groups,
)
from accomplice.training.metrics.concordance import concordance_contributions, concordances
from accomplice.training.metrics.net_benefit import net_benefit_contributions

MONTH = 36.0


def cohort(n, seed=0):
    """Time, event, weights by centre, predictions that are the truth, and the time of death."""
    rng = np.random.default_rng(seed)
    late = rng.random(n) < 0.5
    log_hz = 0.5 * rng.normal(size=n) + 0.9 * late
    death = rng.exponential(100 * np.exp(-log_hz))
    end = np.where(late, rng.uniform(10, 62, n), rng.uniform(60, 110, n))
    time, event = np.minimum(death, end), death <= end
    weights = power_curves(time, event, late.astype(int), np.ones(n))
    return time, event, weights, log_hz, death


def alive(log_hz, month=MONTH):
    return np.exp(-month / 100 * np.exp(log_hz))


@pytest.fixture(scope="module")
def large():
    return cohort(60_000)


def test_a_perfect_model_is_calibrated(large):
    time, event, weights, log_hz, _ = large
    true = alive(log_hz)
    found = calibration_at(event, time, true, MONTH, weights)
    assert (found.slope, found.intercept) == pytest.approx((1, 0), abs=0.04)
    judged = BootstrappedOutcome.of(time, event, MONTH, 0, 0, weights)
    assert judged.observed_expected(true, MONTH)[0] == pytest.approx(1, abs=0.02)
    groups = calibration_groups(event, time, true, MONTH, 8, censoring=weights)
    assert np.abs(groups.observed - groups.predicted).max() < 0.025
    # With one curve of censoring for all it is told that it is not.
    assert calibration_at(event, time, true, MONTH, censoring(time, event)).slope > 1.1


def test_brier_score_and_net_benefit_are_the_true_ones(large):
    time, event, weights, log_hz, _ = large
    true = alive(log_hz)
    scored = brier_contributions(event, time, true[:, None], np.array([MONTH]), weights)
    assert scored.mean() == pytest.approx((true * (1 - true)).mean(), abs=0.002)
    benefit = net_benefit_contributions(event, time, 1 - true, np.array([0.4]), MONTH, weights)
    act = 1 - true >= 0.4
    expected = (act * (1 - true)).mean() - (act * true).mean() * 0.4 / 0.6
    assert benefit.mean() == pytest.approx(expected, abs=0.004)


def test_ranks_are_judged_as_if_all_were_followed(large):
    time, event, weights, log_hz, death = large
    found = concordances(event, time, log_hz, weights, MONTH).uno
    everybody = np.ones(len(death), dtype=bool)
    whole = concordances(everybody, death, log_hz, censoring(death, everybody), MONTH).uno
    assert found == pytest.approx(whole, abs=0.005)


def test_weights_of_pairs_are_those_of_both_patients():
    time, event, weights, log_hz, _ = cohort(80)
    time, risk = np.ceil(time / 3) * 3, log_hz.round(1)
    right = total = 0.0
    for i in np.flatnonzero(event & (time < MONTH)):
        other = (time > time[i]) | ((time == time[i]) & ~event)
        chance = weights.at(time[i])
        weight = np.where(other & (chance > 0), 1 / (chance[i] * np.maximum(chance, 1e-9)), 0.0)
        right += weight @ ((risk[i] > risk) + 0.5 * (risk[i] == risk))
        total += weight.sum()
    counts = np.random.default_rng(1).multinomial(80, np.full(80, 1 / 80), 3).astype(float)
    counts[0] = 1
    drawn = drawn_concordances(event, time, risk[None], weights, MONTH, counts)[0]
    parts = concordance_contributions(event, time, risk, weights, MONTH)
    for uno in (concordances(event, time, risk, weights, MONTH).uno, drawn[1, 0], parts.uno.mean()):
        assert uno == pytest.approx(right / total, rel=1e-9)
    rows = np.repeat(np.arange(80), counts[1].astype(int))
    again = concordances(event[rows], time[rows], risk[rows], weights.take(rows), MONTH)
    assert drawn[:, 1] == pytest.approx(again, rel=1e-9)


def test_contributions_are_the_change_by_one_patient_more():
    time, event, weights, log_hz, _ = cohort(300)
    base = concordances(event, time, log_hz, weights, MONTH).uno
    parts = concordance_contributions(event, time, log_hz, weights, MONTH).uno
    for k in (0, 17, 133, 299):
        rows = np.append(np.arange(300), k)
        more = concordances(event[rows], time[rows], log_hz[rows], weights.take(rows), MONTH).uno
        assert (more - base) * 300 == pytest.approx(parts[k] - base, abs=0.02)


def test_controls_of_the_auc_weigh_by_their_own_censoring():
    time, event, weights, log_hz, _ = cohort(100)
    case, control = event & (time <= MONTH), time > MONTH
    w, v = inverse_censoring(weights, time, case), inverse_censoring(weights, MONTH, control)
    higher = log_hz[:, None] > log_hz
    expected = (w @ higher @ v) / (w.sum() * v.sum())
    drawn = drawn_auc(event, time, log_hz[None], MONTH, weights, np.ones((1, 100)))
    parts = auc_contributions(event, time, log_hz, MONTH, weights)
    assert drawn[0, 0] == pytest.approx(expected)
    assert parts.mean() == pytest.approx(expected)


def test_draws_weigh_each_patient_alike():
    time, event, weights, log_hz, _ = cohort(200)
    followed = BootstrappedOutcome.of(time, event, 50.0, 20, 0, weights)
    true = alive(log_hz)
    ratio, slope = followed.observed_expected(true, MONTH), slopes(followed, true, MONTH)
    for d, rows in enumerate(followed.draws.rows()):
        drawn = event[rows], time[rows], true[rows], MONTH, weights.take(rows)
        # Σ w [event by the month] / Σ w over the mean predicted risk.
        case = drawn[0] & (drawn[1] <= MONTH)
        known = case | (drawn[1] > MONTH)
        weight = inverse_censoring(drawn[4], np.minimum(drawn[1], MONTH), known)
        observed = np.average(case, weights=weight)
        assert ratio[d] == pytest.approx(observed / (1 - drawn[2]).mean(), rel=1e-9)
        assert slope[d] == pytest.approx(calibration_at(*drawn).slope, abs=1e-5)
    some = followed.take(np.arange(0, 200, 2))
    np.testing.assert_array_equal(some.weights.at(20.0), weights.at(20.0)[::2])


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_patients_without_one_of_the_groups_are_judged_by_the_curves_of_the_others(missing):
    time, event, _, log_hz, _ = cohort(300)
    group = np.arange(300) % 3
    weights = power_curves(time, event, group, np.ones(300))
    some = np.flatnonzero(group != missing)
    own = event[some], time[some], log_hz[some]
    few = weights.take(some)
    np.testing.assert_array_equal(few.at(MONTH), weights.at(MONTH)[some])
    found = concordances(*own, few, MONTH).uno
    early = own[0] & (own[1] < MONTH)
    pair = (own[1] > own[1][:, None]) | ((own[1] == own[1][:, None]) & ~own[0])
    weight = np.zeros(pair.shape)
    for i in np.flatnonzero(early):
        chance = weights.at(own[1][i])[some]
        weight[i] = pair[i] / (chance[i] * np.where(pair[i], chance, 1))
    right = (own[2][:, None] > own[2]) + 0.5 * (own[2][:, None] == own[2])
    assert found == pytest.approx((weight * right).sum() / weight.sum(), rel=1e-9)
    assert concordance_contributions(*own, few, MONTH).uno.mean() == pytest.approx(found)
    drawn = drawn_concordances(*own[:2], own[2][None], few, MONTH, np.ones((1, len(some))))
    assert drawn[0][1, 0] == pytest.approx(found)
