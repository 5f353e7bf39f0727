"""Predictions to be judged: out of fold from a fit, and again from the bundle it left."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.bundle import Bundle
from accomplice.training.config import unflat
from accomplice.training.fitting.out_of_fold import from_fit, replay
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD


@pytest.fixture(scope="module")
def run(quick_trained):
    return quick_trained


def test_a_fit_is_judged_out_of_fold(run, small_cohort, quick_config):
    fitted = run.primary.fitted
    predicted = from_fit(fitted, quick_config)
    assert predicted.protocol == OUT_OF_FOLD
    np.testing.assert_array_equal(predicted.curves[MODEL], fitted.blind)
    np.testing.assert_array_equal(predicted.served, fitted.cumulative)
    time, event = small_cohort.outcome
    np.testing.assert_array_equal(predicted.outcome[0], time)
    np.testing.assert_array_equal(predicted.outcome[1], event)


def test_a_patient_s_prediction_is_that_of_the_fold_that_held_them_out(run, quick_config):
    fitted = run.primary.fitted
    predicted = from_fit(fitted, quick_config)
    assert len(fitted.prepared.fold) == 1
    curves = {**predicted.curves, **predicted.baselines, MODEL: fitted.blind}
    alone = predicted.by_fold
    assert alone.curves.keys() == curves.keys()
    np.testing.assert_array_equal(alone.rows, np.arange(len(predicted.group)))
    np.testing.assert_array_equal(alone.fold, predicted.group)
    for name, curve in curves.items():
        own = alone.curves[name][predicted.group, alone.rows]
        np.testing.assert_allclose(own, curve, rtol=1e-5, atol=1e-9, err_msg=name)


def test_other_features_give_other_curves_and_the_same_ones_the_same(run):
    fitted = run.primary.fitted
    values = fitted.prepared.blind.values
    np.testing.assert_allclose(fitted.again(values), fitted.blind, rtol=1e-12)
    assert np.abs(fitted.again(np.full_like(values, np.nan)) - fitted.blind).max() > 0.01


def test_a_bundle_and_its_cohort_give_the_run_s_predictions_again(run, small_cohort, tmp_path):
    run.bundle.save(tmp_path / "bundle")
    bundle = Bundle.load(tmp_path / "bundle")
    again = replay(bundle.primary, small_cohort, unflat(bundle.config))
    np.testing.assert_allclose(again.cumulative, run.primary.fitted.cumulative, rtol=1e-5)
    np.testing.assert_array_equal(again.prepared.fold, run.primary.fitted.prepared.fold)
