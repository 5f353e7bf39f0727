"""Cox's model under the elastic net: its optimality conditions, and scikit-survival's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.learners.elastic_net import (
    elastic_net_path,
    lasso_minimum,
    null_penalty,
)


def simulate(n, p, seed=0, digits=4):
    """Correlated columns, of which the first three matter; fewer digits make more ties."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + rng.normal(size=(n, 1))
    death = rng.exponential(30 * np.exp(-X[:, :3].sum(axis=1) * 0.4))
    left = rng.uniform(5, 90, n)
    return X, np.round(np.minimum(death, left), digits) + 0.1, death <= left


def violation(X, risk_sets, beta, lasso, ridge):
    """How far the subgradient (p,) that is nearest to zero is from it."""
    gradient = X.T @ risk_sets.residuals(X @ beta) - ridge * beta
    excess = np.maximum(np.abs(gradient) - lasso, 0)
    return np.where(beta == 0, excess, np.abs(gradient - lasso * np.sign(beta)))


@st.composite
def problems(draw):
    """Designs with repeated and constant columns, tied times, and a path of penalties."""
    n, p = draw(st.integers(2, 25)), draw(st.integers(1, 40))
    X, time, event = simulate(n, max(p, 3), draw(st.integers(0, 999)), draw(st.integers(-1, 1)))
    X = X[:, :p]
    if draw(st.booleans()):
        X[:, -1] = X[:, 0]
    if draw(st.booleans()):
        X[:, p // 2] = 3.0
    relative = np.where(np.arange(p) % 2, draw(st.sampled_from([1.0, 4.0])), 1.0)
    mixing = draw(st.sampled_from([0.02, 0.3, 0.9, 1.0]))
    return X, RiskSets(time, event), relative, mixing


class TestPath:
    @given(problem=problems())
    @settings(deadline=None)
    def test_every_fit_meets_the_optimality_conditions(self, problem):
        X, risk_sets, relative, mixing = problem
        top = max(null_penalty(X, risk_sets, relative, mixing), 1e-3)
        penalties = np.geomspace(1.5 * top, 0.05 * top, 6)
        path = elastic_net_path(X, risk_sets, relative, penalties, mixing)
        for penalty, beta in zip(penalties, path, strict=True):
            lasso, ridge = penalty * mixing * relative, penalty * (1 - mixing) * relative
            assert violation(X, risk_sets, beta, lasso, ridge).max() < 1e-4 * lasso.max() + 1e-7

    @pytest.mark.parametrize("mixing", [0.1, 0.5, 1.0])
    @pytest.mark.parametrize(("n", "p"), [(150, 12), (60, 100)])
    def test_coefficients_equal_scikit_survival(self, n, p, mixing):
        linear_model = pytest.importorskip("sksurv.linear_model")
        util = pytest.importorskip("sksurv.util")
        X, time, event = simulate(n, p, seed=4)
        assert len(np.unique(time)) == n  # their ties are Breslow's
        risk_sets, relative = RiskSets(time, event), np.where(np.arange(p) < 4, 1.0, 2.0)
        top = null_penalty(X, risk_sets, relative, mixing)
        penalties = np.geomspace(top, 0.1 * top, 5)
        # Their factors are scaled to the sum p.
        scale = relative.mean()
        theirs = linear_model.CoxnetSurvivalAnalysis(
            l1_ratio=mixing,
            alphas=penalties * scale / n,
            penalty_factor=relative,
            tol=1e-12,
            max_iter=1_000_000,
        )
        theirs.fit(X, util.Surv.from_arrays(event, time))
        ours = np.stack(list(elastic_net_path(X, risk_sets, relative, penalties, mixing)))
        assert 2 < np.count_nonzero(ours[-1]) < p
        np.testing.assert_allclose(ours, theirs.coef_.T, atol=2e-5)

    @pytest.mark.parametrize("digits", [4, -1])
    def test_almost_no_lasso_equals_the_ridge(self, digits):
        X, time, event = simulate(150, 6, digits=digits)
        risk_sets, penalty = RiskSets(time, event), np.linspace(2, 20, 6)
        (beta,) = elastic_net_path(X, risk_sets, penalty, (1.0,), mixing=1e-9)
        np.testing.assert_allclose(beta, fit_cox(X, risk_sets, penalty), atol=1e-6)

    @pytest.mark.parametrize("mixing", [0.1, 1.0])
    def test_first_column_enters_below_the_null_penalty(self, mixing):
        X, time, event = simulate(150, 6)
        risk_sets, relative = RiskSets(time, event), np.array([3.0, 1, 1, 1, 1, 2])
        top = null_penalty(X, risk_sets, relative, mixing)
        path = elastic_net_path(X, risk_sets, relative, (1.0001 * top, 0.999 * top), mixing)
        none, one = path
        assert np.count_nonzero(none) == 0
        assert np.count_nonzero(one) == 1

    def test_start_on_the_path_does_not_decide_the_end(self):
        X, time, event = simulate(80, 120)
        risk_sets, relative = RiskSets(time, event), np.ones(120)
        *_, last = elastic_net_path(X, risk_sets, relative, np.geomspace(40, 4, 8), mixing=0.8)
        (alone,) = elastic_net_path(X, risk_sets, relative, (4.0,), mixing=0.8)
        np.testing.assert_allclose(alone, last, atol=1e-5)
        np.testing.assert_array_equal(alone == 0, last == 0)

    def test_number_of_columns_that_join_at_once_does_not_decide_the_end(self, monkeypatch):
        X, time, event = simulate(80, 60)
        risk_sets, relative = RiskSets(time, event), np.ones(60)
        found = []
        for most in (1, 100):
            monkeypatch.setattr("accomplice.training.learners.elastic_net.JOINING", most)
            found += elastic_net_path(X, risk_sets, relative, (3.0,), mixing=0.9)
        assert np.count_nonzero(found[0]) > 5
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)

    def test_without_events_no_column_enters(self):
        X, time, _ = simulate(20, 3)
        risk_sets = RiskSets(time, np.zeros(20, bool))
        assert null_penalty(X, risk_sets, np.ones(3), 0.5) == 0
        (beta,) = elastic_net_path(X, risk_sets, np.ones(3), (1.0,), 0.5)
        assert (beta == 0).all()

    def test_separated_patients_stay_finite(self):
        X = np.arange(20.0)[::-1, None]
        risk_sets = RiskSets(np.arange(1.0, 21.0), np.ones(20, bool))
        (beta,) = elastic_net_path(X, risk_sets, np.ones(1), (0.01,), 1.0)
        assert np.isfinite(beta).all()
        assert beta[0] > 1


class TestLassoMinimum:
    @given(p=st.integers(1, 12), seed=st.integers(0, 999), rank=st.integers(1, 12))
    @settings(deadline=None)
    def test_no_step_goes_lower(self, p, seed, rank):
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(p, rank))
        Q, linear = root @ root.T + 0.01 * np.eye(p), rng.normal(size=p)
        penalty = rng.uniform(0, 1, p)
        b = lasso_minimum(Q, linear, penalty, rng.normal(size=p))

        def value(b):
            return b @ Q @ b / 2 - linear @ b + penalty @ np.abs(b)

        slope = linear - Q @ b
        scale = 1e-6 * (1 + np.abs(Q @ b).max())
        assert (np.abs(slope)[b == 0] <= penalty[b == 0] + scale).all()
        assert (np.abs(slope - penalty * np.sign(b))[b != 0] <= scale).all()
        for step in rng.normal(size=(20, p)):
            assert value(b) <= value(b + 0.01 * step) + 1e-9
