"""Tables joined on identifiers that are written alike or not."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.errors import InputError
from accomplice.data.rows.joins import join_tables

LEFT = pd.DataFrame({"id": ["a", "b", "c"], "x": [1, 2, 3]})


def right(ids: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "y": range(10, 10 + len(ids))})


def left(ids: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "x": range(len(ids))})


def test_rows_and_their_order_are_the_first_tables():
    joined, notes = join_tables([LEFT, right(["c", "a", "z"])], ["l", "r"], "id")
    assert joined["id"].tolist() == ["a", "b", "c"]
    assert joined["y"].fillna(-1).tolist() == [11, -1, 10]
    assert notes == ["r: 2 of its 3 ids are in l; 1 of 3 rows of l have none there"]


@pytest.mark.parametrize(
    ("ours", "theirs", "how"),
    [
        (["a1", "b2"], ["A1 ", "B2"], "case and blanks"),
        (["0012", "0345"], [12, 345], "leading zeros"),
        (["P-1", "P-2"], ["P.1", "p_2"], "with . and _ as -"),
        (["TCGA-BR-4000", "TCGA-BR-4001"], ["TCGA.BR.4000.01", "TCGA-BR-4001-01A"], "barcodes"),
    ],
)
def test_other_spellings_are_tried_and_said(ours, theirs, how):
    joined, (note,) = join_tables([left(ours), right(theirs)], ["l", "r"], "id")
    assert joined["y"].tolist() == [10, 11]
    assert joined["id"].tolist() == ours
    assert "2 of its 2 ids are in l, read " in note
    assert how in note


def test_the_rows_of_a_first_table_that_repeats_patients_are_counted():
    _, notes = join_tables([left(["a", "a", "b", "c"]), right(["a", "c"])], ["l", "r"], "id")
    assert notes == ["r: 2 of its 2 ids are in l; 1 of 4 rows of l have none there"]


def test_a_spelling_that_makes_two_patients_one_is_not_tried():
    joined, _ = join_tables([left(["01", "1"]), right(["1", "7"])], ["l", "r"], "id")
    assert joined["y"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (right(["x", "y"]), "r: none of its 2 ids (column 'id') is in l"),
        (right(["a", "a"]), "1 rows repeat an id"),
        (LEFT, "column 'x' is in two tables"),
        (pd.DataFrame({"pid": ["a"]}), "r: no column 'id'"),
        (right(["a", None]), "r: column 'id': 1 rows have no id"),
    ],
)
def test_what_cannot_be_joined(other, expected):
    with pytest.raises(InputError) as caught:
        join_tables([LEFT, other], ["l", "r"], "id")
    assert expected in str(caught.value)
