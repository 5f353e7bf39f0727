from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.synthetic import draw
from accomplice.training.leakage.duplicates import duplicates


def doubled(cohort, count):
    """Append the first patients again, under other identifiers."""
    again = cohort.take(np.concatenate([np.arange(len(cohort)), np.arange(count)]))
    return replace(again, ids=np.arange(len(again)).astype(str))


@pytest.mark.parametrize("seed", range(4))
def test_different_patients_are_no_pair(small_cohort, seed):
    assert duplicates(build_cohort(small_cohort.study, draw(300, seed=seed).frame)) == []


def test_rows_that_are_there_twice_are_found(small_cohort):
    n = len(small_cohort)
    assert duplicates(doubled(small_cohort, 12)) == [(k, n + k) for k in range(12)]


def test_a_corrected_cell_and_a_longer_follow_up_do_not_hide_them(small_cohort):
    again, n = doubled(small_cohort, 10), len(small_cohort)
    values, time = again.values.copy(), again.time.copy()
    values[n:, 0] += 1
    time[n:] += 6.5
    found = duplicates(replace(again, values=values, time=time))
    assert len(found) >= 7
    assert set(found) <= {(k, n + k) for k in range(10)}


def test_patients_alike_in_a_few_levels_are_no_pair(small_cohort):
    study = small_cohort.study
    kept = {"clinical": {k: study.modalities["clinical"][k] for k in ("age", "sex", "stage")}}
    few = replace(
        small_cohort.prognostic(),
        study=study.prognostic().model_copy(update={"modalities": kept, "interactions": ()}),
        values=np.round(small_cohort.values[:, :3]),
    )
    assert duplicates(few) == []
