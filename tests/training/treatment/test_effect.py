"""The treatment's effect: recovered where it is known, honest out of fold, silent where it must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import parse_study
from accomplice.training.config import EffectConfig
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.logistic import expit
from accomplice.training.estimators.policy import ARM_EVENTS, ARM_PATIENTS
from accomplice.training.treatment.compared import compared, too_few
from accomplice.training.treatment.cross_fitted import (
    MOST_JOINT,
    CrossFitted,
    cross_fit,
    fit_effect,
)
from accomplice.training.treatment.effect import UNEXPLAINED, Effect
from accomplice.training.treatment.expected_events import (
    NUISANCE_SD,
    _outcome,
    _poisson,
    fitted_rates,
    posterior,
)
from accomplice.training.treatment.propensity.boosted import CONFIG
from accomplice.training.treatment.propensity.fit import fit_propensity
from accomplice.training.treatment.propensity.terms import MOST_TERMS

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "effect.json").read_text())
FOLDS, HORIZON = 4, 60.0
EDGES = np.array([0.0, 2.0, 6.0, 12.0, 20.0, 30.0, 42.0, 60.0])
RAW = {
    "name": "made-up",
    "synthetic": True,
    "source": {"files": ["t.csv"]},
    "endpoints": {"survival": {"os": {"time": "t", "event": "e", "horizon": HORIZON}}},
    "treatment": {
        "column": "act",
        "treated": ["yes"],
        "untreated": ["no"],
        "eligible": {"stage": ["II", "III"]},
    },
    "modalities": {
        "clinical": {
            "fitness": {"kind": "number"},
            "stage": {"kind": "ordinal", "levels": ["I", "II", "III"]},
            "sex": {"kind": "category", "levels": ["F", "M"]},
        },
        "markers": {"m": {"kind": "number"}, "z": {"kind": "number"}},
    },
    "interactions": [["act", "m"], ["sex", "act"], ["m", "z"]],
}
STUDY = parse_study(RAW, "made-up")
WIDE_PRIOR = EffectConfig(main_sd=5.0, other_sd=5.0)
NO_PRIOR = EffectConfig(main_sd=1e-6, other_sd=1e-6)


class Simulated:
    """A confounded cohort with its fixed folds and the blind curves that are really true."""

    def __init__(self, n=800, seed=0, log_hr=-0.6, by_marker=0.0, study=STUDY, extra=0):
        rng = np.random.default_rng(seed)
        fitness, m = rng.normal(size=(2, n))
        z = 0.8 * m + 0.6 * rng.normal(size=n)
        stage, sex = rng.integers(0, 3, n), rng.integers(0, 2, n)
        self.true = log_hr + by_marker * m
        # The fit and those of low stage are treated, and live longer anyhow.
        chance = expit(0.9 * fitness - 0.5 * (stage - 1))
        treated = rng.random(n) < chance
        hazard = 0.02 * np.exp(-0.7 * fitness + 0.6 * (stage - 1) + 0.2 * m)
        death = rng.exponential(1 / (hazard * np.exp(self.true * treated)))
        lost = rng.uniform(12, 90, n)
        columns = [fitness, stage, sex, m, z, *rng.normal(size=(extra, n)), treated]
        self.cohort = Cohort(
            study=study,
            endpoint="os",
            ids=np.arange(n).astype(str),
            values=np.stack(columns, axis=1).astype(float),
            time=np.minimum(death, lost) + 1e-3,
            event=death <= lost,
            centre=None,
            binary={},
        )
        self.chance = chance
        mixed = hazard * (1 - chance + chance * np.exp(self.true))
        self.grid = TimeGrid(EDGES)
        self.blind = np.outer(mixed, EDGES)
        self.fold = rng.permutation(np.arange(n) % FOLDS)

    def preprocessors(self, cohort=None):
        blind = (cohort or self.cohort).prognostic()
        return [Preprocessor.fit(blind.study, blind.values[self.fold != k]) for k in range(FOLDS)]

    def cross(self, cohort=None, config=WIDE_PRIOR, seed=0):
        cohort = cohort or self.cohort
        made = self.preprocessors(cohort)
        return cross_fit(cohort, made, self.fold, self.blind, self.grid, config, seed)

    def fit(self, cohort=None, config=WIDE_PRIOR, seed=0):
        cohort = cohort or self.cohort
        blind = cohort.prognostic()
        preprocessor = Preprocessor.fit(blind.study, blind.values, bins=1)
        known = np.where(compared(cohort), cohort.treated, np.nan)
        propensity = fit_propensity(preprocessor.linear(blind.values), known, seed)
        return fit_effect(
            cohort, self.blind, self.grid, self.chance, config, preprocessor, propensity
        )[0]

    def with_values(self, name, values, rows=slice(None)):
        changed = self.cohort.values.copy()
        changed[rows, list(self.cohort.study.features).index(name)] = values
        return replace(self.cohort, values=changed)


@pytest.fixture(scope="module")
def simulated():
    return Simulated()


@pytest.fixture(scope="module")
def crossed(simulated):
    found = simulated.cross()
    assert isinstance(found, CrossFitted)
    return found


def no_terms(cohort):
    """Nothing that the curves leave out."""
    return np.zeros((len(cohort), 0))


def same(a, b):
    """Whether two effects hold the same numbers, bit for bit."""
    return a.to_json() == b.to_json()


class TestRecovery:
    @pytest.mark.parametrize("log_hr", [-0.8, 0.0, 0.5])
    def test_of_one_hazard_ratio_under_confounding(self, log_hr):
        large = Simulated(n=4000, seed=5, log_hr=log_hr)
        naive = np.log(rate(large, 1.0) / rate(large, 0.0))
        found = large.cross().effect
        error = np.sqrt(found.covariance[0, 0])
        assert 0.03 < error < 0.12
        assert abs(found.theta[0] - log_hr) < 3 * error
        # Which it would not be without a word on who is treated.
        assert abs(naive - log_hr) > 3 * error

    @pytest.mark.parametrize("by_marker", [-0.5, 0.4])
    def test_of_an_interaction(self, by_marker):
        large = Simulated(n=4000, seed=6, by_marker=by_marker)
        found = large.cross()
        assert found.effect.labels == ("m", "sex=M")
        error = np.sqrt(np.diag(found.effect.covariance))
        assert abs(found.effect.theta[1] - by_marker) < 3 * error[1]
        assert abs(found.effect.theta[1]) > 4 * error[1]
        assert abs(found.effect.theta[2]) < 3 * error[2]
        # And out of fold, patient by patient.
        log_hr, sd, chance = found.patients
        assert np.corrcoef(log_hr, large.true)[0, 1] > 0.9
        assert (np.abs(log_hr - large.true) < 3 * sd).mean() > 0.95
        assert np.abs(chance - large.chance).mean() < 0.05

    def test_of_the_same_ratio_in_some_patients_alone(self):
        large = Simulated(n=4000, seed=7, log_hr=-0.7)
        rows = compared(large.cohort)
        found = fitted_rates(
            large.cohort, large.blind, large.grid, large.chance, rows, no_terms(large.cohort)
        )
        assert abs(found.log_hr + 0.7) < 3 * found.error
        assert found.event.shape == found.rate.shape == (rows.sum(),)
        assert found.rate.sum() == pytest.approx(found.event.sum(), rel=0.02)

    def test_error_is_that_of_repetitions(self):
        found = [Simulated(n=500, seed=s).fit(config=NO_PRIOR) for s in range(60)]
        theta = np.array([f.theta[0] for f in found])
        stated = np.sqrt(np.mean([f.covariance[0, 0] for f in found]))
        assert theta.std() == pytest.approx(stated, rel=0.3)
        assert abs(theta.mean() + 0.6) < 4 * stated / np.sqrt(60)

    def test_without_room_in_the_prior_everybody_has_one_effect(self):
        found = Simulated(n=1000, by_marker=0.5).cross(config=NO_PRIOR)
        log_hr, fold = found.patients.log_hr, Simulated(n=1000).fold
        for k in range(FOLDS):
            assert np.ptp(log_hr[fold == k]) < 1e-4
        assert np.abs(found.effect.theta[1:]).max() < 1e-6

    def test_narrower_prior_shrinks_more(self):
        one = Simulated(n=600, by_marker=0.5, seed=3)
        size = [
            abs(one.fit(config=EffectConfig(main_sd=sd, other_sd=0.1)).theta[1])
            for sd in (0.01, 0.1, 0.35, 5.0)
        ]
        assert size == sorted(size)
        assert size[0] < 0.1 * size[-1]

    def test_the_first_modifier_alone_has_the_main_prior(self):
        one = Simulated(n=400)
        narrow = one.fit(config=EffectConfig(main_sd=5.0, other_sd=0.01))
        sd = np.sqrt(np.diag(narrow.covariance))
        assert sd[1] > 0.05
        assert sd[2] == pytest.approx(0.01, rel=0.02)


def rate(simulated, arm):
    """Events a month at risk of one arm."""
    rows = simulated.cohort.treated == arm
    return simulated.cohort.event[rows].sum() / simulated.cohort.time[rows].sum()


class TestPoisson:
    @pytest.mark.parametrize("name", ["usual", "rare", "strong"])
    def test_flat_priors_agree_with_r(self, name):
        case = {key: np.array(value, dtype=float) for key, value in REFERENCE[name].items()}
        theta, information = _poisson(case["x"], case["event"], case["offset"], np.zeros(4))
        np.testing.assert_allclose(theta, case["theta"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.linalg.inv(information), case["covariance"], rtol=1e-4)

    @settings(max_examples=40)
    @given(
        n=st.integers(1, 40),
        columns=st.integers(1, 6),
        seed=st.integers(0, 999),
        spread=st.floats(0.1, 30),
        prior=st.floats(0.05, 100),
    )
    def test_mode_has_no_gradient(self, n, columns, seed, spread, prior):
        rng = np.random.default_rng(seed)
        X, event = spread * rng.normal(size=(n, columns)), (rng.random(n) < 0.5).astype(float)
        offset, precision = rng.normal(-1, 2, n), np.full(columns, prior)
        theta, information = _poisson(X, event, offset, precision)
        expected = np.exp(offset + X @ theta)
        gradient = X.T @ (event - expected) - precision * theta
        # As far as it is from the mode in standard errors.
        assert np.sqrt(gradient @ np.linalg.solve(information, gradient)) < 1e-3
        np.testing.assert_allclose(
            information, (X.T * expected) @ X + np.diag(precision), rtol=1e-9
        )

    def test_no_events_at_all_are_held_by_the_prior(self):
        theta, information = _poisson(np.ones((5, 1)), np.zeros(5), np.zeros(5), np.ones(1))
        assert theta[0] < 0
        assert np.isfinite(information).all()


class TestPosterior:
    def test_mode_has_no_gradient(self, simulated):
        cohort, rows = simulated.cohort, compared(simulated.cohort)
        rng = np.random.default_rng(0)
        design, sd = rng.normal(size=(rows.sum(), 3)), np.array([10.0, 0.3, 0.1])
        theta, covariance = posterior(
            cohort, simulated.blind, simulated.grid, rows, design, sd, no_terms(cohort)
        )
        event, offset, nuisance = _outcome(cohort, simulated.blind, simulated.grid, rows)
        full = np.column_stack([design, nuisance])
        precision = np.append(sd, [NUISANCE_SD, NUISANCE_SD]) ** -2.0
        whole, information = _poisson(full, event, offset, precision)
        gradient = full.T @ (event - np.exp(offset + full @ whole)) - precision * whole
        assert np.abs(gradient).max() < 1e-3
        np.testing.assert_array_equal(theta, whole[:3])
        # Covariance of the three, the two nuisances averaged over and not fixed.
        np.testing.assert_allclose(covariance, np.linalg.inv(information)[:3, :3])
        fixed = np.linalg.inv(information[:3, :3])
        assert (np.diag(covariance) > np.diag(fixed)).all()

    def test_a_design_of_nothing_leaves_the_prior(self, simulated):
        rows = compared(simulated.cohort)
        design, sd = np.zeros((rows.sum(), 2)), np.array([0.3, 0.1])
        cohort, none = simulated.cohort, no_terms(simulated.cohort)
        theta, covariance = posterior(
            cohort, simulated.blind, simulated.grid, rows, design, sd, none
        )
        np.testing.assert_allclose(theta, 0, atol=1e-12)
        np.testing.assert_allclose(covariance, np.diag(sd**2), atol=1e-12)


class TestOutcome:
    def test_is_what_was_gathered_from_the_landmark_to_the_end_of_follow_up(self, simulated):
        cohort = simulated.cohort.take(np.arange(4))
        time = np.array([1.0, 20.0, 60.0, 75.0])
        cohort = replace(cohort, time=time, event=np.ones(4, dtype=bool))
        blind, grid = simulated.blind[:4], simulated.grid
        rows = np.array([False, True, True, True])
        event, offset, nuisance = _outcome(cohort, blind, grid, rows)
        # The last event is beyond the grid.
        assert event.tolist() == [1, 1, 0]
        expected = blind[rows, -1] / HORIZON * (np.minimum(time[rows], HORIZON) - 2.0)
        np.testing.assert_allclose(np.exp(offset), expected)
        np.testing.assert_array_equal(nuisance[:, 0], 1)
        assert nuisance[:, 1].mean() == pytest.approx(0)

    def test_landmark_beyond_the_grid_counts_nothing(self, simulated):
        treatment = STUDY.treatment.model_copy(update={"landmark": 100.0})
        late = replace(simulated.cohort, study=STUDY.model_copy(update={"treatment": treatment}))
        late = replace(late, time=np.full(len(late), 120.0))
        event, offset, _ = _outcome(
            late, simulated.blind, simulated.grid, np.ones(len(late), dtype=bool)
        )
        assert event.sum() == 0
        assert np.isfinite(offset).all()


class TestCompared:
    def test_are_those_of_whom_something_is_learnt(self, simulated):
        cohort = simulated.cohort
        stage = cohort.values[:, 1]
        np.testing.assert_array_equal(compared(cohort), (stage > 0) & (cohort.time > 2.0))
        unknown = simulated.with_values("act", np.nan, rows=slice(0, 100))
        assert not compared(unknown)[:100].any()
        np.testing.assert_array_equal(compared(unknown)[100:], compared(cohort)[100:])
        unstaged = simulated.with_values("stage", np.nan, rows=slice(0, 100))
        assert not compared(unstaged)[:100].any()

    def test_outcomes_before_the_landmark_change_nothing(self, simulated, crossed):
        cohort = simulated.cohort
        early = cohort.time <= 2.0
        assert early.sum() > 10
        time = np.where(early, 2.0 - cohort.time / 2, cohort.time)
        other = replace(cohort, time=time, event=cohort.event ^ early)
        again = simulated.cross(other)
        assert same(again.effect, crossed.effect)
        np.testing.assert_array_equal(again.patients, crossed.patients)

    @pytest.mark.parametrize("kind", ["unknown treatment", "no option"])
    def test_outcomes_of_patients_not_compared_change_nothing(self, simulated, kind):
        cohort = simulated.cohort
        if kind == "no option":
            out = cohort.values[:, 1] == 0
        else:
            out = np.arange(len(cohort)) % 5 == 0
            cohort = simulated.with_values("act", np.nan, rows=out)
        before = simulated.cross(cohort)
        time = np.where(out, cohort.time[::-1], cohort.time)
        after = simulated.cross(replace(cohort, time=time, event=cohort.event ^ out))
        assert same(before.effect, after.effect)
        np.testing.assert_array_equal(before.patients, after.patients)
        # They get an effect all the same.
        assert np.isfinite(before.patients.log_hr[out]).all()

    def test_outcomes_of_those_compared_do_change_it(self, simulated, crossed):
        cohort = simulated.cohort
        some = np.flatnonzero(compared(cohort))[:20]
        event = cohort.event.copy()
        event[some] = ~event[some]
        again = simulated.cross(replace(cohort, event=event))
        assert not np.allclose(again.effect.theta, crossed.effect.theta, rtol=1e-6)


class TestHonesty:
    @pytest.mark.parametrize("k", range(FOLDS))
    def test_own_outcome_does_not_change_the_own_effect(self, simulated, crossed, k):
        cohort, out = simulated.cohort, simulated.fold == k
        time, event = cohort.time.copy(), cohort.event.copy()
        # Those not followed past the landmark stay so: the others' propensity is of those compared.
        late = out & (time > 2.0)
        time[late] = np.random.default_rng(k).uniform(3, 80, late.sum())
        event[out] = ~event[out]
        again = simulated.cross(replace(cohort, time=time, event=event))
        for before, after in zip(crossed.patients, again.patients, strict=True):
            np.testing.assert_array_equal(before[out], after[out])
        assert (crossed.patients.log_hr[~out] != again.patients.log_hr[~out]).all()
        assert not same(again.effect, crossed.effect)

    def test_own_treatment_does_not_change_the_own_effect_or_propensity(self, simulated, crossed):
        cohort, out = simulated.cohort, simulated.fold == 1
        other = simulated.with_values("act", 1 - cohort.treated[out], rows=out)
        again = simulated.cross(other)
        np.testing.assert_array_equal(
            again.patients.propensity[out], crossed.patients.propensity[out]
        )
        assert not np.array_equal(
            again.patients.propensity[~out], crossed.patients.propensity[~out]
        )

    def test_each_fold_s_fit_is_the_fit_to_the_others(self, simulated, crossed):
        out = simulated.fold == 3
        part = simulated.cohort.take(~out)
        blind = part.prognostic()
        preprocessor = Preprocessor.fit(blind.study, blind.values)
        chance = crossed.patients.propensity[~out]
        known = np.where(compared(part), part.treated, np.nan)
        propensity = fit_propensity(preprocessor.linear(blind.values), known, 0)
        alone, _ = fit_effect(
            part,
            simulated.blind[~out],
            simulated.grid,
            chance,
            WIDE_PRIOR,
            preprocessor,
            propensity,
        )
        found = alone.of(simulated.cohort.prognostic().values[out])
        for mine, theirs in zip(found, crossed.patients, strict=True):
            np.testing.assert_allclose(mine, theirs[out], rtol=1e-9)


def thinned(cohort, arm, patients=None, events=None):
    """The cohort with so many compared patients, or events among them, in one arm at the most."""
    rows = np.flatnonzero(compared(cohort) & (cohort.treated == arm))
    if patients is not None:
        # Those with an event stay.
        seen = cohort.event[rows] & (cohort.time[rows] <= HORIZON)
        rows = rows[np.argsort(~seen, kind="stable")]
        kept = np.ones(len(cohort), dtype=bool)
        kept[rows[patients:]] = False
        return cohort.take(kept)
    event = cohort.event & (cohort.time <= HORIZON)
    event[rows[event[rows]][events:]] = False
    return replace(cohort, event=event)


class TestTooFew:
    def test_enough_are_not_too_few(self, simulated):
        assert too_few(simulated.cohort) is None
        for arm in (0.0, 1.0):
            few = thinned(simulated.cohort, arm, patients=ARM_PATIENTS)
            assert too_few(few) is None
            assert too_few(thinned(simulated.cohort, arm, events=ARM_EVENTS)) is None

    @pytest.mark.parametrize(("arm", "name"), [(1.0, "treated"), (0.0, "untreated")])
    def test_each_arm_needs_patients_and_events(self, simulated, arm, name):
        few = thinned(simulated.cohort, arm, patients=ARM_PATIENTS - 1)
        assert too_few(few) == (
            f"19 {name} patients with 19 events are too few: 20 and 8 are needed in each arm"
        )
        few = thinned(simulated.cohort, arm, events=ARM_EVENTS - 1)
        assert f"{name} patients with 7 events are too few" in too_few(few)

    def test_study_without_a_treatment_says_so(self, simulated):
        assert too_few(simulated.cohort.prognostic()) == "the study names no treatment"
        found = simulated.cross(simulated.cohort.prognostic())
        assert found == "the study names no treatment"

    def test_nobody_known_to_be_treated(self, simulated):
        unknown = simulated.with_values("act", np.nan)
        assert too_few(unknown).startswith("0 treated patients with 0 events")

    def test_only_patients_and_events_that_tell_count(self, simulated):
        cohort = simulated.cohort
        assert too_few(simulated.with_values("stage", 0.0)).startswith("0 treated patients")
        early = replace(cohort, time=np.minimum(cohort.time, 2.0))
        assert too_few(early).startswith("0 treated patients")
        # Events after the horizon are not seen by the model.
        late = replace(cohort, time=cohort.time + HORIZON)
        assert "patients with 0 events" in too_few(late)

    def test_a_training_fold_with_too_few_is_enough_to_refuse(self, simulated):
        few = thinned(simulated.cohort, 1.0, events=ARM_EVENTS)
        assert too_few(few) is None
        said = simulated.cross(few)
        assert isinstance(said, str)
        assert "treated patients with" in said


class TestOf:
    def test_known_modifiers_give_their_linear_combination(self, simulated, crossed):
        values = simulated.cohort.prognostic().values[:7]
        effect = crossed.effect
        found = effect.of(values)
        columns = [c.label for c in effect.preprocessor.linear_columns()]
        picked = [columns.index(label) for label in effect.labels]
        X = np.column_stack([np.ones(7), effect.preprocessor.singles(values)[:, picked]])
        np.testing.assert_allclose(found.log_hr, X @ effect.theta)
        variance = [x @ effect.covariance @ x + UNEXPLAINED**2 for x in X]
        np.testing.assert_allclose(found.sd, np.sqrt(variance))
        assert ((found.propensity > 0) & (found.propensity < 1)).all()

    def test_a_missing_modifier_widens_the_answer(self, simulated, crossed):
        values = simulated.cohort.prognostic().values[:50]
        holes = values.copy()
        holes[:, 3] = np.nan
        before, after = crossed.effect.of(values), crossed.effect.of(holes)
        sure = before.sd < np.median(before.sd)
        assert (after.sd[sure] > before.sd[sure]).all()

    def test_a_missing_modifier_has_the_spread_of_what_it_may_have_been(self):
        effect = Simulated(n=1500, by_marker=0.6, seed=2).cross().effect
        patient = np.array([[0.3, 1.0, np.nan, np.nan, 1.4]])
        Z = effect.preprocessor.singles(patient)[:, effect.joint]
        mean, spread, _ = effect.gaussian.condition(Z, effect.modifiers)
        # z, which goes with the marker, is known to be high.
        assert mean[0, 0] > 0.5
        rng = np.random.default_rng(0)
        drawn = rng.multivariate_normal(mean[0], spread[0], 200_000)
        theta = rng.multivariate_normal(effect.theta, effect.covariance, 200_000)
        unnamed = rng.normal(0, UNEXPLAINED, 200_000)
        log_hr = theta[:, 0] + (theta[:, 1:] * drawn).sum(axis=1) + unnamed
        found = effect.of(patient)
        assert found.log_hr[0] == pytest.approx(log_hr.mean(), abs=0.01)
        assert found.sd[0] == pytest.approx(log_hr.std(), rel=0.02)

    def test_a_patient_of_whom_nothing_is_known_gets_the_average(self, crossed):
        found = crossed.effect.of(np.full((1, 5), np.nan))
        assert found.log_hr[0] == pytest.approx(crossed.effect.theta[0], abs=0.15)
        assert found.sd[0] > np.sqrt(crossed.effect.covariance[0, 0])
        assert np.isfinite(found.propensity).all()

    def test_no_patients(self, crossed):
        assert [a.shape for a in crossed.effect.of(np.empty((0, 5)))] == [(0,)] * 3

    def test_patients_are_answered_alone_as_together(self, simulated, crossed):
        values = simulated.cohort.prognostic().values[:20].copy()
        values[::3, 3] = np.nan
        together = crossed.effect.of(values)
        for i in range(20):
            for alone, all_ in zip(crossed.effect.of(values[[i]]), together, strict=True):
                np.testing.assert_allclose(alone[0], all_[i], rtol=1e-9)


class TestDesigns:
    def test_without_modifiers_there_is_one_effect(self, simulated):
        study = parse_study({k: v for k, v in RAW.items() if k != "interactions"}, "x")
        found = simulated.cross(replace(simulated.cohort, study=study))
        assert found.effect.labels == ()
        assert found.effect.theta.shape == (1,)
        assert np.ptp(found.effect.of(simulated.cohort.prognostic().values).log_hr) == 0

    @pytest.mark.parametrize("value", [np.nan, 1.0])
    def test_a_modifier_that_does_not_vary_is_left_out(self, simulated, value):
        found = simulated.cross(simulated.with_values("m", value))
        assert found.effect.labels == ("sex=M",)

    def test_a_modifier_known_of_one_fold_alone(self, simulated):
        cohort = simulated.with_values("m", np.nan, rows=simulated.fold != 0)
        found = simulated.cross(cohort)
        assert np.isfinite(found.patients).all()
        assert found.effect.labels == ("m", "sex=M")

    def test_nothing_beside_the_treatment_varies(self, simulated):
        cohort = simulated.cohort
        values = np.column_stack([np.ones((len(cohort), 5)), cohort.treated])
        found = simulated.cross(replace(cohort, values=values))
        assert found.effect.labels == ()
        assert np.isfinite(found.patients).all()

    def test_wide_designs_are_cut_to_what_tells_most(self):
        raw = json.loads(json.dumps(RAW))
        raw["modalities"]["genes"] = {f"g{i}": {"kind": "number"} for i in range(200)}
        wide = Simulated(n=500, study=parse_study(raw, "x"), extra=200, by_marker=0.5)
        found = wide.cross(config=EffectConfig())
        assert len(found.effect.joint) == MOST_JOINT
        assert found.effect.labels == ("m", "sex=M")
        columns = [c.label for c in found.effect.preprocessor.linear_columns()]
        # z goes with the marker; fitness and stage with the treatment.
        assert "z" in [columns[i] for i in found.effect.joint]
        considered = {columns[i] for i in found.effect.propensity.columns}
        assert {"fitness", "stage"} <= considered
        assert not any(name.startswith("g") for name in considered)
        assert np.isfinite(found.patients).all()

    def test_gaps_everywhere(self, simulated):
        rng = np.random.default_rng(0)
        values = simulated.cohort.values.copy()
        values[rng.random(values.shape) < 0.3] = np.nan
        found = simulated.cross(replace(simulated.cohort, values=values))
        assert np.isfinite(found.patients).all()
        assert abs(found.effect.theta[0] + 0.6) < 4 * np.sqrt(found.effect.covariance[0, 0])

    def test_centres_are_scaled_as_they_were(self):
        raw = json.loads(json.dumps(RAW))
        raw["centre"] = "site"
        raw["modalities"]["markers"]["m"] = {"kind": "expression"}
        one = Simulated(n=600, study=parse_study(raw, "x"))
        centre = np.where(np.arange(600) % 2, "north", "south")
        values = one.cohort.values.copy()
        values[centre == "north", 3] += 50
        cohort = replace(one.cohort, values=values, centre=centre)
        blind = cohort.prognostic()
        made = [
            Preprocessor.fit(blind.study, blind.values[one.fold != k], centre[one.fold != k])
            for k in range(FOLDS)
        ]
        found = cross_fit(cohort, made, one.fold, one.blind, one.grid, WIDE_PRIOR, 0)
        patient = blind.values[:1]
        shifted = patient.copy()
        shifted[0, 3] += 50 if centre[0] == "south" else -50
        other = np.array(["north" if centre[0] == "south" else "south"])
        own = found.effect.of(patient, centre[:1]).log_hr[0]
        assert found.effect.of(shifted, other).log_hr[0] == pytest.approx(own, abs=0.1)


class TestKeeping:
    def test_json_round_trip_is_exact(self, simulated, crossed):
        values = simulated.cohort.prognostic().values.copy()
        values[::4, 3] = np.nan
        plain = json.loads(json.dumps(crossed.effect.to_json(), allow_nan=False))
        again = Effect.from_json(STUDY.prognostic(), plain)
        assert same(again, crossed.effect)
        np.testing.assert_array_equal(again.of(values), crossed.effect.of(values))
        assert again.labels == crossed.effect.labels

    def test_same_seed_gives_the_same_bit_for_bit(self, simulated, crossed):
        again = simulated.cross()
        assert same(again.effect, crossed.effect)
        np.testing.assert_array_equal(again.patients, crossed.patients)

    def test_order_of_fold_numbers_is_no_matter(self, simulated, crossed):
        other = Simulated()
        other.fold = FOLDS - 1 - simulated.fold
        np.testing.assert_allclose(other.cross().patients, crossed.patients, rtol=1e-9)

    def test_no_patient_s_number_is_kept(self, simulated, crossed):
        kept = np.array(numbers_in(crossed.effect.to_json()))
        cohort = simulated.cohort
        for j in (0, 3, 4):
            assert not np.isin(cohort.values[:, j], kept).any()
        assert not np.isin(cohort.time, kept).any()
        # Scaled values would give them away too; their range is the preprocessing's to keep.
        kept = numbers_in({**crossed.effect.to_json(), "preprocessing": None})
        singles = crossed.effect.preprocessor.singles(cohort.prognostic().values)
        assert not np.isin(singles[:, [0, 2, 3]], kept).any()
        assert not np.isin(np.concatenate(crossed.patients), kept).any()

    def test_size_does_not_grow_with_the_patients(self):
        plain = [Simulated(n=n).fit().to_json() for n in (300, 1200)]
        # Trees, terms and regions are as many as the treatment calls for, up to a maximum.
        for each in plain:
            found = each["propensity"]
            most = CONFIG.members * CONFIG.max_rounds * 2 ** (CONFIG.depth + 1)
            if found["trees"] is not None:
                assert len(found["trees"]["step"]) < most
            assert len(found["terms"]["left"]) <= MOST_TERMS
            assert len(found["regions"]["column"]) < 3 * len(found["columns"])
            assert len(found["model"]["beta"]) == len(found["columns"]) + len(
                found["terms"]["left"]
            )
            del each["propensity"]
        assert len(numbers_in(plain[0])) == len(numbers_in(plain[1]))


def numbers_in(plain):
    """Every number with a fraction in plain data."""
    if isinstance(plain, dict):
        return [n for part in plain.values() for n in numbers_in(part)]
    if isinstance(plain, list):
        return [n for part in plain for n in numbers_in(part)]
    return [plain] if isinstance(plain, float) else []
