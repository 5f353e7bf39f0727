"""Benefits and advice: against closed forms, Monte Carlo, and every wording there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.rows.identifiers import read_centre
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.estimators.hazard import TimeGrid, accumulate, survival
from accomplice.training.estimators.policy import WORTH
from accomplice.training.treatment import benefit as module
from accomplice.training.treatment.benefit import (
    LEVEL,
    Prognosis,
    arms,
    benefit,
    benefit_horizon,
    benefit_of,
    under,
)
from accomplice.training.treatment.effect import PatientEffect

GRID = TimeGrid(np.array([0.0, 7.0, 20.0, 41.0, 60.0, 72.0]))
DRAWS = 200_000


def effects(log_hr, sd=0.0, propensity=0.5):
    return PatientEffect(
        *(np.array(a, dtype=float) for a in np.broadcast_arrays(log_hr, sd, propensity))
    )


@st.composite
def patients(draw_, certain=False, rows=6):
    """Blind curves of some patients, flat in places, and effects on them."""
    step = st.one_of(st.just(0.0), st.floats(1e-9, 3))
    steps = draw_(st.lists(step, min_size=rows * GRID.bins, max_size=rows * GRID.bins))
    each = st.lists(st.floats(0, 1), min_size=rows, max_size=rows)
    log_hr, sd, chance = (np.array(draw_(each)) for _ in range(3))
    own = effects(4 * log_hr - 2, 0 if certain else 2 * sd, 0.01 + 0.98 * chance)
    return accumulate(np.array(steps).reshape(rows, GRID.bins)), own


def sampled(own, seed=0):
    """Draws (n, k) from each patient's posterior of the log-hazard ratio."""
    z = np.random.default_rng(seed).normal(size=DRAWS)
    return own.log_hr[:, None] + own.sd[:, None] * z


def gains(blind, own, log_hr):
    """Gain of survival at each log-hazard ratio (n, k), from the blind hazard (n,)."""
    ratio, e = np.exp(log_hr), own.propensity[:, None]
    without = blind[:, None] / (1 - e + e * ratio)
    return np.exp(-ratio * without) - np.exp(-without)


class TestUnder:
    @given(case=patients(certain=True))
    def test_hazards_of_both_arms_mix_to_the_blind_one(self, case):
        blind, own = case
        with_it, without = (under(blind, own, np.full(len(blind), arm)) for arm in (1.0, 0.0))
        e = own.propensity[:, None]
        np.testing.assert_allclose(e * with_it + (1 - e) * without, blind, rtol=1e-9, atol=1e-12)

    @given(case=patients(certain=True))
    def test_certain_hazards_differ_by_the_ratio(self, case):
        blind, own = case
        with_it, without = (under(blind, own, np.full(len(blind), arm)) for arm in (1.0, 0.0))
        ratio = np.exp(own.log_hr)[:, None]
        np.testing.assert_allclose(with_it, ratio * without, rtol=1e-9, atol=1e-12)

    @given(
        case=patients(),
        status=st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=6, max_size=6),
    )
    def test_curves_stay_curves_and_an_unknown_treatment_leaves_the_blind_one(self, case, status):
        blind, own = case
        treated = np.array(status)
        before = blind.copy()
        found = under(blind, own, treated)
        curve = survival(found)
        assert (curve[:, 0] == 1).all()
        assert ((curve >= 0) & (curve <= 1)).all()
        assert (np.diff(curve, axis=1) <= 0).all()
        np.testing.assert_array_equal(found[np.isnan(treated)], blind[np.isnan(treated)])
        np.testing.assert_array_equal(blind, before)

    @pytest.mark.parametrize("arm", [0.0, 1.0])
    def test_is_the_mean_of_survival_over_the_posterior(self, arm):
        own = effects([-0.7, -0.2, 0.4], [0.3, 0.5, 0.2], [0.2, 0.6, 0.8])
        blind = np.array([[0.0, 0.4], [0.0, 1.1], [0.0, 2.3]])
        ratio, e = np.exp(sampled(own)), own.propensity[:, None]
        factor = (ratio if arm else 1.0) / (1 - e + e * ratio)
        expected = np.exp(-blind[:, 1:] * factor).mean(axis=1)
        found = survival(under(blind, own, np.full(3, arm)))[:, 1]
        np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_chunks_are_no_matter(self, monkeypatch):
        rng = np.random.default_rng(0)
        blind = accumulate(rng.exponential(0.2, (50, GRID.bins)))
        own = effects(rng.normal(size=50), 0.3, rng.uniform(0.1, 0.9, 50))
        treated = rng.choice([0.0, 1.0, np.nan], 50)
        whole = under(blind, own, treated), benefit(blind, GRID, 60.0, own)
        monkeypatch.setattr(module, "CHUNK", 7)
        np.testing.assert_array_equal(under(blind, own, treated), whole[0])
        np.testing.assert_array_equal(benefit(blind, GRID, 60.0, own), whole[1])

    def test_nobody_is_nobody(self):
        blind, own = np.zeros((0, GRID.bins + 1)), effects(np.zeros(0))
        assert under(blind, own, np.zeros(0)).shape == blind.shape
        assert [len(a) for a in benefit(blind, GRID, 60.0, own)] == [0] * 5


class TestBenefit:
    @given(case=patients(certain=True), horizon=st.sampled_from([5.0, 20.0, 33.0, 60.0, 72.0]))
    def test_certain_gain_has_its_closed_form(self, case, horizon):
        blind, own = case
        found = benefit(blind, GRID, horizon, own)
        at = GRID.at(blind, np.array([horizon]))[:, 0]
        expected = gains(at, own, own.log_hr[:, None])[:, 0]
        for part in (found.gain, found.low, found.high):
            np.testing.assert_allclose(part, expected, atol=1e-9)
        clear = np.abs(expected - WORTH) > 1e-9
        np.testing.assert_array_equal(found.p_benefit[clear], (expected > WORTH)[clear])

    @given(case=patients())
    def test_parts_agree(self, case):
        blind, own = case
        found = benefit(blind, GRID, 60.0, own)
        assert (found.low <= found.gain).all()
        assert (found.gain <= found.high).all()
        assert ((found.p_benefit >= 0) & (found.p_benefit <= 1)).all()
        for part in found[:3]:
            assert (np.abs(part) <= 1).all()
        assert (np.abs(found.rmst_gain) <= 60).all()

    @given(case=patients())
    def test_gain_is_the_difference_of_both_curves(self, case):
        blind, own = case
        curves = [survival(under(blind, own, np.full(len(blind), arm))) for arm in (1.0, 0.0)]
        found = benefit(blind, GRID, 60.0, own)
        place = GRID.edges.tolist().index(60.0)
        np.testing.assert_allclose(found.gain, (curves[0] - curves[1])[:, place], atol=1e-12)

    @given(case=patients(), horizon=st.sampled_from([13.0, 60.0]))
    def test_months_gained_are_the_area_between_both_curves(self, case, horizon):
        blind, own = case
        found = benefit(blind, GRID, horizon, own)
        # Trapezoids in fine steps that meet the grid's edges.
        stops = [*GRID.edges[GRID.edges < horizon], horizon]
        times = np.concatenate([np.linspace(a, b, 400) for a, b in pairwise(stops)])
        curves = [
            survival(GRID.at(under(blind, own, np.full(len(blind), arm)), times)) for arm in (1, 0)
        ]
        area = np.trapezoid(curves[0] - curves[1], times, axis=1)
        np.testing.assert_allclose(found.rmst_gain, area, atol=2e-4)

    def test_interval_and_chance_are_those_of_the_posterior(self):
        rng = np.random.default_rng(3)
        own = effects(
            rng.normal(-0.2, 0.2, 12), rng.uniform(0.05, 0.6, 12), rng.uniform(0.1, 0.9, 12)
        )
        blind = accumulate(rng.exponential(0.15, (12, GRID.bins)))
        found = benefit(blind, GRID, 60.0, own)
        at = GRID.at(blind, np.array([60.0]))[:, 0]
        drawn = gains(at, own, sampled(own))
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        np.testing.assert_allclose(found.gain, drawn.mean(axis=1), atol=2e-3)
        np.testing.assert_allclose(found.low, low, atol=3e-3)
        np.testing.assert_allclose(found.high, high, atol=3e-3)
        np.testing.assert_allclose(found.p_benefit, (drawn > WORTH).mean(axis=1), atol=6e-3)
        assert ((found.p_benefit > 0.05) & (found.p_benefit < 0.95)).sum() > 5

    def test_interval_and_chance_allow_for_an_unsure_prognosis(self):
        rng = np.random.default_rng(4)
        own = effects(
            rng.normal(-0.3, 0.3, 12), rng.uniform(0.05, 0.6, 12), rng.uniform(0.1, 0.9, 12)
        )
        blind = accumulate(rng.exponential(0.15, (12, GRID.bins)))
        at, sd = GRID.at(blind, np.array([60.0]))[:, 0], rng.uniform(0.2, 1.2, 12)
        found = benefit_of(arms(blind, own), Prognosis(at, sd), GRID, 60.0, own)
        sure = benefit(blind, GRID, 60.0, own)
        log_hr, z = sampled(own), rng.normal(size=DRAWS)
        drawn = np.stack(
            [
                gains(each * np.exp(spread * z), own.take([i] * DRAWS), ratios[:, None])[:, 0]
                for i, (each, spread, ratios) in enumerate(zip(at, sd, log_hr, strict=True))
            ]
        )
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        # Of the interval's width, by the lattice: 1.5 % in the mean, 9 % at most.
        error = np.abs(np.stack([found.low - low, found.high - high])) / (high - low)
        assert error.mean() < 0.03
        assert error.max() < 0.1
        assert np.abs(found.p_benefit - (drawn > WORTH).mean(axis=1)).max() < 0.03
        # A loss or a gain stays what it is; the curves do not move.
        np.testing.assert_array_equal(found.gain, sure.gain)
        assert (np.sign(found.high) == np.sign(sure.high)).all()
        assert np.abs(found.high - sure.high).max() > 0.01

    @given(sd=st.floats(0, 1), chance=st.floats(0.05, 0.95), hazard=st.floats(0.05, 3))
    def test_a_stronger_effect_is_a_likelier_and_larger_gain(self, sd, chance, hazard):
        own = effects(np.linspace(-1.5, 1.0, 40), sd, chance)
        blind = np.outer(np.full(40, hazard), GRID.edges / 60)
        found = benefit(blind, GRID, 60.0, own)
        for part in (found.p_benefit, found.low, found.high):
            assert (np.diff(part) <= 1e-12).all()
        assert found.gain[0] > found.gain[-1]

    def test_no_effect_is_no_gain(self):
        blind = np.outer(np.ones(3), GRID.edges / 60)
        found = benefit(blind, GRID, 60.0, effects(np.zeros(3), 0.0, 0.3))
        for part in found:
            np.testing.assert_allclose(part, 0, atol=1e-12)

    def test_mean_over_the_posterior_lies_inside_the_interval_however_skew(self):
        # Nearly all die without it, so that the gain is skew and its mean beyond most of it.
        own = effects(np.array([-0.1]), 2.0, 0.95)
        found = benefit(np.array([[0, 2, 4, 6, 8, 9.0]]), GRID, 60.0, own)
        assert found.low[0] <= found.gain[0] <= found.high[0]


@pytest.mark.parametrize(
    ("declared", "followed", "months"), [(36, 36.0, 36.0), (None, 120.0, 60.0), (None, 48.0, 48.0)]
)
def test_benefits_are_given_at_the_endpoints_own_horizon_or_at_sixty(declared, followed, months):
    study = parse_study(
        {
            "name": "s",
            "source": {"files": ["t.csv"]},
            "endpoints": {"survival": {"os": {"time": "t", "event": "e", "horizon": declared}}},
            "modalities": {"clinical": {"age": {"kind": "number"}}},
        },
        "x",
    )
    assert benefit_horizon(study, "os", followed) == months


@pytest.fixture(scope="module")
def bundle(tiny_trained):
    assert tiny_trained.bundle.primary.effect is not None
    return tiny_trained.bundle


@pytest.fixture(scope="module")
def table():
    return draw(40, seed=78).frame


class TestPredict:
    def test_benefit_is_survival_if_treated_minus_if_not(self, bundle, table):
        both = [bundle.predict(table.assign(act=act), [24.0, 60.0]) for act in ("yes", "no")]
        gained = both[0]["survival@60"] - both[1]["survival@60"]
        for predicted in both:
            np.testing.assert_allclose(predicted["benefit@60"], gained, atol=1e-9)
        assert gained.abs().max() > 1e-3

    def test_benefit_does_not_depend_on_the_treatment_given(self, bundle, table):
        names = [
            "benefit@60",
            "benefit_low@60",
            "benefit_high@60",
            "rmst_gain@60",
            "p_benefit",
            "advice",
        ]
        found = [
            bundle.predict(table.assign(act=act))[names] for act in ("yes", "no", None, "perhaps")
        ]
        for other in found[1:]:
            pd.testing.assert_frame_equal(other, found[0], check_exact=True)

    def test_unknown_treatment_leaves_the_blind_curve_between_both(self, bundle, table):
        values, _ = bundle._read(table)
        model = bundle.primary
        blind = model.ensemble.cumulative(model.blind(values), read_centre(bundle.study, table))
        found = {
            act: bundle.predict(table.assign(act=act), [60.0])["survival@60"].to_numpy()
            for act in ("yes", "no", None)
        }
        expected = survival(model.ensemble.grid.at(blind, np.array([60.0])))[:, 0]
        np.testing.assert_array_equal(found[None], expected)
        low, high = np.minimum(found["yes"], found["no"]), np.maximum(found["yes"], found["no"])
        # Not exactly: the mean over the posterior bends the curve a little.
        assert ((found[None] > low - 2e-2) & (found[None] < high + 2e-2)).all()

    def test_advice_knows_the_stage(self, bundle, table):
        for stage, said in (
            ("I", "abstains: chemotherapy is no option at this stage"),
            (None, "abstains: stage unknown, which decides whether it is an option"),
        ):
            advice = bundle.predict(table.assign(stage=stage))["advice"]
            assert (advice == said).all()
        advice = bundle.predict(table.assign(stage="III"))["advice"]
        assert not advice.str.contains("stage").any()

    def test_bundle_whose_effect_could_not_be_estimated_says_why(self, bundle, table):
        model = replace(bundle.primary, effect=None, no_effect="too few")
        without = replace(bundle, survival={model.endpoint: model})
        found = without.predict(table)
        numbers = ["benefit@60", "benefit_low@60", "benefit_high@60", "rmst_gain@60", "p_benefit"]
        assert found[numbers].isna().all(axis=None)
        assert (found["advice"] == "abstains: too few").all()
        assert found["survival@60"].between(0, 1).all()
        # Treated or not, nothing is known of the difference.
        pd.testing.assert_frame_equal(
            without.predict(table.assign(act="yes"))[["risk"]], found[["risk"]]
        )

    @pytest.mark.parametrize(("act", "status"), [("yes", 1.0), ("no", 0.0), (None, np.nan)])
    def test_interval_is_that_of_the_blind_curve_under_the_treatment(
        self, bundle, table, act, status
    ):
        values, _ = bundle._read(table.assign(act=act))
        model = bundle.primary
        blind = model.blind(values)
        answer, own = model.answer(values, None), model.effect.of(blind)
        forward = model.ensemble.forward(blind, read=model.interval.terms.of)
        centre, variance = model.interval.log_hazards(model.ensemble.pooled(forward), forward.terms)
        curves = np.concatenate([np.zeros((len(centre), 1)), np.exp(centre)], axis=1)
        moved = np.log(under(curves, own, np.full(len(values), status))[:, 1:])
        shift = 0.0 if np.isnan(status) else (status - own.propensity) * own.sd
        half = 1.2815515655 * np.sqrt(variance + np.broadcast_to(shift, len(values))[:, None] ** 2)
        for end, bound, sign in zip(answer.ends, (np.minimum, np.maximum), (-1, 1), strict=True):
            expected = np.maximum.accumulate(np.exp(moved + sign * half), axis=1)
            np.testing.assert_allclose(
                end[:, 1:], bound(expected, answer.cumulative[:, 1:]), rtol=1e-9
            )
