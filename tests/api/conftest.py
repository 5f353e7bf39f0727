"""What the tests of the Python API share: a study folder, tiny settings, a run on MLflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accomplice
from accomplice.data.synthetic import draw
from accomplice.data.synthetic_study import synthesise
from tests.conftest import TINY

#: Settings that only judge a run; the estimator has none of them.
JUDGING = {"evaluation.bootstraps": 20, "evaluation.explanations": False, "evaluation.peers": False}
#: Settings that fit in a quarter of a second.
LEAST = {
    "folds.folds": 2,
    "anchor.folds": 2,
    "forest.trees": 5,
    "boosting.members": 2,
    "boosting.max_rounds": 5,
    "net.members": 1,
    "net.max_epochs": 1,
    "net.steps_per_epoch": 1,
}


def as_parameters(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as the estimator's parameters."""
    return {key.replace(".", "__"): value for key, value in settings.items()}


def structured(event, time) -> np.ndarray:
    """The outcome as scikit-survival's ``Surv`` makes it."""
    found = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    found["event"], found["time"] = event, time
    return found


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """The settings of ``tiny_config``, as values."""
    import yaml

    return {key: yaml.safe_load(text) for key, _, text in (each.partition("=") for each in TINY)}


@pytest.fixture(scope="session")
def small_frame():
    """The table of ``small_cohort``."""
    return draw(240, seed=11).frame


@pytest.fixture(scope="session")
def small_y(small_cohort) -> np.ndarray:
    return structured(small_cohort.event, small_cohort.time)


@pytest.fixture(scope="session")
def features(small_frame):
    """The table without the outcomes."""
    return small_frame.drop(columns=["os_months", "os_event", "ici_response"])


@pytest.fixture(scope="session")
def least() -> dict[str, Any]:
    return as_parameters(LEAST)


@pytest.fixture(scope="session")
def study_path(tmp_path_factory):
    """The study file of 200 synthetic patients."""
    return synthesise(tmp_path_factory.mktemp("cohort"), 200, "default", 3)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """A working folder of its own, whose ``mlruns`` is used where a test asks for it."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def in_workplace(workplace, monkeypatch):
    """The working folder while a test runs."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(workplace)
    return workplace


@pytest.fixture(scope="session")
def tracked(workplace, study_path):
    """A run on MLflow with the least settings, without figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accomplice.training.tracking.runs.log_figures", lambda *_: None)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(workplace)
        yield accomplice.train(study_path, settings={**LEAST, **JUDGING}, seed=5, name="first")


@pytest.fixture(scope="session")
def made(tmp_path_factory, study_path):
    """The same run, not tracked."""
    out = tmp_path_factory.mktemp("made") / "model"
    settings = {**LEAST, **JUDGING}
    return accomplice.train(study_path, settings=settings, seed=5, out=out, track=False)
