from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accomplice.data.cells.missing import MISSING
from accomplice.data.coding import (
    ABSENT,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    UNKNOWN_LEVEL,
    Coder,
    code,
    code_levels,
)
from accomplice.data.errors import InputError
from accomplice.data.study_parts import Feature
from tests.fixtures.studies import study_of

nan = np.nan


def _numbers(cells):
    """Return the numbers (n,) of a column of a study, and which of its cells are none."""
    study = study_of(x={"kind": "number"})
    coded = code(study, cells.to_frame("x"))
    odd = [finding.rows for finding in coded.findings]
    return coded.values[:, 0], odd[0] if odd else np.zeros(len(cells), dtype=bool)


class TestNumbers:
    @pytest.mark.parametrize(
        ("cells", "values", "bad"),
        [
            ([1, 2], [1, 2], [0, 0]),
            ([1.5, nan], [1.5, nan], [0, 0]),
            ([1.0, np.inf], [1, nan], [0, 1]),
            (["1", " 2.5 ", "NA", "?", ""], [1, 2.5, nan, nan, nan], [0] * 5),
            (["1", "x", "-inf"], [1, nan, nan], [0, 1, 1]),
            ([True, False], [1, 0], [0, 0]),
            ([1, "2", None], [1, 2, nan], [0, 0, 0]),
        ],
    )
    def test_cells(self, cells, values, bad):
        got, odd = _numbers(pd.Series(cells))
        np.testing.assert_array_equal(got, values)
        assert odd.tolist() == [bool(b) for b in bad]

    def test_nullable_integers(self):
        got, odd = _numbers(pd.Series([1, None], dtype="Int64"))
        np.testing.assert_array_equal(got, [1, nan])
        assert not odd.any()

    @given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
    @settings(deadline=None, max_examples=50)
    def test_text_and_numbers_agree(self, numbers):
        as_text, _ = _numbers(pd.Series([repr(x) for x in numbers]))
        np.testing.assert_allclose(as_text, numbers, rtol=1e-12)


class TestLevels:
    stage = Feature(
        kind="ordinal", levels=("I", "II", "III"), map={"1": "I", "stage 2": "II", "X": None}
    )

    def test_an_ordinal_is_the_rank_of_its_level(self):
        cells = pd.Series(["III", "I", "stage 2", "X", None, "unknown", 1, "IV"])
        values, unknown = code_levels(cells, self.stage)
        np.testing.assert_array_equal(values, [2, 0, 1, nan, nan, nan, 0, nan])
        assert unknown.tolist() == [False] * 7 + [True]

    @pytest.mark.parametrize("cells", [[1, True, None], [True, 1, None], [np.True_, 1.0, nan]])
    def test_true_is_not_the_level_1_whichever_comes_first(self, cells):
        values, unknown = code_levels(pd.Series(cells, dtype=object), self.stage)
        truths = np.array([isinstance(cell, (bool, np.bool_)) for cell in cells])
        assert unknown.tolist() == truths.tolist()
        assert values[:2][~truths[:2]].tolist() == [0]

    def test_numbers_are_levels_however_they_are_written(self):
        feature = Feature(kind="category", levels=("0", "1"))
        for cells in ([0, 1, None], ["0", "1", None], [0.0, 1.0, nan], ["0.0", " 1", ""]):
            values, unknown = code_levels(pd.Series(cells), feature)
            np.testing.assert_array_equal(values, [0, 1, nan])
            assert not unknown.any()

    @pytest.mark.parametrize("level", ["01", "1", "1.00"])
    def test_a_code_is_its_level_in_a_column_of_numbers_and_beside_words(self, level):
        study = study_of(x={"kind": "category", "levels": [level, "2.50", "x"]})
        for cells in ([1, 2.5], ["01", "2.5"], ["1", "2.50", "x"], ["+1", "02.5"]):
            coded = code(study, pd.DataFrame({"x": cells}))
            asked = Coder(study).lists({0: cells}, len(cells))
            for found in (coded, asked):
                assert found.values[:, 0].tolist() == [0, 1, 2][: len(cells)]
                assert not found.findings

    def test_a_panel_reads_a_code_however_it_is_written(self):
        feature = Feature(kind="ordinal", levels=("I", "II", "III", "IV"))
        for cells in ([2, 3], ["02", "3.0", "x"]):
            values, _ = code_levels(pd.Series(cells), feature, name="stage")
            assert values.tolist()[:2] == [1, 2]

    def test_codes_alike_are_not_mixed_up(self):
        feature = Feature(kind="category", levels=("01", "1"))
        values, unknown = code_levels(pd.Series(["01", "1", "001"]), feature)
        np.testing.assert_array_equal(values, [0, 1, nan])
        assert unknown.tolist() == [False, False, True]

    def test_a_level_wins_over_the_words_for_missing(self):
        feature = Feature(kind="category", levels=("none", "some"))
        values, _ = code_levels(pd.Series(["none", "some"], dtype=object), feature)
        np.testing.assert_array_equal(values, [0, 1])

    def test_truth_values(self):
        feature = Feature(kind="category", levels=("False", "True"))
        values, _ = code_levels(pd.Series([True, False]), feature)
        np.testing.assert_array_equal(values, [1, 0])

    @given(st.permutations(["a", "b", "c", "d"]), st.lists(st.integers(0, 3), min_size=1))
    @settings(deadline=None, max_examples=50)
    def test_codes_name_the_levels(self, levels, picks):
        cells = [levels[i] for i in picks]
        feature = Feature(kind="category", levels=tuple(levels))
        values, _ = code_levels(pd.Series(cells), feature)
        assert values.tolist() == picks


class TestCode:
    study = study_of(
        age={"kind": "number", "range": [0, 120]},
        cd8={"kind": "density"},
        sex={"kind": "category", "levels": ["F", "M"]},
        il1r1={"kind": "expression", "column": "IL1R1"},
    )

    def test_order_and_findings(self):
        frame = pd.DataFrame({"sex": ["F", "Q"], "cd8": [-1.0, 2.0], "age": ["x", "200"], "z": 1})
        coded = code(self.study, frame)
        np.testing.assert_array_equal(coded.values, [[nan, -1, 0, nan], [200, 2, nan, nan]])
        found = {(f.feature, f.kind): f.rows.tolist() for f in coded.findings}
        assert found == {
            ("age", NOT_A_NUMBER): [True, False],
            ("age", OUT_OF_RANGE): [False, True],
            ("cd8", OUT_OF_RANGE): [True, False],
            ("sex", UNKNOWN_LEVEL): [False, True],
            ("il1r1", ABSENT): [True, True],
        }

    def test_a_clean_table_has_no_findings(self):
        frame = pd.DataFrame({"age": [50], "cd8": [0.0], "sex": ["M"], "IL1R1": [1.0]})
        assert code(self.study, frame).findings == ()


def test_words_for_missing_are_in_lower_case():
    assert {word.lower() for word in MISSING} == set(MISSING)


def test_a_studys_own_words_are_missing_unless_they_are_levels():
    study = study_of(
        age={"kind": "number"},
        site={"kind": "category", "levels": ["None", "liver"]},
        grade={"kind": "ordinal", "levels": ["1", "2"]},
    ).model_copy(update={"missing": ("None", "Asked")})
    cells = {
        "age": ["61", "asked", "None"],
        "site": ["None", "ASKED", "liver"],
        "grade": ["none", "1", "x"],
    }
    frame, lists = pd.DataFrame(cells), dict(enumerate(cells.values()))
    expected = np.array([[61, 0, nan], [nan, nan, 0], [nan, 1, nan]])
    for coded in (code(study, frame), Coder(study).lists(lists, 3)):
        np.testing.assert_array_equal(coded.values, expected)
        assert [(f.feature, f.rows.tolist()) for f in coded.findings] == [
            ("grade", [False, False, True])
        ]


def test_none_is_missing_among_numbers_and_a_level_among_words():
    assert _numbers(pd.Series(["1", "None", "n.d."]))[1].tolist() == [False] * 3
    feature = Feature(kind="category", levels=("FLOT", "none"))
    assert code_levels(pd.Series(["FLOT", "None"]), feature)[1].tolist() == [False, False]


def test_the_words_of_a_study_are_its_levels_by_column():
    study = study_of(a={"kind": "ordinal", "levels": ["I", "Unknown"], "map": {"NA": "I"}})
    words = study.model_copy(update={"missing": ("Asked",)}).words
    assert words.blank("a") >= {"asked", "null"}
    assert not words.blank("a") & {"na", "unknown"}
    assert words.blank("b") >= {"na", "unknown"}


TEXTS = st.sampled_from(["7,214", "35,3", "6.2", "1,234.5", "61 years", "3 g/l", ">90", "x", "NA"])


@example(cells=[1.375], declared=True)
@example(cells=[10**400, -(10**400), nan, 3], declared=True)
@example(cells=[1.375, "1.375", "1,375", None, 7], declared=True)
@given(st.lists(TEXTS | st.floats(0, 99) | st.none(), min_size=1, max_size=12), st.booleans())
@settings(deadline=None, max_examples=60)
def test_the_number_of_a_patient_depends_on_no_other(cells, declared):
    format = {"decimal": ",", "unit": "years"} if declared else {}
    study = study_of(x={"kind": "number", **format})
    coder = Coder(study)
    whole = coder.lists({0: cells}, len(cells)).values[:, 0]
    table = code(study, pd.DataFrame({"x": cells}, dtype=object)).values[:, 0]
    alone = [coder.lists({0: [cell]}, 1).values[0, 0] for cell in cells]
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(table, alone)


def test_a_number_beyond_any_float_is_no_level_and_no_number():
    study = study_of(a={"kind": "ordinal", "levels": ["I", "II"]}, b={"kind": "number"})
    frame = pd.DataFrame({"a": [-(10**400), "I"], "b": [10**400, 1]}, dtype=object)
    coded = code(study, frame)
    np.testing.assert_array_equal(coded.values, [[nan, nan], [0.0, 1.0]])
    assert {(f.feature, *f.rows.tolist()) for f in coded.findings} == {
        ("a", True, False),
        ("b", True, False),
    }


def test_a_name_that_stands_twice_is_refused():
    frame = pd.DataFrame([[1, 2]], columns=["x", "x"])
    with pytest.raises(InputError, match="column 'x' stands twice"):
        code(study_of(x={"kind": "number"}), frame)


def test_a_list_in_a_cell_is_no_level_and_no_number():
    study = study_of(x={"kind": "number"}, a={"kind": "category", "levels": ["I", "II"]})
    cells = pd.Series([[1], None, "I"], dtype=object)
    coded = code(study, pd.DataFrame({"x": cells, "a": cells}))
    np.testing.assert_array_equal(coded.values, [[nan, nan], [nan, nan], [nan, 0]])
    assert {(f.kind, *f.rows.tolist()) for f in coded.findings} == {
        (NOT_A_NUMBER, True, False, True),
        (UNKNOWN_LEVEL, True, False, False),
    }


def test_a_number_that_means_missing_does_so_as_text_too():
    study = study_of(x={"kind": "number"}).model_copy(update={"missing": ("-9",)})
    for cells in ([1.5, -9.0], ["1.5", "-9.0"], ["1.5", "-9"]):
        np.testing.assert_array_equal(
            code(study, pd.DataFrame({"x": cells})).values[:, 0], [1.5, nan]
        )
