"""A table in parts is the table read whole, whatever the parts."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.data.readers import table_reader
from accomplice.data.readers.reader import of_frame
from accomplice.data.readers.table_reader import open_stream
from accomplice.data.readers.tables import read_table

FEW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
#: Cells that are each another thing to whoever guesses what a column is.
CELLS = ("", "1", "1.0", "1.50", "007", "-3", "1e3", "True", "FALSE", "NA", "x", " y", "inf", "?")
HUGE = ("123456789012345678", "9223372036854775808", "123456789012345678901")


def assert_same(path: Path, rows: int, text: tuple[str, ...] = ()) -> None:
    whole = read_table(path, text)
    stream = open_stream(path, text)
    assert (stream.rows, stream.columns) == (len(whole), tuple(whole.columns))
    parts = list(stream.parts(rows))
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    start = 0
    for part in parts:
        same = whole.iloc[start : start + len(part)].reset_index(drop=True)
        pd.testing.assert_frame_equal(part.reset_index(drop=True), same, check_exact=True)
        start += len(part)
    assert start == len(whole)


@st.composite
def columns_of_text(draw):
    n = draw(st.integers(1, 12))
    # Each column has few kinds of cells, so that columns of one kind are seen too.
    kinds = [draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=3)) for _ in range(3)]
    return [draw(st.lists(st.sampled_from(k), min_size=n, max_size=n)) for k in kinds]


@FEW
@given(columns_of_text(), st.integers(1, 13), st.integers(1, 13), st.booleans())
@example([["1.50"] * 3 + ["x"], ["True", "", "1", "1"], ["007", "8", "", "2"]], 2, 1, False)
@example([["True", "False", ""], ["", "", "True"], ["", "", ""]], 1, 1, False)
@example([["1", "1"], ["2", "True"], ["3", ""]], 1, 2, True)
def test_text_in_parts_is_typed_as_a_whole(tmp_path, columns, rows, surveyed, packed):
    lines = [",".join((f"p{i}", *cells)) for i, cells in enumerate(zip(*columns, strict=True))]
    raw = "\n".join(["id,a,b,c ", *lines]).encode() + b"\n"
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_reader, "SURVEYED", surveyed)
        assert_same(path, rows)
        assert_same(path, rows, ("id", "a", "c"))


@pytest.mark.parametrize("surveyed", [1, 1 << 22])
def test_a_minus_is_a_level_in_all_parts_of_a_column_with_a_plus(tmp_path, monkeypatch, surveyed):
    monkeypatch.setattr(table_reader, "SURVEYED", surveyed)
    path = tmp_path / "t.csv"
    path.write_text("id,her2,age\np1,-,60\np2,-,-\np3,+,61\np4,NA,62\np5,-,63\n")
    assert_same(path, 2)
    parts = open_stream(path).parts(2)
    assert [cell for part in parts for cell in part["her2"].dropna()] == ["-", "-", "+", "-"]


@pytest.mark.parametrize("huge", HUGE)
def test_whole_numbers_beyond_what_fits_keep_their_spelling(tmp_path, huge):
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,1\n{huge},2\n3,3\n")
    cells = [cell for part in open_stream(path).parts(1) for cell in part["a"]]
    assert [str(cell) for cell in cells] == ["1", huge, "3"]


@st.composite
def frames(draw):
    n = draw(st.integers(1, 12))

    def column(cells: st.SearchStrategy, dtype: object) -> pd.Series:
        listed = draw(st.lists(cells, min_size=n, max_size=n))
        return pd.Series(listed, dtype=dtype)

    gap, words = st.none(), st.sampled_from(["a", "b", "007"])
    many = st.integers(0, 2**62)
    frame = pd.DataFrame(
        {
            "whole": column(st.integers(0, 9), "int64"),
            "gaps ": column(many | gap, "Int64"),
            "of\u00a0name": column(many | gap, "Int64"),
            "small": column(st.integers(0, 9) | gap, "UInt8"),
            "truth": column(st.booleans() | gap, object),
            "sure": column(st.booleans(), bool),
            "words": column(words | gap, "str"),
            "levels": column(words | gap, "category"),
            "bytes": column(words.map(str.encode) | gap, object),
            "single": column(st.floats(0, 1, width=32) | gap, "float32"),
            "nothing": column(gap, object),
            "day": pd.Series(pd.Timestamp(2020, 1, 1), index=range(n)),
        }
    )
    made = draw(st.sampled_from(["plain", "nullable", "named", "range", "two"]))
    if made == "named":
        frame.index = pd.Index([f"p{i}" for i in range(n)], name="pid")
    if made == "range":
        frame.index = pd.RangeIndex(5, 5 + 2 * n, 2, name="pid")
    if made == "two":
        frame = frame.set_index(["small", "sure"])
    return frame, made != "plain"


@FEW
@given(frames(), st.integers(1, 13), st.integers(1, 13))
def test_parquet_in_parts_is_typed_as_a_whole(tmp_path, made, rows, group):
    frame, by_pandas = made
    path = tmp_path / "t.parquet"
    table = pa.Table.from_pandas(frame)
    # Other writers do not say what pandas made of the columns.
    table = table if by_pandas else table.replace_schema_metadata(None)
    pq.write_table(table, path, row_group_size=group)
    assert_same(path, rows)
    whole = read_table(path)
    assert {"small", "sure", "of name"} <= set(whole.columns)
    assert set(whole["bytes"].dropna()) <= {"a", "b", "007"}


def test_a_workbook_and_a_frame_come_in_parts_too(tmp_path):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame({"a": range(5), "b": list("vwxyz")})
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    assert_same(tmp_path / "t.xlsx", 2)
    assert [len(part) for part in of_frame(frame).parts(3)] == [3, 2]


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a,a \n1,2\n", "stands twice"),
        ("t.csv", b"a\n1\n", "fewer columns"),
        ("t.csv", b"a,b\n1,\0\n", "binary"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 20 + b"CANARY,2,3\n", "line 22 has 3 of 2 cells"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 20 + b"CANARY\xff,2\n", "UTF-8"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-9], "EOFError"),
        ("t.parquet", b"PAR1CANARY", "ArrowInvalid"),
        ("t.json", b"{}", "not a table that can be read"),
    ],
)
def test_what_cannot_be_read_is_said_before_any_part(tmp_path, monkeypatch, name, raw, said):
    monkeypatch.setattr(table_reader, "SURVEYED", 2)
    path = tmp_path / name
    path.write_bytes(raw)
    for read in (open_stream, read_table):
        with pytest.raises(InputError, match=said) as caught:
            read(path)
        assert "CANARY" not in str(caught.value)


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    pd.DataFrame({"a": [], "b": []}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="no rows"):
        open_stream(tmp_path / "t.parquet")


def test_what_breaks_between_the_passes_is_one_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    stream = open_stream(path)
    path.write_text("a,b\n1,2\nCANARY,4\n")
    with pytest.raises(InputError, match="not a readable table") as caught:
        list(stream.parts(1))
    assert "CANARY" not in str(caught.value)


def test_what_is_held_does_not_grow_with_the_file(tmp_path):
    """By Arrow's own count, for files of a single row group."""
    most = []
    for n in (200_000, 800_000):
        path = tmp_path / f"{n}.parquet"
        values = np.random.default_rng(n).normal(size=(n, 3))
        pd.DataFrame(values, columns=list("abc")).to_parquet(path, row_group_size=n)
        del values
        before, held = pa.total_allocated_bytes(), []
        for _ in open_stream(path).parts(1024):
            held.append(pa.total_allocated_bytes() - before)
        most.append(max(held))
    assert 0 < most[1] < 1.5 * most[0]
