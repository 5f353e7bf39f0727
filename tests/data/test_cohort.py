from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.cohort import _centres, build_cohort
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.outcomes import code_events, survival_targets
from accomplice.data.rows.identifiers import patient_ids
from accomplice.data.study import parse_study
from accomplice.data.study_parts import SurvivalEndpoint, as_level

CANARY = "CANARY-7431"
NUMBER_CANARY = 7431.25

RAW = {
    "name": "s",
    "source": {"files": ["t.csv"]},
    "id": "pid",
    "centre": "site",
    "endpoints": {
        "survival": {"os": {"time": "months", "event": "dead"}},
        "binary": {"response": {"column": "recist", "positive": ["CR", "PR"], "negative": ["PD"]}},
    },
    "treatment": {"column": "act", "treated": ["yes"], "untreated": ["no"]},
    "modalities": {
        "clinical": {
            "age": {"kind": "number", "range": [0, 120]},
            "sex": {"kind": "category", "levels": ["F", "M"]},
        },
        "markers": {"IL1R1": {"kind": "expression"}},
    },
}


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pid": ["007", "b", "c", "d"],
            "site": ["A", "A", None, "B"],
            "months": [12.0, 24.0, 6.0, 60.0],
            "dead": [1, 0, 1, 0],
            "recist": ["CR", "PD", None, "PR"],
            "act": ["yes", "no", "no", None],
            "age": [61, 50, np.nan, 70],
            "sex": ["F", "M", "F", "M"],
            "IL1R1": [0.5, np.nan, 1.5, -1.0],
        }
    )


def study(**survival):
    raw = copy.deepcopy(RAW)
    raw["endpoints"]["survival"]["os"] |= survival
    return parse_study(raw, "x")


def refusal(frame: pd.DataFrame, **survival) -> str:
    """Return the text of the error, which must be one line without a patient's value."""
    with pytest.raises(InputError) as caught:
        build_cohort(study(**survival), frame)
    text = str(caught.value)
    assert "\n" not in text
    assert CANARY not in text
    assert "7431" not in text
    return text


def test_a_cohort_holds_the_table():
    cohort = build_cohort(study(), table())
    assert len(cohort) == 4
    assert cohort.ids.tolist() == ["007", "b", "c", "d"]
    assert cohort.time.tolist() == [12, 24, 6, 60]
    assert cohort.event.tolist() == [True, False, True, False]
    assert cohort.centre.tolist() == ["A", "A", "", "B"]
    np.testing.assert_array_equal(cohort.binary["response"], [1, 0, np.nan, 1])
    np.testing.assert_array_equal(
        cohort.values,
        [[61, 0, 0.5, 1], [50, 1, np.nan, 0], [np.nan, 0, 1.5, 0], [70, 1, -1, np.nan]],
    )
    assert cohort.horizon == 60
    assert build_cohort(study(horizon=36), table()).horizon == 36


class TestTreatment:
    def test_is_read_from_the_table(self):
        cohort = build_cohort(study(), table())
        np.testing.assert_array_equal(cohort.treated, [1, 0, 0, np.nan])
        np.testing.assert_array_equal(cohort.take(np.array([3, 0])).treated, [np.nan, 1])
        assert cohort.prognostic().treated is None

    @pytest.mark.parametrize(
        "feature",
        [
            None,
            {"kind": "category", "levels": ["yes", "no"]},
            {"kind": "category", "levels": ["no", "yes"]},
        ],
    )
    def test_prognostic_patients_are_the_same_but_for_it(self, feature):
        raw = copy.deepcopy(RAW)
        if feature is not None:
            # Among the other features, not behind them.
            clinical = raw["modalities"]["clinical"]
            raw["modalities"]["clinical"] = {"act": feature, **clinical}
        whole = build_cohort(parse_study(raw, "x"), table())
        blind = whole.prognostic()
        np.testing.assert_array_equal(whole.treated, [1, 0, 0, np.nan])
        assert list(blind.study.features) == ["age", "sex", "IL1R1"]
        np.testing.assert_array_equal(
            blind.values, [[61, 0, 0.5], [50, 1, np.nan], [np.nan, 0, 1.5], [70, 1, -1]]
        )
        for name in ("ids", "time", "event", "centre"):
            np.testing.assert_array_equal(getattr(blind, name), getattr(whole, name))
        assert blind.binary == whole.binary
        assert blind.horizon == whole.horizon
        assert blind.prognostic() is blind

    def test_has_no_part_in_the_prognostic_cohort(self):
        one = build_cohort(study(), table())
        other = build_cohort(study(), table().assign(act=["no", "yes", None, "yes"]))
        assert one.fingerprint() != other.fingerprint()
        assert one.prognostic().fingerprint() == other.prognostic().fingerprint()

    def test_what_changes_the_effect_changes_the_fingerprint(self):
        raw = copy.deepcopy(RAW)
        raw["treatment"]["landmark"] = 3
        other = build_cohort(parse_study(raw, "x"), table())
        assert other.fingerprint() != build_cohort(study(), table()).fingerprint()


@pytest.mark.parametrize(("unit", "months"), [("days", 12 / 365.25), ("years", 12), ("months", 1)])
def test_times_are_in_months(unit, months):
    assert build_cohort(study(unit=unit), table()).time[0] == pytest.approx(12 * months)


def test_rows_are_numbered_without_an_id():
    raw = {k: v for k, v in RAW.items() if k != "id"}
    assert build_cohort(parse_study(raw, "x"), table()).ids.tolist() == ["1", "2", "3", "4"]


@pytest.mark.parametrize("kind", ["str", object])
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [" 7 ", "1.0", "-3.0", "1.05", "x.0", ".0", "\u00a012.0\u2003", "00.0"]
            ),
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
        ),
        min_size=1,
    )
)
@settings(deadline=None, max_examples=50)
def test_ids_and_centres_are_written_as_levels_are(kind, texts):
    frame = pd.DataFrame({"pid": texts, "site": texts}, dtype=kind)
    expected = [as_level(text) for text in texts]
    assert patient_ids(parse_study(RAW, "x"), frame).tolist() == expected
    assert _centres(frame, "site").tolist() == expected


@pytest.mark.parametrize("ids", [[3, 1, 2], [3.0, 1.0, 2.0], ["3", "1.0", " 2"]])
def test_ids_are_the_same_however_they_are_stored(ids):
    frame = pd.DataFrame({"pid": ids})
    assert patient_ids(parse_study(RAW, "x"), frame).tolist() == ["3", "1", "2"]


class TestRefused:
    def test_a_missing_column_names_the_nearest(self):
        assert "no column 'IL1R1'; did you mean 'IL1R'" in refusal(
            table().rename(columns={"IL1R1": "IL1R"})
        )
        assert "no column 'months'; did you mean 'month'" in refusal(
            table().rename(columns={"months": "month"})
        )
        assert "no column 'dead'" in refusal(table().drop(columns="dead"))
        assert "id: no column 'pid'" in refusal(table().drop(columns="pid"))
        assert "centre: no column 'site'" in refusal(table().drop(columns="site"))
        assert "no column 'recist'" in refusal(table().drop(columns="recist"))
        assert "no column 'act'" in refusal(table().drop(columns="act"))

    def test_repeated_patients(self):
        text = refusal(table().assign(pid=[CANARY, CANARY, CANARY, "d"]))
        assert "column 'pid': 2 rows repeat a patient" in text

    def test_a_missing_id(self):
        assert "column 'pid': 1 rows have no id" in refusal(
            table().assign(pid=["a", None, "c", "d"])
        )

    def test_no_events(self):
        assert "column 'dead': no event among 4 patients" in refusal(table().assign(dead=0))

    @pytest.mark.parametrize(
        ("months", "expected"),
        [
            ([12, -NUMBER_CANARY, 6, -1], "2 of 4 times are negative"),
            ([12, 24, CANARY, "x"], "2 of 4 times are not numbers"),
            ([12, 24, 6, np.inf], "1 of 4 times are not numbers"),
            (
                [12, 0, 0, np.nan],
                "2 of 4 patients have no follow-up (1 without a time, 1 censored at time zero",
            ),
        ],
    )
    def test_times(self, months, expected):
        text = refusal(table().assign(months=pd.Series(months, dtype=object)))
        assert "'months'" in text
        assert expected in text

    def test_a_missing_event(self):
        text = refusal(table().assign(dead=[1, None, 0, 1]))
        assert "1 of 4 patients have no follow-up (1 without an event status)" in text

    @pytest.mark.parametrize("cells", [[1, 2, 1, 2], ["1", CANARY, CANARY, "0"]])
    def test_an_unknown_event_coding(self, cells):
        text = refusal(table().assign(dead=cells))
        assert "column 'dead': 2 of 4 values are neither 0/1" in text
        assert "event_values" in text

    def test_a_level_that_is_not_in_the_study(self):
        text = refusal(table().assign(sex=["F", CANARY, CANARY, "M"]))
        assert "column 'sex': 2 values are not among its levels 'F', 'M'" in text
        assert "column 'act': 1 values" in refusal(table().assign(act=["yes", "no", CANARY, "no"]))

    def test_numbers(self):
        cells = pd.Series(["61", CANARY, "50", "x"], dtype=object)
        assert "column 'age': 2 values are not numbers" in refusal(table().assign(age=cells))
        text = refusal(table().assign(age=[61, NUMBER_CANARY, 50, 60]))
        assert "column 'age': 1 values lie outside 0 to 120" in text

    def test_a_feature_without_any_value(self):
        assert "column 'IL1R1': no patient has a value" in refusal(table().assign(IL1R1=np.nan))

    def test_a_label_that_is_not_in_the_study(self):
        text = refusal(table().assign(recist=["CR", CANARY, "PD", None]))
        assert "column 'recist': 1 labels are listed neither under positive nor" in text

    @pytest.mark.parametrize("text", [None, "not a table", f"pid\n{CANARY}\n"])
    def test_a_file_that_is_not_a_table(self, tmp_path, text):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(RAW))
        if text is not None:
            (tmp_path / "t.csv").write_text(text)
        with pytest.raises(InputError, match=r"t\.csv: (no such file|not a table)") as caught:
            load_cohort(tmp_path / "study.yaml")
        assert CANARY not in str(caught.value)


class TestWithoutFollowUp:
    def frame(self):
        return table().assign(months=[12, 24, 0, np.nan], dead=[1, None, 1, 0])

    def test_left_out_and_counted(self):
        cohort = build_cohort(study(drop_without_follow_up=True), self.frame())
        assert (len(cohort), cohort.left_out) == (2, 2)
        assert cohort.ids.tolist() == ["007", "c"]
        # A death at time zero is put at half the smallest step between times.
        assert cohort.time.tolist() == [12, 6]
        assert len(cohort.values) == len(cohort.centre) == len(cohort.binary["response"]) == 2

    def test_what_they_hold_does_not_matter(self):
        frame = self.frame().assign(sex=["F", "Q", "F", "Q"], age=[60, 999, 60, 60])
        assert len(build_cohort(study(drop_without_follow_up=True), frame)) == 2

    def test_nobody_left(self):
        frame = table().assign(months=0.0)
        assert "no event among 0 patients" in refusal(frame, drop_without_follow_up=True)

    def test_negative_times_are_still_refused(self):
        assert "negative" in refusal(table().assign(months=-1.0), drop_without_follow_up=True)


@pytest.mark.parametrize(
    "cells",
    [
        [1, 0, None],
        [1.0, 0.0, None],
        ["1", "0", "NA"],
        [True, False, None],
        ["TRUE", "false", "unknown"],
        ["1:DECEASED", "0:LIVING", None],
        ["Dead", "ALIVE", ""],
        ["1:Recurred/Progressed", "0:DiseaseFree", "[Not Available]"],
    ],
)
def test_event_codings(cells):
    endpoint = SurvivalEndpoint(time="t", event="e")
    coded = code_events(pd.Series(cells, dtype=object), endpoint)
    np.testing.assert_array_equal(coded, [1, 0, np.nan])


def test_event_values_win():
    endpoint = SurvivalEndpoint(time="t", event="e", event_values=("2",))
    coded = code_events(pd.Series([1, 2, 2.0, None]), endpoint)
    np.testing.assert_array_equal(coded, [0, 1, 1, np.nan])


@given(
    st.lists(
        st.tuples(st.floats(0, 500) | st.none(), st.sampled_from([0, 1, None])),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None, max_examples=80)
def test_kept_targets_are_usable(rows):
    frame = pd.DataFrame(rows, columns=["t", "e"]).astype(object)
    endpoint = SurvivalEndpoint(time="t", event="e", drop_without_follow_up=True)
    followed = any(t is not None and t > 0 for t, _ in rows)
    usable = [t is not None and e is not None and (t > 0 or (followed and e == 1)) for t, e in rows]
    if not any(u and e == 1 for u, (_, e) in zip(usable, rows, strict=True)):
        with pytest.raises(InputError, match="no event"):
            survival_targets(frame, "os", endpoint)
        return
    time, event, keep = survival_targets(frame, "os", endpoint)
    assert keep.tolist() == usable
    assert np.isfinite(time[keep]).all()
    assert (time[keep] > 0).all()
    assert event.dtype == bool


class TestFingerprint:
    def test_is_stable_and_blind_to_where_the_table_lies(self):
        elsewhere = parse_study(RAW | {"source": {"files": ["other.csv"]}}, "x")
        whole = build_cohort(study(), table()).fingerprint()
        assert whole == build_cohort(study(), table()).fingerprint()
        assert whole == build_cohort(elsewhere, table()).fingerprint()

    @pytest.mark.parametrize(
        "change",
        [
            {"age": [61, 50, 1, 70]},
            {"months": 5.0},
            {"site": "A"},
            {"recist": "PD"},
            {"pid": list("wxyz")},
        ],
    )
    def test_sees_every_value(self, change):
        changed = build_cohort(study(), table().assign(**change))
        assert changed.fingerprint() != build_cohort(study(), table()).fingerprint()

    def test_sees_the_study(self):
        whole = build_cohort(study(), table()).fingerprint()
        assert whole != build_cohort(study(horizon=36), table()).fingerprint()


def test_take_keeps_rows_together():
    cohort = build_cohort(study(), table())
    part = cohort.take(np.array([2, 0]))
    assert part.ids.tolist() == ["c", "007"]
    assert part.time.tolist() == [6, 12]
    assert part.centre.tolist() == ["", "A"]
    np.testing.assert_array_equal(part.binary["response"], [np.nan, 1])
    np.testing.assert_array_equal(part.values, cohort.values[[2, 0]])
    assert cohort.take(cohort.event).ids.tolist() == ["007", "c"]


def test_joined_tables(tmp_path):
    raw = RAW | {"source": {"files": ["a.csv", "b.csv"]}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw))
    table().drop(columns="IL1R1").to_csv(tmp_path / "a.csv", index=False)
    table()[["pid", "IL1R1"]].iloc[::-1].to_csv(tmp_path / "b.csv", index=False)
    cohort = load_cohort(tmp_path / "study.yaml")
    assert cohort.ids.tolist() == ["007", "b", "c", "d"]
    np.testing.assert_array_equal(cohort.values[:, 2], [0.5, np.nan, 1.5, -1])
    (tmp_path / "study.yaml").write_text(
        yaml.safe_dump({k: v for k, v in raw.items() if k != "id"})
    )
    with pytest.raises(InputError, match="joined on the id column"):
        load_cohort(tmp_path / "study.yaml")


def test_a_treatment_given_as_numbers_may_have_no_other_ones():
    raw = copy.deepcopy(RAW)
    raw["treatment"] = {"column": "act", "treated": ["1"], "untreated": ["0"]}
    raw["modalities"]["clinical"]["act"] = {"kind": "number"}
    described, coded = parse_study(raw, "x"), [1, 0, None, 9]
    with pytest.raises(InputError, match=r"^column 'act': 1 values are listed neither"):
        build_cohort(described, table().assign(act=coded))
    found = build_cohort(described, table().assign(act=[1, 0, None, 1])).treated
    np.testing.assert_array_equal(found, [1, 0, np.nan, 1])


def test_a_listed_level_on_neither_side_is_unknown():
    raw = copy.deepcopy(RAW)
    raw["modalities"]["clinical"]["act"] = {"kind": "category", "levels": ["no", "yes", "other"]}
    found = build_cohort(parse_study(raw, "x"), table().assign(act=["yes", "no", "other", None]))
    np.testing.assert_array_equal(found.treated, [1, 0, np.nan, np.nan])
