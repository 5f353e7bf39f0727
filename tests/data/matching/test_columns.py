"""A table's columns by a study, however they are named and whatever their cells begin with."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.coding import code
from accomplice.data.errors import InputError
from accomplice.data.loading import read_patients
from accomplice.serving.requests.patient_reader import PatientReader, renamed
from tests.fixtures.studies import study_of

AGE = {"kind": "number", "column": "c1"}
SEX = {"kind": "category", "levels": ["F", "M"], "column": "c2"}
MARK = {"kind": "category", "levels": ["EBV: yes", "MSI: high"], "column": "c2"}


def coded(tmp_path, study, **columns):
    path = tmp_path / "t.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return code(study, read_patients(path, study))


@pytest.mark.parametrize("cells", [["MSI: high", "EBV: yes"], ["MSI: high"], ["EBV: yes"] * 2])
def test_levels_keep_keys_of_their_own_whoever_else_is_in_the_table(tmp_path, cells):
    found = coded(tmp_path, study_of(age=AGE, mark=MARK), c1=[66] * len(cells), c2=cells)
    assert found.values[:, 1].tolist() == [MARK["levels"].index(cell) for cell in cells]
    assert not found.findings


def test_a_column_whose_cells_name_another_feature_is_refused(tmp_path):
    study = study_of(age=AGE, sex=SEX)
    with pytest.raises(
        InputError, match=r"column .c1.: .* read from column 'c2': rename"
    ) as caught:
        coded(tmp_path, study, c1=["Sex: M", "Sex: F"], c2=["Age: 66", "Age: 67"])
    assert "66" not in str(caught.value)


def test_a_key_that_is_not_the_feature_s_name_is_noted_without_its_text(tmp_path, caplog):
    found = coded(tmp_path, study_of(age=AGE, sex=SEX), c1=["bmi: 24"], c2=["sex: M"])
    assert found.values.tolist() == [[24, 1]]
    assert "column 'c1': its cells begin with another name than the feature's" in caplog.text
    assert "bmi" not in caplog.text
    assert "c2" not in caplog.text


@pytest.mark.parametrize(
    ("feature", "column", "given"),
    [
        *(("age", "c1", name) for name in ("c1", "C1", "age", "AGE")),
        *(("stage", "STAGE", name) for name in ("STAGE", "stage", "Stage")),
        *(("CD8A", "ENSG00000153563", n) for n in ("CD8A", "ENSG00000153563.17", "cd8a")),
    ],
)
def test_a_table_and_a_request_take_a_feature_by_its_column_and_its_name(
    tmp_path, feature, column, given
):
    study = study_of(**{feature: {"kind": "number", "column": column}, "sex": SEX})
    found = coded(tmp_path, study, **{given: [7], "c2": ["M"]})
    reader = PatientReader(study)
    sent = {given: 7, "c2": "M"}
    asked = reader.read([renamed(sent, reader.renames(sent))])
    assert found.values.tolist() == asked.values.tolist() == [[7, 1]]


def test_a_column_wins_over_a_feature_s_name(tmp_path):
    found = coded(tmp_path, study_of(age=AGE, sex=SEX), age=[1], c1=[66], c2=["M"])
    assert found.values.tolist() == [[66, 1]]
