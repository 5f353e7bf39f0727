"""Dates: one format for a column, or a question."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.dates import date_form, read_dates
from accomplice.data.errors import InputError


@pytest.mark.parametrize(
    ("cells", "look"),
    [
        (["2018-03-12", None, "2019-01-01"], "dates"),
        (["12.3.2018", "1.12.19"], "dates"),
        (["12-Mar-2018"], "dates"),
        ([20180312, 20191230], "dates without marks"),
        (["20180312", "20191230"], "dates without marks"),
        ([43171, 43829.0, None], "serial dates"),
        ([12.5, 300.0, 24.0], None),
        ([120, 2680], None),
        (["12", "x"], None),
        ([None], None),
    ],
)
def test_look(cells, look):
    assert date_form(pd.Series(cells)) == look


@pytest.mark.parametrize(
    ("cells", "format", "found"),
    [
        (["12.03.2018", "13.03.2018"], None, "%d.%m.%Y"),
        (["12/03/2018", "13/03/2018"], None, "%d/%m/%Y"),
        (["03/12/2018", "03/13/2018"], None, "%m/%d/%Y"),
        (["2018-03-12", None], None, "%Y-%m-%d"),
        (["2018-03-12T10:00:00"], None, "%Y-%m-%dT%H:%M:%S"),
        ([20180312], None, "%Y%m%d"),
        (["02/03/2018", "03/03/2018"], "%d/%m/%Y", "%d/%m/%Y"),
    ],
)
def test_formats(cells, format, found):
    days, used = read_dates(pd.Series(cells), format, "d")
    assert used == found
    assert np.isnan(days).tolist() == [cell is None for cell in cells]


def test_days():
    days, _ = read_dates(pd.Series(["1970-01-02", "2000-01-01"]), None, "d")
    assert days.tolist() == [1, 10957]


@pytest.mark.parametrize(
    "cells",
    [
        ["31.12.9999", "05.01.2012", "01.02.1500", None],
        ["99991231", "20120105", "15000201", None],
        ["31DEC9999", "05Jan2012", "01Feb1500", None],
        ["9999-12-31 12:30:00", "2012-01-05 00:00:00", "1500-02-01 23:59:59", None],
        np.array(["9999-12-31", "2012-01-05", "1500-02-01", "NaT"], "datetime64[us]"),
    ],
)
def test_days_of_far_years(cells):
    days, _ = read_dates(pd.Series(cells), None, "d")
    assert days.tolist()[:3] == [2932896, 15344, -171633]
    assert np.isnan(days[3])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["02/03/2018", "03/04/2018"], "both %d/%m/%Y and %m/%d/%Y fit"),
        (["13/03/2018", "03/13/2018"], "no one format fits"),
        (["2018-03-12", "2018"], "no one format fits"),
    ],
)
def test_what_is_asked(cells, expected):
    with pytest.raises(InputError, match="column 'd'") as caught:
        read_dates(pd.Series(cells), None, "d")
    assert expected in str(caught.value)
    assert "--date-format" in str(caught.value)


@pytest.mark.parametrize("format", ["%Q", "%"])
def test_what_is_no_format_is_refused(format):
    with pytest.raises(InputError, match=f"column 'd': '{format}' is no format of dates"):
        read_dates(pd.Series(["2018-03-12"]), format, "d")
