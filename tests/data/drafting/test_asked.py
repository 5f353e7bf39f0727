"""What a draft makes of tables that leave something open: asked, said, or refused with the way out.

Each case changes a plain table of 60 patients: their event depends on nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.missing import Words
from accomplice.data.drafting.draft import Answers, Draft, draft_study, render_study
from accomplice.data.drafting.identity import ALL, parse_rows
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.readers.reader import Reading
from accomplice.data.study_parts import Rows

N = 60


def base() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "pid": [f"p{i:03}" for i in range(N)],
            "os_months": rng.exponential(20, N).round(1) + 0.1,
            "dead": rng.integers(0, 2, N),
            "x": rng.normal(size=N).round(3),
            "stage": rng.choice(["I", "II", "III", "IV"], N),
        }
    )


def with_column(name: str, cells: list[object]) -> pd.DataFrame:
    return base().assign(**{name: [cells[i % len(cells)] for i in range(N)]})


def drafted(
    folder: Path, frame: pd.DataFrame, *, time="os_months", event="dead", **options
) -> Draft:
    frame.to_csv(folder / "t.csv", index=False)
    own = Answers.__dataclass_fields__
    answers = Answers(**{key: value for key, value in options.items() if key in own})
    options = {key: value for key, value in options.items() if key not in own}
    out = folder / "study.yaml"
    made = draft_study(
        folder / "t.csv", time=time, event=event, out=out, answers=answers, **options
    )
    out.write_text(render_study(made), encoding="utf-8")
    return made


def features(made: Draft) -> dict:
    return {n: f for fs in made.study["modalities"].values() for n, f in fs.items()}


def survival(made: Draft) -> dict:
    (endpoint,) = made.study["endpoints"]["survival"].values()
    return endpoint


class TestEvent:
    @pytest.mark.parametrize(
        ("name", "cells", "expected"),
        [
            ("censored", [0, 1], "--event-values 0"),
            ("is_censored", ["yes", "no"], "--event-values no"),
            ("Alive", [1, 0], "says being without the event"),
            ("relapse_free", [1, 0], "says being without the event"),
            ("status", [1, 2], "--event-values 2"),
            ("status", [0, 1, 2], "--event-values 1 for one cause, 1,2 for any"),
            ("status", [0, 1, 9], "give --missing 9"),
        ],
    )
    def test_refused_with_the_way_out(self, tmp_path, name, cells, expected):
        frame = with_column(name, cells).drop(columns="dead")
        with pytest.raises(InputError, match=f"column '{name}'") as caught:
            drafted(tmp_path, frame, event=name)
        assert expected in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "cells", "values", "events"),
        [
            ("censored", [0, 1, 1], ("0",), 20),
            ("status", [1, 2, 1], ("2",), 20),
            ("status", [0, 1, 2], ("1", "2"), 40),
            ("vital", ["Living", "Died of Disease", "Died of Other Causes"], None, 40),
            ("vital", ["Living", "Died of Disease", "x"], ("died of disease",), 20),
            ("status", ["NED", "DOD", "AWD"], None, 20),
            ("event", ["Y", "N", "N"], None, 20),
            ("uncensored", [1, 0, 0], None, 20),
        ],
    )
    def test_read(self, tmp_path, name, cells, values, events):
        frame = with_column(name, cells).drop(columns="dead")
        made = drafted(tmp_path, frame, event=name, event_values=values)
        assert not made.asked
        assert int(load_cohort(tmp_path / "study.yaml").event.sum()) == events
        assert any(f"means the event: {events} of 60" in note for note in made.notes)

    def test_a_value_that_does_not_occur(self, tmp_path):
        with pytest.raises(InputError, match="no cell holds '3'"):
            drafted(tmp_path, base(), event_values=("3",))

    def test_unknown_beside_named_values_is_asked(self, tmp_path):
        frame = with_column("status", [1, 2, 9]).drop(columns="dead")
        made = drafted(tmp_path, frame, event="status", event_values=("2",))
        assert "'9' looks like a code for unknown" in made.asked[0]

    @pytest.mark.parametrize("event_first", [True, False])
    def test_cens_is_read_by_the_times(self, tmp_path, event_first):
        frame = base().sort_values("os_months")
        frame["cens"] = np.repeat([1, 0] if event_first else [0, 1], N // 2)
        frame = frame.drop(columns="dead")
        if event_first:
            assert not drafted(tmp_path, frame, event="cens").asked
            return
        with pytest.raises(InputError, match="leaves open whether '1' means the event"):
            drafted(tmp_path, frame, event="cens")
        made = drafted(tmp_path, frame, event="cens", event_values=("1",))
        assert survival(made)["event_values"] == ["1"]


class TestTime:
    @pytest.mark.parametrize(
        ("name", "factor", "unit", "found", "asked"),
        [
            ("os_days", 30, None, "days", ""),
            ("OS (months)", 1, None, "months", ""),
            ("survival_years", 0.1, None, "years", ""),
            ("OS.time", 30, None, "months", "years: give --unit days"),
            ("OS.time", 30, "days", "days", ""),
            ("time", 6, None, "months", "--unit months if it is right"),
            ("time", 6, "months", "months", ""),
            ("os_months", 300, "months", "months", "give --unit days"),
        ],
    )
    def test_units(self, tmp_path, name, factor, unit, found, asked):
        frame = base().rename(columns={"os_months": name})
        frame[name] = frame[name] * factor
        made = drafted(tmp_path, frame, time=name, unit=unit)
        assert survival(made)["unit"] == found
        assert asked in "".join(made.asked) if asked else not made.asked

    def test_a_name_that_says_another_unit(self, tmp_path):
        frame = base().rename(columns={"os_months": "os_days"})
        with pytest.raises(InputError, match="say days, --unit says months: give --unit days"):
            drafted(tmp_path, frame, time="os_days", unit="months")

    @pytest.mark.parametrize(
        ("cells", "look"),
        [
            (["2018-03-12", "2019-01-30"], "dates"),
            ([20180312, 20190130], "dates without marks"),
            ([43171, 43495], "serial dates"),
        ],
    )
    def test_dates_are_no_times(self, tmp_path, cells, look):
        with pytest.raises(InputError, match=f"it holds {look}, no times: .*--from START"):
            drafted(tmp_path, with_column("end", cells), time="end")

    def test_from_dates(self, tmp_path):
        frame = base()
        days = pd.to_timedelta((frame["os_months"] * 30).round(), unit="D")
        begin = pd.Timestamp("2015-01-01") + pd.to_timedelta(np.arange(N) * 7, unit="D")
        end = (begin + days).dt.strftime("%d.%m.%Y")
        dead = frame["dead"] == 1
        frame = frame.assign(op=begin.strftime("%d.%m.%Y"), death=end.where(dead), last=end)
        made = drafted(tmp_path, frame.drop(columns="os_months"), time="death,last", start="op")
        assert survival(made)["time"] == {
            "from": "op",
            "to": ["death", "last"],
            "format": "%d.%m.%Y",
        }
        cohort = load_cohort(tmp_path / "study.yaml")
        np.testing.assert_allclose(cohort.time, days.dt.days * 12 / 365.25)
        assert {"op", "death", "last"}.isdisjoint(features(made))

    def test_the_first_filled_of_several(self, tmp_path):
        frame = base()
        dead = frame["dead"] == 1
        frame = frame.assign(
            days_to_death=frame["os_months"].where(dead), days_to_last=frame["os_months"]
        ).drop(columns="os_months")
        columns = "days_to_death,days_to_last"
        made = drafted(tmp_path, frame, time=columns)
        assert survival(made)["time"] == {"first_of": columns.split(",")}
        assert survival(made)["unit"] == "days"
        assert len(load_cohort(tmp_path / "study.yaml")) == N
        with pytest.raises(InputError, match=r"all patients left out .* are censored.*--time A,B"):
            drafted(tmp_path, frame, time="days_to_death")
        made = drafted(tmp_path, frame, time="days_to_death", drop_without_follow_up=True)
        assert "the time of the censored is in another column" in made.asked[0]

    def test_those_left_out_are_counted_by_outcome(self, tmp_path):
        frame = base()
        frame.loc[:3, "os_months"] = [0, 0, 0, np.nan]
        frame.loc[:3, "dead"] = [1, 0, 0, 1]
        made = drafted(tmp_path, frame)
        told = " ".join(made.notes)
        assert "left out: 3 of 60" in told
        assert "2 censored at time zero, 1 with the event, 2 censored" in told
        assert "doubtful: 1 patients with the event have no time" in told
        assert "1 events at time zero are put at half the smallest step" in told
        assert load_cohort(tmp_path / "study.yaml").time[0] == pytest.approx(0.05)


class TestPatients:
    def twice(self) -> pd.DataFrame:
        frame = base().rename(columns={"pid": "patient_id"})
        return pd.concat([frame, frame.assign(x=frame["x"] + 1)], ignore_index=True)

    def test_rows_that_repeat_a_patient_are_refused(self, tmp_path):
        for id in (None, "patient_id"):
            with pytest.raises(InputError, match=r"60 rows repeat a patient .*--rows first"):
                drafted(tmp_path, self.twice(), id=id)

    @pytest.mark.parametrize(("how", "shift"), [("first", 0), ("last", 1), ("mean", 0.5)])
    def test_and_made_one(self, tmp_path, how, shift):
        made = drafted(tmp_path, self.twice(), rows=Rows(one_per_patient=how))
        assert made.study["rows"] == {"one_per_patient": how}
        cohort = load_cohort(tmp_path / "study.yaml")
        np.testing.assert_allclose(cohort.values[:, 0], base()["x"] + shift)
        assert any("120 rows of 60 patients" in note for note in cohort.notes)
        assert any("120 rows of 60 patients" in note for note in made.notes)

    def test_or_left_as_they_are(self, tmp_path):
        frame = self.twice().assign(sample_id=[f"s{i}" for i in range(2 * N)])
        assert not drafted(tmp_path, frame, rows=ALL, id="sample_id").asked
        assert len(load_cohort(tmp_path / "study.yaml")) == 2 * N

    def test_barcodes_of_tumour_and_normal(self, tmp_path):
        codes = [f"TCGA-A0-{i:04}-01A" for i in range(N)]
        normal = base().head(20).assign(pid=[code.replace("01A", "11A") for code in codes[:20]])
        frame = pd.concat([base().assign(pid=codes), normal]).rename(columns={"pid": "sample"})
        made = drafted(tmp_path, frame)
        assert made.study["rows"] == {"one_per_patient": "primary"}
        assert any("20 rows of normal tissue dropped" in note for note in made.notes)
        assert load_cohort(tmp_path / "study.yaml").ids[0] == "TCGA-A0-0000"

    def test_a_column_whose_rows_share_the_outcome_names_patients(self, tmp_path):
        frame = self.twice().rename(columns={"patient_id": "whom"})
        with pytest.raises(InputError, match="column 'whom': 60 rows repeat a patient"):
            drafted(tmp_path, frame)

    def test_rows_alike_without_an_identifier_are_asked_about(self, tmp_path):
        made = drafted(tmp_path, self.twice().drop(columns="patient_id"))
        assert "120 of 120 rows share the outcome and all clinical values" in made.asked[0]

    @pytest.mark.parametrize("name", ["hospital_no", "surgeon", "batch_id", "ward"])
    def test_groups_of_patients_are_no_patients(self, tmp_path, name):
        cells = [f"S{i:02}" for i in np.random.default_rng(1).integers(0, 25, N)]
        assert not drafted(tmp_path, base().assign(**{name: cells})).asked

    @pytest.mark.parametrize("option", ["newest", "latest_before", "latest_before:"])
    def test_options_that_are_none(self, option):
        with pytest.raises(InputError, match="is none of first"):
            parse_rows(option)
        assert parse_rows("latest_before:d").one_per_patient.latest_before == "d"


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


def test_a_horizon_beyond_the_follow_up_is_said(tmp_path):
    drafted(tmp_path, base())
    path = tmp_path / "study.yaml"
    path.write_text(path.read_text().replace("horizon: null", "horizon: 600"))
    assert any("600 months lies beyond the last" in note for note in load_cohort(path).notes)


class TestLaterTimes:
    def times(self) -> pd.DataFrame:
        dead = (np.arange(N) % 2 == 0).astype(int)
        last = 100 + 10 * np.arange(N)
        return (
            base()
            .drop(columns="os_months")
            .assign(dead=dead, last_days=last, death_days=np.where(dead == 1, last + 20, np.nan))
        )

    def test_a_later_time_of_the_event_is_asked(self, tmp_path):
        made = drafted(tmp_path, self.times(), time="last_days")
        assert "column 'death_days': it is filled for patients with the event" in made.asked[0]
        assert "--time death_days,last_days" in made.asked[0]
        made = drafted(tmp_path, self.times(), time="death_days,last_days")
        assert not made.asked

    def test_a_later_date_of_the_event_is_asked(self, tmp_path):
        frame, day = self.times(), pd.Timedelta(days=1)
        start = pd.Series([pd.Timestamp("2012-03-01")] * N)
        frame["op"] = start.dt.strftime("%Y-%m-%d")
        for name in ("last", "death"):
            dates = start + frame[f"{name}_days"] * day
            frame[f"{name}_date"] = dates.dt.strftime("%Y-%m-%d")
        frame = frame.drop(columns=["last_days", "death_days"])
        made = drafted(tmp_path, frame, time="last_date", start="op")
        assert "give --time death_date,last_date" in made.asked[0]
        assert not drafted(tmp_path, frame, time="death_date,last_date", start="op").asked

    @pytest.mark.parametrize("change", ["earlier", "all", "others", "relapse"])
    def test_others_are_not(self, tmp_path, change):
        frame = self.times()
        if change == "earlier":
            frame["death_days"] -= 50
        elif change == "relapse":
            made = drafted(
                tmp_path, frame.rename(columns={"dead": "dfs"}), time="last_days", event="dfs"
            )
            assert not made.asked
            return
        elif change == "all":
            frame["death_days"] = frame["last_days"] + 20.0
            frame.loc[3, "death_days"] = np.nan
        else:
            frame["death_days"] = np.where(np.arange(N) % 3 == 0, frame["last_days"] + 20, np.nan)
        assert not drafted(tmp_path, frame, time="last_days").asked


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
