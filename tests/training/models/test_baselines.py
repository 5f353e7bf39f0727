"""Fitted baselines: out of fold, on patients new to them, and back from the bundle."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.bundle import Bundle
from accomplice.training.fitting.baselines import fit_baselines, out_of_fold_curves
from accomplice.training.fitting.prepare import prepare
from accomplice.training.models.baselines import KAPLAN_MEIER, Baseline
from accomplice.training.models.ensemble import mean_curve, on_grid


@pytest.fixture(scope="module")
def prepared(small_cohort, quick_config):
    config = quick_config.model_copy(
        update={"folds": quick_config.folds.model_copy(update={"repeats": 2})}
    )
    return prepare(small_cohort, config)


@pytest.fixture(scope="module")
def fitted(prepared, quick_config):
    return fit_baselines(prepared, quick_config)


def as_ensemble(tiny_trained, prepared):
    """An ensemble of the prepared folds; baselines look at nothing else of it."""
    ensemble = tiny_trained.primary.fitted.ensemble
    return replace(ensemble, folds=prepared.models, grid=prepared.grid)


def test_kaplan_meier_is_first_and_the_study_s_own_follow(fitted, prepared):
    assert [b.name for b in fitted] == [KAPLAN_MEIER, *prepared.blind.study.baselines]
    assert all(len(b.folds) == len(prepared.models) for b in fitted)
    assert all(len(anchor.beta) == 0 for anchor in fitted[0].folds)
    assert all(len(anchor.beta) > 0 for b in fitted[1:] for anchor in b.folds)


def test_a_patient_s_outcome_changes_nothing_in_the_folds_that_leave_them_out(
    fitted, prepared, quick_config
):
    cohort, out = prepared.cohort, prepared.held_out[0]
    event = cohort.event.copy()
    event[np.flatnonzero(out)[:20]] ^= True
    other = replace(prepared, cohort=replace(cohort, event=event))
    again = fit_baselines(other, quick_config)
    for before, after in zip(fitted, again, strict=True):
        assert before.folds[0].to_json() == after.folds[0].to_json()
        assert before.folds[1].to_json() != after.folds[1].to_json()


def test_out_of_fold_each_patient_has_the_mean_of_the_folds_without_them(fitted, prepared):
    curves = out_of_fold_curves(fitted, prepared)
    patient = 7
    absent = np.flatnonzero(prepared.held_out[:, patient])
    assert len(absent) == 2
    flats = [
        on_grid(prepared.models[k].grid, fitted[0].folds[k].baseline, prepared.grid) for k in absent
    ]
    np.testing.assert_allclose(
        curves[KAPLAN_MEIER][patient], mean_curve(np.stack(flats)), rtol=1e-12
    )


def test_new_patients_get_the_mean_of_all_folds(fitted, prepared, tiny_trained):
    ensemble = as_ensemble(tiny_trained, prepared)
    values, centre = prepared.blind.values[:9], prepared.blind.centre[:9]
    for baseline in fitted:
        found = baseline.cumulative(ensemble, values, centre)
        each = [
            replace(baseline, folds=(anchor,)).cumulative(
                replace(ensemble, folds=(model,)), values, centre
            )
            for anchor, model in zip(baseline.folds, ensemble.folds, strict=True)
        ]
        np.testing.assert_allclose(found, mean_curve(np.stack(each)), rtol=1e-12)
        assert (np.diff(found, axis=1) >= 0).all()
        assert (found[:, 0] == 0).all()
    flat = fitted[0].cumulative(ensemble, values, centre)
    np.testing.assert_array_equal(flat, np.tile(flat[0], (9, 1)))
    # A patient of whom nothing is known is answered too.
    assert np.isfinite(fitted[-1].cumulative(ensemble, np.full_like(values, np.nan))).all()


def test_back_from_json_it_is_the_same(fitted, prepared, tiny_trained):
    ensemble = as_ensemble(tiny_trained, prepared)
    for baseline in fitted:
        again = Baseline.from_json(json.loads(json.dumps(baseline.to_json())))
        assert again.to_json() == baseline.to_json()
        values = prepared.blind.values
        np.testing.assert_array_equal(
            again.cumulative(ensemble, values), baseline.cumulative(ensemble, values)
        )


def test_a_run_s_bundle_keeps_what_the_run_was_held_against(tiny_trained, tmp_path):
    tiny_trained.bundle.save(tmp_path / "bundle")
    model = Bundle.load(tmp_path / "bundle").primary
    kept = tiny_trained.bundle.primary
    assert [b.name for b in model.baselines] == list(tiny_trained.primary.evaluation.gains)
    blind = tiny_trained.primary.fitted.prepared.blind
    found = model.baseline_curves(blind.values, blind.centre)
    expected = kept.baseline_curves(blind.values, blind.centre)
    assert list(found) == [b.name for b in kept.baselines]
    for name, curves in found.items():
        assert curves.shape == (len(blind), model.ensemble.grid.bins + 1)
        np.testing.assert_array_equal(curves, expected[name])
