from __future__ import annotations

import gzip
import math

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.data.readers.columns import column
from accomplice.data.readers.footer import is_remark, is_summary
from accomplice.data.readers.tables import read_table

CANARY = "CANARY-7431"

# Words that no reader takes for a number, a date, a truth value or a missing cell.
WORDS = st.text("ghjkqwxzäßñ日 ,;'\"", min_size=1, max_size=8).map(lambda s: f"g{s.strip()}g")
NUMBERS = st.floats(-1e9, 1e9).map(lambda x: round(x, 6)) | st.none()
NAMES = st.lists(
    st.text("abcxyzÄé_ -()/%", min_size=1, max_size=10).map(lambda s: f"c{s.strip()}"),
    min_size=2,
    max_size=5,
    unique=True,
)


@st.composite
def tables(draw):
    names = draw(NAMES)
    n = draw(st.integers(2, 6))
    columns = {}
    for i, name in enumerate(names):
        # A first column without gaps: a row of nothing but gaps is a blank line in a text file.
        cells = WORDS if i == 0 else draw(st.sampled_from([NUMBERS, WORDS | st.none()]))
        columns[name] = draw(st.lists(cells, min_size=n, max_size=n))
    frame = pd.DataFrame(columns)
    # A row with one value, such as "n: 5", is refused as a remark; one that begins with "mean" too.
    rows = [["" if pd.isna(v) else str(v) for v in row] for row in frame.to_numpy(object)]
    assume(not any(is_remark(row) or is_summary(row) for row in rows))
    return frame


def same(a: object, b: object) -> bool:
    if pd.isna(a) or pd.isna(b):
        return bool(pd.isna(a) and pd.isna(b))
    if isinstance(a, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def assert_same(read: pd.DataFrame, written: pd.DataFrame) -> None:
    assert list(read.columns) == list(written.columns)
    assert len(read) == len(written)
    for name in written.columns:
        assert all(same(a, b) for a, b in zip(written[name], read[name], strict=True)), name


FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FEW
@given(tables(), st.sampled_from([(".csv", ","), (".tsv", "\t"), (".txt", "\t"), (".CSV", ",")]))
def test_text_round_trip(tmp_path, frame, form):
    ending, delimiter = form
    path = tmp_path / f"table{ending}"
    frame.to_csv(path, sep=delimiter, index=False)
    assert_same(read_table(path), frame)


@FEW
@given(tables())
def test_gzip_and_parquet_round_trip(tmp_path, frame):
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    assert_same(read_table(tmp_path / "t.csv.gz"), frame)
    shouted = (tmp_path / "t.csv.gz").rename(tmp_path / "T.CSV.GZ")
    assert_same(read_table(shouted), frame)
    frame.to_parquet(tmp_path / "t.parquet")
    assert_same(read_table(tmp_path / "t.parquet"), frame)


@settings(FEW, max_examples=10)
@given(tables())
def test_excel_round_trip(tmp_path, frame):
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    assert_same(read_table(tmp_path / "t.xlsx"), frame)


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    path = write(tmp_path, f"a{delimiter}b\n1{delimiter}x\n")
    assert read_table(path).to_dict("list") == {"a": [1], "b": ["x"]}


@pytest.mark.parametrize(
    "text",
    ["\ufeffa,b\n1,x\n", "a,b\r\n1,x\r\n", "a,b\r1,x\r", "\n\na,b\n1,x\n", " a , b \n1,x\n"],
    ids=["byte order mark", "windows", "old mac", "blank lines first", "spaces"],
)
def test_text_as_programs_write_it(tmp_path, text):
    assert read_table(write(tmp_path, text)).to_dict("list") == {"a": [1], "b": ["x"]}


def test_a_header_with_delimiters_and_line_breaks(tmp_path):
    path = write(tmp_path, '"a, x","b\ny"\n1,2\n')
    assert list(read_table(path).columns) == ["a, x", "b\ny"]


def test_ids_keep_their_zeros(tmp_path):
    path = write(tmp_path, "id,x\n007,1\n010,2\n")
    assert read_table(path, ("id",))["id"].tolist() == ["007", "010"]
    pd.DataFrame({"id": ["007"], "x": [1]}).to_excel(tmp_path / "t.xlsx", index=False)
    assert read_table(tmp_path / "t.xlsx", ("id",))["id"].tolist() == ["007"]


def test_a_parquet_index_with_a_name_is_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"x": [1, 2]}, index=pd.Index(["p", "q"], name="pid")).to_parquet(path)
    assert read_table(path)["pid"].tolist() == ["p", "q"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "fewer columns than 2"),
        ("only\n1\n", "fewer columns than 2"),
        ("a,b\n", "no rows"),
        ("a,b,a\n1,2,3\n", "column 'a' stands twice"),
        ("a,b,a \n1,2,3\n", "column 'a' stands twice"),
        (f'a,b\n"{CANARY},2\n', "not a readable table"),
        (f"a,b\n1,2\n1,2,{CANARY}\n", "not a readable table"),
        (f"a,b\n1,2,{CANARY}\n1,2,3\n", "not a readable table"),
        ("a,b\0\n1,2\n", "binary"),
    ],
)
def test_a_bad_text_table_is_refused(tmp_path, text, expected):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=expected) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert CANARY not in str(caught.value)


def test_other_encodings_are_refused_with_the_fix(tmp_path):
    with pytest.raises(InputError, match="save it as CSV UTF-8"):
        read_table(write(tmp_path, "a,b\nMünchen,1\n", encoding="latin-1"))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "no.csv")


@pytest.mark.parametrize("name", ["t.pdf", "t.parquet", "t.xlsx", "t.csv.gz", "t"])
def test_not_a_table(tmp_path, name):
    with pytest.raises(InputError, match=r"not a (readable )?table") as caught:
        read_table(write(tmp_path, CANARY, name))
    assert CANARY not in str(caught.value)


def test_columns_that_stand_twice_in_other_formats(tmp_path):
    pd.DataFrame({"a": [1], "a ": [2]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 'a' stands twice"):
        read_table(tmp_path / "t.parquet")
    pd.DataFrame([[1, 2]], columns=["a", "a"]).to_excel(tmp_path / "t.xlsx", index=False)
    with pytest.raises(InputError, match="column 'a' stands twice"):
        read_table(tmp_path / "t.xlsx")


def test_an_empty_workbook(tmp_path):
    pd.DataFrame().to_excel(tmp_path / "t.xlsx", index=False)
    with pytest.raises(InputError, match="no rows"):
        read_table(tmp_path / "t.xlsx")


def test_a_truncated_gzip(tmp_path):
    whole = gzip.compress(b"a,b\n1,2\n" * 100)
    (tmp_path / "t.csv.gz").write_bytes(whole[:20])
    with pytest.raises(InputError, match="not a readable table"):
        read_table(tmp_path / "t.csv.gz")


def test_column_names_the_nearest():
    with pytest.raises(InputError, match="id: no column 'patientid'; did you mean 'patient_id'"):
        column(pd.DataFrame({"patient_id": [1]}), "patientid", "id")


def test_lists_in_the_cells_of_a_column_are_refused():
    frame = pd.DataFrame({"e": [[1], None, "x"], "t": [(1, 2), None, {"a": 1}]})
    for name in frame:
        with pytest.raises(InputError, match=f"event: column '{name}' has lists in its cells"):
            column(frame, name, "event")
