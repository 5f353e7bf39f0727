"""A text in a table of answers is never run by the spreadsheet that opens it."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.escaping import quote_cells, unquote_cells
from accomplice.data.loading import read_patients, stream_patients
from accomplice.data.synthetic import draw
from accomplice.training.cli.main import main

#: Identifiers that a spreadsheet would run.
RUN = ("=cmd|' /C calc'!A0", "+49 30 1", "-1-2", "@SUM(1)", "\uff1dA1", "-2+3", "=HYPERLINK(1)")
#: Identifiers that it would not.
PLAIN = ("-5", "+1.5e3", "A-1", "007", "'quoted", "a=b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_trained):
    path = tmp_path_factory.mktemp("spreadsheets")
    tiny_trained.bundle.save(path / "model")
    names = [*RUN, *PLAIN]
    frame = draw(len(names), seed=3).frame.assign(patient_id=names)
    frame.to_csv(path / "t.csv", index=False)
    return path


def predicted(folder, *options):
    """The identifiers as they stand in a file of predictions, and in one of explanations."""
    out, why = folder / "p.csv", folder / "e.csv"
    argv = ["predict", folder / "model", folder / "t.csv", "--out", out, "--explain", why, *options]
    assert main([*map(str, argv)]) == 0
    rows = [pd.read_csv(path, dtype=str).to_dict("records") for path in (out, why)]
    return [[row["patient_id"] for row in each] for each in rows], rows[0]


def test_such_texts_are_quoted_and_numbers_stay(folder):
    found, rows = predicted(folder)
    for names in found:
        assert names == [*(f"'{name}" for name in RUN), *PLAIN]
    assert all(float(row["risk"]) < 100 for row in rows)
    assert any(row["risk"].startswith("-") for row in rows)


def test_raw_leaves_them(folder):
    assert predicted(folder, "--raw")[0] == [[*RUN, *PLAIN]] * 2


def test_our_readers_give_the_identifiers_back(folder, tiny_trained):
    predicted(folder)
    study = tiny_trained.bundle.study
    whole = read_patients(folder / "p.csv", study)
    parts = stream_patients(folder / "p.csv", study).parts(4)
    assert whole["patient_id"].tolist() == [*RUN, *PLAIN]
    assert [name for part in parts for name in part["patient_id"]] == [*RUN, *PLAIN]


@pytest.mark.parametrize(
    "cell",
    [
        "'=a",
        "''=a",
        "'-5",
        "\tx",
        "\rx",
        "\n=1",
        "=\x1b\u202e",
        r"\u202e",
        r"\n\u005c",
        "'",
        3.5,
        None,
    ],
)
def test_what_is_quoted_is_given_back(cell):
    assert unquote_cells(quote_cells([cell])) == [cell]
