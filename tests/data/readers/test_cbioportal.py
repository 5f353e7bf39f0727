from __future__ import annotations

import pytest

from accomplice.data.errors import InputError
from accomplice.data.loading import read_patients
from accomplice.data.readers.cbioportal import (
    choose_expression,
    open_folder,
    read_clinical,
    read_folder,
)
from accomplice.data.readers.reader import Reading
from accomplice.data.study import parse_study

PATIENTS = """#Patient\tAge\tStatus\tMonths
#STRING\tNUMBER\tSTRING\tNUMBER
PATIENT_ID\tAGE\tOS_STATUS\tOS_MONTHS
P-01\t61\t1:DECEASED\t12.5
P-02\t55\t0:LIVING\t40
P-03\tNA\t0:LIVING\t33
"""
SAMPLES = """#Patient\tSample\tType\tTmb
PATIENT_ID\tSAMPLE_ID\tSAMPLE_TYPE\tTMB
P-01\tP-01-06\tMetastasis\t9
P-01\tP-01-01\tPrimary\t3
P-02\tP-02-01\tPrimary\t4
"""
GENES = """Hugo_Symbol\tEntrez_Gene_Id\tP-01-01\tP-01-06\tP-02-01
IL1R1\t3554\t1.5\t-9\tNA
CD68\t968\t0.1\t-9\t0.2
CD68\t968\t7\t7\t7
\t1\t5\t5\t5
TMB\t0\t8\t8\t8
"""


def meta(**keys: str) -> str:
    return "".join(f"{key}: {value}\n" for key, value in keys.items())


@pytest.fixture
def folder(tmp_path):
    files = {
        "data_clinical_patient.txt": PATIENTS,
        "data_clinical_sample.txt": SAMPLES,
        "data_mrna.txt": GENES,
        "meta_study.txt": meta(name="A study: with a colon"),
        "meta_clinical_patient.txt": meta(
            genetic_alteration_type="CLINICAL",
            datatype="PATIENT_ATTRIBUTES",
            data_filename="data_clinical_patient.txt",
        ),
        "meta_clinical_sample.txt": meta(
            genetic_alteration_type="CLINICAL",
            datatype="SAMPLE_ATTRIBUTES",
            data_filename="data_clinical_sample.txt",
        ),
        "meta_mrna.txt": meta(
            genetic_alteration_type="MRNA_EXPRESSION",
            datatype="Z-SCORE",
            data_filename="data_mrna.txt",
        ),
        # Its data file is not there: it must not be missed.
        "meta_cna.txt": meta(genetic_alteration_type="MRNA_EXPRESSION", data_filename="gone.txt"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_finds_the_files_by_their_metas(folder):
    found = open_folder(folder)
    assert (found.patient, found.sample) == (
        "data_clinical_patient.txt",
        "data_clinical_sample.txt",
    )
    assert found.expression == ("data_mrna.txt",)
    assert found.expression_type == {"data_mrna.txt": "Z-SCORE"}


def test_one_row_a_patient_from_the_primary_tumour(folder):
    frame = read_folder(folder).set_index("PATIENT_ID")
    assert list(frame.index) == ["P-01", "P-02", "P-03"]
    assert frame.loc["P-01", "SAMPLE_ID"] == "P-01-01"
    assert frame.loc["P-01", "IL1R1"] == 1.5
    assert frame["IL1R1"].isna().tolist() == [False, True, True]
    # The first row of a symbol counts, and a clinical column wins over a gene of its name.
    assert frame.loc["P-01", "CD68"] == 0.1
    assert frame.loc["P-01", "TMB"] == 3


def test_clinical_alone(folder):
    names = list(read_clinical(open_folder(folder)).columns)
    assert names == [
        "PATIENT_ID",
        "AGE",
        "OS_STATUS",
        "OS_MONTHS",
        "SAMPLE_ID",
        "SAMPLE_TYPE",
        "TMB",
    ]
    assert list(read_folder(folder).columns) == [*names, "IL1R1", "CD68"]


def test_a_folder_without_metas_samples_or_genes(tmp_path):
    (tmp_path / "data_clinical_patient.txt").write_text(PATIENTS)
    assert list(read_folder(tmp_path).columns) == ["PATIENT_ID", "AGE", "OS_STATUS", "OS_MONTHS"]


def test_genes_by_patient_where_there_are_no_samples(folder):
    (folder / "data_clinical_sample.txt").unlink()
    (folder / "data_mrna.txt").write_text("Hugo_Symbol\tP-02\nIL1R1\t2.5\n")
    frame = read_folder(folder)
    assert frame["IL1R1"].fillna(-1).tolist() == [-1, 2.5, -1]


def test_several_expression_files_need_a_name(folder):
    (folder / "data_raw.txt").write_text(GENES)
    raw = meta(genetic_alteration_type="MRNA_EXPRESSION", data_filename="data_raw.txt")
    (folder / "meta_raw.txt").write_text(raw)
    with pytest.raises(InputError, match="2 expression files: name one"):
        read_folder(folder)
    assert read_folder(folder, "data_raw.txt")["IL1R1"].iloc[0] == 1.5
    with pytest.raises(InputError, match=r"no file 'data_rw.txt'; did you mean 'data_raw.txt'"):
        choose_expression(open_folder(folder), "data_rw.txt")


@pytest.mark.parametrize(
    ("cells", "others", "count"),
    [
        ("1,5\t-9\tNA", "7\t7\t7", 1),
        ("1.5\t-9\t#DIV/0!", "7\t7\t7", 1),
        # Of no column it is known whether it is a sample.
        ("0,5\t1,5\t2,5", "0,5\t1,5\t2,5", 8),
    ],
)
def test_cells_of_expression_that_are_no_numbers_are_refused(folder, cells, others, count):
    (folder / "data_mrna.txt").write_text(
        f"Hugo_Symbol\tKind\tP-01-01\tP-01-06\tP-02-01\nIL1R1\tcoding\t{cells}\n"
        f"CD68\tcoding\t{others}\n"
    )
    with pytest.raises(InputError, match=rf"data_mrna.txt: {count} cells are not numbers"):
        read_folder(folder)


def test_a_column_of_words_beside_expression_is_no_sample(folder):
    (folder / "data_mrna.txt").write_text(
        "Hugo_Symbol\tKind\tP-01-01\nIL1R1\tcoding\t1.5\nCD68\tcoding\tNA\n"
    )
    assert read_folder(folder)["IL1R1"].tolist()[0] == 1.5


def test_other_encodings(folder):
    for name in ("data_clinical_patient.txt", "data_mrna.txt"):
        text = (
            (folder / name).read_text().replace("1:DECEASED", "T\u00f6d").replace("CD68", "K\u00e4")
        )
        (folder / name).write_text(text, encoding="cp1252")
    with pytest.raises(InputError, match="--encoding cp1252"):
        read_folder(folder)
    frame = read_folder(folder, reading=Reading(encoding="cp1252"))
    assert frame["OS_STATUS"][0] == "T\u00f6d"
    assert frame["K\u00e4"][0] == 0.1


def test_patients_to_predict_for_may_come_without_genes(folder, caplog):
    raw = {
        "name": "s",
        "source": {"reader": "cbioportal", "files": ["x"], "expression": "data_mrna.txt"},
        "endpoints": {"survival": {"os": {"time": "OS_MONTHS", "event": "OS_STATUS"}}},
        "modalities": {
            "clinical": {"AGE": {"kind": "number"}},
            "il1r1": {"IL1R1": {"kind": "expression"}},
        },
    }
    study = parse_study(raw, "x")
    assert "IL1R1" in read_patients(folder, study).columns
    assert "CD68" not in read_patients(folder, study).columns  # a gene the study does not name
    assert "no expression file" not in caplog.text
    other = (folder / "data_mrna.txt").rename(folder / "data_expression_other.txt")
    (folder / "meta_mrna.txt").unlink()
    assert "IL1R1" in read_patients(folder, study).columns
    assert "no expression file 'data_mrna.txt': 'data_expression_other.txt' is read" in caplog.text
    other.unlink()
    assert "IL1R1" not in read_patients(folder, study).columns
    assert "no expression file 'data_mrna.txt': the genes are missing" in caplog.text


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("data_clinical_patient.txt", "PATIENT\tAGE\nP\t1\n", "no column 'PATIENT_ID'"),
        ("data_clinical_sample.txt", "PATIENT_ID\tTMB\nP\t1\n", "'SAMPLE_ID'"),
        ("data_mrna.txt", "Gene\tP-01-01\nIL1R1\t1\n", "no column 'Hugo_Symbol'"),
        ("data_clinical_patient.txt", "", "not a readable table"),
        ("data_mrna.txt", "", "not a readable table"),
    ],
)
def test_a_bad_file_is_named(folder, file, text, expected):
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        read_folder(folder)
    assert str(folder / file) in str(caught.value)


def test_not_a_folder(tmp_path):
    with pytest.raises(InputError, match="no such study folder"):
        open_folder(tmp_path / "no")
    with pytest.raises(InputError, match="not a study folder"):
        open_folder(tmp_path)


def test_samples_spelt_otherwise_are_met(folder, caplog):
    text = GENES.replace("P-01-01", "p.01.01").replace("P-01-06", "p.01.06")
    (folder / "data_mrna.txt").write_text(text.replace("P-02-01", "p.02.01"))
    assert read_folder(folder)["IL1R1"].iloc[0] == 1.5
    assert "samples are read with . and _ as -" in caplog.text


def test_no_sample_met_is_an_error(folder):
    (folder / "data_mrna.txt").write_text(GENES.replace("P-0", "Q-9"))
    with pytest.raises(
        InputError, match="none of its 3 samples is in column 'SAMPLE_ID' of data_cl"
    ):
        read_folder(folder)


def test_an_expression_file_that_is_gone_is_said(folder):
    assert open_folder(folder).notes == ()
    (folder / "data_mrna.txt").unlink()
    assert open_folder(folder).notes == (
        "no expression is read: 'gone.txt' of meta_cna.txt, 'data_mrna.txt' of meta_mrna.txt is "
        "not there",
    )


def test_several_samples_are_counted(folder, caplog):
    read_folder(folder)
    assert "1 patients have several samples: one each" in caplog.text


def test_genes_by_entrez_ids_alone_and_packed_files_are_refused(folder):
    (folder / "data_mrna.txt").write_text("Entrez_Gene_Id\tP-02-01\n3554\t2.5\n")
    with pytest.raises(
        InputError, match="add the genes' symbols, as Entrez ids alone are not read"
    ):
        read_folder(folder)
    (folder / "data_clinical_patient.txt").rename(folder / "data_clinical_patient.txt.gz")
    with pytest.raises(InputError, match=r"unpack its \.gz files"):
        read_folder(folder)
