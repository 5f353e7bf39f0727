"""Versions of a model, and the intervals that their spread gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.estimators.intervals import Z95
from accomplice.training.models.jackknife import band, versions
from accomplice.training.treatment.benefit import under


@pytest.fixture(scope="module")
def model(tiny_trained):
    return tiny_trained.bundle.primary


@pytest.fixture(scope="module")
def some(small_cohort):
    return small_cohort.values[:15], small_cohort.centre[:15]


class TestVersions:
    def test_first_is_the_model_itself(self, model, some):
        found = versions(model, *some)
        np.testing.assert_allclose(found[0], model.answer(*some).cumulative, rtol=1e-10)
        folds, axes = len(model.ensemble.folds), len(model.effect.theta)
        assert len(found) == 1 + folds + 2 * axes

    def test_fold_s_version_is_that_of_its_models_alone(self, model, some):
        blind, each = model.ensemble.by_fold(model.blind(some[0]), some[1])
        np.testing.assert_allclose(
            blind, model.ensemble.cumulative(model.blind(some[0]), some[1]), rtol=1e-10
        )
        members = model.ensemble.net.shape.members
        replicates = model.ensemble.replicates(model.blind(some[0]), some[1])
        by_fold = replicates.reshape(len(each), members, *blind.shape)
        # The mean of the members lies between them, but for the stack's slope.
        inside = (by_fold.min(axis=1) <= each + 1e-9) & (each <= by_fold.max(axis=1) + 1e-9)
        assert inside[..., 1:].mean() > 0.99
        assert np.abs(each[0] - each[1]).max() > 1e-3

    def test_moved_effects_span_the_posterior(self, model, some):
        values, centre = some
        found = versions(model, values, centre)[1 + len(model.ensemble.folds) :]
        own, status = model.effect_of(values, centre)
        blind = model.ensemble.cumulative(model.blind(values), centre)
        design = model.effect.design(model.blind(values), centre)
        variance = np.einsum("ni,ij,nj->n", design, model.effect.covariance, design)
        # Moving the effect by its whole standard error is moving it along all axes, to first order.
        ends = [
            np.log(under(blind, own._replace(log_hr=own.log_hr + s * 1e-3), status)[:, -1])
            for s in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / 2e-3
        half = (np.log(found[0::2, :, -1]) - np.log(found[1::2, :, -1])) / 2
        known = ~np.isnan(status)
        np.testing.assert_allclose(
            np.sqrt((half**2).sum(axis=0))[known],
            np.abs(slope * np.sqrt(variance))[known],
            rtol=0.1,
        )

    def test_without_an_effect_there_are_the_folds_alone(self, model, some):
        without = replace(model, effect=None, no_effect="none")
        found = versions(without, *some)
        assert len(found) == 1 + len(model.ensemble.folds)
        assert np.isfinite(found).all()

    def test_nobody_has_versions_too(self, model, some):
        assert versions(model, some[0][:0], some[1][:0]).shape[1] == 0


class TestBand:
    def test_of_a_mean_is_that_of_its_jackknife(self):
        # Leaving out one of k equal groups, the jackknife of a mean is its textbook variance.
        groups = np.random.default_rng(2).normal(size=5)
        each = (groups.sum() - groups) / 4
        low, high = band(np.concatenate([[groups.mean()], each]), 5)
        error = groups.std(ddof=1) / np.sqrt(5)
        assert high - groups.mean() == pytest.approx(2.7764451 * error)
        assert groups.mean() - low == pytest.approx(2.7764451 * error)

    def test_covers_as_often_as_it_says(self):
        rng = np.random.default_rng(3)
        groups = rng.normal(size=(5, 4000))
        each = (groups.sum(axis=0) - groups) / 4
        low, high = band(np.concatenate([groups.mean(axis=0)[None], each]), 5)
        assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(0.95, abs=0.015)

    def test_effect_adds_what_it_moves(self):
        figure = np.array([1.0, 1.0, 1.0, 1.3, 0.7, 0.6, 1.4])
        low, high = band(figure, 2)
        assert high - 1.0 == pytest.approx(Z95 * 0.5)
        assert 1.0 - low == pytest.approx(Z95 * 0.5)

    def test_repeats_narrow_it_to_that_of_the_whole_cohort(self):
        rng = np.random.default_rng(5)
        held, width = [], []
        for _ in range(400):
            x = rng.normal(size=100)
            fold = [rng.permutation(100) % 5 for _ in range(4)]
            each = [x[f != k].mean() for f in fold for k in range(5)]
            low, high = band(np.array([x.mean(), *each]), 20, repeats=4)
            held.append(low <= 0 <= high)
            width.append(high - low)
        assert np.mean(held) == pytest.approx(0.95, abs=0.035)
        # That of a known variance is 2 · 1.96 / √100.
        assert np.mean(width) == pytest.approx(0.39, abs=0.04)
