"""The ridge Cox against R's survival (reference/anchor.R), scikit-survival and its definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.anchor import Anchor, RiskSets, baseline_hazard, fit_anchor, fit_cox
from training.hazard import TimeGrid

REFERENCE = json.loads((Path(__file__).parent / "reference" / "anchor.json").read_text())
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


class TestAnchor:
    def setup_method(self):
        self.X, self.time, self.event = simulate(200, 8, seed=5)
        self.grid = TimeGrid.fit(self.time, self.event, 60.0)
        self.markers = np.arange(8) >= 4

    def fit(self, **changed):
        given_ = {"X": self.X, "time": self.time, "event": self.event, "grid": self.grid}
        return fit_anchor(**(given_ | {"markers": self.markers} | changed))

    def test_baseline_makes_expected_events_equal_those_seen(self):
        anchor = self.fit()
        log_hz = anchor.log_hz(self.X)
        spent = np.exp(log_hz)[:, None] * np.diff(anchor.baseline) * self.grid.exposure(self.time)
        seen = self.grid.events(self.time, self.event)
        np.testing.assert_allclose(spent.sum(axis=0), seen.sum(axis=0))
        assert log_hz.mean() == pytest.approx(0, abs=1e-12)

    def test_chosen_penalty_is_applied_with_its_ratio(self):
        anchor = self.fit(ratios=(3.0,), penalties=(0.1,))
        weights = self.event.sum() * 0.1 * np.where(self.markers, 3.0, 1.0)
        expected = fit_cox(self.X, RiskSets(self.time, self.event), weights)
        np.testing.assert_allclose(anchor.beta, expected, atol=1e-9)
        assert (anchor.penalty, anchor.ratio) == (0.1, 3.0)

    def test_noise_is_shrunk_and_signal_is_not(self):
        noise = np.random.default_rng(1).normal(size=self.X.shape)
        assert self.fit(X=noise).penalty > self.fit().penalty
        # Markers that say nothing, beside clinical columns that do, are penalised more.
        assert self.fit().ratio == 4.0

    def test_same_seed_gives_the_same_anchor(self):
        first, second = self.fit(seed=3), self.fit(seed=3)
        np.testing.assert_array_equal(first.beta, second.beta)
        np.testing.assert_array_equal(first.baseline, second.baseline)

    def test_scale_of_time_changes_no_coefficient(self):
        other = TimeGrid(self.grid.edges * 30)
        np.testing.assert_allclose(
            self.fit(time=self.time * 30, grid=other).beta, self.fit().beta, atol=1e-9
        )

    def test_few_events_take_the_strongest_penalty(self):
        event = np.zeros_like(self.event)
        event[np.flatnonzero(self.event)[:3]] = True
        anchor = self.fit(event=event)
        assert anchor.penalty == 3.0
        assert np.isfinite(anchor.cumulative(self.X)).all()

    def test_cumulative_hazard_rises_and_orders_as_the_risk(self):
        anchor = self.fit()
        curve = anchor.cumulative(self.X)
        assert (np.diff(curve, axis=1) >= 0).all()
        np.testing.assert_array_equal(np.argsort(curve[:, -1]), np.argsort(anchor.log_hz(self.X)))

    def test_json_round_trip_is_exact(self):
        anchor = self.fit()
        again = Anchor.from_json(json.loads(json.dumps(anchor.to_json())))
        np.testing.assert_array_equal(again.cumulative(self.X), anchor.cumulative(self.X))
        assert (again.penalty, again.ratio) == (anchor.penalty, anchor.ratio)

    def test_baseline_of_a_constant_hazard_is_recovered(self):
        rng = np.random.default_rng(0)
        log_hz = rng.normal(0, 0.7, 20_000)
        death = rng.exponential(1 / (0.03 * np.exp(log_hz)))
        time = np.minimum(death, 50.0)
        grid = TimeGrid(np.linspace(0, 50, 6))
        found = baseline_hazard(log_hz, time, death <= 50, grid)
        np.testing.assert_allclose(found, 0.03 * grid.edges, rtol=0.05)
