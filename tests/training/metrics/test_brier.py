"""Metrics against their definitions, R's survival (reference/metrics.R) and scikit-survival."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.intervals import percentile_interval, resamples
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring
from accomplice.training.metrics.brier import brier_contributions, time_average
from accomplice.training.metrics.calibration import (
    calibration_at,
    calibration_groups,
    d_calibration,
)
from accomplice.training.metrics.concordance import (
    concordance_contributions,
    concordances,
    harrell_c,
)
from tests.fixtures.oracles import (
    bootstrap_interval,
    brier_score,
    cumulative_dynamic_auc,
    integrated_brier_score,
    uno_c,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "metrics.json").read_text())
# A busy machine must not fail a test.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
RISKS = st.sampled_from([-1e300, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 1e300])


@st.composite
def cohorts(draw, smallest=1):
    """Outcome and risk of few patients, with many ties in both."""
    rows = draw(
        st.lists(st.tuples(st.booleans(), st.integers(1, 7), RISKS), min_size=smallest, max_size=25)
    )
    event, time, risk = zip(*rows, strict=True)
    return np.array(event), np.array(time, dtype=float), np.array(risk)


@st.composite
def untied_cohorts(draw):
    """Outcomes in which no event shares its time with a censoring, the last one seen by both."""
    rows = draw(st.lists(st.tuples(st.booleans(), st.integers(1, 8)), min_size=2, max_size=25))
    event = np.array([row[0] for row in rows])
    time = np.array([row[1] for row in rows], dtype=float)
    return event, time + np.where(event, 0, 0.5)


def simulate(n, seed, digits=6, censored_by=80.0, effect=0.8):
    """Exponential survival with rate 0.03 exp(effect × risk), uniform censoring."""
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=n)
    death = generator.exponential(1 / (0.03 * np.exp(effect * risk)))
    left = generator.uniform(1, censored_by, n)
    return death <= left, np.round(np.minimum(death, left), digits) + 1, risk


def truth(risk, times, effect=0.8):
    """Survival of `simulate`, whose times start at 1."""
    months = np.maximum(np.asarray(times, dtype=float) - 1, 0)
    return np.exp(-0.03 * np.multiply.outer(np.exp(effect * risk), months))


def pairs_by_definition(event, time, risk, weight):
    """All n² pairs: (weight of comparable, of concordant plus half of tied)."""
    comparable, concordant = every_pair(event, time, risk, weight)
    return comparable.sum(), concordant.sum()


def every_pair(event, time, risk, weight):
    """As `pairs_by_definition`, pair by pair (n, n)."""
    longer = (time[None] > time[:, None]) | ((time[None] == time[:, None]) & ~event[None])
    comparable = event[:, None] & longer
    favourable = (risk[:, None] > risk[None]) + 0.5 * (risk[:, None] == risk[None])
    weighed = weight[:, None] * comparable
    return weighed, weighed * favourable


def either(metric):
    """The metric's value, NaN where it is undefined."""
    try:
        return metric()
    except UndefinedMetricError:
        return math.nan


def reference(name):
    case = REFERENCE[name]
    return np.array(case["event"]), np.array(case["time"]), np.array(case["risk"]), case


class TestKaplanMeier:
    CASES = (REFERENCE["tied"], REFERENCE["distinct"], *REFERENCE["calibrated"])

    @pytest.mark.parametrize("case", CASES, ids=lambda case: len(case["time"]))
    def test_equals_r(self, case):
        event, time = np.array(case["event"]), np.array(case["time"])
        expected = case["kaplan_meier"]
        curve = KaplanMeier.fit(time, event)
        low, high = curve.interval(np.array(expected["times"]))
        np.testing.assert_allclose(curve.at(expected["times"]), expected["survival"], rtol=1e-12)
        np.testing.assert_allclose(low, expected["low"], rtol=1e-7)
        np.testing.assert_allclose(high, expected["high"], rtol=1e-7)

    @untimed
    @given(cohorts())
    def test_is_the_product_limit(self, cohort):
        event, time, _ = cohort
        curve, level = KaplanMeier.fit(time, event), 1.0
        for instant in np.unique(time):
            np.testing.assert_allclose(curve.before(instant), level, atol=1e-15)
            level *= 1 - (event & (time == instant)).sum() / (time >= instant).sum()
            np.testing.assert_allclose(curve.at(instant), level, atol=1e-15)
            np.testing.assert_allclose(curve.at(instant + 0.5), level, atol=1e-15)
        assert curve.at(0.5) == 1
        assert curve.last == time.max()

    @untimed
    @given(cohorts())
    def test_censoring_lets_events_leave_first(self, cohort):
        event, time, _ = cohort
        curve, level = censoring(time, event), 1.0
        for instant in np.unique(time):
            here = time == instant
            at_risk = (time >= instant).sum() - (event & here).sum()
            level *= 1 - (~event & here).sum() / max(at_risk, 1)
            np.testing.assert_allclose(curve.at(instant), level, atol=1e-15)

    @untimed
    @given(cohorts(), st.floats(0.5, 0.99))
    def test_interval_holds_the_curve(self, cohort, level):
        event, time, _ = cohort
        curve = KaplanMeier.fit(time, event)
        low, high = curve.interval(curve.times, level)
        inside = (curve.survival > 0) & (curve.survival < 1)
        assert (low[inside] < curve.survival[inside]).all()
        assert (curve.survival[inside] < high[inside]).all()
        assert np.isnan(low[~inside]).all()
        assert np.isnan(high[~inside]).all()

    def test_one_patient(self):
        curve = KaplanMeier.fit(np.array([3.0]), np.array([True]))
        assert curve.at(np.array([2.0, 3.0, 4.0])).tolist() == [1, 0, 0]

    @pytest.mark.parametrize(
        ("time", "event", "message"),
        [
            ([1.0, 2.0], [1.0, 0.0], "boolean"),
            ([1.0, np.nan], [True, False], "1 of 2"),
            ([1.0], [True, False], "shapes"),
            (np.empty(0), np.empty(0, dtype=bool), "shapes"),
        ],
    )
    def test_refuses_what_is_no_outcome(self, time, event, message):
        with pytest.raises(ValueError, match=message):
            KaplanMeier.fit(np.array(time), np.array(event))


class TestConcordance:
    def test_equals_r(self):
        for name in ("tied", "distinct"):
            event, time, risk, case = reference(name)
            assert harrell_c(event, time, risk) == pytest.approx(case["harrell_c"], abs=1e-12)
        curve = censoring(time, event)
        assert uno_c(event, time, risk, curve) == pytest.approx(case["uno_c"], abs=1e-12)
        truncated = uno_c(event, time, risk, curve, tau=case["tau"])
        assert truncated == pytest.approx(case["uno_c_tau"], abs=1e-12)

    @untimed
    @given(cohorts())
    def test_harrell_equals_its_definition(self, cohort):
        event, time, risk = cohort
        total, favourable = pairs_by_definition(event, time, risk, np.ones(event.size))
        if total == 0:
            with pytest.raises(UndefinedMetricError, match="no comparable pair"):
                harrell_c(event, time, risk)
        else:
            assert harrell_c(event, time, risk) == pytest.approx(favourable / total, abs=1e-12)

    @untimed
    @given(cohorts(), st.one_of(st.none(), st.integers(1, 8)))
    def test_uno_equals_its_definition(self, cohort, tau):
        event, time, risk = cohort
        curve = censoring(time, event)
        probability = curve.at(time)
        longer, _ = pairs_by_definition(event, time, risk, np.ones(event.size))
        before = event & (time < (np.inf if tau is None else tau))
        weight = np.where(before & (probability > 0), probability, np.inf) ** -2.0
        total, favourable = pairs_by_definition(event, time, risk, weight)
        last = event & (probability == 0)
        if (last & before).any() and (~event & (time == time.max())).any():
            with pytest.raises(UndefinedMetricError, match="smaller tau"):
                uno_c(event, time, risk, curve, tau)
        elif total == 0:
            with pytest.raises(UndefinedMetricError, match="no comparable pair"):
                uno_c(event, time, risk, curve, tau)
        else:
            assert longer > 0
            found = uno_c(event, time, risk, curve, tau)
            assert found == pytest.approx(favourable / total, abs=1e-12)

    @untimed
    @given(
        cohorts(),
        st.sampled_from([np.arctan, np.cbrt, lambda x: np.sign(x) * np.sqrt(np.abs(x))]),
        st.floats(0.5, 100),
    )
    def test_only_the_order_of_risk_counts(self, cohort, transform, scale):
        event, time, risk = cohort
        assume(pairs_by_definition(event, time, risk, np.ones(event.size))[0] > 0)
        transformed = transform(risk) * scale
        assert np.unique(transformed).size == np.unique(risk).size
        assert harrell_c(event, time, transformed) == harrell_c(event, time, risk)

    @untimed
    @given(cohorts())
    def test_flipped_risk_flips_concordance(self, cohort):
        event, time, risk = cohort
        assume(pairs_by_definition(event, time, risk, np.ones(event.size))[0] > 0)
        flipped = harrell_c(event, time, -risk)
        assert flipped == pytest.approx(1 - harrell_c(event, time, risk), abs=1e-12)

    @untimed
    @given(cohorts(smallest=2), st.randoms(use_true_random=False))
    def test_order_of_patients_is_irrelevant(self, cohort, random):
        event, time, risk = cohort
        assume(pairs_by_definition(event, time, risk, np.ones(event.size))[0] > 0)
        rows = list(range(event.size))
        random.shuffle(rows)
        assert harrell_c(event[rows], time[rows], risk[rows]) == harrell_c(event, time, risk)

    def test_all_events_need_no_weights(self):
        _, time, risk = simulate(200, seed=1)
        event = np.ones(200, dtype=bool)
        found = uno_c(event, time, risk, censoring(time, event))
        assert found == pytest.approx(harrell_c(event, time, risk), abs=1e-12)

    @pytest.mark.parametrize("n", [2, 3, 8, 9, 1000, 65_537])
    def test_perfect_and_constant_risk(self, n):
        time = np.random.default_rng(n).permutation(n).astype(float) + 1
        event = np.ones(n, dtype=bool)
        assert harrell_c(event, time, -time) == 1
        assert harrell_c(event, time, time) == 0
        assert harrell_c(event, time, np.zeros(n)) == 0.5

    @pytest.mark.parametrize("event", [[False, False], [False, True], [True]])
    def test_no_comparable_pair(self, event):
        event = np.array(event)
        time = np.arange(event.size) + 1.0
        with pytest.raises(UndefinedMetricError, match="no comparable pair"):
            harrell_c(event, time, time)
        with pytest.raises(UndefinedMetricError, match="no comparable pair"):
            uno_c(event, time, time, censoring(time, event))

    def test_refuses_where_the_weight_is_undefined(self):
        event = np.array([True, True, True, False])
        time = np.array([1.0, 2.0, 5.0, 5.0])
        risk = np.array([3.0, 4.0, 2.0, 1.0])
        curve = censoring(time, event)
        with pytest.raises(UndefinedMetricError, match="smaller tau"):
            uno_c(event, time, risk, curve)
        assert uno_c(event, time, risk, curve, tau=5.0) == 0.8
        early = censoring(np.array([1.0, 1.5]), np.array([True, True]))
        with pytest.raises(UndefinedMetricError, match=r"ends at 1\.5"):
            uno_c(event, time, risk, early)

    @pytest.mark.parametrize("risk", [[1.0, np.nan], [1.0, np.inf], [1.0, 2.0, 3.0]])
    def test_refuses_a_bad_risk(self, risk):
        with pytest.raises(ValueError, match="risk must"):
            harrell_c(np.array([True, True]), np.array([1.0, 2.0]), np.array(risk))

    def test_swapped_arguments_are_named(self):
        event, time, risk = simulate(5, seed=0)
        with pytest.raises(ValueError, match="event must be boolean"):
            harrell_c(time, event, risk)


class TestContributions:
    """Both C's ranked once, and shared out among the patients."""

    @untimed
    @given(cohorts(), st.one_of(st.none(), st.integers(1, 8)))
    def test_both_at_once_are_each_alone(self, cohort, tau):
        event, time, risk = cohort
        curve = censoring(time, event)
        found = concordances(event, time, risk, curve, tau)
        alone = (
            either(lambda: harrell_c(event, time, risk)),
            either(lambda: uno_c(event, time, risk, curve, tau)),
        )
        np.testing.assert_array_equal(found, alone)

    @untimed
    @given(cohorts(), st.one_of(st.none(), st.integers(1, 8)))
    def test_equal_their_definition(self, cohort, tau):
        event, time, risk = cohort
        curve = censoring(time, event)
        values = concordances(event, time, risk, curve, tau)
        found = concordance_contributions(event, time, risk, curve, tau)
        probability = curve.at(time)
        counted = event & (time < (np.inf if tau is None else tau)) & (probability > 0)
        uno = np.where(counted, probability, np.inf) ** -2.0
        for value, each, weight in zip(values, found, (np.ones(event.size), uno), strict=True):
            if math.isnan(value):
                assert np.isnan(each).all()
                continue
            comparable, concordant = every_pair(event, time, risk, weight)
            both = [m.sum(axis=1) + m.sum(axis=0) for m in (concordant, comparable)]
            influence = (both[0] - value * both[1]) / comparable.sum()
            np.testing.assert_allclose(each, value + event.size * influence, atol=1e-10)
            assert each.mean() == pytest.approx(value, abs=1e-12)

    @untimed
    @given(cohorts(smallest=3), st.randoms(use_true_random=False))
    def test_are_the_slope_of_counting_a_patient_more(self, cohort, random):
        event, time, risk = cohort
        weight = censoring(time, event).at(time)
        weight = np.where(event & (weight > 0), weight, np.inf) ** -2.0
        comparable, concordant = every_pair(event, time, risk, weight)
        curve = censoring(time, event)
        each = concordance_contributions(event, time, risk, curve).uno
        assume(not np.isnan(each).any())
        towards = np.array([random.random() for _ in time]) - 0.5
        ends = []
        for step in (-1e-5, 1e-5):
            m = 1 + step * towards
            ends.append((m @ concordant @ m) / (m @ comparable @ m))
        slope = (each - each.mean()) @ towards / event.size
        assert (ends[1] - ends[0]) / 2e-5 == pytest.approx(slope, abs=1e-6)

    @pytest.mark.parametrize("n", [2, 3, 8, 9, 1000, 65_537])
    def test_perfect_and_constant_risk(self, n):
        time = np.random.default_rng(n).permutation(n).astype(float) + 1
        event = np.ones(n, dtype=bool)
        curve = censoring(time, event)
        for risk, value in ((-time, 1.0), (time, 0.0), (np.zeros(n), 0.5)):
            found = concordance_contributions(event, time, risk, curve)
            np.testing.assert_array_equal(found, np.full((2, n), value))

    @pytest.mark.parametrize("tied", [False, True])
    @pytest.mark.parametrize(("n", "draws", "near"), [(200, 1000, 0.03), (5000, 200, 0.02)])
    def test_resampled_have_the_spread_of_the_bootstrap(self, n, draws, near, tied):
        event, time, risk = simulate(n, seed=21, digits=0 if tied else 6)
        other = np.round(risk + np.random.default_rng(5).normal(size=n), 1 if tied else 9)
        curve = censoring(time, event)

        def exact(rows):
            e, t = event[rows], time[rows]
            return np.array([concordances(e, t, r[rows], curve, 60.0) for r in (risk, other)])

        parts = np.array(
            [concordance_contributions(event, time, r, curve, 60.0) for r in (risk, other)]
        )
        drawn, linear = [], []
        for rows in resamples(n, draws, seed=1):
            drawn.append(exact(rows))
            linear.append(parts @ np.bincount(rows, minlength=n) / n)
        drawn, linear = np.array(drawn), np.array(linear)
        # Both models, then their paired difference.
        for a, b in ((drawn, linear), (np.diff(drawn, axis=1), np.diff(linear, axis=1))):
            np.testing.assert_allclose(b.std(axis=0), a.std(axis=0), rtol=near)
            gap = np.abs(b.mean(axis=0) - a.mean(axis=0))
            assert (gap < 0.05 * a.std(axis=0)).all()
            # The same rows move both alike.
            for k in range(2):
                for m in range(a.shape[1]):
                    assert np.corrcoef(a[:, m, k], b[:, m, k])[0, 1] > 0.95


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


class TestCalibrationAt:
    def test_equals_r(self):
        event, time, _, case = reference("distinct")
        curve, predicted = censoring(time, event), np.array(case["predicted"])
        found = calibration_at(event, time, predicted, case["horizon"], curve, clip=1e-12)
        assert found.slope == pytest.approx(case["slope"], abs=1e-7)
        assert found.intercept == pytest.approx(case["intercept"], abs=1e-7)

    @pytest.mark.parametrize("case", REFERENCE["calibrated"], ids=lambda case: len(case["time"]))
    def test_equals_r_with_ties_too(self, case):
        event, time = np.array(case["event"]), np.array(case["time"])
        predicted, curve = np.array(case["predicted"]), censoring(time, event)
        found = calibration_at(event, time, predicted, case["horizon"], curve, clip=1e-12)
        assert found.slope == pytest.approx(case["slope"], abs=1e-6)
        assert found.intercept == pytest.approx(case["intercept"], abs=1e-6)

    def test_the_truth_is_calibrated(self):
        event, time, risk = simulate(40_000, seed=5)
        found = calibration_at(event, time, truth(risk, 36.0), 36.0, censoring(time, event))
        assert found.slope == pytest.approx(1, abs=0.04)
        assert found.intercept == pytest.approx(0, abs=0.04)

    @settings(untimed, max_examples=25)
    @given(st.floats(0.4, 2), st.floats(-1, 1))
    def test_undoes_a_known_distortion(self, stretch, shift):
        event, time, risk = simulate(300, seed=6, effect=0.5)
        curve = censoring(time, event)
        log_hazard = np.log(-np.log(truth(np.clip(risk, -2, 2), 20.0, effect=0.5)))
        honest = calibration_at(event, time, np.exp(-np.exp(log_hazard)), 20.0, curve, 1e-12)
        stretched = np.exp(-np.exp(stretch * log_hazard))
        found = calibration_at(event, time, stretched, 20.0, curve, clip=1e-12)
        assert found.slope == pytest.approx(honest.slope / stretch, rel=1e-5)
        shifted = np.exp(-np.exp(log_hazard + shift))
        found = calibration_at(event, time, shifted, 20.0, curve, clip=1e-12)
        assert found.slope == pytest.approx(honest.slope, rel=1e-5)
        assert found.intercept == pytest.approx(honest.intercept - shift, abs=1e-5)

    def test_an_event_at_the_horizon_is_by_the_horizon(self):
        event, time, risk = simulate(200, seed=14, digits=0)
        curve, survival = censoring(time, event), truth(risk, 20.0)
        assert (event & (time == 20)).any()
        at, between = (calibration_at(event, time, survival, h, curve) for h in (20.0, 20.5))
        assert at == pytest.approx(between, abs=1e-9)

    def test_equal_predictions_have_no_slope(self):
        event, time, _ = simulate(500, seed=7)
        curve = censoring(time, event)
        overall = KaplanMeier.fit(time, event).at(24.0)
        found = calibration_at(event, time, np.full(500, overall), 24.0, curve)
        assert math.isnan(found.slope)
        assert found.intercept == pytest.approx(0, abs=1e-6)

    def test_certain_predictions_are_clipped(self):
        event, time, risk = simulate(500, seed=8)
        found = calibration_at(event, time, (risk < 0).astype(float), 24.0, censoring(time, event))
        assert 0 < found.slope < 1

    @pytest.mark.parametrize("whole", [True, False])
    def test_refuses_predictions_that_part_events_without_error(self, whole):
        event = np.ones(60, dtype=bool)
        time = np.repeat([1.0, 9.0], 30) if whole else np.repeat([1.0, 9.0, 9.0], 20)
        survival = np.where(np.arange(60) < (30 if whole else 40), 0.2, 0.9)
        with pytest.raises(UndefinedMetricError, match="part patients"):
            calibration_at(event, time, survival, 5.0, censoring(time, event))

    @pytest.mark.parametrize("horizon", [0.5, 99.0])
    def test_refuses_without_events_or_survivors(self, horizon):
        event, time, risk = simulate(50, seed=9)
        with pytest.raises(UndefinedMetricError, match="no calibration at"):
            calibration_at(event, time, truth(risk, 9.0), horizon, censoring(time, event))


class TestCalibrationGroups:
    def test_the_truth_lies_in_the_intervals(self):
        event, time, risk = simulate(20_000, seed=10)
        found = calibration_groups(event, time, truth(risk, 36.0), 36.0, level=0.999)
        assert found.size.tolist() == [2000] * 10
        assert (np.diff(found.predicted) > 0).all()
        assert ((found.low < found.predicted) & (found.predicted < found.high)).all()

    @untimed
    @given(cohorts(), st.integers(1, 6), st.integers(1, 7))
    def test_groups_are_whole(self, cohort, groups, horizon):
        event, time, risk = cohort
        survival = 1 / (1 + np.exp(np.clip(risk, -5, 5)))
        found = calibration_groups(event, time, survival, float(horizon), groups)
        assert found.size.sum() == event.size
        assert 1 <= found.size.size <= min(groups, np.unique(survival).size)
        assert found.predicted @ found.size == pytest.approx(survival.sum())
        known = ~np.isnan(found.observed)
        assert ((found.observed[known] >= 0) & (found.observed[known] <= 1)).all()

    def test_unknown_where_follow_up_ends_before(self):
        event, time = np.array([True, False, False]), np.array([1.0, 2.0, 3.0])
        found = calibration_groups(event, time, np.array([0.1, 0.2, 0.3]), 5.0, groups=1)
        assert np.isnan([found.observed[0], found.low[0], found.high[0]]).all()


class TestDCalibration:
    def test_chi_square_equals_r(self):
        case = REFERENCE["chi_square"]
        for statistic, degrees, tail in zip(*(case[k] for k in case), strict=True):
            found = ChiSquare.of(statistic, degrees)
            assert found == (statistic, pytest.approx(tail, rel=1e-12))
        assert ChiSquare.of(0.0, 9).p_value == 1

    @untimed
    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 64)), min_size=1, max_size=30),
        st.sampled_from([2, 4, 8]),
    )
    def test_equals_its_definition(self, rows, bins):
        event = np.array([row[0] for row in rows])
        survival = np.array([row[1] for row in rows]) / 64
        counts = np.zeros(bins)
        for seen, s in zip(event, survival, strict=True):
            own = min(int(s * bins), bins - 1)
            if seen or s == 0:
                counts[own] += 1
                continue
            counts[:own] += 1 / bins / s
            counts[own] += (s - own / bins) / s
        assert counts.sum() == pytest.approx(event.size)
        expected = event.size / bins
        found = d_calibration(event, survival, bins)
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert found.statistic == pytest.approx(statistic, abs=1e-9)
        assert 0 <= found.p_value <= 1

    def test_tells_the_truth_from_a_distortion(self):
        event, time, risk = simulate(5000, seed=11)
        survival = np.exp(-0.03 * np.exp(0.8 * risk) * (time - 1))
        assert d_calibration(event, survival).p_value > 0.01
        assert d_calibration(event, survival**1.5).p_value < 1e-6

    def test_uniform_is_perfect(self):
        survival = (np.arange(100) + 0.5) / 100
        found = d_calibration(np.ones(100, dtype=bool), survival)
        assert found == pytest.approx((0, 1))

    @pytest.mark.parametrize(
        ("event", "survival", "bins", "message"),
        [
            ([True], [1.5], 10, "survival_at_time must lie"),
            ([True], [np.nan], 10, "survival_at_time must be finite"),
            ([True], [0.5], 1, "bins"),
            ([1], [0.5], 10, "boolean"),
        ],
    )
    def test_refuses(self, event, survival, bins, message):
        with pytest.raises(ValueError, match=message):
            d_calibration(np.array(event), np.array(survival), bins)


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
