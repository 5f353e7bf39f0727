"""Tables that appear whole or not at all."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from accomplice.data import files as writing
from accomplice.data.errors import InputError
from accomplice.data.files import csv_parts, written_in_parts

TABLE = pd.DataFrame(
    {"id": [f"{i:03d}" for i in range(7)], "risk": np.linspace(0, 1, 7) / 3, "none": np.nan}
)


def parts(rows: int) -> list[pd.DataFrame]:
    return [TABLE.iloc[start : start + rows] for start in range(0, len(TABLE), rows)]


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_parts_make_the_file_that_the_whole_would(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(writing, "ROW_GROUP", 3)
    for name in ("t.csv", "t.parquet"):
        with written_in_parts(tmp_path / name) as write:
            for part in parts(rows):
                write(part)
    TABLE.to_csv(tmp_path / "whole.csv", index=False)
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), TABLE)
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == (1 if rows == 7 else 3)
    file = io.StringIO()
    write = csv_parts(file)
    for part in parts(rows):
        write(part)
    assert file.getvalue() == TABLE.to_csv(index=False)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("written", [0, 2])
def test_what_is_broken_off_leaves_what_was_there(tmp_path, monkeypatch, name, error, written):
    monkeypatch.setattr(writing, "ROW_GROUP", 2)
    (tmp_path / name).write_text("before")

    def broken_off() -> None:
        with written_in_parts(tmp_path / name) as write:
            for part in parts(3)[:written]:
                write(part)
            raise error

    with pytest.raises(error):
        broken_off()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"), written_in_parts(tmp_path / "a/t.csv"):
        pass
