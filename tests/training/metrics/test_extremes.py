"""Metrics at the ends of what may come: one patient, no events, ties, huge hazards, many patients.

`test_metrics` holds them against their definitions; here each is asked of the same odd cohorts,
and against scikit-survival wherever that defines a value.
"""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring, inverse_censoring
from accomplice.training.metrics.brier import brier_contributions, time_average
from accomplice.training.metrics.calibration import (
    calibration_at,
    calibration_groups,
    d_calibration,
)
from accomplice.training.metrics.concordance import concordance_contributions, harrell_c
from tests.fixtures.oracles import (
    bootstrap_interval,
    brier_score,
    cumulative_dynamic_auc,
    integrated_brier_score,
    uno_c,
)

untimed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
TIMES = np.array([2.0, 3.5])


def metrics(event, time, log_hazard):
    """Every metric by name, of predictions that follow from log hazards (n,) at month 5."""
    curve = censoring(time, event)
    with np.errstate(over="ignore"):
        hazard = np.exp(log_hazard)
        survival = np.exp(-np.multiply.outer(hazard, TIMES / 5))
        own = np.exp(-hazard * time / 5)
    return {
        "kaplan_meier": lambda: KaplanMeier.fit(time, event).at(TIMES),
        "censoring": lambda: curve.at(TIMES),
        "weights": lambda: inverse_censoring(curve, time, event & (time <= TIMES[-1])),
        "harrell": lambda: harrell_c(event, time, log_hazard),
        "uno": lambda: uno_c(event, time, log_hazard, curve, tau=6.0),
        "harrell_each": lambda: _defined(
            concordance_contributions(event, time, log_hazard, curve, tau=6.0).harrell
        ),
        "uno_each": lambda: _defined(
            concordance_contributions(event, time, log_hazard, curve, tau=6.0).uno
        ),
        "auc": lambda: cumulative_dynamic_auc(event, time, log_hazard, TIMES, curve),
        "auc_by_time": lambda: cumulative_dynamic_auc(event, time, 1 - survival, TIMES, curve),
        "brier": lambda: brier_score(event, time, survival, TIMES, curve),
        "ibs": lambda: integrated_brier_score(event, time, survival, TIMES, curve),
        "calibration": lambda: calibration_at(event, time, survival[:, 1], TIMES[1], curve),
        "groups": lambda: calibration_groups(event, time, survival[:, 1], TIMES[1]).predicted,
        "d_calibration": lambda: d_calibration(event, own),
        "bootstrap": lambda: bootstrap_interval(
            lambda rows: harrell_c(event[rows], time[rows], log_hazard[rows]), event.size, 20, 0
        ),
    }


def _defined(each):
    if np.isnan(each).all():
        raise UndefinedMetricError("contributions are all NaN then")
    return each


NAMES = tuple(metrics(np.array([True, False]), np.array([1.0, 2.0]), np.zeros(2)))
#: Those that a cohort with neither events nor pairs determines.
ALWAYS = {"kaplan_meier", "censoring", "weights", "groups", "d_calibration"}


def answer(metric):
    """The metric's figures, or None where it says that the patients do not determine it."""
    try:
        return np.ravel(np.asarray(metric(), dtype=float))
    except UndefinedMetricError:
        return None


@st.composite
def outcomes(draw, smallest=1, months=8):
    rows = st.tuples(st.booleans(), st.integers(1, months), st.integers(-3, 3))
    event, time, risk = zip(*draw(st.lists(rows, min_size=smallest, max_size=30)), strict=True)
    return np.array(event), np.array(time, dtype=float), np.array(risk, dtype=float)


def simulated(n, tied=False, seed=0):
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=n)
    death, left = generator.exponential(5 / np.exp(risk)), generator.uniform(0, 9, n)
    time = np.minimum(death, left) + 0.1
    return death <= left, np.ceil(time) if tied else time, np.round(risk, 1) if tied else risk


@pytest.mark.parametrize("name", NAMES)
class TestEveryMetric:
    @untimed
    @given(cohort=outcomes(), scale=st.sampled_from([0.0, 1.0, 1e3]))
    def test_is_finite_or_undefined_and_never_warns(self, name, cohort, scale):
        event, time, risk = cohort
        found = answer(metrics(event, time, risk * scale)[name])
        if name == "calibration" and found is not None and math.isnan(found[0]):
            found = found[1:]  # no slope where those whose outcome is known are predicted alike
        assert found is None or np.isfinite(found).all()

    @pytest.mark.parametrize("event", [True, False])
    def test_one_patient(self, name, event):
        found = answer(metrics(np.array([event]), np.array([4.0]), np.array([0.5]))[name])
        assert (found is not None) == (name in ALWAYS | {"brier", "ibs"})

    def test_no_events(self, name):
        _, time, risk = simulated(200)
        found = answer(metrics(np.zeros(200, dtype=bool), time, risk)[name])
        assert (found is not None) == (name in ALWAYS | {"brier", "ibs"})
        if name == "kaplan_meier":
            assert (found == 1).all()

    def test_all_events(self, name):
        _, time, risk = simulated(200)
        found = answer(metrics(np.ones(200, dtype=bool), time, risk)[name])
        assert found is not None
        if name in ("censoring", "weights"):
            assert set(found) <= {0.0, 1.0}

    @pytest.mark.parametrize("tied", [True, False])
    def test_constant_risk(self, name, tied):
        event, time, _ = simulated(500, tied)
        found = answer(metrics(event, time, np.zeros(500))[name])
        assert found is not None
        if name in (
            "harrell",
            "uno",
            "harrell_each",
            "uno_each",
            "auc",
            "auc_by_time",
            "bootstrap",
        ):
            assert found == pytest.approx(np.full(found.size, 0.5), abs=1e-12)
        if name == "calibration":
            assert math.isnan(found[0])

    @pytest.mark.parametrize("tied", [True, False])
    def test_huge_log_hazards_keep_ranks_and_stay_finite(self, name, tied):
        event, time, risk = simulated(500, tied)
        found = answer(metrics(event, time, risk * 1e3)[name])
        assert found is not None
        assert np.isfinite(found).all()
        if name in ("harrell", "uno", "harrell_each", "uno_each", "auc", "bootstrap"):
            np.testing.assert_array_equal(found, answer(metrics(event, time, risk)[name]))

    @pytest.mark.parametrize("tied", [True, False])
    def test_order_of_patients_is_irrelevant(self, name, tied):
        if name in ("bootstrap", "weights", "harrell_each", "uno_each"):
            return  # the one draws rows by their number, the others answer patient by patient
        event, time, risk = simulated(300, tied)
        rows = np.random.default_rng(1).permutation(300)
        found = answer(metrics(event, time, risk)[name])
        shuffled = answer(metrics(event[rows], time[rows], risk[rows])[name])
        np.testing.assert_allclose(shuffled, found, rtol=1e-9)

    def test_memory_is_linear(self, name):
        event, time, risk = simulated(40_000)
        metric = metrics(event, time, risk)[name]
        metric()
        tracemalloc.start()
        metric()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # At most some thirty arrays of the patients; one of all pairs would be 13 GB.
        assert peak < 30 * 8 * event.size


class TestInfinitePredictions:
    @pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
    def test_are_refused_by_name(self, wrong):
        event, time, risk = simulated(20)
        curve, broken = censoring(time, event), np.where(np.arange(20) == 3, wrong, risk)
        for metric in (
            lambda: harrell_c(event, time, broken),
            lambda: uno_c(event, time, broken, curve),
            lambda: cumulative_dynamic_auc(event, time, broken, TIMES, curve),
            lambda: brier_score(event, time, np.column_stack((broken, risk)), TIMES, curve),
            lambda: calibration_at(event, time, broken, 2.0, curve),
            lambda: calibration_groups(event, time, broken, 2.0),
            lambda: d_calibration(event, broken),
        ):
            with pytest.raises(ValueError, match="must be finite, got"):
                metric()


@pytest.fixture(scope="module")
def sksurv():
    return pytest.importorskip("sksurv.metrics", reason="scikit-survival is not installed")


class TestAgainstScikitSurvival:
    """Small cohorts full of ties, wherever scikit-survival gives a value."""

    @untimed
    @given(cohort=outcomes())
    def test_curves(self, sksurv, cohort):
        from sksurv.nonparametric import kaplan_meier_estimator

        event, time, _ = cohort
        times, survival = kaplan_meier_estimator(event, time)
        np.testing.assert_allclose(KaplanMeier.fit(time, event).at(times), survival, atol=1e-12)
        times, survival = kaplan_meier_estimator(event, time, reverse=True)
        np.testing.assert_allclose(censoring(time, event).at(times), survival, atol=1e-12)

    @untimed
    @given(cohort=outcomes(smallest=2))
    def test_harrell(self, sksurv, cohort):
        from sksurv.exceptions import NoComparablePairException

        event, time, risk = cohort
        assume(event.any())
        try:
            expected = sksurv.concordance_index_censored(event, time, risk)[0]
        except (NoComparablePairException, RuntimeWarning):  # the latter for 0 / 0
            assert answer(lambda: harrell_c(event, time, risk)) is None
        else:
            assert harrell_c(event, time, risk) == pytest.approx(expected, abs=1e-12)

    @untimed
    @given(cohort=outcomes(smallest=4, months=6), tau=st.sampled_from([2.5, 4.0, 5.5]))
    def test_weighted(self, sksurv, cohort, tau):
        from sksurv.util import Surv

        event, time, risk = cohort
        # BootstrappedOutcome beyond tau, so that all weights are defined in scikit-survival too.
        event, time = np.append(event, [True, False]), np.append(time, [1.0, 9.0])
        risk = np.append(risk, [0.0, 1.0])
        seen = event & (time <= tau)
        time = np.where(time > tau, 9.0, time)
        both, curve = Surv.from_arrays(seen, time), censoring(time, seen)
        expected = sksurv.concordance_index_ipcw(both, both, risk, tau=tau)[0]
        assert uno_c(seen, time, risk, curve, tau) == pytest.approx(expected, abs=1e-12)

        times = np.array([1.5, 2.0])
        expected, _ = sksurv.cumulative_dynamic_auc(both, both, risk, times)
        auc = cumulative_dynamic_auc(seen, time, risk, times, curve)
        np.testing.assert_allclose(auc, expected, atol=1e-12)

        survival = np.exp(-np.multiply.outer(np.exp(risk), times / 5))
        _, expected = sksurv.brier_score(both, both, survival, times)
        found = brier_score(seen, time, survival, times, curve)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        by_patient = brier_contributions(seen, time, survival, times, curve)
        integrated = sksurv.integrated_brier_score(both, both, survival, times)
        assert time_average(by_patient, times).mean() == pytest.approx(integrated, abs=1e-12)
