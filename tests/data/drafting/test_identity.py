"""Identifiers of a draft: incomplete columns, and tables of normal tissue alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accomplice.data.drafting.draft import Answers, draft_study
from accomplice.data.drafting.identity import parse_rows
from accomplice.data.errors import InputError

N = 60


def draft(tmp_path: Path, ids: list[object], rows: str | None = None):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "patient_id": ids,
            "os_months": rng.exponential(20, len(ids)).round(1) + 0.1,
            "os_event": rng.integers(0, 2, len(ids)),
            "x": rng.normal(size=len(ids)).round(3),
        }
    )
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)
    answers = Answers(rows=None if rows is None else parse_rows(rows))
    return draft_study(
        path, time="os_months", event="os_event", out=tmp_path / "study.yaml", answers=answers
    )


def test_a_row_without_an_identifier_is_asked_about(tmp_path):
    made = draft(tmp_path, [*(f"p{i:03}" for i in range(N)), None])
    (question,) = made.asked
    assert "1 of 61 rows have no identifier (row 61 of the table)" in question
    assert "--rows all" in question


def test_the_option_that_it_names_lets_the_table_pass(tmp_path):
    assert not draft(tmp_path, [*(f"p{i:03}" for i in range(N)), None], "all").asked


def test_a_column_that_is_blank_in_many_rows_is_no_identifier(tmp_path):
    ids = [f"p{i:03}" if i % 2 else None for i in range(N)]
    assert not any("no identifier" in question for question in draft(tmp_path, ids).asked)


def test_barcodes_of_normal_tissue_alone_are_said_to_be(tmp_path):
    ids = [f"TCGA-AA-{i:04}-11A" for i in range(N)]
    with pytest.raises(InputError, match=r"of its 60 rows none .*: none of them is of a tumour"):
        draft(tmp_path, ids)
