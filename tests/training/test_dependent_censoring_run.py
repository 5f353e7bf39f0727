"""A run where the centres are followed differently, and some groups are of one centre alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.study import parse_study
from accomplice.training.config import configure
from accomplice.training.estimators.censoring import censoring_of
from accomplice.training.run import train
from tests.conftest import TINY

NUMBER = {"kind": "number"}
CENTRES = ("east", "north", "south")


@pytest.fixture(scope="module")
def cohort():
    """Three centres with other risks, of which the last is followed shortest; treatment later."""
    rng = np.random.default_rng(4)
    place = np.repeat([0, 1, 2], 110)
    age, n = rng.standard_normal(330), 330
    death = rng.exponential(50 * np.exp(-0.5 * age - np.array([0.0, 0.5, 1.0])[place]))
    left = rng.uniform(np.array([50, 20, 3])[place], np.array([100, 60, 30])[place])
    frame = pd.DataFrame(
        {
            "centre": np.array(CENTRES)[place],
            "age": age,
            # Nobody of stage I is of the last centre.
            "stage": np.where(place == 2, "II", rng.choice(["I", "II"], n)),
            "treated": rng.choice(["yes", "no"], n),
            "time": np.minimum(death, left),
            "event": (death <= left).astype(int),
        }
    )
    described = {
        "name": "followed_differently",
        "synthetic": True,
        "source": {"reader": "table", "files": ["x.csv"]},
        "centre": "centre",
        "endpoints": {"survival": {"os": {"time": "time", "event": "event", "horizon": 60}}},
        "treatment": {"column": "treated", "treated": ["yes"], "untreated": ["no"], "landmark": 2},
        "modalities": {
            "clinical": {"age": NUMBER, "stage": {"kind": "ordinal", "levels": ["I", "II"]}}
        },
    }
    return build_cohort(parse_study(described, "x"), frame)


@pytest.mark.parametrize("by", ["patient", "centre"])
def test_groups_without_a_centre_are_judged(cohort, by):
    assert "centre" in censoring_of(cohort, *cohort.outcome).by
    trained = train(cohort, configure((*TINY, f"folds.by={by}")))
    metrics = trained.bundle.metrics
    counted = cohort.event & (cohort.time <= metrics["horizon"])
    assert metrics["events"] == counted.sum() < cohort.outcome.event.sum()
    review = trained.bundle.metrics["review"]
    shown = {(each["feature"], each["level"]): each for each in review["subgroups"]}
    assert {("stage", "I"), *(("centre", name) for name in CENTRES)} <= shown.keys()
    assert all(0 < each["uno_c"]["value"] < 1 for each in shown.values())
