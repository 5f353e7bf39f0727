"""Concordance and its contributions against their definitions, R's survival and scikit-survival."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.intervals import resamples
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.metrics.concordance import (
    concordance_contributions,
    concordances,
    harrell_c,
)
from tests.fixtures.made_up_outcomes import (
    cohorts,
    either,
    every_pair,
    pairs_by_definition,
    reference,
    simulate,
    untimed,
)
from tests.fixtures.oracles import (
    uno_c,
)


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
