"""What every reader of the table must do, and that one more is one more line of the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from accomplice.data.coding import code
from accomplice.data.drafting.draft import draft_study
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort, read_patients, stream_patients
from accomplice.data.readers.reader import Selection
from accomplice.data.readers.registry import READERS, recognise
from accomplice.data.rows.identifiers import patient_ids
from accomplice.data.study import parse_study
from examples import json_lines_reader
from examples.json_lines_reader import JsonLinesReader

CANARY = "CANARY-7431"
#: The same three patients in every form; None is a missing cell.
PEOPLE: dict[str, list[object]] = {
    "PATIENT_ID": ["007", "010", "p3"],
    "OS_MONTHS": [12.5, 40, 33],
    "OS_STATUS": ["1:DECEASED", "0:LIVING", "0:LIVING"],
    "AGE": [61, None, 70.5],
    "STAGE": ["I", "II", None],
    "GRADE": [1, 2, None],
    "IL1R1": [1.5, None, -0.25],
}
VALUES = np.array([[61, 0, 0, 1.5], [np.nan, 1, 1, np.nan], [70.5, np.nan, np.nan, -0.25]])
STUDY = {
    "name": "three",
    "source": {"files": ["x"]},
    "id": "PATIENT_ID",
    "endpoints": {"survival": {"os": {"time": "OS_MONTHS", "event": "OS_STATUS"}}},
    "modalities": {
        "clinical": {
            "AGE": {"kind": "number"},
            "STAGE": {"kind": "ordinal", "levels": ["I", "II"]},
            "GRADE": {"kind": "ordinal", "levels": ["1", "2"]},
        },
        "expression": {"IL1R1": {"kind": "expression"}},
    },
}

Form = Callable[[Path, dict[str, list[object]]], Path]


def _text(name: str, separator: str) -> Form:
    def write(folder: Path, people: dict[str, list[object]]) -> Path:
        pd.DataFrame(people).to_csv(folder / name, sep=separator, index=False)
        return folder / name

    return write


def _parquet(folder: Path, people: dict[str, list[object]]) -> Path:
    pd.DataFrame(people).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def _excel(folder: Path, people: dict[str, list[object]]) -> Path:
    pytest.importorskip("openpyxl")
    pd.DataFrame(people).to_excel(folder / "t.xlsx", index=False)
    return folder / "t.xlsx"


def _folder(folder: Path, people: dict[str, list[object]]) -> Path:
    made = folder / "study"
    made.mkdir()
    frame = pd.DataFrame(people)
    clinical = frame.drop(columns="IL1R1")
    clinical.to_csv(made / "data_clinical_patient.txt", sep="\t", index=False, na_rep="NA")
    genes = pd.DataFrame([["IL1R1", *frame["IL1R1"]]], columns=["Hugo_Symbol", *frame.PATIENT_ID])
    genes.to_csv(made / "data_mrna.txt", sep="\t", index=False, na_rep="NA")
    meta = "genetic_alteration_type: MRNA_EXPRESSION\ndatatype: Z-SCORE\n"
    (made / "meta_mrna.txt").write_text(meta + "data_filename: data_mrna.txt\n")
    return made


def _json_lines(folder: Path, people: dict[str, list[object]]) -> Path:
    lines = []
    for row in zip(*people.values(), strict=True):
        known = {key: cell for key, cell in zip(people, row, strict=True) if cell is not None}
        lines.append(json.dumps(known))
    (folder / "t.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "t.jsonl"


#: (reader, how its files are written), for each form that a reader takes.
FORMS = [
    pytest.param("table", _text("t.csv", ","), id="csv"),
    pytest.param("table", _text("t.tsv.gz", "\t"), id="tsv"),
    pytest.param("table", _parquet, id="parquet"),
    pytest.param("table", _excel, id="excel"),
    pytest.param("cbioportal", _folder, id="cbioportal"),
    pytest.param("json_lines", _json_lines, id="json lines"),
]
every_form = pytest.mark.parametrize(("reader", "write"), FORMS)


@pytest.fixture(autouse=True)
def one_more(monkeypatch):
    monkeypatch.setitem(READERS, "json_lines", JsonLinesReader())


def _study(reader: str, path: Path) -> dict[str, object]:
    return STUDY | {"source": {"reader": reader, "files": [path.name]}}


def test_every_reader_is_tested():
    assert {str(form.values[0]) for form in FORMS} == set(READERS)


@every_form
def test_recognises_its_own_files_and_no_others(tmp_path, reader, write):
    path = write(tmp_path, PEOPLE)
    assert [name for name, each in READERS.items() if each.recognises(path)] == [reader]
    assert recognise(path) == reader
    assert recognise(path, first="a reader that is not here") == reader


@every_form
def test_reads_ids_columns_and_missing_cells_alike(tmp_path, reader, write):
    path = write(tmp_path, PEOPLE)
    study = parse_study(_study(reader, path), "x")
    selection = Selection("PATIENT_ID", frozenset(study.columns()))
    streamed = list(stream_patients(path, study).parts(2))
    assert [len(part) for part in streamed] == [2, 1]
    for frame in (
        READERS[reader].read(path, selection),
        read_patients(path, study),
        pd.concat(streamed),
    ):
        assert set(PEOPLE) <= set(frame.columns)
        assert patient_ids(study, frame).tolist() == PEOPLE["PATIENT_ID"]
        coded = code(study, frame)
        np.testing.assert_array_equal(coded.values, VALUES)
        assert not coded.findings


@every_form
def test_a_cohort_is_loaded_by_name(tmp_path, reader, write):
    path = write(tmp_path, PEOPLE)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(_study(reader, path)))
    cohort = load_cohort(tmp_path / "study.yaml")
    np.testing.assert_array_equal(cohort.values, VALUES)
    assert cohort.ids.tolist() == PEOPLE["PATIENT_ID"]
    assert cohort.time.tolist() == [12.5, 40, 33]
    assert cohort.event.tolist() == [True, False, False]


@every_form
def test_a_study_is_drafted(tmp_path, reader, write):
    n = 40
    people: dict[str, list[object]] = {
        "PATIENT_ID": [f"P{i:02d}" for i in range(n)],
        "OS_MONTHS": [float(1 + i * 7 % n) for i in range(n)],
        "OS_STATUS": ["1:DECEASED" if i % 3 else "0:LIVING" for i in range(n)],
        "AGE": [40 + i * 11 % 37 for i in range(n)],
        "IL1R1": [i * 13 % 17 / 4 for i in range(n)],
    }
    path = write(tmp_path, people)
    draft = draft_study(path, time="OS_MONTHS", event="OS_STATUS", out=tmp_path / "study.yaml")
    assert draft.study["source"]["reader"] == reader
    assert draft.study["source"]["files"] == [path.name]
    assert draft.study["id"] == "PATIENT_ID"
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(draft.study))
    cohort = load_cohort(tmp_path / "study.yaml")
    assert {"AGE", "IL1R1"} <= set(cohort.study.features)
    assert cohort.ids.tolist() == people["PATIENT_ID"]


@every_form
def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path, reader, write):
    study = parse_study(_study(reader, Path("x")), "x")
    path = write(tmp_path, PEOPLE)
    broken = path / "data_clinical_patient.txt" if path.is_dir() else path
    gone = path.with_name(f"gone{''.join(path.suffixes)}")
    broken.write_bytes(f'a,b\n"{CANARY}'.encode() + b"\xff\0")
    for place, asked in ((broken, path), (gone, gone)):
        for read in (
            lambda path: READERS[reader].read(path, Selection("PATIENT_ID")),
            lambda path: READERS[reader].stream(path, Selection("PATIENT_ID")),
            lambda path: READERS[reader].draft(path, None, ()),
            lambda path: read_patients(path, study),
        ):
            with pytest.raises(InputError) as caught:
                read(asked)
            said = str(caught.value)
            assert said.startswith(str(place))
            assert "\n" not in said
            assert CANARY not in said


def test_an_unknown_reader_is_an_error_that_names_the_nearest(tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(_study("json_line", Path("x"))))
    with pytest.raises(InputError, match=r"'json_line'; did you mean 'json_lines'\?"):
        load_cohort(tmp_path / "study.yaml")


def test_a_study_of_a_reader_that_is_not_here_predicts_for_what_is(tmp_path):
    study = parse_study(_study("elsewhere", Path("x")), "x")
    frame = read_patients(_text("t.csv", ",")(tmp_path, PEOPLE), study)
    np.testing.assert_array_equal(code(study, frame).values, VALUES)


def test_the_documentation_shows_the_example_whole():
    source = Path(json_lines_reader.__file__)
    shown = (source.parents[1] / "docs/extending.md").read_text(encoding="utf-8")
    assert f"```python\n{source.read_text(encoding='utf-8')}```\n" in shown


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_keys_in_cells_are_those_of_the_whole_table(tmp_path, rows):
    path = _text("t.csv", ",")(
        tmp_path, PEOPLE | {"AGE": [None, "age: 55", "Age: 61"], "IL1R1": [1, 2, 3]}
    )
    study = parse_study(_study("table", path), "x")
    whole = code(study, read_patients(path, study)).values
    parts = [code(study, part).values for part in stream_patients(path, study).parts(rows)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole[:, 0].tolist()[1:] == [55, 61]
