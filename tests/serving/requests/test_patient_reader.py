"""The reading of JSON patients must say what the reading of a table says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.coding import code
from accomplice.data.study import Study
from accomplice.serving.requests.patient_reader import LONGEST_NAME, PatientReader, renamed
from accomplice.training.bundle import OK, Bundle

FEATURES = ("act", "age_years", "stage", "sex", "IL1R1", "CD163", "CD8")
numbers = st.integers(-200, 200) | st.floats(-1e6, 1e6) | st.sampled_from([10**25, -(10**400)])
levels = st.sampled_from(["yes", "no", "male", "female", "I", "II", "II ", "2", "2.0", "unstaged"])
numerals = st.sampled_from(["7.5", " 61 ", "1e3", "1e999", "inf", "1_000", "12,5", "0x1F", "٣"])
words = levels | numerals | st.sampled_from(["", " ", "NA", "Unknown", "abc"])
cells = st.none() | numbers | words | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@pytest.fixture(scope="module")
def reader(study: Study) -> PatientReader:
    return PatientReader(study)


def table_of(patient: dict[str, Any]) -> pd.DataFrame:
    """Make a table of one row; pandas 2 fails to find the type of a number beyond any float."""
    huge = {n for n, cell in patient.items() if isinstance(cell, int) and abs(cell) > 10**308}
    columns = patient.items()
    return pd.DataFrame(
        {n: pd.Series([v], dtype=object if n in huge else None) for n, v in columns}
    )


@given(
    patient=st.dictionaries(
        st.sampled_from([*FEATURES, "hospital", "months", "agee", "foo", "note"]), cells
    )
)
def test_reads_as_a_table_is_read(
    bundle: Bundle, reader: PatientReader, patient: dict[str, Any]
) -> None:
    patient = {**patient, "IL1R1": patient.get("IL1R1", 7.0)}
    read = reader.read([patient])
    frame = table_of(patient)
    np.testing.assert_array_equal(read.values, code(bundle.study, frame).values)
    bundle.training_range.flag(read.flags, read.values, read.centre)
    said = bundle.predict(frame)["flags"][0]
    expected = [f for f in said.split("; ") if f != OK]
    assert [flag.split("; did you")[0] for flag in read.flags[0]] == expected


people = st.dictionaries(
    st.sampled_from([*FEATURES, "age", "patient", "hospital", "foo"]), cells | st.booleans()
)


@given(patients=st.lists(people, min_size=1, max_size=6))
def test_reads_many_as_each_alone(reader: PatientReader, patients: list[dict[str, Any]]) -> None:
    for patient in patients:
        if "age" in patient:
            patient.pop("age_years", None)
    read = reader.read(patients)
    each = [reader.read([patient]) for patient in patients]
    np.testing.assert_array_equal(read.values, np.concatenate([one.values for one in each]))
    assert read.flags == [one.flags[0] for one in each]
    assert read.ids == [one.ids[0] for one in each]
    alone = ["" if one.centre is None else str(one.centre[0]) for one in each]
    assert [""] * len(each) == alone if read.centre is None else read.centre.tolist() == alone


def test_a_feature_goes_by_its_column_and_by_its_name(reader: PatientReader) -> None:
    by_column = reader.read([{"age_years": 61}])
    by_name = reader.read([{"age": 61}])
    np.testing.assert_array_equal(by_column.values, by_name.values)
    assert by_column.flags == by_name.flags
    assert reader.repeated_keys({"age_years": 61, "age": 62}) == ["age"]


def test_a_column_wins_over_another_features_name(study: Study) -> None:
    raw = study.model_dump()
    raw["modalities"]["clinical"]["age"]["column"] = "size"
    raw["modalities"]["clinical"]["size"] = {"kind": "number", "column": "tumour"}
    crossed = Study.model_validate(raw)
    place = PatientReader(crossed).positions
    names = list(crossed.features)
    assert names[place["size"]] == "age"
    assert names[place["tumour"]] == "size"


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_not_numbers(reader: PatientReader, value: bool) -> None:
    read = reader.read([{"age": value, "sex": value}])
    assert np.isnan(read.values).all()
    assert {"not_a_number:age", "unknown_level:sex"} <= set(read.flags[0])


def test_each_patient_has_flags_of_its_own(reader: PatientReader) -> None:
    read = reader.read([{"age": 61, "agee": 3}, {"age": 200}])
    assert [f for f in read.flags[0] if "agee" in f] == ["unknown_column:agee; did you mean 'age'?"]
    assert "out_of_range:age" in read.flags[1]
    assert not [f for f in read.flags[1] if "unknown" in f]


def test_unknown_names_are_cut_and_counted(reader: PatientReader) -> None:
    names = {f"{'x' * 500}{i}": 1 for i in range(9)}
    flags = [f for f in reader.read([{"age": 61, **names}]).flags[0] if "unknown" in f]
    assert flags[-1] == "unknown_columns:4 more"
    assert len(flags) == 6
    assert all(len(f) < LONGEST_NAME + 40 for f in flags)


def test_what_is_remembered_of_patterns_is_small(reader: PatientReader) -> None:
    (one,) = reader.read([{"age": 61, "sex": None}]).flags
    assert {"missing:stage", "missing:sex", "missing_modality:density"} <= {*one}
    (again,) = reader.read([{"age": 62}]).flags
    # The same texts, in a list of its own.
    assert all(a is b for a, b in zip(one, again, strict=True))
    assert one is not again


def test_ids_and_centres(reader: PatientReader) -> None:
    read = reader.read([{"age": 1, "patient": 7.0}, {"age": 1, "hospital": "north"}])
    assert read.ids == ["7", None]
    assert read.centre is not None
    assert read.centre.tolist() == ["", "north"]
    assert reader.read([{"age": 1}]).centre is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("il1r1", "IL1R1"),
        ("ENSG00000115594.12", "IL1R1"),
        ("Age Years", "age_years"),
        ("AGE", "age"),
        ("Hospital", "hospital"),
        ("foo", "foo"),
    ],
)
def test_other_ways_to_write_a_name(reader: PatientReader, key: str, name: str) -> None:
    patient = {"stage": "I", key: 7}
    assert renamed(patient, reader.renames(patient)) == {"stage": "I", name: 7}
    as_it_is = {name: 1, key: 7}
    assert renamed(as_it_is, reader.renames(as_it_is)) == as_it_is


def test_a_name_that_two_keys_mean_is_not_taken(reader: PatientReader) -> None:
    patient = {"il1r1": 1, "Il1r1": 2, "CD163": 3}
    assert renamed(patient, reader.renames(patient)) == patient
    known = reader.read([patient])
    assert "unknown_column:il1r1; did you mean 'IL1R1'?" in known.flags[0]
