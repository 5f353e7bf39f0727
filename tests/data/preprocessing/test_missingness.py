"""Indicators of missing values, against a patient at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.preprocessing.missingness import WIDE, MissingIndicators, missing_inputs
from accomplice.data.study import parse_study
from tests.data.preprocessing.test_preprocessor import STUDY_OF_ONE


def study_of(sizes):
    modalities = {
        f"m{j}": {f"f{j}_{i}": {"kind": "number"} for i in range(size)}
        for j, size in enumerate(sizes)
    }
    return parse_study({**STUDY_OF_ONE, "modalities": modalities}, "study.yaml")


@given(
    sizes=st.lists(st.one_of(st.integers(1, 4), st.just(WIDE + 1)), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
    n=st.integers(0, 5),
)
def test_a_feature_missing_with_its_modality_is_counted_there_alone(sizes, seed, n):
    study = study_of(sizes)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, len(study.features)))
    values[rng.random(values.shape) < 0.5] = np.nan
    for block in study.blocks.values():
        values[np.ix_(rng.random(n) < 0.3, list(block))] = np.nan
    features, modalities = missing_inputs(study.blocks)
    expected = np.zeros((n, len(features) + len(modalities)))
    for i, row in enumerate(values):
        gone = {m for m in modalities if np.isnan(row[list(study.blocks[m])]).all()}
        owner = {j: m for m, block in study.blocks.items() for j in block}
        expected[i] = [
            *(bool(np.isnan(row[j])) and owner[j] not in gone for j in features),
            *(m in gone for m in modalities),
        ]
    np.testing.assert_array_equal(
        MissingIndicators.of(study.blocks, len(study.features)).inputs(values), expected
    )
