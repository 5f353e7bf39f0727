"""Numbers in a table are those that Python reads, whichever release of pandas is there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.exact_numbers import to_numeric
from accomplice.data.readers.table_reader import open_stream
from accomplice.data.readers.tables import read_table

NUMBERS = np.random.default_rng(0).uniform(0, 99, 400).tolist()
TEXTS = [repr(number) for number in NUMBERS]


@pytest.mark.parametrize("dtype", [object, "string"])
def test_texts_are_read_to_the_nearest_number(dtype):
    read = to_numeric(pd.Series([*TEXTS, "x", None, "inf"], dtype=dtype), errors="coerce")
    values = read.to_numpy(dtype=float, na_value=np.nan)
    np.testing.assert_array_equal(values, [*NUMBERS, np.nan, np.nan, np.inf])


@pytest.mark.parametrize("word", ["", "NA", "not done"])
def test_a_table_holds_the_numbers_written(tmp_path, word):
    lines = [f"P{i},{text}" for i, text in enumerate([*TEXTS, word])]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,x", *lines]) + "\n")
    parts = pd.concat([*open_stream(path).parts(50)])
    for frame in (read_table(path), parts):
        np.testing.assert_array_equal(frame["x"].to_numpy(dtype=float), [*NUMBERS, np.nan])


def test_whole_numbers_stay_whole():
    assert to_numeric(pd.Series(["1", "9007199254740993"])).tolist() == [1, 9007199254740993]
