"""How strong a confounder nobody recorded would have to be."""

from __future__ import annotations

import json

import numpy as np
import pytest

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.treatment.sensitivity import (
    DIFFERENCES,
    Unrecorded,
    e_value,
    nearer_to_one,
    tipping_points,
)


@pytest.mark.parametrize("hr", [0.3, 0.56, 0.9, 1.4, 3.0])
def test_e_value_by_the_closed_form(hr):
    ratio = (1 - 0.5 ** np.sqrt(hr)) / (1 - 0.5 ** np.sqrt(1 / hr))
    ratio = max(ratio, 1 / ratio)
    assert e_value(hr) == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))
    assert e_value(hr) == pytest.approx(e_value(1 / hr))


def test_no_effect_needs_no_confounder():
    assert e_value(1.0) == 1.0
    assert tipping_points(1.0, np.array([0.1, 0.5])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("interval", "nearest"),
    [((0.5, 0.3, 0.8), 0.8), ((0.9, 0.7, 1.2), 1.0), ((2.0, 1.5, 2.6), 1.5), ((1.1, 0.8, 1.5), 1)],
)
def test_the_end_nearer_to_one(interval, nearest):
    assert nearer_to_one(Estimate(*interval)) == nearest


@pytest.mark.parametrize("hr", [0.6, 0.8, 1.5])
def test_a_confounder_at_the_tipping_point_explains_the_ratio_away(hr):
    for difference in (0.3, 0.5):
        (strength,) = tipping_points(hr, np.array([difference]))
        p, q = (1 + difference) / 2, (1 - difference) / 2
        assert (1 + (strength - 1) * p) / (1 + (strength - 1) * q) == pytest.approx(max(hr, 1 / hr))


def test_no_confounder_is_strong_enough_where_the_arms_hardly_differ():
    # (B - 1) / (B + 1) of a ratio of 0.5 is a third.
    assert np.isinf(tipping_points(0.5, np.array([0.33]))).all()
    assert np.isfinite(tipping_points(0.5, np.array([0.34]))).all()


def test_a_confounder_of_that_strength_does_it_in_simulated_patients():
    rng = np.random.default_rng(0)
    n, difference, hr = 200_000, 0.4, 0.8
    (strength,) = tipping_points(hr, np.array([difference]))
    treated = np.arange(n) % 2 == 0
    bad = rng.random(n) < np.where(treated, 0.5 - difference / 2, 0.5 + difference / 2)
    rate = 0.01 * np.where(bad, strength, 1.0)
    early = rng.exponential(1 / rate) < 1.0
    assert early[treated].mean() / early[~treated].mean() == pytest.approx(hr, abs=0.03)


def test_plain_data():
    found = Unrecorded.of(Estimate(0.5, 0.3, 0.8))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["e_value"] > plain["e_value_limit"] > 1
    assert [row["difference"] for row in plain["tipping"]] == list(DIFFERENCES)
    assert plain["tipping"][0]["hr"] is None
    assert all(
        row["hr_limit"] is not None and (row["hr"] is None or row["hr"] > row["hr_limit"])
        for row in plain["tipping"][1:]
    )
    assert Unrecorded.of(Estimate(np.nan)) is None
