"""Features that repeat another: nothing is read of them."""

from __future__ import annotations

import json

import numpy as np

from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.repeats import repeated_features
from accomplice.data.study import parse_study

CLINICAL = {
    "age": {"kind": "number"},
    "sex": {"kind": "category", "levels": ["F", "M"]},
    "stage": {"kind": "ordinal", "levels": ["I", "II", "III"]},
}
TWICE = CLINICAL | {"years": CLINICAL["age"], "gender": CLINICAL["sex"]}
N = 120


def study(clinical, interactions, **further):
    return parse_study(
        {
            "name": "s",
            "source": {"files": ["t.csv"]},
            "endpoints": {"survival": {"os": {"time": "months", "event": "dead"}}},
            "modalities": {"clinical": clinical, **further},
            "interactions": interactions,
        },
        "s",
    )


def values(seed=0):
    """Coded age, sex and stage, then age and sex again, and age once more; some missing."""
    rng = np.random.default_rng(seed)
    age, sex, stage = rng.gamma(9, 7, N), rng.integers(0, 2, N), rng.integers(0, 3, N)
    found = np.column_stack([age, sex, stage]).astype(float)
    found[rng.random(found.shape) < 0.15] = np.nan
    return found[:, [0, 1, 2, 0, 1, 0]]


def test_those_of_one_kind_with_the_same_values_repeat():
    found = values()
    kinds = ["number", "category", "ordinal", "number", "category", "density"]
    assert repeated_features(found, kinds) == ((3, 0), (4, 1))
    found[5, 3] += 1e-9
    assert repeated_features(found, kinds) == ((4, 1),)


def test_inputs_are_those_without_them():
    twice = study(
        TWICE,
        [["age", "stage"], ["years", "stage"], ["stage", "gender"]],
        copy={"age_again": CLINICAL["age"]},
    )
    once = study(CLINICAL, [["age", "stage"], ["stage", "sex"]])
    made, plain = Preprocessor.fit(twice, values()), Preprocessor.fit(once, values()[:, :3])
    fresh = values(1)
    for mine, theirs in zip(made.transform(fresh), plain.transform(fresh[:, :3]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert made.linear_columns() == plain.linear_columns()
    assert made.embedded_columns() == plain.embedded_columns()
    assert made.read_for(["gender", "stage", "age_again"]) == ["sex", "stage", "age"]
    fresh[:, 3:] = 99.0
    np.testing.assert_array_equal(made.linear(fresh), plain.linear(fresh[:, :3]))


def test_they_are_kept_in_the_state():
    twice = study(TWICE, [])
    made = Preprocessor.fit(twice, values()[:, :5])
    state = json.loads(json.dumps(made.to_json()))
    fresh = values(2)[:, :5]
    again = Preprocessor.from_json(twice, state)
    np.testing.assert_array_equal(again.linear(fresh), made.linear(fresh))
    # Bundles made before read every feature.
    del state["repeats"]
    assert Preprocessor.from_json(twice, state).repeats == ()


def test_what_repeats_in_a_fold_alone_is_read():
    everyone = values()[:, :5]
    everyone[0, 3:] = 50.0, 1.0
    everyone[0, :2] = 60.0, 0.0
    made = Preprocessor.fit(study(TWICE, []), everyone[1:], everyone=everyone)
    assert made.repeats == ()
