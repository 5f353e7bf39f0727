"""Written tables are read as they were written, and damaged ones refused by their line."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.data.readers.contents import in_memory
from accomplice.data.readers.layout import Layout
from accomplice.data.readers.reader import PLAIN
from accomplice.data.readers.row_checker import RowChecker
from accomplice.data.readers.tables import read_table
from accomplice.data.readers.text import Text
from tests.data.readers.test_whole_or_refused import (
    CANARY,
    both,
    refused,
    write,
)

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


WORDS = st.text("ghjkq äß日,;|\t'\"\n#.", max_size=6).map(lambda s: f"g{s.strip()}g")


NUMBERS = st.integers(-999, 999).map(lambda n: f"{n / 8}")


@st.composite
def tables(draw):
    """Draw names and rows; a column has words, or numbers and gaps."""
    width, n = draw(st.integers(3, 6)), draw(st.integers(5, 9))
    kinds = [draw(st.sampled_from([WORDS, NUMBERS | st.just("")])) for _ in range(width - 2)]
    rows = [
        [f"P{i}", str(i + 0.5), *(draw(kind) for kind in kinds)]
        for i in draw(st.permutations(range(n)))
    ]
    return ["id", "months", *(f"c{j}" for j in range(width - 2))], rows


def written(names, rows, delimiter, quoting, end="\n"):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(
        [names, *rows]
    )
    return text.getvalue()


def assert_read(path, names, rows):
    frame = both(path)
    assert frame.columns.tolist() == names
    assert len(frame) == len(rows)
    for j, name in enumerate(names):
        for cell, read in zip((row[j] for row in rows), frame[name], strict=True):
            if cell == "":
                assert pd.isna(read)
            elif isinstance(read, str):
                assert read == cell
            else:
                assert read == float(cell)


@FEW
@given(
    tables(),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read(tmp_path, table, delimiter, quoting, encoding, end):
    names, rows = table
    text = written(names, rows, delimiter, quoting, end)
    path = write(tmp_path, text, "t.txt", encoding)
    said = ""
    try:
        assert_read(path, names, rows)
    except InputError as error:
        said = str(error)
    if said:  # a cell with a line break can look like rows that two stray marks have swallowed
        assert "one row by their quotation marks" in said
        assert any("\n" in cell for row in rows for cell in row)


@FEW
@given(tables(), st.sampled_from(",;\t|"), st.data())
def test_a_damaged_table_is_refused_by_its_line(tmp_path, table, delimiter, data):
    names, rows = table
    plain = [[cell.translate(str.maketrans("", "", ',;|\t\n"')) for cell in r] for r in rows]
    place = data.draw(st.integers(0, len(plain) - 1))
    j = data.draw(st.integers(0, len(names) - 1))
    damage = data.draw(st.sampled_from(["lost", "added", "mark", "split"]))
    lines = written(names, plain, delimiter, csv.QUOTE_MINIMAL).splitlines()
    cells = lines[place + 1].split(delimiter)
    if damage == "lost":
        del cells[j]
    elif damage == "added":
        cells.insert(j, CANARY)
    elif damage == "mark":
        cells[j] = f'"{cells[j]}'
    else:
        cells[j] = f"g\n{cells[j] or 'g'}"
    lines[place + 1] = delimiter.join(cells)
    said = refused(write(tmp_path, "\n".join(lines) + "\n", "t.txt"))
    assert f"line {place + 2} " in said or f"line {place + 3} " in said


@FEW
@given(tables(), st.integers(0, 5), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_a_damaged_header_is_never_read(tmp_path, table, j, quoting):
    names, rows = table
    j %= len(names)
    path = write(tmp_path, written(names[:j] + names[j + 1 :], rows, ",", quoting))
    with pytest.raises(InputError):
        read_table(path)
    path = write(tmp_path, written([*names[:j], "more", *names[j:]], rows, ",", quoting))
    with pytest.raises(InputError):
        read_table(path)


def count(raw, *, precise, size):
    """Return the rows that are counted, None where they are refused or remarks are among them."""
    rows = RowChecker(Path("t"), b",", 3, 1, precise=precise)
    try:
        for _ in rows.blocks(io.BytesIO(raw), size):
            pass
    except InputError:
        return None
    return rows.count if rows.note is None else None


@settings(FEW, max_examples=300)
@given(st.text('aa",,,\n\n', max_size=24), st.integers(1, 9))
def test_counting_agrees_with_looking_at_each_line(text, size):
    raw = (text + "\n").encode()
    exact = count(raw, precise=True, size=size)
    assert count(raw, precise=True, size=1 << 20) == exact
    if count(raw, precise=False, size=size) in (exact, None) or re.search('"[,"]*"', text):
        return
    # A row too long has made up for one too short: pandas refuses the long one.
    table = Text(Path("t"), in_memory(raw), Layout(tuple("xyz"), ",", 1, 0), PLAIN, 0)
    with pytest.raises((pd.errors.ParserError, pd.errors.ParserWarning)):
        table.parse(raw, {})
