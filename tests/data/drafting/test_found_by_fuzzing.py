"""What a draft makes of faults that the fuzzer found: said, asked, or read as it is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.numbers import read_numbers
from accomplice.data.drafting.draft import Answers, Draft, draft_study
from accomplice.data.errors import InputError
from tests.data.drafting.test_asked import N
from tests.data.drafting.test_asked import base as plain


def base() -> pd.DataFrame:
    sexes = np.random.default_rng(1).choice(["female", "male"], N)
    return plain().drop(columns="stage").assign(sex=sexes)


def drafted(folder: Path, frame: pd.DataFrame, time: str = "os_months", **options) -> Draft:
    frame.to_csv(folder / "t.csv", index=False)
    answers = Answers(**options)
    return draft_study(
        folder / "t.csv", time=time, event="dead", out=folder / "study.yaml", answers=answers
    )


def with_cells(name: str, levels: list[object], **odd: object) -> pd.DataFrame:
    """Return the table with a column of levels in turn, and other cells in some rows."""
    cells = [levels[i % len(levels)] for i in range(N)]
    for row, cell in odd.items():
        cells[int(row.removeprefix("row"))] = cell
    return base().assign(**{name: cells})


def feature(made: Draft, name: str) -> dict:
    return next(fs[name] for fs in made.study["modalities"].values() if name in fs)


def note(made: Draft, text: str) -> str:
    return next((each for each in made.notes if text in each), "")


class TestLevels:
    @pytest.mark.parametrize("code", ["9", "99", "-9", "999"])
    def test_a_code_among_words_is_missing(self, tmp_path, code):
        made = drafted(tmp_path, with_cells("smoker", ["never", "former"], row3=code, row4=code))
        assert feature(made, "smoker")["levels"] == ["former", "never"]
        assert feature(made, "smoker")["map"] == {code: None}
        assert note(made, f"smoker: '{code}' (2 cells) looks like a code for unknown")

    def test_a_code_beside_a_group_called_nought_is_missing(self, tmp_path):
        made = drafted(tmp_path, with_cells("abo", ["A", "B", "AB", "0"], row3="9", row4="9"))
        assert feature(made, "abo")["map"] == {"9": None}

    def test_a_group_called_nought_is_a_level(self, tmp_path):
        made = drafted(tmp_path, with_cells("abo", ["A", "B", "AB", "0"]))
        assert feature(made, "abo")["levels"] == ["0", "A", "AB", "B"]
        assert not note(made, "level of few")

    @pytest.mark.parametrize("levels", [[0, 1], [1, 2]])
    def test_a_code_beside_two_numbers_is_missing(self, tmp_path, levels):
        made = drafted(tmp_path, with_cells("ulcer", levels, row3=9, row4=9))
        assert feature(made, "ulcer")["map"] == {"9": None}
        assert note(made, "ulcer: '9' (2 cells) looks like a code for unknown")

    def test_three_numbers_are_kept(self, tmp_path):
        assert "map" not in feature(drafted(tmp_path, with_cells("visits", [1, 2, 3])), "visits")
        assert "map" not in feature(drafted(tmp_path, with_cells("visits", [3, 5, 9])), "visits")

    @pytest.mark.parametrize("odd", ["12", "#REF!", "???"])
    def test_a_level_of_few_patients_is_named(self, tmp_path, odd):
        made = drafted(tmp_path, with_cells("ward", ["east", "west"], row3=odd, row4=odd))
        assert note(made, f"ward: '{odd}' (2 cells) is a level of few patients")

    @pytest.mark.parametrize("odd", ["TCGA-01", "see letter"])
    @pytest.mark.parametrize("name", ["ward", "stage"])
    def test_what_can_be_a_name_is_not_shown(self, tmp_path, name, odd):
        levels = {"ward": ["east", "west"], "stage": ["I", "II", "III"]}[name]
        made = drafted(tmp_path, with_cells(name, levels, row3=odd + "2", row4="z"))
        assert note(made, f"{name}: 'z' and 1 texts that are not shown (2 cells) is")
        assert not any(odd in each for each in made.notes)

    def test_a_quotation_mark_in_a_level_is_stray(self, tmp_path):
        made = drafted(tmp_path, with_cells("ward", ["east", "west"], row3='we"st'))
        assert feature(made, "ward")["levels"] == ["east", "west"]
        assert feature(made, "ward")["map"] == {'we"st': "west"}
        made = drafted(
            tmp_path, with_cells("lauren", ["Diffuse type", "diffuse", "mixed"], row2='mixed"')
        )
        assert feature(made, "lauren")["map"]['mixed"'] == "mixed"

    def test_a_scale_without_a_name_says_what_is_off_it(self, tmp_path):
        made = drafted(tmp_path, with_cells("budding", ["low", "high"], row3="x1"))
        assert feature(made, "budding")["kind"] == "category"
        assert note(made, "budding: 'x1' (1 cells) is no low to high")

    def test_a_bare_cell_among_others_is_said(self, tmp_path):
        made = drafted(tmp_path, with_cells("n_category", ["pN0", "pN1", "pN2"], row5="0"))
        assert note(made, "n_category: '0 as N0' (1 cells) are read, though written unlike")
        plain = drafted(tmp_path, with_cells("n_category", ["pN0", "pN1", "pN2"]))
        assert not note(plain, "written unlike")

    def test_staining_scores_keep_their_order(self, tmp_path):
        made = drafted(tmp_path, with_cells("her2_ihc", ["0", "1+", "2+", "3+"], row5="k.A."))
        assert feature(made, "her2_ihc")["levels"] == ["0", "1+", "2+", "3+"]
        assert note(made, "her2_ihc: 'k.A.' (1 cells) is no staining score")


class TestPatients:
    @pytest.mark.parametrize("spelt", ["P004", " p004", "p 004", '"p004"'])
    def test_identifiers_that_differ_in_spelling_are_refused(self, tmp_path, spelt):
        frame = base()
        frame.loc[N] = frame.loc[4].to_dict() | {"pid": spelt}
        with pytest.raises(InputError, match="repeat a patient") as refused:
            drafted(tmp_path, frame)
        assert "p004" not in str(refused.value).lower()

    def test_leading_zeros_do_not_tell_patients_apart(self, tmp_path):
        frame = base().assign(pid=[f"{i:03}" for i in range(N)])
        frame.loc[N] = frame.loc[4].to_dict() | {"pid": "4"}
        frame.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(InputError, match="1 rows repeat a patient"):
            draft_study(
                tmp_path / "t.csv",
                time="os_months",
                event="dead",
                id="pid",
                out=tmp_path / "s.yaml",
            )

    def test_the_option_lets_them_pass(self, tmp_path):
        frame = base()
        frame.loc[N] = frame.loc[4].to_dict() | {"pid": "P004"}
        assert drafted(tmp_path, frame, rows="all").asked == ()

    @pytest.mark.parametrize("odd", ['p0"03', "p0\n03"])
    def test_a_mark_in_an_identifier_is_said(self, tmp_path, odd):
        frame = base()
        frame.loc[3, "pid"] = odd
        assert note(drafted(tmp_path, frame), "1 identifiers have a quotation mark")

    def test_equal_rows_without_an_identifier_are_asked(self, tmp_path):
        frame = base().drop(columns="pid").assign(y=np.arange(N) * 0.317, z=np.arange(N)[::-1])
        assert drafted(tmp_path, frame).asked == ()
        twice = pd.concat([frame, frame.iloc[[4]]])
        (asked,) = drafted(tmp_path, twice).asked
        assert asked.startswith("1 rows are the same in all columns as another")
        assert drafted(tmp_path, twice, rows="all").asked == ()

    def test_equal_rows_that_can_be_two_patients_are_said(self, tmp_path):
        frame = base().drop(columns="pid")
        made = drafted(tmp_path, pd.concat([frame, frame.iloc[[4]]]))
        assert made.asked == ()
        assert note(made, "1 rows are the same in all columns as another")

    def test_coarse_rows_are_equal_by_chance(self, tmp_path):
        frame = base()[["os_months", "dead", "sex"]].assign(
            os_months=lambda f: f.os_months.round() + 1
        )
        assert frame.duplicated().any()
        made = drafted(tmp_path, frame)
        assert not any("the same in all" in each for each in (*made.asked, *made.notes))


class TestNumbers:
    def test_a_number_far_beyond_the_others_is_said(self, tmp_path):
        nodes = [i % 12 for i in range(N)]
        assert not note(drafted(tmp_path, base().assign(nodes=nodes)), "do they belong")
        nodes[7] = 210665
        made = drafted(tmp_path, base().assign(nodes=nodes))
        assert note(made, "nodes: 1 cells are more than 10 times the next largest")

    @pytest.mark.parametrize(("others", "missing"), [(0.0, True), (-2.05, False)])
    def test_minus_one_among_positive_fractions_is_missing(self, tmp_path, others, missing):
        size = [others + i / 7 for i in range(N)]
        size[3] = -1
        made = drafted(tmp_path, base().assign(size=size))
        assert (feature(made, "size").get("map") == {"-1": None}) == missing

    def test_a_code_far_beyond_fractions_is_missing(self, tmp_path):
        bmi = [20 + i / 10 for i in range(N)]
        bmi[3] = bmi[9] = 99
        assert feature(drafted(tmp_path, base().assign(bmi=bmi)), "bmi")["map"] == {"99": None}

    def test_grouped_thousands_without_a_comma_are_asked(self, tmp_path):
        counts = [f"{100 + 7 * i}.{(137 * i) % 1000:03}" for i in range(N)]
        frame = base().assign(platelets=counts, os_months=lambda f: f.os_months.astype(str))
        assert drafted(tmp_path, frame).asked == ()
        comma = frame.assign(
            os_months=frame.os_months.str.replace(".", ","),
            x=frame.x.map(lambda v: f"{v:.2f}".replace(".", ",")),
        )
        (asked,) = drafted(tmp_path, comma).asked
        assert asked.startswith("column 'platelets': its points can be decimal or group thousands")
        assert drafted(tmp_path, comma, decimal=".").asked == ()

    def test_points_in_threes_do_not_tell_the_mark_of_others(self, tmp_path):
        counts = [f"{100 + 7 * i}.{(137 * i) % 1000:03}" for i in range(N)]
        wbc = [f"{4 + i % 7},{(131 * i) % 1000:03}" for i in range(N)]
        frame = base().assign(platelets=counts, wbc=wbc, os_months=lambda f: f.os_months // 1 + 1)
        frame = frame.drop(columns="x")
        assert "column 'wbc': its commas can be decimal" in drafted(tmp_path, frame).asked[0]
        (asked,) = drafted(tmp_path, frame, decimal=",").asked
        assert asked.startswith("column 'platelets': its points can be decimal or group thousands")
        assert drafted(tmp_path, frame, decimal=",", numbers=("platelets",)).asked == ()
        assert drafted(tmp_path, frame, decimal=".").asked == ()

    def test_few_cells_of_thousands_are_asked(self, tmp_path):
        counts = ["1.034" if i == 3 else str(120 + 7 * i) for i in range(N)]
        (asked,) = drafted(tmp_path, base().assign(platelets=counts)).asked
        assert asked.startswith("column 'platelets': its points can be decimal or group thousands")
        doses = ["1.5" if i == 3 else str(1 + i % 50) for i in range(N)]
        assert drafted(tmp_path, base().assign(dose=doses)).asked == ()

    def test_whole_numbers_beside_three_decimals_are_asked(self, tmp_path):
        days = [f"1.{137 + 7 * i}" if i % 3 else str(200 + i) for i in range(N)]
        frame = base().rename(columns={"os_months": "os_days"}).assign(os_days=days)
        assert any("group thousands" in each for each in drafted(tmp_path, frame, "os_days").asked)

    def test_points_and_commas_that_leave_it_open_fit_no_mark(self):
        read = read_numbers(["8.252", "8,781"], ".")
        assert read.values[0] == 8.252
        assert np.isnan(read.values[1])
        assert read_numbers(["7,214", "6.2"]).values.tolist() == [7214, 6.2]


class TestOutcome:
    def test_the_longest_follow_up_is_said_where_a_name_tells_the_unit(self, tmp_path):
        frame = base().rename(columns={"os_months": "os_days"})
        said = note(drafted(tmp_path, frame, "os_days"), "as its name says")
        assert f"the longest follow-up is {base().os_months.max() / 365.25:.2g} years" in said

    @pytest.mark.parametrize("code", [99, 999])
    def test_times_that_look_like_a_code_are_asked(self, tmp_path, code):
        frame = base().assign(os_months=lambda f: f.os_months.clip(upper=40))
        frame.loc[[3, 7], "os_months"] = code
        asked = drafted(tmp_path, frame).asked
        assert any(f"2 times are {code}, which looks like a code" in each for each in asked)

    def test_one_long_time_is_no_code(self, tmp_path):
        frame = base().assign(os_months=lambda f: f.os_months.clip(upper=40))
        frame.loc[3, "os_months"] = 99
        assert drafted(tmp_path, frame).asked == ()

    def test_a_flag_of_being_alive_at_a_date_is_refused(self, tmp_path):
        frame = base().rename(columns={"dead": "alive_at_last_contact"})
        frame.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(InputError, match="being without the event"):
            draft_study(
                tmp_path / "t.csv",
                time="os_months",
                event="alive_at_last_contact",
                out=tmp_path / "s.yaml",
            )


@pytest.mark.parametrize(
    ("levels", "odd", "said"),
    [
        ([0, 1], {"row3": 0.3}, True),
        ([0, 1, 1], {"row3": 7, "row9": 5}, True),
        ([1, 2], {"row3": 12}, True),
        ([0, 1, 2], {}, False),
        ([0, 1, 2, 3, 4], {"row3": 9}, False),
    ],
)
def test_few_numbers_beside_two_are_said(tmp_path, levels, odd, said):
    made = drafted(tmp_path, with_cells("marker", levels, **odd))
    told = [note for note in made.notes if "other numbers than the two" in note]
    assert bool(told) == said
    if said:
        assert f"marker: {len(odd)} of {N} cells" in told[0]


@pytest.mark.parametrize(("rows", "code"), [((3, 9), True), ((3,), False)])
def test_repeated_codes_with_a_decimal_are_missing(tmp_path, rows, code):
    cells = [round(1 + i * 0.17, 2) for i in range(N)]
    for row in rows:
        cells[row] = 99.9
    made = drafted(tmp_path, base().assign(size_cm=cells))
    assert ("map" in feature(made, "size_cm")) == code
    assert any("size_cm: '99.9' (2 cells) looks like a code" in n for n in made.notes) == code


def test_one_code_with_a_decimal_is_said(tmp_path):
    cells = [round(1 + i * 0.18, 2) for i in range(N)]
    plain = drafted(tmp_path, base().assign(size_cm=cells))
    assert not any("next largest" in said for said in plain.notes)
    cells[3] = 99.9
    made = drafted(tmp_path, base().assign(size_cm=cells))
    assert note(made, "size_cm: 1 cells are more than 2 times the next largest")


def test_points_that_nothing_tells_from_groups_are_said(tmp_path):
    grouped = [f"{150 + 7 * i}.{(137 * i + 391) % 1000:03}" for i in range(N)]
    frame = base()[["pid", "os_months", "dead"]].round(0).assign(platelets=grouped)
    said = "platelets: its points are taken to be decimal; if they group, remove them"
    assert note(drafted(tmp_path, frame), said)
    told = frame.assign(size=[0.5 + i / 10 for i in range(N)])
    assert not any("its points" in said for said in drafted(tmp_path, told).notes)


class TestRegistryCodes:
    @pytest.mark.parametrize(
        "codes", [[95, 97, 98, 99], [98, 99], [990, 998, 999], [-9, -8, -7], [-9, -7]]
    )
    def test_several_codes_for_unknown_are_missing(self, tmp_path, codes):
        frame = base().assign(nodes=[i % 23 for i in range(N)])
        frame.loc[: len(codes) - 1, "nodes"] = codes
        made = drafted(tmp_path, frame)
        assert {*feature(made, "nodes")["map"]} == {str(code) for code in codes}
        assert note(made, f"({len(codes)} cells) looks like a code for unknown")

    @pytest.mark.parametrize(
        "cells",
        [
            [*range(60, 101)],
            [*range(95, 100)],
            [*range(700, 1001, 7)],
            [*range(-12, 30)],
            [*range(-9, 13)],
        ],
    )
    def test_values_in_a_row_are_kept(self, tmp_path, cells):
        made = drafted(tmp_path, with_cells("share", cells))
        assert "map" not in feature(made, "share")

    @pytest.mark.parametrize("low", [0, 1.78])
    def test_numbers_far_below_all_others_are_named(self, tmp_path, low):
        frame = base().assign(height=[150.5 + i for i in range(N)])
        frame.loc[:2, "height"] = low
        made = drafted(tmp_path, frame)
        assert note(made, "height: 3 cells are less than a tenth of the median")

    def test_zeros_of_counts_and_of_few_levels_are_not(self, tmp_path):
        frame = base().assign(
            nodes=[i % 23 for i in range(N)], dose=[0 if i < 5 else 40 + i % 9 for i in range(N)]
        )
        assert not note(drafted(tmp_path, frame), "less than a tenth")

    def test_an_age_in_days_is_named(self, tmp_path):
        frame = base().assign(age=[20_000 + 37 * i for i in range(N)])
        made = drafted(tmp_path, frame)
        assert note(made, "age: 60 of 60 cells are outside 0 to 120 years")
        assert "unit" not in feature(made, "age")

    def test_decimal_codes_of_a_site_are_asked(self, tmp_path):
        made = drafted(tmp_path, with_cells("icd10_site", [16.0, 16.2, 16.9]))
        assert (
            "few numbers where categories are usual: give --category 'icd10_site'"
            in (made.asked[0])
        )

    @pytest.mark.parametrize("code", [999, 9999])
    def test_one_time_that_looks_like_a_code_is_asked(self, tmp_path, code):
        frame = base().assign(days=[5 + 6 * i for i in range(N)]).drop(columns="os_months")
        frame.loc[3, "days"] = code
        made = drafted(tmp_path, frame, time="days")
        assert f"1 times are {code}, which looks like a code for unknown" in made.asked[0]

    def test_numbers_beside_ones_with_a_unit_are_counted(self, tmp_path):
        made = drafted(
            tmp_path, with_cells("purity", [f"{40 + i}%" for i in range(20)], row3="0.4")
        )
        assert note(made, "purity: cells name the unit %, which is taken off; 1 cells name none")


def test_none_beside_a_scale_s_own_lowest_level_is_said(tmp_path):
    made = drafted(tmp_path, with_cells("ascites", ["absent", "none", "mild", "severe"]))
    assert feature(made, "ascites")["map"]["none"] == "absent"
    assert note(made, "ascites: 'none' is read as 'absent': give --missing none")


def test_two_numbers_among_the_words_of_few_patients_are_said(tmp_path):
    few = with_cells("tumor_site", ["cardia", "body", "antrum"], row3="0.3", row7="0.3").head(36)
    made = drafted(tmp_path, few)
    assert note(made, "tumor_site: '0.3' (2 cells) is a level of few patients")


def test_one_number_among_words_is_a_level_however_many_have_it(tmp_path):
    made = drafted(tmp_path, with_cells("blood group", ["0", "0", "0", "A", "B", "0", "AB"]))
    assert feature(made, "blood group") == {"kind": "category", "levels": ["0", "A", "AB", "B"]}
    made = drafted(tmp_path, with_cells("size", [3, 4, 5, "large"]))
    assert note(made, "size")
    assert not any("size" in features for features in made.study["modalities"].values())
