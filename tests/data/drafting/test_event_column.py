"""Event columns that do not say whether the event was seen: refused, with the way out."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.drafting.identity import parse_rows
from accomplice.data.errors import InputError
from tests.data.drafting.test_asked import base, drafted, survival, with_column


def refusal(tmp_path, frame: pd.DataFrame, event: str = "dead", **options) -> str:
    with pytest.raises(InputError) as error:
        drafted(tmp_path, frame, event=event, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "cells", "way"),
    [
        ("zensiert", ["ja", "nein"], "--event-values nein"),
        ("Zensur", [0, 1], "--event-values 0"),
        ("censuré", ["oui", "non"], "--event-values non"),
        ("censurado", [0, 1], "--event-values 0"),
        ("删失", [1, 0], "--event-values 0"),
        ("lebt", ["ja", "nein"], "--event-values nein"),
        ("vivant", [1, 0], "--event-values 0"),
        ("存活", [1, 0], "--event-values 0"),
    ],
)
def test_a_flag_of_censoring_in_another_language_is_refused(tmp_path, name, cells, way):
    said = refusal(tmp_path, with_column(name, cells).drop(columns="dead"), name)
    assert f"column '{name}': its name says" in said
    assert way in said


def test_codes_that_can_all_mean_unknown_are_refused(tmp_path):
    said = refusal(tmp_path, with_column("status", [8, 9]).drop(columns="dead"), "status")
    assert "its codes '8', '9' do not tell which means the event" in said
    assert "--event-values VALUE, and --missing 8,9 if that means unknown" in said


def test_the_values_to_choose_from_are_quoted(tmp_path):
    frame = with_column("verstorben", ["ja", "nein"]).drop(columns="dead")
    said = refusal(tmp_path, frame, "verstorben")
    assert "name those of 'ja', 'nein' that mean the event" in said
    made = drafted(tmp_path, frame, event="verstorben", event_values=("ja",))
    assert survival(made)["event_values"] == ["ja"]


def test_values_of_few_patients_are_not_quoted(tmp_path):
    frame = with_column("state", ["ja", "nein"]).drop(columns="dead")
    frame.loc[3, "state"] = "see letter"
    assert "letter" not in refusal(tmp_path, frame, "state")


def test_minus_one_is_the_event(tmp_path):
    assert "(--event-values -1, as Access" in refusal(tmp_path, with_column("dead", [-1, 0]))


@pytest.mark.parametrize(("cell", "options"), [("1", {}), ("x", {"event_values": ("x",)})])
@pytest.mark.parametrize("dropped", [False, True])
def test_a_column_filled_for_events_alone_is_refused(tmp_path, cell, options, dropped):
    frame = with_column("dead", [cell, None, None])
    said = refusal(tmp_path, frame, drop_without_follow_up=dropped, **options)
    assert said.startswith("column 'dead': all 20 known cells mean the event, and 40 are blank")


def test_dates_tell_no_event(tmp_path):
    frame = with_column("died_on", ["2015-03-01", None]).drop(columns="dead")
    assert "column 'died_on': it holds dates" in refusal(tmp_path, frame, "died_on")


@pytest.mark.parametrize("word", ["N/A not seq 0-59", "Unknown status", "unbekannt"])
def test_a_value_that_means_unknown_beside_named_ones_is_asked(tmp_path, word):
    frame = with_column("cause", ["cancer", "alive", word]).drop(columns="dead")
    made = drafted(tmp_path, frame, event="cause", event_values=("cancer",))
    assert f"'{word}' looks like a code for unknown" in made.asked[0]


def test_no_row_left_is_an_error(tmp_path):
    frame = pd.concat([base(), base()]).assign(visit=[1] * 60 + [2] * 60)
    rows = parse_rows("latest_before:visit")
    said = refusal(tmp_path, frame, id="pid", rows=rows)
    assert "by column 'visit' no row is from before follow-up" in said
