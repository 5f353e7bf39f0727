"""The Brier score, the AUC and resampling against definitions, R and scikit-survival."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.intervals import percentile_interval, resamples
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring
from accomplice.training.metrics.brier import brier_contributions, time_average
from accomplice.training.metrics.concordance import (
    harrell_c,
)
from tests.fixtures.made_up_outcomes import (
    cohorts,
    simulate,
    truth,
    untied_cohorts,
    untimed,
)
from tests.fixtures.oracles import (
    bootstrap_interval,
    brier_score,
    cumulative_dynamic_auc,
    integrated_brier_score,
    uno_c,
)


class TestCumulativeDynamicAuc:
    @untimed
    @given(cohorts(smallest=2), st.integers(1, 7))
    def test_equals_its_definition(self, cohort, instant):
        event, time, risk = cohort
        case, control = event & (time <= instant), time > instant
        curve = censoring(time, event)
        times = np.array([float(instant)])
        if not case.any() or not control.any():
            with pytest.raises(UndefinedMetricError):
                cumulative_dynamic_auc(event, time, risk, times, curve)
            return
        higher = (risk[case][:, None] > risk[control]) + 0.5 * (
            risk[case][:, None] == risk[control]
        )
        expected = np.average(higher.mean(axis=1), weights=1 / curve.at(time[case]))
        found = cumulative_dynamic_auc(event, time, risk, times, curve)
        assert found == pytest.approx([expected], abs=1e-12)

    def test_a_risk_for_each_time(self):
        event, time, risk = simulate(200, seed=2)
        times, curve = np.array([6.0, 12.0, 24.0]), censoring(time, event)
        once = cumulative_dynamic_auc(event, time, risk, times, curve)
        columns = np.column_stack((risk, -risk, np.exp(risk)))
        each = cumulative_dynamic_auc(event, time, columns, times, curve)
        np.testing.assert_allclose(each, [once[0], 1 - once[1], once[2]], atol=1e-12)


class TestBrier:
    @untimed
    @given(cohorts(), st.floats(0, 1), st.lists(st.integers(0, 7), min_size=1, unique=True))
    def test_equals_its_definition(self, cohort, level, instants):
        event, time, risk = cohort
        times = np.sort(np.array(instants, dtype=float))
        survival = np.multiply.outer(np.where(risk > 0, level, 1 - level), 0.9**times)
        curve = censoring(time, event)
        expected, defined = np.zeros(survival.shape), True
        for i in range(event.size):
            for k, instant in enumerate(times):
                if time[i] > instant:
                    expected[i, k] = (1 - survival[i, k]) ** 2 / curve.at(instant)
                elif event[i] and curve.at(time[i]) > 0:
                    expected[i, k] = survival[i, k] ** 2 / curve.at(time[i])
                elif event[i]:
                    defined = False
        if not defined:
            with pytest.raises(UndefinedMetricError):
                brier_contributions(event, time, survival, times, curve)
            return
        found = brier_contributions(event, time, survival, times, curve)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        score = brier_score(event, time, survival, times, curve)
        np.testing.assert_allclose(score, expected.mean(axis=0), rtol=1e-12)

    @untimed
    @given(untied_cohorts(), st.floats(0, 1), st.integers(0, 8))
    def test_a_constant_prediction_scores_by_kaplan_meier(self, outcome, level, instant):
        event, time = outcome
        assume(instant < time.max())
        survival, times = np.full((event.size, 1), level), np.array([float(instant)])
        score = brier_score(event, time, survival, times, censoring(time, event))
        alive = KaplanMeier.fit(time, event).at(times)
        np.testing.assert_allclose(
            score, alive * (1 - level) ** 2 + (1 - alive) * level**2, atol=1e-12
        )
        half = brier_score(event, time, survival * 0 + 0.5, times, censoring(time, event))
        np.testing.assert_allclose(half, 0.25, atol=1e-12)

    def test_the_truth_scores_best(self):
        event, time, risk = simulate(4000, seed=3)
        times, curve = np.linspace(6, 60, 10), censoring(time, event)
        best = integrated_brier_score(event, time, truth(risk, times), times, curve)
        for wrong in (truth(risk, times) ** 1.3, truth(risk, times) ** 0.7, truth(risk / 2, times)):
            assert integrated_brier_score(event, time, wrong, times, curve) > best

    def test_integral_of_contributions(self):
        event, time, risk = simulate(100, seed=4)
        times, curve = np.array([3.0, 10.0, 40.0]), censoring(time, event)
        survival = truth(risk, times)
        by_patient = time_average(brier_contributions(event, time, survival, times, curve), times)
        assert by_patient.shape == (100,)
        whole = integrated_brier_score(event, time, survival, times, curve)
        assert by_patient.mean() == pytest.approx(whole, abs=1e-14)

    def test_defined_where_all_had_their_event_but_others_were_followed(self):
        curve = censoring(np.array([5.0, 60.0, 90.0]), np.array([True, False, True]))
        score = brier_score(
            np.array([True, True]), np.array([3.0, 4.0]), np.full((2, 1), 0.2), [59.0], curve
        )
        assert score == pytest.approx([0.04])

    @pytest.mark.parametrize(
        ("survival", "times", "message"),
        [
            (np.full((2, 1), 1.1), [1.0], "2 of 2 outside"),
            (np.full((2, 1), np.nan), [1.0], "finite"),
            (np.full((2, 2), 0.5), [1.0], "shape"),
            (np.full((2, 2), 0.5), [2.0, 1.0], "rise"),
            (np.full((2, 1), 0.5), [1.0], "two times"),
        ],
    )
    def test_refuses(self, survival, times, message):
        event, time = np.array([True, False]), np.array([1.0, 3.0])
        with pytest.raises(ValueError, match=message):
            integrated_brier_score(event, time, survival, np.array(times), censoring(time, event))

    def test_refuses_past_the_censoring_distribution(self):
        event, time = np.array([True, False, True]), np.array([1.0, 9.0, 9.5])
        short = censoring(np.array([2.0, 3.0]), np.array([False, True]))
        with pytest.raises(UndefinedMetricError, match="ends at 3"):
            brier_score(event, time, np.full((3, 1), 0.5), np.array([5.0]), short)


class TestAgainstScikitSurvival:
    """Ties by rounding, all events, few events; weights from other patients."""

    CASES = (
        {"digits": 6},
        {"digits": 0},
        {"digits": 0, "censored_by": 9.0},
        {"digits": 1, "censored_by": 1e9},
        {"digits": -1},
    )

    @pytest.mark.parametrize("case", CASES, ids=str)
    @pytest.mark.parametrize("seed", range(3))
    def test_equal(self, case, seed):
        sksurv = pytest.importorskip("sksurv.metrics", reason="scikit-survival is not installed")
        from sksurv.util import Surv

        event, time, risk = simulate(150, seed=seed, **case)
        risk = np.round(risk, 1)
        other_event, other_time, _ = simulate(300, seed=seed + 100, **case)
        train = Surv.from_arrays(other_event, other_time)
        test = Surv.from_arrays(event, time)
        curve = censoring(other_time, other_event)
        tau = float(np.quantile(other_time, 0.9))
        seen = time[time < min(tau, time.max())]
        times = np.unique(np.quantile(seen, [0.3, 0.5, 0.7]))
        shown = time <= times[-1] + 1e-9

        expected = sksurv.concordance_index_censored(event, time, risk)[0]
        assert harrell_c(event, time, risk) == pytest.approx(expected, abs=1e-12)
        expected = sksurv.concordance_index_ipcw(train, test, risk, tau=tau)[0]
        assert uno_c(event, time, risk, curve, tau) == pytest.approx(expected, abs=1e-12)

        # Scikit-survival weighs all patients, also those past the times asked for: cap them.
        event, time = event & shown, np.where(shown, time, tau)
        test = Surv.from_arrays(event, time)
        expected, _ = sksurv.cumulative_dynamic_auc(train, test, risk, times)
        auc = cumulative_dynamic_auc(event, time, risk, times, curve)
        np.testing.assert_allclose(auc, expected, atol=1e-12)

        survival = truth(risk, times)
        _, expected = sksurv.brier_score(train, test, survival, times)
        score = brier_score(event, time, survival, times, curve)
        np.testing.assert_allclose(score, expected, atol=1e-12)
        if times.size > 1:
            expected = sksurv.integrated_brier_score(train, test, survival, times)
            found = integrated_brier_score(event, time, survival, times, curve)
            assert found == pytest.approx(expected, abs=1e-12)


class TestBootstrapInterval:
    def test_of_a_mean_equals_the_normal_interval(self):
        values = np.random.default_rng(12).normal(size=400)
        low, high = bootstrap_interval(lambda rows: values[rows].mean(), 400, 4000, seed=0)
        error = values.std() / 20
        assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
        assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)

    @settings(untimed, max_examples=20)
    @given(st.integers(0, 2**32), st.floats(0.5, 0.99), st.floats(-5, 5))
    def test_pairs_draws_by_the_seed(self, seed, level, gap):
        values = np.arange(20.0)

        def difference(rows):
            return (values[rows] + gap).mean() - values[rows].mean()

        low, high = bootstrap_interval(difference, 20, 30, seed, level)
        assert (low, high) == pytest.approx((gap, gap), abs=1e-9)
        first = bootstrap_interval(lambda rows: values[rows].mean(), 20, 30, seed, level)
        again = bootstrap_interval(lambda rows: values[rows].mean(), 20, 30, seed, level)
        assert first == again
        assert 0 <= first[0] <= first[1] <= 19

    def test_of_concordance_holds_the_estimate(self):
        event, time, risk = simulate(150, seed=13)
        curve = censoring(time, event)

        def statistic(rows):
            return uno_c(event[rows], time[rows], risk[rows], curve, tau=60.0)

        low, high = bootstrap_interval(statistic, 150, 200, seed=0)
        assert low < statistic(np.arange(150)) < high
        assert low > 0.5

    def test_leaves_out_few_undefined_draws_and_refuses_many(self):
        def undefined_without(row):
            def statistic(rows):
                if row not in rows:
                    raise UndefinedMetricError("by chance")
                return float(rows.mean())

            return statistic

        # A draw of 3 from 3 misses a given row in 30 %; the first of 30 is row 0 in 3 %.
        with pytest.raises(UndefinedMetricError, match="too few patients"):
            bootstrap_interval(undefined_without(0), 3, 200, seed=0)

        def rarely(rows):
            return math.nan if rows[0] == 0 else float(rows.mean())

        low, high = bootstrap_interval(rarely, 30, 500, seed=0)
        assert 0 < low < high < 29

    def test_other_errors_pass(self):
        with pytest.raises(ZeroDivisionError):
            bootstrap_interval(lambda rows: 1 / 0, 3, 5, seed=0)

    def test_is_the_percentiles_over_its_resamples(self):
        values = np.random.default_rng(1).normal(size=50)
        drawn = np.array([values[rows].mean() for rows in resamples(50, 200, seed=3)])
        expected = bootstrap_interval(lambda rows: values[rows].mean(), 50, 200, seed=3)
        assert percentile_interval(drawn) == expected
        drawn[:20] = np.nan
        assert percentile_interval(drawn) == percentile_interval(drawn[20:])
        drawn[20] = np.nan
        with pytest.raises(UndefinedMetricError, match="21 of 200"):
            percentile_interval(drawn)

    def test_few_draws_cover_what_many_do(self):
        # Of 199 draws the 5th and the 195th hold 95 % in expectation; 20 draws end before that.
        assert percentile_interval(np.arange(1.0, 200.0)) == pytest.approx((5, 195))
        rng = np.random.default_rng(3)
        held = [np.diff(percentile_interval(rng.uniform(size=60)))[0] for _ in range(2000)]
        assert np.mean(held) == pytest.approx(0.95, abs=0.004)
        assert percentile_interval(np.arange(20.0)) == (0, 19)

    @pytest.mark.parametrize(("n", "draws", "level"), [(0, 1, 0.9), (1, 0, 0.9), (1, 1, 1.0)])
    def test_refuses(self, n, draws, level):
        with pytest.raises(ValueError, match="need n"):
            bootstrap_interval(lambda rows: 0.0, n, draws, 0, level)
