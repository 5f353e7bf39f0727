"""What a draft makes of tables that leave something open: asked, said, or refused with the way out.

Each case changes a plain table of 60 patients: their event depends on nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accomplice.data.drafting.draft import Answers, Draft, draft_study, render_study
from accomplice.data.drafting.identity import ALL, parse_rows
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
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
