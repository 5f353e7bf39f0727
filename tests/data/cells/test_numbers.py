"""Numbers as tables of several locales write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.missing import MISSING
from accomplice.data.cells.numbers import NumberFormat, number_column, number_of, read_numbers
from accomplice.data.study_parts import Feature

nan = float("nan")


@pytest.mark.parametrize(
    ("texts", "decimal", "values"),
    [
        (["7,984", "878"], None, [7984, 878]),
        (["35,3", "7,214"], None, [35.3, 7.214]),
        (["6.2", "1,234"], None, [6.2, 1234]),
        (["7,984", "7,736"], ",", [7.984, 7.736]),
        (["7,984", "7,736"], None, [7984, 7736]),
        (["1.234,5", "12,5"], None, [1234.5, 12.5]),
        (["1.234", "12,5"], None, [1234, 12.5]),
        (["1,234.5", "2"], None, [1234.5, 2]),
        (["0,123", "1,234"], None, [0.123, 1.234]),
        (["1.5", "1,5", "7,214"], None, [1.5, 1.5, nan]),
        (["1,2,3", "1,23,456"], None, [nan, nan]),
        (["1 234", "1'234", "\u22123", "\uff14"], None, [1234, 1234, -3, 4]),
        ([">90", "90+", "\u2265 90", "<0.1", "90 or older"], None, [90, 90, 90, 0.1, 90]),
        (["27.3 kg/m2", "30 kg/m\u00b2"], None, [27.3, 30]),
        (["61 years", "70"], None, [61, 70]),
        (["5 mg/dl", "3 g/l"], None, [nan, nan]),
        (["2a", "2b"], None, [nan, nan]),
        (["12.03.2019", "1/2", "1-3", "iii"], None, [nan] * 4),
        (["1e3", ",5"], None, [1000, 0.5]),
    ],
)
def test_texts(texts, decimal, values):
    np.testing.assert_array_equal(read_numbers(texts, decimal).values, values)


@pytest.mark.parametrize(
    ("texts", "mark", "open_"),
    [
        (["7,984", "7,736"], ".", True),
        (["7,984", "878"], ".", False),
        (["35,3"], ",", False),
        (["6.5", "7"], None, False),
    ],
)
def test_the_mark_is_of_the_column(texts, mark, open_):
    read = read_numbers(texts)
    assert (read.mark, read.open) == (mark, open_)


@pytest.mark.parametrize("cells", [[1.0, 999.0, nan], ["1", "999", None]])
def test_cells_that_are_spelled_otherwise(cells):
    known = NumberFormat(MISSING, mapped={"999": None, "1": "2"})
    read = number_column(pd.Series(cells), known)
    np.testing.assert_array_equal(read.values, [2, nan, nan])
    assert not read.bad.any()


def test_bounds_and_units_that_do_not_fit_are_bad():
    cells = pd.Series(["5", ">90", "7"])
    assert number_column(cells, NumberFormat(MISSING)).bound.tolist() == [False, True, False]
    assert number_column(cells, NumberFormat(MISSING, bounds=False)).bad.tolist() == [0, 1, 0]
    cells = pd.Series(["5 mg/dl", "6"])
    assert number_column(cells, NumberFormat(MISSING, unit="g/l")).bad.tolist() == [True, False]
    assert not number_column(cells, NumberFormat(MISSING, unit="mg/dl")).bad.any()
    years = NumberFormat(MISSING, unit="years")
    assert number_column(pd.Series(["61 y", "70 yrs"]), years).bad.tolist() == [True, True]
    assert not number_column(pd.Series(["61 y", "70"]), years).bad.any()


class TestAlone:
    """Cells read by a study file, each by itself."""

    @pytest.mark.parametrize(
        ("feature", "text", "number", "bad"),
        [
            ({}, "7.214", 7.214, False),
            ({}, "7,214", nan, True),
            ({}, "35,3", 35.3, False),
            ({"decimal": ","}, "7,214", 7.214, False),
            ({"decimal": ","}, "7.214", 7214, False),
            ({"decimal": "."}, "7,214", 7214, False),
            ({"decimal": "."}, "1,234,567", 1234567, False),
            ({}, "27.3 kg/m2", nan, True),
            ({"unit": "kg/m2"}, "27.3 kg/m2", 27.3, False),
            ({"unit": "kg/m\u00b2"}, "27.3 kg/m2", 27.3, False),
            ({"unit": "years"}, "61 y", 61, False),
            ({"unit": "years"}, "61 months", nan, True),
            ({}, ">90", 90, False),
            ({"map": {"-9": None, "low": "0.1"}}, "-9.0", nan, False),
            ({"map": {"-9": None, "low": "0.1"}}, "low", 0.1, False),
            ({}, "Not Done", nan, False),
            ({}, "-9", nan, False),
            ({}, "-9.0", nan, False),
            ({}, "1" * 65 + ".", 1e65 / 9, False),
            ({}, "1 " * 40, nan, True),
            ({}, "", nan, False),
        ],
    )
    def test_cells(self, feature, text, number, bad):
        known = NumberFormat.of(Feature(kind="number", **feature), MISSING | {"-9"})
        value, odd, _ = number_of(text, known)
        np.testing.assert_allclose(value, number, rtol=1e-12)
        assert odd == bad
        column = number_column(pd.Series([text, "5", None]), known)
        np.testing.assert_allclose(column.values, [number, 5, nan], rtol=1e-12)
        assert column.bad.tolist() == [bad, False, False]
