"""Tables of hospitals that do not write English: names, spellings, units, dates, missing words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.dates import is_date, read_dates
from accomplice.data.cells.missing import Words
from accomplice.data.cells.numbers import read_numbers
from accomplice.data.drafting.units import unit_named
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.panels.panel import load_panel
from accomplice.data.readers.reader import Reading
from tests.data.drafting.test_asked import N, base, drafted, features, survival, with_column


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("UICC-Stadium", ["I", "II", "III", "IV"]),
        ("estadio", ["I", "IIA", "III", "IV"]),
        ("stade", [1, 2, 3, 4]),
        ("分期", ["Ⅰ期", "Ⅱ期", "Ⅲ期", "Ⅳ期"]),
        ("Derived AJCC Stage Group, 7th ed (2010-2015)", ["IA", "IIB", "IIIC", "IV"]),
    ],
)
def test_a_stage_is_ordered(tmp_path, name, cells):
    made = drafted(tmp_path, with_column(name, cells).drop(columns="stage"))
    assert features(made)[name]["kind"] == "ordinal"
    assert features(made)[name]["levels"] == ["I", "II", "III", "IV"]
    assert made.study["baselines"]["stage"] == [name]


def test_roman_numerals_are_ordered_but_for_types(tmp_path):
    cells = ["I", "II", "III"]
    made = drafted(tmp_path, with_column("asa", cells).assign(siewert_type=np.repeat(cells, 20)))
    assert features(made)["asa"] == features(made)["asa"] | {"kind": "ordinal", "levels": cells}
    assert features(made)["siewert_type"]["kind"] == "category"
    assert "check the order of 'stage (I < II < III < IV)', 'asa (I < II < III)'" in str(made.notes)


@pytest.mark.parametrize(
    ("name", "cells", "levels"),
    [
        ("Geschlecht", ["m", "männl.", "männlich", "w", "weibl."], 2),
        ("sexe", ["H", "homme", "F", "femme"], 2),
        ("sexo", ["H", "hombre", "varón", "mujer"], 2),
        ("sexo", ["H", "M"], 2),
        ("性别", ["男", "男性", "女"], 2),
        ("Lauren", ["intestinaler Typ", "intestinal", "diffus", "diffuse", "Mischtyp", "mixed"], 3),
    ],
)
def test_spellings_are_one_level(tmp_path, name, cells, levels):
    made = drafted(tmp_path, with_column(name, cells))
    assert len(features(made)[name]["levels"]) == levels


def test_m_of_a_spanish_column_is_left_open():
    sex = load_panel().categories["Spanish sex"]
    assert sex.meaning("M", "sexo") is None
    assert sex.meaning("Hombre", "sexo") == sex.meaning("H", "sexo") == "Male"


@pytest.mark.parametrize("word", ["unbekannt", "inconnu", "desconocido", "不详", "not done"])
def test_a_level_that_may_mean_missing_is_said(tmp_path, word):
    frame = with_column("smoker", ["a", "b", "a", "b", word])
    made = drafted(tmp_path, frame)
    assert word in features(made)["smoker"]["levels"]
    assert f"smoker: '{word}' (12 cells) is taken for a level: give --missing '{word}'" in (
        str(made.notes)
    )
    again = drafted(tmp_path, frame, reading=Reading(words=Words(missing=frozenset({word}))))
    assert features(again)["smoker"]["levels"] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Überlebenszeit (Jahre)", "years"),
        ("os_tage", "days"),
        ("Lebensmonate", "months"),
        ("survie_jours", "days"),
        ("survie (mois)", "months"),
        ("supervivencia_años", "years"),
        ("生存时间(月)", "months"),
        ("生存天数", "days"),
        ("年龄", None),
        ("vital_status", None),
    ],
)
def test_the_unit_in_a_name(name, unit):
    assert unit_named(name) == unit


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        (["61 Jahre", "61 J"], "years"),
        (["61 years", "61 y"], "years"),
        (["61岁"], "years"),
        (["12 Monate", "12 mo"], "months"),
        (["12 y", "12 mo"], None),
    ],
)
def test_the_unit_in_cells(cells, unit):
    assert read_numbers(cells).unit == unit


def test_a_spreadsheets_mark_of_a_text_is_no_part_of_a_number(tmp_path):
    made = drafted(tmp_path, with_column("age", [f"'{61 + i}" for i in range(20)]))
    assert features(made)["age"]["range"] == [0, 120]


def test_a_spreadsheets_errors_are_asked(tmp_path):
    cells = ["21.5", "30.1", "24.4", "26.2"] * 5 + ["#DIV/0!", "#VALUE!"]
    frame = with_column("bmi", cells)
    made = drafted(tmp_path, frame)
    assert "give --missing '#DIV/0!,#VALUE!' if they mean missing" in made.asked[0]
    words = Words(missing=frozenset({"#div/0!", "#value!"}))
    made = drafted(tmp_path, frame, reading=Reading(words=words))
    assert features(made)["bmi"]["kind"] == "number"


def test_a_hospitals_number_is_no_measure(tmp_path):
    made = drafted(tmp_path, with_column("klinik_nr", [101, 102, 103, 105]))
    assert made.study["ignored"]["klinik_nr"].startswith("names the hospital")


@pytest.mark.parametrize(
    ("cell", "format"),
    [
        ("05MAR2015", "%d%b%Y"),
        ("2015年3月5日", "%Y年%m月%d日"),
        ("2015-03-05T00:00:00Z", "%Y-%m-%dT%H:%M:%SZ"),
        ("2015-03-05 00:00:00.000", "%Y-%m-%d %H:%M:%S.%f"),
    ],
)
def test_dates(cell, format):
    assert is_date(cell)
    days, found = read_dates(pd.Series([cell, cell]), None, "d")
    assert found == format
    assert days[0] == 16499


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            ["05.03.2015", "06.03.2015", "2015-03-05"],
            "2 of 3 are written as %d.%m.%Y, which the others must",
        ),
        (["42000", "42100", "42200"], "it holds dates as numbers"),
    ],
)
def test_dates_that_cannot_be_read(cells, said):
    with pytest.raises(InputError, match=said):
        read_dates(pd.Series(cells), None, "d")


class TestFollowUp:
    def dated(self, **odd: str) -> pd.DataFrame:
        days = pd.Timedelta(days=1) * np.arange(N)
        start = pd.DatetimeIndex(pd.Timestamp("2012-01-05") + days)
        end = pd.DatetimeIndex(start + pd.Timedelta(days=1) * (30 + 11 * np.arange(N)))
        frame = base().drop(columns="os_months")
        frame = frame.assign(op=start.strftime("%d.%m.%Y"), last=end.strftime("%d.%m.%Y"))
        for name, date in odd.items():
            frame.loc[[3, 4], name] = date
        return frame

    @pytest.mark.parametrize("odd", [{"op": "01.01.1900"}, {"last": "31.12.9999"}])
    def test_dates_that_mean_unknown_are_asked(self, tmp_path, odd):
        made = drafted(tmp_path, self.dated(**odd), time="last", start="op")
        assert "2 patients would have a follow-up of more than 50 years" in made.asked[0]
        words = Words(missing=frozenset(odd.values()))
        made = drafted(
            tmp_path, self.dated(**odd), time="last", start="op", reading=Reading(words=words)
        )
        assert not made.asked
        assert len(load_cohort(tmp_path / "study.yaml")) == N - 2

    def test_days_since_1960_are_no_follow_up(self, tmp_path):
        frame = base().drop(columns="os_months").assign(last=range(19_000, 19_000 + N))
        made = drafted(tmp_path, frame, time="last", unit="days")
        assert "no time is shorter than 19000: these seem to be dates" in made.asked[0]

    def test_long_survivors_are_read(self, tmp_path):
        frame = base().assign(os_months=[16.5 * 12 + 2 * i for i in range(N)])
        assert not drafted(tmp_path, frame).asked

    @pytest.mark.parametrize(
        ("cells", "said"),
        [
            (["12.3", "8+", "40.1+"], "20 of 60 times|they end with \\+, as R writes"),
            (["12 mo", "3 y", "7 mo"], "they name units that differ or are not known"),
            (["12.3", "late"], "correct or remove those rows"),
        ],
    )
    def test_times_that_are_no_numbers(self, tmp_path, cells, said):
        frame = with_column("os", cells).drop(columns="os_months")
        with pytest.raises(InputError, match=said):
            drafted(tmp_path, frame, time="os")

    def test_months_in_cells(self, tmp_path):
        frame = with_column("os", ["12.3 Monate", "8 Monate"]).drop(columns="os_months")
        assert survival(drafted(tmp_path, frame, time="os"))["unit"] == "months"
