"""Cohorts, configurations and fits that many tests share; all patients are made up."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import settings

if TYPE_CHECKING:
    from data.cohort import Cohort
    from training.config import Config
    from training.run import Trained

# Networks this small only lose by threads that wait for each other, on a busy machine much. Torch
# reads it when it is imported, so it is set before any test module is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

TINY = (
    "net.members=2",
    "net.max_epochs=2",
    "net.steps_per_epoch=3",
    "evaluation.bootstraps=20",
)


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A configuration that goes through all of a run in a second."""
    from training.config import configure

    return configure(TINY)


@pytest.fixture(scope="session")
def small_cohort() -> Cohort:
    """240 synthetic patients of five centres with every kind of feature and missing values."""
    from data.cohort import build_cohort
    from data.study import parse_study
    from data.synthetic import draw

    panel = files("data.panels").joinpath("synthetic_gastric.yaml").read_text(encoding="utf-8")
    study = parse_study(yaml.safe_load(panel), "synthetic_gastric.yaml")
    return build_cohort(study, draw(240, seed=11).frame)


@pytest.fixture(scope="session")
def tiny_trained(small_cohort: Cohort, tiny_config: Config) -> Trained:
    """The small cohort's run with the tiny configuration."""
    from training.run import train

    return train(small_cohort, tiny_config)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public cohorts, beside the project where there is one."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the real cohorts in ../shared/data")
    return path
