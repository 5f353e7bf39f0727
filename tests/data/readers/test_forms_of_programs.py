"""What programs write beside plain tables: merged cells, further headers, files of their own."""

from __future__ import annotations

import gzip
import logging

import numpy as np
import pandas as pd
import pytest

from accomplice.data.errors import InputError
from accomplice.data.readers.tables import read_table
from tests.data.drafting.test_asked import N, base, drafted


def test_a_merged_cell_is_of_all_its_rows(tmp_path, caplog):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "t.xlsx"
    frame = pd.DataFrame({"id": range(6), "ward": ["a", None, None, "b", None, "c"], "x": 1.5})
    frame.to_excel(path, index=False)
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("B2:B4")
    book.active.merge_cells("B5:B6")
    book.save(path)
    with caplog.at_level(logging.WARNING):
        assert read_table(path)["ward"].tolist() == [*"aaabbc"]
    assert "2 cells are merged over several rows: each row has the value" in caplog.text


def test_patients_without_a_centre_are_counted(tmp_path):
    frame = base().assign(ward=["a", "b"] + [None] * (N - 2))
    made = drafted(tmp_path, frame, centre="ward")
    assert "centre: 58 of 60 patients have none in 'ward'" in made.notes


def test_further_headers_are_refused(tmp_path):
    path = tmp_path / "t.txt"
    names = ["id", "age", "IL1R1", "os"]
    rows = [[f"p{i}", str(60 + i), f"7.{i}", f"{i}.5"] for i in range(9)]
    lines = [names, [f"alt_{n}" for n in names], [f"CDE_ID:{300 + i}" for i in range(4)], *rows]
    path.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    with pytest.raises(InputError, match="lines 2 and 3 have words where the rows below have num"):
        read_table(path)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (bytes(12) + b"\xc2\xea\x81\x60\xb3\x14", "a SAS file"),
        (gzip.compress(b"X\n\0\0\0\3", mtime=0), "packed by gzip"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"$FL3@(#) SPSS", "an SPSS file"),
    ],
)
def test_files_of_other_programs_are_named(tmp_path, start, kind):
    (tmp_path / "t.csv").write_bytes(start + bytes(200))
    with pytest.raises(InputError, match=f"it is {kind}"):
        read_table(tmp_path / "t.csv")


def test_a_packed_file_that_is_cut_short_is_named(tmp_path):
    packed = gzip.compress(pd.DataFrame(np.random.default_rng(0).random((99, 3))).to_csv().encode())
    (tmp_path / "t.csv.gz").write_bytes(packed[:-99])
    with pytest.raises(InputError, match="it is cut short"):
        read_table(tmp_path / "t.csv.gz")


def test_plain_text_named_gz_is_named(tmp_path):
    (tmp_path / "t.csv.gz").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="it is not packed by gzip"):
        read_table(tmp_path / "t.csv.gz")


def test_patients_in_columns_are_named(tmp_path):
    frame = base().set_index("pid").T.reset_index()
    with pytest.raises(
        InputError, match="no column 'os_months', but it stands in the first column"
    ):
        drafted(tmp_path, frame)
