"""Models without the forest or the boosted trees: fit, stack, bundle, predictions and answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.synthetic import draw
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.config import configure
from accomplice.training.evaluation.scores import MODEL
from accomplice.training.learners.registry import NET, stack_order
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.run import train

SETTINGS = ("forest.use", "boosting.use")


@pytest.fixture(
    scope="module",
    params=[SETTINGS[:1], SETTINGS[1:], SETTINGS],
    ids=["no forest", "no boosting", "neither"],
)
def unused(request):
    return {setting.partition(".")[0] for setting in request.param}


@pytest.fixture(scope="module")
def trained(small_cohort, quick_config, unused):
    explained = [f"{name}.use=false" for name in unused] + ["evaluation.explanations=true"]
    return train(small_cohort, configure(explained, quick_config))


@pytest.fixture(scope="module")
def path(trained, tmp_path_factory):
    made = tmp_path_factory.mktemp("bundle") / "model"
    trained.bundle.save(made)
    return made


def test_the_stack_is_of_the_others(trained, unused):
    ensemble = trained.bundle.primary.ensemble
    names = tuple(name for name in stack_order() if name not in unused)
    assert ensemble.names == names
    assert names[:2] == ("anchor", NET)
    assert list(ensemble.weights) == [*names]
    assert sum(ensemble.weights.values()) == pytest.approx(1)
    assert all(fold.learners.keys() == {*names} - {NET} for fold in ensemble.folds)


def test_the_others_are_judged(trained, unused):
    scores = trained.primary.evaluation.scores
    names = [name for name in stack_order() if name not in unused]
    assert list(scores)[: 2 + len(names)] == [MODEL, *names, KAPLAN_MEIER]


def test_the_bundle_keeps_the_model_and_nothing_of_the_unused(trained, path, unused, small_cohort):
    again = Bundle.load(path)
    first = trained.bundle.primary.answer(small_cohort.values, small_cohort.centre)
    second = again.primary.answer(small_cohort.values, small_cohort.centre)
    np.testing.assert_array_equal(first.cumulative, second.cumulative)
    assert again.primary.ensemble.weights == trained.bundle.primary.ensemble.weights
    assert {again.config[f"{name}.use"] for name in unused} == {False}


def test_a_server_gives_the_bundle_s_predictions(trained, path):
    frame = draw(30, seed=5).frame
    rows = frame.drop(columns=["os_months", "os_event"])
    patients = [
        {k: None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")
    ]
    answers = Predictor.load(path).answers(CheckedRequest(patients, None))
    expected = trained.bundle.predict(rows)
    assert len(answers) == len(expected) == 30
    for name in ("risk", "risk_centile", "rmst@60"):
        found = [answer[name] for answer in answers]
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-9, err_msg=name)
