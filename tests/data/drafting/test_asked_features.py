"""Features of a draft: what is asked, told, and taken without asking."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.missing import Words
from accomplice.data.drafting.identity import ALL, parse_rows
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.readers.reader import Reading
from tests.data.drafting.test_asked import (
    N,
    base,
    drafted,
    features,
    with_column,
)


class TestFeatures:
    @pytest.mark.parametrize(
        ("name", "cells", "spec", "told"),
        [
            (
                "t_stage",
                ["T1", "T2", "T3", "T4"] * 5 + ["T2-3"],
                {
                    "kind": "ordinal",
                    "levels": ["T1", "T2", "T3", "T4"],
                    "map": {"T2-3": None},
                },
                "'T2-3' (2 cells) is no T category",
            ),
            (
                "ajcc_stage",
                ["\u2160", "\u2161", "\u2162B"],
                {
                    "kind": "ordinal",
                    "levels": ["I", "II", "III", "IV"],
                    "map": {"\u2160": "I", "\u2161": "II", "\u2162B": "III"},
                },
                "",
            ),
            (
                "grade",
                [1, 2, 3, 9],
                {
                    "kind": "ordinal",
                    "levels": ["G1", "G2", "G3"],
                    "map": {"1": "G1", "2": "G2", "3": "G3", "9": None},
                },
                "'9' (15 cells) is no grade",
            ),
            (
                "sex",
                ["F", "female", "F", "M", "Male", "M", "W"],
                {
                    "kind": "category",
                    "levels": ["F", "M"],
                    "map": {"Male": "M", "W": "F", "female": "F"},
                },
                "'W', 'female' as 'F'",
            ),
            (
                "EBV",
                ["+", "-", "-", "pos", "negative", "-"],
                {"kind": "category", "levels": ["+", "-"], "map": {"negative": "-", "pos": "+"}},
                "'negative' as '-'",
            ),
            (
                "msi",
                ["MSS", "MSS", "MSI-H", "pMMR", "dMMR", "MSI-L"],
                {
                    "kind": "category",
                    "levels": ["MSI-H", "MSI-L", "MSS"],
                    "map": {"dMMR": "MSI-H", "pMMR": "MSS"},
                },
                "",
            ),
            ("bmi", [21.5, 30.1, 24.2, 27, 999], {"kind": "number", "map": {"999": None}}, "'999'"),
            ("cea", [1.5, 3.1, 4.2, 12.0, -9.0], {"kind": "number", "map": {"-9": None}}, "'-9'"),
            ("nodes", [0, 3, 10, 21, 98], {"kind": "number", "map": {"98": None}}, "'98'"),
            ("temperature", [-9, -3, 4, 21, 30], {"kind": "number"}, ""),
            ("percent", [0, 50, 70, 90, 99], {"kind": "number"}, ""),
            ("alb", ["35,3", "4,25", "7,214"], {"kind": "number", "decimal": ","}, "decimal"),
            ("plt", ["1,234", "878", "12,345"], {"kind": "number", "decimal": "."}, "thousands"),
            ("crp", ["<0.1", "3", "4.5", "7"], {"kind": "number"}, "15 cells give a bound"),
            ("size", ["<=2cm", ">2cm"], {"kind": "category", "levels": ["<=2cm", ">2cm"]}, ""),
            ("ca", ["5 ng/ml", "7.5 ng/ml"], {"kind": "number", "unit": "ng/ml"}, "the unit ng/ml"),
            ("ward", ["None", "A", "A"], {"kind": "category", "levels": ["A", "None"]}, "a level"),
        ],
    )
    def test_read_and_said(self, tmp_path, name, cells, spec, told):
        made = drafted(tmp_path, with_column(name, cells))
        assert features(made)[name] == spec
        assert told in " ".join(made.notes)
        assert not made.asked
        assert len(load_cohort(tmp_path / "study.yaml")) == N

    @pytest.mark.parametrize(
        ("name", "cells", "asked"),
        [
            ("lauren", [1, 2, 3], "column 'lauren': whole numbers where categories are usual"),
            ("x2", ["1", "2.5", "3", "4", "5", "6", "asked"], "give --missing 'asked'"),
        ],
    )
    def test_asked(self, tmp_path, name, cells, asked):
        assert asked in "".join(drafted(tmp_path, with_column(name, cells)).asked)

    def test_a_mark_that_nothing_tells_is_asked(self, tmp_path):
        frame = with_column("wbc", ["7,214", "6,103", "5,400"]).drop(columns=["x"])
        frame["os_months"] = frame["os_months"].round().astype(int) + 1
        assert "give --decimal , or --decimal ." in drafted(tmp_path, frame).asked[0]
        made = drafted(tmp_path, frame, decimal=",")
        assert not made.asked
        assert load_cohort(tmp_path / "study.yaml").values[0, 1] == pytest.approx(7.214)

    @pytest.mark.parametrize("swap", [False, True])
    def test_thousands_far_beyond_all_other_cells_are_asked(self, tmp_path, swap):
        cells = ["0.512", "4.774", "7.086", "3,151", "4,694", *["5.25"] * 7]
        cells = [cell.translate(str.maketrans(".,", ",.")) for cell in cells] if swap else cells
        frame = with_column("level", cells)
        made = drafted(tmp_path, frame)
        assert "column 'level': 10 cells are more than 10 times all others" in made.asked[0]
        assert drafted(tmp_path, frame, numbers=("level",)).asked == ()
        usual = with_column("level", ["998", "3,151", "4,694", "0.5"])
        assert drafted(tmp_path, usual).asked == ()

    def test_answers(self, tmp_path):
        frame = with_column("lauren", [1, 2, 3])
        made = drafted(tmp_path, frame, categories=("lauren",))
        assert features(made)["lauren"]["levels"] == ["1", "2", "3"]
        made = drafted(tmp_path, frame, numbers=("lauren",))
        assert (features(made)["lauren"]["kind"], made.asked) == ("number", ())

    @pytest.mark.parametrize("option", ["categories", "numbers"])
    def test_an_answer_on_a_column_that_is_not_there_is_refused(self, tmp_path, option):
        with pytest.raises(InputError, match=r"no column 'lauern' .*; did you mean 'lauren'"):
            drafted(tmp_path, with_column("lauren", [1, 2, 3]), **{option: ("lauern",)})

    def test_an_answer_names_the_column_or_the_key_in_its_cells(self, tmp_path):
        frame = with_column("ch1", ["lauren: 1", "lauren: 2", "lauren: 3"])
        for name in ("ch1", "lauren"):
            made = drafted(tmp_path, frame, categories=(name,))
            assert features(made)["lauren"]["levels"] == ["1", "2", "3"]


class TestNames:
    def test_keys_in_cells_name_the_features(self, tmp_path):
        frame = base().assign(
            ch1=[f"age: {40 + i % 40}" for i in range(N)],
            ch2=[f"censored: {i % 2}" for i in range(N)],
        )
        made = drafted(tmp_path, frame.drop(columns="stage"))
        assert features(made)["age"]["column"] == "ch1"
        with pytest.raises(InputError, match="column 'ch2': its name says censoring"):
            drafted(tmp_path, frame, event="ch2")

    def genes(self, *names: str) -> pd.DataFrame:
        rng = np.random.default_rng(2)
        values = rng.normal(7, 1, (N, len(names) + 2)).round(2)
        return base().join(pd.DataFrame(values, columns=["IL1R1", "CD68", *names]))

    def test_genes_that_became_dates(self, tmp_path):
        made = drafted(tmp_path, self.genes("2-Sep", "1-Mar"))
        assert features(made)["SEPTIN2"] == {"kind": "number", "column": "2-Sep"}
        assert "'1-Mar' are genes that a spreadsheet turned into dates" in " ".join(made.notes)

    def test_ensembl_ids(self, tmp_path):
        frame = self.genes().rename(columns={"IL1R1": "ENSG00000115594.12"})
        made = drafted(tmp_path, frame)
        assert features(made)["IL1R1"] == {"kind": "expression", "column": "ENSG00000115594.12"}

    def test_a_gene_among_genes_is_no_outcome(self, tmp_path):
        made = drafted(tmp_path, self.genes("EFS", "IDS"))
        assert {"EFS", "IDS"} <= set(features(made))
        alone = base().assign(EFS=base()["os_months"] * 0.9 + 0.05)
        assert "EFS" not in features(drafted(tmp_path, alone))

    @pytest.mark.parametrize("name", ["entry_months", "enrollment_days", "tstart", "dfi2_months"])
    def test_a_second_time_is_no_feature(self, tmp_path, name):
        frame = base()
        frame[name] = (frame["os_months"] * np.random.default_rng(3).random(N)).round(2)
        made = drafted(tmp_path, frame)
        assert name not in features(made)
        assert name in made.study["ignored"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["later"] * 10, True),
        (["to be asked", "declined", "unclear", "*?"], True),
        (["Ada", "Bo"] * 2, False),
        (["later", "later", "later"], False),
    ],
)
def test_words_in_a_few_cells_are_quoted_if_they_are_no_names(tmp_path, words, told):
    cells = [*words, *map(str, range(N - len(words)))]
    made = drafted(tmp_path, base().assign(x=cells))
    (asked,) = [each for each in made.asked if "words among numbers" in each]
    assert f"{len(words)} cells are words" in asked
    assert "--missing" in asked
    assert all((word in asked) == told for word in words)


def test_words_for_missing_are_those_of_the_user(tmp_path):
    cells = ["yes", "no", "asked later"] * (N // 3)
    reading = Reading(Words(missing=frozenset({"asked later"})))
    made = drafted(tmp_path, base().assign(chemo=cells), treatment="chemo", reading=reading)
    assert made.study["treatment"]["untreated"] == ["no"]


class TestTissue:
    def test_aliquots_of_a_patient_are_one_whichever_row_counts(self, tmp_path):
        frame = base().assign(pid=[f"TCGA-BR-{4000 + i // 2}-01A-1{i % 2}R" for i in range(N)])
        frame.loc[3, "pid"] = "TCGA-BR-4001-11A-11R"
        made = drafted(tmp_path, frame, id="pid", rows=parse_rows("first"))
        assert "60 rows of 30 patients: one row each (first); 1 rows of normal tissue" in (
            " ".join(made.notes)
        )

    @pytest.mark.parametrize(
        ("name", "way"), [("sample_type", "give --rows primary"), ("tissue", "remove them")]
    )
    def test_normal_tissue_of_other_people_is_asked(self, tmp_path, name, way):
        frame = base().assign(
            **{name: ["Primary Tumor", "Primary Tumor", "Solid Tissue Normal"] * 20}
        )
        made = drafted(tmp_path, frame)
        assert f"column '{name}': 20 rows are of normal tissue: {way}" in made.asked[0]
        assert not drafted(tmp_path, frame, rows=ALL).asked
        if name == "sample_type":
            drafted(tmp_path, frame, rows=parse_rows("primary"))
            assert len(load_cohort(tmp_path / "study.yaml")) == 40

    def test_a_normal_finding_is_not(self, tmp_path):
        assert not drafted(tmp_path, with_column("ldh", ["normal", "elevated"])).asked


class TestLevelsOfScales:
    def test_none_is_the_lowest_of_a_scale_that_has_it(self, tmp_path):
        made = drafted(tmp_path, with_column("ascites", ["none", "mild", "moderate", "severe"]))
        assert features(made)["ascites"]["levels"] == ["absent", "mild", "moderate", "severe"]
        assert len(load_cohort(tmp_path / "study.yaml")) == N

    def test_none_of_many_is_a_level_of_a_category_otherwise(self, tmp_path):
        made = drafted(tmp_path, with_column("pain", ["None", "low", "high"]))
        assert features(made)["pain"]["levels"] == ["None", "high", "low"]

    def test_none_of_few_is_missing_and_said(self, tmp_path):
        frame = with_column("grade", ["G1", "G2", "G3"])
        frame.loc[[3, 4], "grade"] = "None"
        made = drafted(tmp_path, frame)
        assert features(made)["grade"]["levels"] == ["G1", "G2", "G3"]
        assert "grade: 'None' (2 cells) is no grade and is taken for missing" in str(made.notes)
        assert len(load_cohort(tmp_path / "study.yaml")) == N

    def test_a_code_that_is_kept_as_a_level_is_said(self, tmp_path):
        made = drafted(tmp_path, with_column("race", [1, 2, 3, 98]), categories=("race",))
        assert "race: '98' (15 cells) looks like a code for unknown and is kept" in str(made.notes)
        made = drafted(tmp_path, with_column("race", [1, 2, 3, 9]), categories=("race",))
        assert "race: '9' (15 cells) looks like a code for unknown and is kept" in str(made.notes)
        made = drafted(tmp_path, with_column("race", [1, 7, 8, 9]), categories=("race",))
        assert "kept as a level" not in str(made.notes)

    @pytest.mark.parametrize(
        "cells", [["<50", "50-60", ">60"], ["40-49 years", "50-59 years", "60+ years"]]
    )
    def test_ranges_are_said_to_have_no_order(self, tmp_path, cells):
        assert "its levels are ranges" in str(drafted(tmp_path, with_column("band", cells)).notes)

    def test_german_and_chinese_grades_are_ordered(self, tmp_path):
        frame = with_column("Differenzierung", ["gut", "mäßig", "schlecht"])
        made = drafted(
            tmp_path, frame.assign(分化程度=np.repeat(["高分化", "中分化", "低分化"], 20))
        )
        assert features(made)["Differenzierung"]["levels"] == ["G1", "G2", "G3"]
        assert features(made)["分化程度"]["levels"] == ["G1", "G2", "G3"]
