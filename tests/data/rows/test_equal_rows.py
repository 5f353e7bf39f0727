"""Codes of equal cells and rows, and pairs of equal codes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.rows.equal_rows import equal_pairs, row_codes, value_codes

cells = st.sampled_from(["a", "b", None])


def test_a_column_with_lists_has_no_codes():
    codes, n = value_codes(pd.Series([["a"], "b"]))
    assert (codes.tolist(), n) == ([-1, -1], 0)


def test_missing_cells_have_the_code_minus_one():
    codes, n = value_codes(pd.Series(["a", None, "b", "a"]))
    assert (codes.tolist(), n) == ([0, -1, 1, 0], 2)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12))
def test_rows_have_equal_codes_where_all_their_cells_are_equal(rows):
    codes = row_codes(pd.DataFrame(rows, columns=["x", "y", "z"]), ["x", "z"])
    for one, first in zip(rows, codes, strict=True):
        for other, second in zip(rows, codes, strict=True):
            assert (first == second) == ((one[0], one[2]) == (other[0], other[2]))


@given(st.lists(st.integers(0, 4), max_size=12))
def test_pairs_are_those_counted_one_by_one(codes):
    pairs = sum(a == b for i, a in enumerate(codes) for b in codes[:i])
    assert equal_pairs(np.array(codes, dtype=np.int64)) == pairs
