"""The peers: out of fold on a run's folds, left out where they cannot be had, never in a bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import accomplice.training.fitting.peers
from accomplice.data.escaping import markdown
from accomplice.training.budget import Budget
from accomplice.training.config import configure
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.scores import judge_predicted
from accomplice.training.fitting.out_of_fold import from_fit
from accomplice.training.fitting.peers import at_edges, out_of_fold, peers
from accomplice.training.fitting.prepare import prepare
from accomplice.training.metrics.concordance import harrell_c
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.models.predictions import BOOSTED, FOREST, PEERS
from accomplice.training.tracking.summary import headline, note


@pytest.fixture(scope="module")
def config(quick_config):
    return configure(["evaluation.peers=true"], quick_config)


@pytest.fixture(scope="module")
def prepared(small_cohort, config):
    return prepare(small_cohort, config)


@pytest.fixture(scope="module")
def curves(prepared, config):
    pytest.importorskip("sksurv", reason="scikit-survival is not installed")
    found, notes = peers(prepared, config)
    assert notes == ()
    return {name: out_of_fold(each, prepared) for name, each in found.items()}


def test_they_predict_better_than_chance(curves, prepared):
    assert tuple(curves) == PEERS
    time, event = prepared.cohort.time, prepared.cohort.event
    for found in curves.values():
        assert found.shape == (len(time), prepared.grid.bins + 1)
        assert (found[:, 0] == 0).all()
        assert (np.diff(found, axis=1) >= 0).all()
        assert np.isfinite(found).all()
        assert harrell_c(event, time, log_risk(found)) > 0.58


def test_of_a_patient_nothing_but_the_features_is_used(curves, prepared, config):
    cohort, out = prepared.cohort, prepared.held_out[0]
    event = cohort.event.copy()
    event[np.flatnonzero(out)[:20]] ^= True
    again, _ = peers(replace(prepared, cohort=replace(cohort, event=event)), config)
    for name in PEERS:
        changed = out_of_fold(again[name], prepared)
        np.testing.assert_array_equal(curves[name][out], changed[out])
        assert (curves[name][~out] != changed[~out]).any()


def test_they_are_held_against_but_are_not_the_headline_and_not_kept(
    curves, tiny_trained, tiny_config
):
    fitted = tiny_trained.primary.fitted
    config = configure(["evaluation.peers=true"], tiny_config)
    predicted = from_fit(fitted, config, tiny_trained.primary.model.baselines)
    own = [b.name for b in tiny_trained.primary.model.baselines]
    assert list(predicted.baselines) == [*own, *PEERS]
    predicted = from_fit(fitted, config, tiny_trained.primary.model.baselines)
    judged = judge_predicted(predicted, config)
    assert list(judged.gains) == [*own, *PEERS]
    assert judged.reference == own[-1]
    gain: Estimate = judged.gains[own[-1]]["ibs"]
    primary = replace(tiny_trained.primary, evaluation=judged)
    trained = replace(tiny_trained, survival={"os": primary})
    assert headline(trained)["ibs_gain"] == gain.value
    assert not {b.name for b in trained.bundle.primary.baselines} & set(PEERS)


@pytest.mark.parametrize(
    ("change", "said"),
    [("absent", r"install accomplice\[peers\]"), ("many", "240 patients are more than 100")],
)
def test_a_line_says_why_there_are_none(monkeypatch, prepared, config, tiny_trained, change, said):
    if change == "absent":
        monkeypatch.setattr(accomplice.training.fitting.peers, "find_spec", lambda name: None)
    else:
        pytest.importorskip("sksurv", reason="scikit-survival is not installed")
        monkeypatch.setattr(accomplice.training.fitting.peers, "MOST_PATIENTS", 100)
    found, (line,) = peers(prepared, config)
    assert found == {}
    assert FOREST in line
    assert BOOSTED in line
    fitted = tiny_trained.primary.fitted
    predicted = from_fit(fitted, config, tiny_trained.primary.model.baselines)
    judged = judge_predicted(predicted, config)
    assert judged.notes[0].endswith(line[-20:])
    assert KAPLAN_MEIER in judged.gains
    primary = replace(tiny_trained.primary, evaluation=judged)
    text = note(replace(tiny_trained, survival={"os": primary}))
    assert f"Not compared with a baseline: {markdown(judged.notes[0])}" in text
    assert judged.to_json()["notes"] == list(judged.notes)


def test_switched_off_they_are_not_missed(prepared, quick_config):
    assert peers(prepared, quick_config) == ({}, ())


def test_without_time_they_are_left_out_and_it_is_said(prepared, config):
    pytest.importorskip("sksurv", reason="scikit-survival is not installed")
    budget = Budget(10.0, clock=lambda: 0.0, began=-10.0)
    found, notes = peers(prepared, config, budget)
    assert found == {}
    assert [line.startswith("no ") and "no time" in line for line in notes] == [True, True]
    assert budget.cuts == [f"{name} 0 of {len(prepared.models)} folds" for name in PEERS]


def test_steps_are_read_at_the_edges():
    steps, months = np.array([[0.8, 0.4, 0.0]]), np.array([1.0, 3.0, 5.0])
    found = at_edges(steps, months, np.array([0.0, 1.0, 2.9, 3.0, 9.0]), n=10)
    np.testing.assert_allclose(np.exp(-found), [[1.0, 0.8, 0.8, 0.4, 0.05]])
