"""A learner that is registered, and nothing else, goes through fit, stack, bundle and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accomplice.training.bundle import Bundle
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.learners.learner import TrainingData
from accomplice.training.learners.registry import LEARNERS, stack_order
from accomplice.training.run import train
from examples import exponential_learner
from examples.exponential_learner import Exponential

NAME = "exponential"


def test_recovers_the_rates_it_was_simulated_from():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 2))
    death = rng.exponential(1 / (0.02 * np.exp(X @ [0.7, -0.3])))
    time, event = np.minimum(death, 60.0), death < 60
    grid = TimeGrid.fit(time, event, 60.0)
    data = TrainingData(X, time, event, grid, np.zeros(2, bool))
    beta = Exponential.fit(data, config=None, budget=None).beta
    # The ridge draws the coefficients in by about a tenth of the events against their spread.
    np.testing.assert_allclose(beta[0], np.log(0.02), atol=0.06)
    np.testing.assert_allclose(beta[1:] / [0.7, -0.3], 1 / 1.1, atol=0.05)


@pytest.fixture(scope="module")
def extended(small_cohort, quick_config):
    """A run with one learner more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LEARNERS, NAME, Exponential)
        yield train(small_cohort, quick_config)


def test_it_is_one_of_the_stack(extended, small_cohort):
    ensemble = extended.bundle.primary.ensemble
    assert stack_order() == ("anchor", "net", "forest", "boosting", NAME)
    assert ensemble.names == stack_order()
    assert len(ensemble.stack.weights) == len(stack_order())
    assert list(ensemble.weights) == list(stack_order())
    assert list(ensemble.weights.values()) == ensemble.stack.weights.tolist()
    assert ensemble.weights[NAME] > 0
    values = small_cohort.prognostic().values
    curves = ensemble.forward(values, small_cohort.centre).learners
    for k, fold in enumerate(ensemble.folds):
        learner = fold.learners[NAME]
        X = fold.preprocessor.linear(values, small_cohort.centre)
        expected = np.exp(-fold.grid.at(learner.cumulative(X), ensemble.grid.edges))
        np.testing.assert_allclose(curves[k, -1], expected, rtol=0, atol=1e-12)


def test_it_is_judged_by_its_name(extended):
    assert NAME in extended.primary.evaluation.scores


def test_the_bundle_keeps_it(extended, small_cohort, tmp_path):
    extended.bundle.save(tmp_path / "model")
    again = Bundle.load(tmp_path / "model").primary
    first = extended.bundle.primary.answer(small_cohort.values, small_cohort.centre)
    second = again.answer(small_cohort.values, small_cohort.centre)
    np.testing.assert_array_equal(first.cumulative, second.cumulative)


def test_where_it_is_not_registered_its_bundle_is_refused_by_name(extended, tmp_path, monkeypatch):
    extended.bundle.save(tmp_path / "model")
    monkeypatch.delitem(LEARNERS, NAME)
    with pytest.raises(Exception, match=f"no learner is named {NAME}"):
        Bundle.load(tmp_path / "model")


def test_is_short():
    source = Path(exponential_learner.__file__).read_text(encoding="utf-8")
    assert len([line for line in source.splitlines() if line.strip()]) <= 40


def test_the_documentation_shows_it_whole():
    source = Path(exponential_learner.__file__)
    shown = (source.parents[1] / "docs/extending.md").read_text(encoding="utf-8")
    assert f"```python\n{source.read_text(encoding='utf-8')}```\n" in shown
