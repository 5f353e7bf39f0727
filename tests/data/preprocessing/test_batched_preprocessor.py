"""Preprocessors side by side make what each makes alone."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.preprocessing.batched_preprocessor import BatchedPreprocessor
from accomplice.data.preprocessing.expression_ranks import FEW
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import parse_study
from tests.data.preprocessing.test_preprocessor import STUDY, STUDY_OF_ONE, draw


def fitted(study=STUDY, parts=3):
    """Preprocessors of parts of a cohort; only some know the assay of every centre."""
    values, centre = draw(400, seed=1)
    rng = np.random.default_rng(2)
    # Half of one assay's values are zeros, so that its ranks are tied.
    values[rng.random(len(values)) < 0.5, list(study.features).index("IL1R1")] = 0.0
    chosen = [rng.random(len(values)) < share for share in np.linspace(0.2, 0.9, parts)]
    return BatchedPreprocessor(tuple(Preprocessor.fit(study, values[c], centre[c]) for c in chosen))


@pytest.mark.parametrize("n", [1, FEW, FEW + 1, 200])
@pytest.mark.parametrize("known", [True, False])
def test_every_preprocessor_makes_what_it_makes_alone(n, known):
    together = fitted()
    values, centre = draw(n, seed=3, missing=0.4)
    centre = centre if known else None
    made = together.transform(values, centre)
    for k, alone in enumerate(together.preprocessors):
        expected = alone.transform(values, centre)
        np.testing.assert_array_equal(made.linear[k], expected.linear)
        single = alone.transform(values, centre, np.float32)
        np.testing.assert_array_equal(made.embedded[k].T, single.embedded)
        np.testing.assert_array_equal(made.present.T, expected.present)


def test_values_on_and_beyond_an_assay_s_quantiles():
    together = fitted()
    rows = []
    for alone in together.preprocessors:
        for table in alone.reference.values():
            rows += [table.copy(), table - 1e3, table + 1e3, np.full_like(table, np.nan)]
    values = np.concatenate(rows)
    values[:, [j for j, f in enumerate(STUDY.features.values()) if f.kind != "expression"]] = 1.0
    for start in range(0, len(values), FEW):
        some = values[start : start + FEW]
        made = together.transform(some)
        for k, alone in enumerate(together.preprocessors):
            np.testing.assert_array_equal(made.linear[k], alone.transform(some).linear)


def test_a_study_without_expression_or_category():
    study = parse_study({**STUDY_OF_ONE, "modalities": {"c": {"age": {"kind": "number"}}}}, "s")
    rng = np.random.default_rng(0)
    together = BatchedPreprocessor(
        tuple(Preprocessor.fit(study, rng.normal(size=(60, 1))) for _ in range(2))
    )
    values = np.array([[0.3], [np.nan]])
    made = together.transform(values)
    for k, alone in enumerate(together.preprocessors):
        np.testing.assert_array_equal(made.linear[k], alone.transform(values).linear)
        single = alone.transform(values, precision=np.float32)
        np.testing.assert_array_equal(made.embedded[k].T, single.embedded)
