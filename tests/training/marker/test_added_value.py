"""What a feature adds: a strong one does, noise does not, and no patient is told on themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.study import parse_study
from accomplice.training.config import configure
from accomplice.training.marker.added_value import WITHOUT, added_value
from accomplice.training.models.predictions import MODEL

CONFIG = configure(["evaluation.bootstraps=40", "folds.folds=3", "anchor.folds=3"])
STUDY = {
    "name": "made-up",
    "source": {"files": ["x.csv"]},
    "endpoints": {"survival": {"os": {"time": "months", "event": "died", "horizon": 60}}},
    "modalities": {
        "clinical": {"age": {"kind": "number"}},
        "markers": {"strong": {"kind": "number"}, "noise": {"kind": "number"}},
    },
}


@pytest.fixture(scope="module")
def cohort():
    import pandas as pd

    rng = np.random.default_rng(4)
    n = 300
    frame = pd.DataFrame({name: rng.normal(size=n) for name in ("age", "strong", "noise")})
    death = rng.exponential(30 * np.exp(-0.4 * frame["age"] - 0.9 * frame["strong"]))
    left = rng.uniform(10, 90, n)
    frame["months"], frame["died"] = np.minimum(death, left), (death <= left).astype(int)
    return build_cohort(parse_study(STUDY, "made-up"), frame)


def test_a_strong_feature_adds_for_certain(cohort):
    added = added_value(cohort, "strong", ("age",), CONFIG)
    assert added.certain
    assert added.gains["uno_c"].low > 0
    assert added.gains["ibs"].low > 0
    assert any(low > 0 for low in added.decision.gain.low)


def test_noise_adds_nothing_for_certain(cohort):
    added = added_value(cohort, "noise", ("age", "strong"), CONFIG)
    assert not added.certain
    assert abs(added.gains["uno_c"].value) < 0.02


def test_difference_of_net_benefit_is_that_of_the_two_curves(cohort):
    curve = added_value(cohort, "strong", ("age",), CONFIG).decision
    with_it, without = (np.array(curve.benefit[name]) for name in (MODEL, WITHOUT))
    np.testing.assert_allclose(curve.gain.value, with_it - without, atol=1e-12)
    assert all(d.low <= d.value + 0.01 for d in curve.gain.estimates)
    assert curve.month <= 60


def test_a_shuffled_outcome_gives_no_discrimination(cohort):
    rows = np.random.default_rng(1).permutation(len(cohort))
    shuffled = replace(cohort, time=cohort.time[rows], event=cohort.event[rows])
    added = added_value(shuffled, "strong", ("age",), CONFIG)
    assert added.evaluation.scores["model"].uno_c.value == pytest.approx(0.5, abs=0.06)
    assert not added.certain


def test_the_same_seed_gives_the_same_gains(cohort):
    one, other = (added_value(cohort, "noise", ("age",), CONFIG).gains for _ in range(2))
    assert one == other
