"""Values far outside those of the training patients."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.training_range import (
    OUTSIDE,
    OUTSIDE_MODALITY,
    UNKNOWN_ASSAY,
    TrainingRange,
)
from accomplice.data.study import parse_study

nan = np.nan
GENES = [f"g{i}" for i in range(12)]
STUDY = parse_study(
    {
        "name": "s",
        "source": {"files": ["t.csv"]},
        "centre": "hospital",
        "endpoints": {"survival": {"os": {"time": "t", "event": "e"}}},
        "modalities": {
            "clinical": {
                "age": {"kind": "number"},
                "marker": {"kind": "number"},
                "sex": {"kind": "category", "levels": ["f", "m"]},
                "grade": {"kind": "ordinal", "levels": ["1", "2", "3"]},
            },
            "panel": {name: {"kind": "expression"} for name in GENES},
        },
    },
    "x",
)
N = 400


def drawn(seed: int, n: int = N) -> np.ndarray:
    """Age, a marker of a lognormal distribution, levels, and genes of means 1 to 12, SD 1."""
    rng = np.random.default_rng(seed)
    clinical = [rng.normal(60, 10, n), rng.lognormal(3, 1, n)]
    levels = [rng.integers(0, 2, n), rng.integers(0, 3, n)]
    genes = rng.normal(np.arange(1, 13), 1, (n, 12))
    return np.column_stack([*clinical, *levels, genes])


@pytest.fixture(scope="module")
def fitted() -> TrainingRange:
    values = drawn(0)
    folds = (values[:300], values[100:])
    return TrainingRange.of(STUDY, [Preprocessor.fit(STUDY, fold) for fold in folds])


def flags(known: TrainingRange, values: np.ndarray, centre=None) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in values]
    known.flag(found, values, centre)
    return found


def test_fresh_patients_are_seldom_flagged(fitted):
    far, whole = fitted.outside(drawn(1, 4000), None)
    assert 0 < far.mean() < 1e-3
    assert not whole.any()


@pytest.mark.parametrize(
    ("scale", "modality"),
    [(lambda x: 2.0**x, True), (lambda x: x - np.arange(1, 13), True), (lambda x: x + 0.5, False)],
    ids=["counts", "z-scores", "a little more"],
)
def test_expression_on_another_scale(fitted, scale, modality):
    values = drawn(2, 200)
    values[:, 4:] = scale(values[:, 4:])
    told = flags(fitted, values)
    share = np.mean([f"{OUTSIDE_MODALITY}:panel" in each for each in told])
    assert share > 0.99 if modality else share == 0
    if modality:
        assert np.mean([f"{OUTSIDE}:g11" in each for each in told]) > 0.99


@pytest.mark.parametrize(
    ("age", "marker", "expected"),
    [
        (150, 20, {f"{OUTSIDE}:age"}),
        (60, 1e6, {f"{OUTSIDE}:marker"}),
        (60, -1, {f"{OUTSIDE}:marker"}),
        (6, 1e6, {f"{OUTSIDE}:age", f"{OUTSIDE}:marker", f"{OUTSIDE_MODALITY}:clinical"}),
        (nan, nan, set()),
    ],
)
def test_each_value_is_flagged_and_levels_count_as_inside(fitted, age, marker, expected):
    values = np.concatenate([[[age, marker, 1, 2]], np.full((1, 12), nan)], axis=1)
    assert set(flags(fitted, values)[0]) == expected


def test_a_value_out_of_range_is_flagged_once(fitted):
    found = [["out_of_range:age"]]
    values = np.concatenate([[[150, 20, 1, 2]], np.full((1, 12), nan)], axis=1)
    fitted.flag(found, values, None)
    assert found == [["out_of_range:age"]]


def test_each_rows_flags_depend_on_no_other(fitted):
    values = drawn(3, 60)
    values[::3, 4:] *= 4
    centre = np.array(["a", "b", ""] * 20)
    alone = [flags(fitted, values[[i]], centre[[i]])[0] for i in range(60)]
    assert flags(fitted, values, centre) == alone
    assert any(alone)


def test_a_centre_with_a_scale_of_its_own():
    values = drawn(4)
    centre = np.array(["a"] * 200 + ["b"] * 200)
    values[200:, 4:] += 30
    known = TrainingRange.of(STUDY, [Preprocessor.fit(STUDY, values, centre)])
    fresh = drawn(5, 2)
    told = flags(known, np.repeat(fresh[:1], 4, axis=0), np.array(["a", "b", "c", ""]))
    assert told[0] == []
    assert f"{OUTSIDE_MODALITY}:panel" in told[1]
    assert told[2] == told[3] == [UNKNOWN_ASSAY]


def test_a_feature_without_spread_has_no_range():
    values = drawn(6)
    values[:, 0] = 60
    known = TrainingRange.of(STUDY, [Preprocessor.fit(STUDY, values)])
    values[:, 0] = 61
    assert not known.outside(values, None)[0][:, 0].any()
