"""Cox's model against R's survival (reference/cox.R), scikit-survival and its definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.cox import RiskSets, RiskSums, fit_cox

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "cox.json").read_text())
CASES = ("distinct", "tied", "heavy_ties")
untimed = settings(deadline=None)


def reference(name):
    case = REFERENCE[name]
    X, time = np.array(case["x"]), np.array(case["time"], dtype=float)
    return case, X, RiskSets(time, np.array(case["event"]))


def by_definition(X, time, event, log_hz):
    """Efron's log partial likelihood, its gradient and information, event by event."""
    value, gradient = 0.0, np.zeros(X.shape[1])
    information = np.zeros((X.shape[1], X.shape[1]))
    weight = np.exp(log_hz)
    for moment in np.unique(time[event]):
        tied = np.flatnonzero(event & (time == moment))
        at_risk = time >= moment
        for order, i in enumerate(tied):
            share = np.where(event & (time == moment), 1 - order / len(tied), 1.0) * at_risk
            w = weight * share
            mean = w @ X / w.sum()
            value += log_hz[i] - np.log(w.sum())
            gradient += X[i] - mean
            information += (X * w[:, None]).T @ X / w.sum() - np.outer(mean, mean)
    return value, gradient, information


def simulate(n, p, seed=0, digits=1, effect=0.6):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    death = rng.exponential(30 * np.exp(-X[:, : min(p, 3)].sum(axis=1) * effect))
    left = rng.uniform(5, 90, n)
    return X, np.round(np.minimum(death, left), digits) + 0.1, death <= left


@st.composite
def problems(draw):
    """Few patients with many ties in time and in the design, and a linear predictor."""
    n, p = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    numbers = st.integers(-2, 2).map(float) | st.floats(-2, 2)
    X = np.array(draw(st.lists(numbers, min_size=n * p, max_size=n * p))).reshape(n, p)
    time = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), dtype=float)
    event = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    beta = np.array(draw(st.lists(st.floats(-2, 2), min_size=p, max_size=p)))
    return X, time, event, beta


def breslow_by_definition(log_hz, weight, time, event):
    """Breslow's log partial likelihood of one weighting, event by event."""
    value = 0.0
    for i in np.flatnonzero(event & (weight > 0)):
        at_risk = (time >= time[i]) & (weight > 0)
        value += log_hz[i] - np.log(np.exp(log_hz[at_risk]).sum())
    return value


@st.composite
def weighted_problems(draw):
    """Log-hazards and 0-1 weights (m, n) of few patients with many ties."""
    n, m = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    time = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), dtype=float)
    event = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    size = n * m
    log_hz = draw(st.lists(st.floats(-3, 3), min_size=size, max_size=size))
    weight = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=size, max_size=size))
    return np.array(log_hz).reshape(m, n), np.array(weight).reshape(m, n), time, event


class TestPartialLikelihood:
    @untimed
    @given(problem=problems())
    def test_equals_its_definition(self, problem):
        X, time, event, beta = problem
        found = RiskSets(time, event).evaluate(X, X @ beta)
        for value, expected in zip(found, by_definition(X, time, event, X @ beta), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)

    @untimed
    @given(problem=problems())
    def test_residuals_are_the_slope_by_each_patients_log_hazard(self, problem):
        X, time, event, beta = problem
        log_hz = X @ beta
        found = RiskSets(time, event).residuals(log_hz)
        _, slope, _ = by_definition(np.eye(len(X)), time, event, log_hz)
        np.testing.assert_allclose(found, slope, rtol=1e-9, atol=1e-9)

    @untimed
    @given(problem=problems())
    def test_gradient_and_information_are_its_finite_differences(self, problem):
        X, time, event, beta = problem
        risk_sets, step = RiskSets(time, event), 1e-5
        _, gradient, information = risk_sets.evaluate(X, X @ beta)
        for j in range(len(beta)):
            shift = step * np.eye(len(beta))[j]
            up = risk_sets.evaluate(X, X @ (beta + shift))
            down = risk_sets.evaluate(X, X @ (beta - shift))
            assert (up[0] - down[0]) / (2 * step) == pytest.approx(gradient[j], rel=1e-5, abs=1e-5)
            np.testing.assert_allclose(
                (down[1] - up[1]) / (2 * step), information[j], rtol=1e-5, atol=1e-5
            )

    @untimed
    @given(problem=problems(), shift=st.floats(-1e6, 1e6))
    def test_any_shift_of_the_log_hazard_changes_nothing(self, problem, shift):
        X, time, event, beta = problem
        risk_sets = RiskSets(time, event)
        moved = risk_sets.evaluate(X, X @ beta + shift)
        for value, expected in zip(moved, risk_sets.evaluate(X, X @ beta), strict=True):
            # What is left of a predictor next to 1e6 in double precision.
            np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-7)

    @untimed
    @given(problem=problems(), scale=st.sampled_from([1e2, 1e3, 1e5, 1e8]))
    def test_huge_log_hazards_stay_finite(self, problem, scale):
        X, time, event, beta = problem
        value, gradient, information = RiskSets(time, event).evaluate(X, scale * (X @ beta))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert np.isfinite(information).all()

    def test_beyond_the_range_of_single_precision_it_is_still_exact(self):
        time, event = np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool)
        # The patient at risk with most weight dies last: each earlier death costs 150 and 90.
        value = RiskSets(time, event).value(np.array([-150.0, -90.0, 0.0]) + 1e4)
        assert value == pytest.approx(-240.0)

    @untimed
    @given(problem=problems())
    def test_without_events_there_is_no_gradient(self, problem):
        X, time, event, beta = problem
        value, gradient, information = RiskSets(time, event & False).evaluate(X, X @ beta)
        assert value == 0
        assert (gradient == 0).all()
        assert (information == 0).all()

    def test_one_patient_says_nothing(self):
        found = RiskSets(np.array([3.0]), np.array([True])).evaluate(np.ones((1, 2)), np.ones(1))
        for part in found:
            assert (np.asarray(part) == 0).all()

    @untimed
    @given(problem=problems(), data=st.data())
    def test_order_of_the_patients_is_no_matter(self, problem, data):
        X, time, event, beta = problem
        rows = np.array(data.draw(st.permutations(range(len(time)))))
        first = RiskSets(time, event).evaluate(X, X @ beta)
        second = RiskSets(time[rows], event[rows]).evaluate(X[rows], X[rows] @ beta)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("name", CASES)
    def test_equals_r(self, name):
        case, X, risk_sets = reference(name)
        expected = case["plain"]
        beta = np.array(expected["beta"])
        value, gradient, information = risk_sets.evaluate(X, X @ beta)
        assert value == pytest.approx(expected["value"], rel=1e-10)
        assert risk_sets.value(0 * X[:, 0]) == pytest.approx(expected["null"], rel=1e-10)
        np.testing.assert_allclose(gradient, 0, atol=1e-8)
        np.testing.assert_allclose(information, expected["information"], rtol=1e-8)


class TestFit:
    def test_reference_has_ties_by_the_dozen(self):
        risk_sets = reference("heavy_ties")[2]
        _, tied = np.unique(risk_sets.time[risk_sets.event], return_counts=True)
        assert tied.max() > 24

    @pytest.mark.parametrize("name", CASES)
    @pytest.mark.parametrize("fit", [0, 1, 2])
    def test_penalised_coefficients_equal_r(self, name, fit):
        case, X, risk_sets = reference(name)
        expected = case["ridge"][fit]
        beta = fit_cox(X, risk_sets, np.array(expected["penalty"], dtype=float))
        np.testing.assert_allclose(beta, expected["beta"], atol=2e-6)

    @pytest.mark.parametrize("name", CASES)
    def test_unpenalised_coefficients_equal_r(self, name):
        case, X, risk_sets = reference(name)
        np.testing.assert_allclose(
            fit_cox(X, risk_sets, np.zeros(4)), case["plain"]["beta"], atol=2e-6
        )

    @pytest.mark.parametrize("digits", [4, 1, -1])
    @pytest.mark.parametrize("penalty", [0.5, 20.0])
    def test_coefficients_equal_scikit_survival(self, digits, penalty):
        linear_model = pytest.importorskip("sksurv.linear_model")
        util = pytest.importorskip("sksurv.util")
        X, time, event = simulate(150, 6, seed=4, digits=digits)
        theirs = linear_model.CoxPHSurvivalAnalysis(alpha=penalty, ties="efron", tol=1e-13)
        theirs.fit(X, util.Surv.from_arrays(event, time))
        ours = fit_cox(X, RiskSets(time, event), np.full(6, penalty))
        np.testing.assert_allclose(ours, theirs.coef_, atol=1e-6)

    @pytest.mark.parametrize(("n", "p"), [(30, 31), (40, 120)])
    def test_more_columns_than_patients_give_what_newton_gives_on_all_columns(self, n, p):
        X, time, event = simulate(n, p, seed=2, digits=0)
        penalty = np.random.default_rng(0).uniform(2, 20, p)
        risk_sets = RiskSets(time, event)
        beta = np.zeros(p)
        for _ in range(60):
            _, gradient, information = risk_sets.evaluate(X, X @ beta)
            beta = beta + np.linalg.solve(information + np.diag(penalty), gradient - penalty * beta)
        np.testing.assert_allclose(gradient, penalty * beta, atol=1e-8)
        np.testing.assert_allclose(fit_cox(X, risk_sets, penalty), beta, atol=1e-6)

    def test_start_does_not_decide_the_end(self):
        X, time, event = simulate(80, 3)
        risk_sets, penalty = RiskSets(time, event), np.full(3, 2.0)
        first = fit_cox(X, risk_sets, penalty)
        np.testing.assert_allclose(
            fit_cox(X, risk_sets, penalty, np.array([4.0, -5.0, 3.0])), first, atol=1e-5
        )

    def test_separated_patients_stay_finite(self):
        # The unpenalised estimate is infinite: the highest value always dies first.
        X = np.arange(20.0)[::-1, None]
        beta = fit_cox(X, RiskSets(np.arange(1.0, 21.0), np.ones(20, bool)), np.array([0.01]))
        assert np.isfinite(beta).all()
        assert beta[0] > 1

    @pytest.mark.parametrize("shape", [(20, 3), (5, 30)])
    def test_design_without_variation_gives_zero(self, shape):
        n, p = shape
        risk_sets = RiskSets(np.arange(1.0, n + 1), np.ones(n, dtype=bool))
        np.testing.assert_array_equal(fit_cox(np.zeros(shape), risk_sets, np.ones(p)), np.zeros(p))

    def test_without_events_coefficients_are_zero(self):
        X, time, event = simulate(20, 3)
        beta = fit_cox(X, RiskSets(time, event & False), np.ones(3))
        np.testing.assert_array_equal(beta, np.zeros(3))


class TestRiskSums:
    @untimed
    @given(problem=weighted_problems())
    def test_value_equals_its_definition(self, problem):
        log_hz, weight, time, event = problem
        found = RiskSums.of(time, event).value(log_hz, weight)
        expected = [
            breslow_by_definition(h, w, time, event) for h, w in zip(log_hz, weight, strict=True)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)

    @untimed
    @given(problem=weighted_problems(), data=st.data())
    def test_value_equals_the_anchor_s_without_ties(self, problem, data):
        log_hz, weight, time, event = problem
        time = np.array(data.draw(st.permutations(range(len(time)))), dtype=float)
        found = RiskSums.of(time, event).value(log_hz, weight)
        for value, h, w in zip(found, log_hz, weight.astype(bool), strict=True):
            expected = RiskSets(time[w], event[w]).value(h[w]) if w.any() else 0.0
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)

    @untimed
    @given(problem=weighted_problems())
    def test_slopes_are_the_value_s_finite_differences(self, problem):
        log_hz, weight, time, event = problem
        sums, step = RiskSums.of(time, event), 1e-5
        gradient, _ = sums.slopes(log_hz, weight)
        for i in range(len(time)):
            shift = step * (np.arange(len(time)) == i)
            rise = sums.value(log_hz + shift, weight) - sums.value(log_hz - shift, weight)
            inside = weight[:, i] > 0
            np.testing.assert_allclose(
                (rise / (2 * step))[inside], gradient[inside, i], rtol=1e-5, atol=1e-5
            )

    @untimed
    @given(problem=weighted_problems())
    def test_curvature_is_the_expected_events_also_of_those_outside(self, problem):
        log_hz, weight, time, event = problem
        gradient, curvature = RiskSums.of(time, event).slopes(log_hz, weight)
        for m, (h, w) in enumerate(zip(log_hz, weight, strict=True)):
            expected = np.zeros(len(time))
            for i in np.flatnonzero(event & (w > 0)):
                total = np.exp(h[(time >= time[i]) & (w > 0)]).sum()
                expected += np.exp(h) / total * (time >= time[i])
            np.testing.assert_allclose(curvature[m], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(gradient, event - curvature, rtol=1e-9, atol=1e-9)
        # Over the patients weighed, events and expected events are the same.
        np.testing.assert_allclose((weight * gradient).sum(axis=1), 0, atol=1e-9)

    @untimed
    @given(problem=weighted_problems(), shift=st.sampled_from([-1e3, 1e3]) | st.floats(-1e6, 1e6))
    def test_any_shift_changes_nothing(self, problem, shift):
        log_hz, weight, time, event = problem
        sums = RiskSums.of(time, event)
        np.testing.assert_allclose(
            sums.value(log_hz + shift, weight), sums.value(log_hz, weight), rtol=1e-7, atol=1e-7
        )
        for a, b in zip(
            sums.slopes(log_hz + shift, weight), sums.slopes(log_hz, weight), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7)

    @untimed
    @given(problem=weighted_problems(), scale=st.sampled_from([1e2, 1e3, 1e5]))
    def test_huge_log_hazards_stay_finite(self, problem, scale):
        log_hz, weight, time, event = problem
        sums = RiskSums.of(time, event)
        value = sums.value(scale * log_hz, weight)
        assert np.isfinite(value).all()
        assert (value <= 1e-9).all()
        assert all(np.isfinite(s).all() for s in sums.slopes(scale * log_hz, weight))

    @untimed
    @given(problem=weighted_problems())
    def test_without_events_there_is_nothing(self, problem):
        log_hz, weight, time, event = problem
        sums = RiskSums.of(time, event & False)
        assert (sums.value(log_hz, weight) == 0).all()
        assert all((s == 0).all() for s in sums.slopes(log_hz, weight))

    @untimed
    @given(problem=weighted_problems(), data=st.data())
    def test_outcomes_of_patients_of_weight_0_change_nothing_of_the_others(self, problem, data):
        log_hz, weight, time, event = problem
        log_hz, weight = log_hz[:1], weight[:1]
        outside = weight[0] == 0
        then = data.draw(st.lists(st.integers(1, 5), min_size=len(time), max_size=len(time)))
        first = RiskSums.of(time, event)
        second = RiskSums.of(np.where(outside, then, time), event ^ outside)
        np.testing.assert_allclose(
            second.value(log_hz, weight), first.value(log_hz, weight), rtol=1e-9, atol=1e-9
        )
        for a, b in zip(second.slopes(log_hz, weight), first.slopes(log_hz, weight), strict=True):
            np.testing.assert_allclose(a[:, ~outside], b[:, ~outside], rtol=1e-9, atol=1e-9)

    def test_one_patient_says_nothing(self):
        sums = RiskSums.of(np.array([3.0]), np.array([True]))
        log_hz, weight = np.full((1, 1), 2.0), np.ones((1, 1))
        assert sums.value(log_hz, weight) == [0]
        gradient, curvature = sums.slopes(log_hz, weight)
        assert (gradient[0, 0], curvature[0, 0]) == (0, 1)
