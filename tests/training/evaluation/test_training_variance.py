"""The training patients' part of a variance: none of fixed models, one half of pure noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from accomplice.training.estimators.hazard import TimeGrid, log_risk, survival
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.scores import judge
from accomplice.training.evaluation.training_variance import (
    WIDEST,
    Allowance,
    Contributions,
    training_variance,
)
from accomplice.training.metrics.brier import brier_times
from accomplice.training.metrics.table import METRICS
from accomplice.training.models.predictions import MODEL, FoldCurves

GRID = TimeGrid(np.linspace(0, 60, 13))
N, FOLDS = 200, 5
FOLD = np.arange(N) % FOLDS


@pytest.fixture(scope="module")
def world():
    """Time, event, and the true log-hazards."""
    rng = np.random.default_rng(2)
    log_hz = rng.normal(size=N)
    death, left = rng.exponential(1 / (0.02 * np.exp(log_hz))), rng.uniform(5, 90, N)
    time = np.minimum(np.minimum(death, left), 60.0)
    return time, (death <= left) & (death <= 60), log_hz


def curves(log_hz):
    return 0.02 * np.exp(log_hz)[..., None] * GRID.edges


def fold_curves(log_hz, noise, seed=0):
    """Models of each fold that know the truth but for an error, the same in all for noise 0."""
    error = np.random.default_rng(seed).normal(size=(FOLDS, N))
    return curves(log_hz + noise * error)


def judged(world, alone, baseline=None, *, by_fold=True):
    time, event, _ = world
    out = {name: each[FOLD, np.arange(N)] for name, each in alone.items()}
    held = FoldCurves(np.arange(N), FOLD, alone) if by_fold else None
    model = {MODEL: out[MODEL]}
    others = {} if baseline is None else {baseline: out[baseline]}
    return judge(time, event, FOLD, GRID, model, others, 60, 0, by_fold=held)


class TestTrainingVariance:
    def test_is_none_of_models_that_agree(self):
        same = np.tile(np.random.default_rng(0).normal(size=N), (FOLDS, 1))
        assert training_variance(same) == pytest.approx(0, abs=1e-20)

    def test_a_shift_of_all_patients_is_none(self):
        same = np.tile(np.random.default_rng(0).normal(size=N), (FOLDS, 1))
        moved = same + np.arange(FOLDS)[:, None]
        part = training_variance(moved)
        assert part == pytest.approx(0, abs=1e-20)

    @pytest.mark.parametrize("folds", [2, 3, 5, 10])
    def test_is_that_over_independent_training_sets(self, folds):
        """Of means over the groups that a fold trains on, whose variance is 1 / (k − 1)."""
        rng, patients, found = np.random.default_rng(1), 2000, []
        for _ in range(60):
            groups, each = rng.normal(size=(folds, 20)), rng.normal(size=(20, patients))
            means = (groups.sum(axis=0) - groups) / (folds - 1)
            found.append(training_variance(means @ each / np.sqrt(20)))
        assert np.mean(found) == pytest.approx(1 / (folds - 1), rel=0.08)

    def test_of_one_fold_is_none(self):
        assert training_variance(np.ones((1, 4))) == 0


def test_bootstrap_and_training_variance_are_that_of_cross_validated_noise():
    """Least squares of noise: the gain over nothing, from its truth, varies twice as much."""
    rng, n, p = np.random.default_rng(0), 120, 8
    fold = np.arange(n) % FOLDS
    error, bootstrap, part = [], [], []
    for _ in range(600):
        X, y = rng.normal(size=(n, p)), rng.normal(size=n)
        beta = np.stack(
            [np.linalg.lstsq(X[fold != k], y[fold != k], rcond=None)[0] for k in range(FOLDS)]
        )
        gain = y**2 - (y - beta @ X.T) ** 2
        own = gain[fold, np.arange(n)]
        # The true gain of a fold's model is minus the squared length of its coefficients.
        error.append(own.mean() + (beta**2).sum(axis=1).mean())
        bootstrap.append(own.var() / n)
        part.append(training_variance(gain) / n)
    assert np.mean(bootstrap) < 0.65 * np.var(error)
    assert np.mean(bootstrap) + np.mean(part) == pytest.approx(np.var(error), rel=0.15)


@pytest.fixture(scope="module")
def followed(world):
    return BootstrappedOutcome.of(*world[:2], 55.0, 20, 0)


def contributions(followed, alone, fold=FOLD):
    out = alone[FOLD, np.arange(N)]
    own, _ = followed.output(log_risk(out), GRID, out)
    return Contributions.of(followed, own, FoldCurves(np.arange(N), fold, {}), alone, GRID)


class TestAllowances:
    def test_nothing_is_allowed_for_where_models_agree(self, followed, world):
        found = contributions(followed, fold_curves(world[2], 0.0)).allowances()
        for each in found.values():
            assert each.widened == pytest.approx(1.0)
            assert each.averaging == pytest.approx(0.0, abs=1e-12)

    def test_they_grow_with_the_disagreement(self, followed, world):
        little, much = (
            contributions(followed, fold_curves(world[2], noise)).allowances()
            for noise in (0.1, 0.5)
        )
        for name in METRICS:
            assert 1 < little[name].widened < much[name].widened <= WIDEST
            assert 0 < little[name].averaging < much[name].averaging
        most = contributions(followed, fold_curves(0 * world[2], 2.0)).allowances()
        assert most["uno_c"].widened == most["harrell_c"].widened == WIDEST

    def test_averaging_gains_the_variance_between_the_models_in_a_brier_score(
        self, followed, world
    ):
        alone = fold_curves(world[2], 0.5)
        found = contributions(followed, alone).allowances()["ibs"].averaging
        alive = survival(GRID.at(alone, brier_times(followed.horizon)))
        # Weighted by the inverse probability of censoring, it is so in expectation.
        assert found == pytest.approx(alive.var(axis=0).mean(), rel=0.1)

    def test_of_a_model_and_itself_there_is_no_part_of_training(self, followed, world):
        made = contributions(followed, fold_curves(world[2], 0.5))
        assert made.allowances_of_gains(made) == dict.fromkeys(METRICS, Allowance())

    def test_of_other_folds_the_part_is_as_large_as_it_can_be(self, followed, world):
        alone = fold_curves(world[2], 0.5)
        first = contributions(followed, alone)
        second = contributions(followed, alone, np.roll(FOLD, 1))
        assert first.allowances_of_gains(second) == dict.fromkeys(METRICS, Allowance(WIDEST))

    def test_some_patients_stand_for_all(self, followed, world):
        alone = fold_curves(world[2], 0.5)
        out = alone[FOLD, np.arange(N)]
        own, _ = followed.output(log_risk(out), GRID, out)
        some = FoldCurves(np.arange(N), FOLD, {MODEL: alone}).take(np.arange(100))
        part = Contributions.of(followed, own, some, some.curves[MODEL], GRID).allowances()
        whole = contributions(followed, alone).allowances()
        for name in METRICS:
            assert part[name].widened == pytest.approx(whole[name].widened, rel=0.1)

    def test_a_difference_is_widened_around_the_value(self):
        made = Allowance(2.0, 0.05).of_difference(Estimate(0.0, -0.1, 0.2))
        assert (made.value, made.low, made.high) == pytest.approx((0.0, -0.2, 0.4))

    def test_a_metric_s_ends_are_reflected_on_the_logit_scale_and_the_better_one_is_moved(self):
        plain = Estimate(0.7, 0.6, 0.75)
        made = Allowance().of_metric(plain, METRICS["uno_c"])
        middle = logit(0.7)
        expected = expit(2 * middle - logit(0.75)), expit(2 * middle - logit(0.6))
        assert (made.value, made.low, made.high) == pytest.approx((0.7, *expected))
        moved = Allowance(1.0, 0.05).of_metric(plain, METRICS["uno_c"])
        assert (moved.low, moved.high) == pytest.approx((expected[0], expected[1] + 0.05))
        moved = Allowance(1.0, 0.05).of_metric(plain, METRICS["ibs"])
        assert (moved.low, moved.high) == pytest.approx((expected[0] - 0.05, expected[1]))

    @pytest.mark.parametrize("ends", [(1.0, 0.99, 1.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)])
    def test_ends_stay_within_the_metric_s_limits(self, ends):
        made = Allowance(1.4, 0.01).of_metric(Estimate(*ends), METRICS["uno_c"])
        assert made.value == ends[0]
        assert 0 <= made.low <= made.value + 1e-8
        assert made.value - 1e-8 <= made.high <= 1

    def test_without_an_interval_there_is_none(self):
        assert not Allowance().of_metric(Estimate(np.nan), METRICS["ibs"]).known


class TestIntervals:
    def test_are_wider_around_the_same_value(self, world):
        alone = {MODEL: fold_curves(world[2], 0.5), "simple": fold_curves(0.3 * world[2], 0.0)}
        wide, plain = (judged(world, alone, "simple", by_fold=by) for by in (True, False))
        for one, other in (
            (wide.scores[MODEL].uno_c, plain.scores[MODEL].uno_c),
            (wide.scores[MODEL].ibs, plain.scores[MODEL].ibs),
            (wide.gains["simple"]["uno_c"], plain.gains["simple"]["uno_c"]),
            (wide.gains["simple"]["ibs"], plain.gains["simple"]["ibs"]),
        ):
            assert one.value == other.value
            assert one.low < other.low < other.high < one.high
        # The baseline's folds agree: its intervals are about those of its predictions.
        assert wide.scores["simple"].ibs.low == pytest.approx(plain.scores["simple"].ibs.low, 0.02)

    def test_stay_within_what_the_metric_can_be(self, world):
        time, event, _ = world
        order = -np.log(time)  # a model that knows almost everything
        found = judged((time, event, order), {MODEL: fold_curves(3 * order, 0.5)})
        assert found.scores[MODEL].uno_c.high <= 1


class TestFoldCurves:
    def test_take_renumbers_the_patients_that_it_has(self):
        alone = np.random.default_rng(0).normal(size=(FOLDS, 4, 3))
        made = FoldCurves(np.array([0, 2, 5, 7]), np.array([0, 1, 2, 3]), {MODEL: alone})
        found = made.take(np.array([7, 1, 2, 9]))
        np.testing.assert_array_equal(found.rows, [0, 2])
        np.testing.assert_array_equal(found.curves[MODEL], alone[:, [3, 1]])
        np.testing.assert_array_equal(found.fold, [3, 1])
        assert not len(made.take(np.array([1, 3])).rows)
