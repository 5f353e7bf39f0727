"""Roles of columns in a draft, and tables that no draft is made of."""

import numpy as np
import pytest

from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.panels.panel import KNOWN_AFTER
from tests.data.drafting.test_draft import (
    CANARY,
    N,
    base,
    draft,
    with_column,
)


class TestRoles:
    def test_the_id_is_found_by_name(self, tmp_path):
        assert (
            draft(tmp_path, base().rename(columns={"pid": "Patient ID"})).study["id"]
            == "Patient ID"
        )
        assert "id" not in draft(tmp_path, base().drop(columns="pid")).study
        twice = base().assign(pid="p")
        assert "id" not in draft(tmp_path, twice).study

    def test_a_named_id_keeps_its_zeros(self, tmp_path):
        frame = base().assign(code=[f"{i:04}" for i in range(N)])
        draft(tmp_path, frame, id="code")
        assert load_cohort(tmp_path / "study.yaml").ids[1] == "0001"

    def test_everything_named(self, tmp_path):
        frame = base().assign(
            site=["A", "B", "C"] * (N // 3),
            act=["Yes", "no", "YES", None] * (N // 4),
            recist=["PR", "SD", "CR", "PD", None] * (N // 5),
            IL1R1=np.random.default_rng(0).normal(size=N),
            MSI=["MSI-H", "MSS", "MSS"] * (N // 3),
        )
        study = draft(
            tmp_path, frame, centre="site", treatment="act", response="recist", unit="weeks",
            name="mine",
        ).study  # fmt: skip
        assert study["name"] == "mine"
        assert study["centre"] == "site"
        assert study["treatment"] == {
            "column": "act",
            "treated": ["YES", "Yes"],
            "untreated": ["no"],
            "label": "chemotherapy",
            "expected_hr": [0.51, 1.0],
            "expected_hr_source": study["treatment"]["expected_hr_source"],
        }
        assert "ACTS-GC" in study["treatment"]["expected_hr_source"]
        assert study["endpoints"]["binary"]["response"] == {
            "column": "recist",
            "positive": ["CR", "PR"],
            "negative": ["PD", "SD"],
            "features": ["MSI", "IL1R1"],
        }
        assert study["endpoints"]["survival"]["survival"]["unit"] == "weeks"
        assert study["interactions"] == [["act", "IL1R1"], ["act", "MSI"]]
        cohort = load_cohort(tmp_path / "study.yaml")
        assert cohort.study.blocks["treatment"] == (3,)

    @pytest.mark.parametrize(
        ("cells", "treated"),
        [
            ([1, 0], ["1"]),
            ([1.0, 0.0, None], ["1"]),
            ([True, False], ["True"]),
            (["treated", "untreated"], ["treated"]),
            (["surgery", "FOLFOX"], ["FOLFOX"]),
            (["Surgery + chemo", "surgery alone"], ["Surgery + chemo"]),
        ],
    )
    def test_treatments(self, tmp_path, cells, treated):
        study = draft(tmp_path, with_column(cells, "arm"), treatment="arm").study
        assert study["treatment"]["treated"] == treated

    @pytest.mark.parametrize(
        "cells", [["A", "B"], ["yes", "no", CANARY], ["yes"], [1, 2], [CANARY, "y1", "y2"]]
    )
    @pytest.mark.parametrize("role", ["treatment", "response"])
    def test_two_sides_that_cannot_be_told(self, tmp_path, cells, role):
        frame = with_column(cells, "arm")
        if cells == [1, 2]:
            frame["arm"] = frame["arm"] * 3
        with pytest.raises(InputError, match="column 'arm': ") as caught:
            draft(tmp_path, frame, **{role: "arm"})
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize(
        ("cells", "positive"),
        [
            (["Complete Response", "Partial Remission/Response", "Stable Disease"], 2),
            ([1, 0, None], 1),
            (["responder", "non-responder"], 1),
        ],
    )
    def test_responses(self, tmp_path, cells, positive):
        study = draft(tmp_path, with_column(cells, "best"), response="best").study
        assert len(study["endpoints"]["binary"]["response"]["positive"]) == positive

    def test_a_response_has_the_few_inputs_that_the_panel_knows(self, tmp_path):
        rng = np.random.default_rng(0)
        frame = with_column([1, 0, 1, None], "best").assign(
            CD8_ihc=rng.lognormal(size=N), EBV=["neg", "pos", "neg"] * (N // 3), FAP=rng.random(N)
        )
        drafted = draft(tmp_path, frame, response="best")
        binary = drafted.study["endpoints"]["binary"]["response"]
        assert binary["features"] == ["EBV", "CD8_ihc"]
        assert any("response: its inputs are 'EBV', 'CD8_ihc'" in note for note in drafted.notes)
        none = draft(tmp_path, with_column([1, 0, 1, None], "best"), response="best")
        assert "features" not in none.study["endpoints"]["binary"]["response"]

    def test_a_copy_of_the_response_is_no_feature(self, tmp_path):
        frame = with_column([1, 0, 1, None], "best").assign(again=["p", "n", "p", None] * (N // 4))
        drafted = draft(tmp_path, frame, response="best")
        assert KNOWN_AFTER in drafted.study["ignored"]["again"]

    @pytest.mark.parametrize(
        ("column", "name"), [("os_months", "os"), ("DFS time", "dfs"), ("t", "survival")]
    )
    def test_the_endpoint_is_named_after_its_time(self, tmp_path, column, name):
        study = draft(tmp_path, base().rename(columns={"t": column}), time=column).study
        assert list(study["endpoints"]["survival"]) == [name]


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"time": "tt"}, "time: no column 'tt'; did you mean 't'"),
            ({"event": "evnt"}, "event: no column 'evnt'"),
            ({"time": None}, "name the column of the time"),
            ({"event": None}, "name the column of the event"),
            ({"id": "pidd"}, "id: no column 'pidd'; did you mean 'pid'"),
            ({"centre": "c"}, "centre: no column 'c'"),
            ({"treatment": "c"}, "treatment: no column 'c'"),
            ({"response": "c"}, "response: no column 'c'"),
            ({"unit": "fortnights"}, "'fortnights' is not one of 'days'"),
            ({"event": "t"}, "column 't' is named for time already"),
            ({"name": "a b"}, "name"),
        ],
    )
    def test_options(self, tmp_path, options, expected):
        with pytest.raises(InputError) as caught:
            draft(tmp_path, base(), **options)
        assert expected in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"t": -1.0}, "60 of 60 times are negative"),
            ({"t": CANARY}, "60 of 60 times are not numbers"),
            ({"e": 0}, "no event"),
            ({"e": CANARY}, "60 of 60 values are neither 0/1"),
            (
                {"t": [0.0] * 7 + [5.0] * (N - 7), "e": [False] * 8 + [True] * (N - 8)},
                "7 of 60 patients have no follow-up",
            ),
            ({"x": 1}, "no column can be a feature: the same value for every patient: 'x'"),
        ],
    )
    def test_tables(self, tmp_path, change, expected):
        with pytest.raises(InputError) as caught:
            draft(tmp_path, base().assign(**change))
        assert expected in str(caught.value)
        assert CANARY not in str(caught.value)

    def test_repeated_patients(self, tmp_path):
        with pytest.raises(InputError, match="59 rows repeat a patient"):
            draft(tmp_path, base().assign(pid="p"), id="pid")
