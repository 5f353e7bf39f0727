from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.synthetic import draw
from accomplice.training.leakage.duplicates import duplicates, same_outcomes


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


@pytest.mark.parametrize("copies", [2, 3, 4, 5, 12])
def test_each_row_of_a_patient_with_many_is_found(small_cohort, copies):
    n = len(small_cohort)
    rows = np.concatenate([np.arange(n), np.full(copies - 1, 7)])
    again = replace(small_cohort.take(rows), ids=np.arange(len(rows)).astype(str))
    found = duplicates(again)
    assert {row for pair in found for row in pair} == {7, *range(n, n + copies - 1)}
    assert len(found) <= max(copies, 3)


def test_an_equal_outcome_tells_a_patient_s_rows_among_many_alike(small_cohort):
    n = 300
    cohort = small_cohort.take(np.concatenate([np.arange(n) % len(small_cohort), np.full(4, 10)]))
    rng = np.random.default_rng(0)
    values = np.zeros(cohort.values.shape)
    values[:, :7] = rng.normal(size=(n + 4, 7))
    values[[*range(20), *range(n, n + 4)], :7] = 1
    time = np.concatenate([1 + rng.permutation(n) / 7, np.zeros(4)])
    time[n:] = time[10]
    found = duplicates(replace(cohort, values=values, time=time))
    assert found == [(10, n + k) for k in range(4)]


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


class TestSameOutcomes:
    def again(self, cohort, rows, unit):
        """The cohort in whole units of time, with other samples of its first patients."""
        n = len(cohort)
        both = cohort.take(np.concatenate([np.arange(n), np.arange(rows)]))
        kinds = [feature.kind for feature in cohort.study.features.values()]
        measured = [j for j, kind in enumerate(kinds) if kind in ("expression", "density")]
        values = both.values.copy()
        values[n:, measured] *= np.random.default_rng(0).uniform(0.5, 2, (rows, len(measured)))
        return replace(both, values=values, time=np.ceil(both.time / unit) * unit)

    @pytest.mark.parametrize("unit", [0.01, 1, 3])
    def test_samples_of_one_patient_are_found_where_expression_differs(self, small_cohort, unit):
        n = len(small_cohort)
        found = same_outcomes(self.again(small_cohort, 30, unit))
        assert {(k, n + k) for k in range(30)} <= {*found}
        assert len(found) <= 32

    @pytest.mark.parametrize("unit", [0.01, 1, 6, 24])
    @pytest.mark.parametrize("seed", range(4))
    def test_chance_makes_none(self, small_cohort, seed, unit):
        cohort = build_cohort(small_cohort.study, draw(300, seed=seed).frame)
        assert same_outcomes(self.again(cohort, 0, unit)) == []

    def test_needs_clinical_features(self, small_cohort):
        kinds = [feature.kind for feature in small_cohort.study.features.values()]
        genes = {
            name: feature
            for (name, feature), kind in zip(
                small_cohort.study.features.items(), kinds, strict=True
            )
            if kind == "expression"
        }
        study = small_cohort.study.model_copy(update={"modalities": {"genes": genes}})
        study = study.model_copy(update={"treatment": None, "interactions": ()})
        assert {f.kind for f in study.features.values()} == {"expression"}
        values = np.zeros((len(small_cohort), len(genes)))
        assert same_outcomes(replace(small_cohort, study=study, values=values)) == []
