"""Outcomes: patients without follow-up, and deaths that compete with a relapse."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.cells.missing import MISSING
from accomplice.data.outcomes import competing_deaths, follow_up
from accomplice.data.study_parts import SurvivalEndpoint

ENDPOINT = SurvivalEndpoint(time="t", event="e")


@pytest.mark.parametrize(
    ("time", "event", "said"),
    [
        (
            [None, 0, 0, 5, None, 7],
            [1, 0, None, None, None, 1],
            "2 without a time, 1 censored at time zero, 2 without an event status, "
            "1 with the event, 1 censored",
        ),
        (
            [0, 0, 0],
            [1, 0, None],
            "1 censored at time zero, 1 with the event at time zero, as no time is above zero, "
            "1 without an event status, 1 with the event, 1 censored",
        ),
    ],
)
def test_each_patient_without_follow_up_has_one_reason(time, event, said):
    left = follow_up(pd.DataFrame({"t": time, "e": event}), "os", ENDPOINT, MISSING)[2]
    assert left.counts() == said


class TestCompetingDeaths:
    def told(self, name="dfs", **columns):
        frame = pd.DataFrame(
            {
                "os_t": [9.0, 9.0, 9.0, 9.0],
                "os_e": [1, 1, 0, 0],
                "dfs_t": [4.0, 9.0, 5.0, 9.0],
                "dfs_e": [1, 0, 1, 0],
                **columns,
            }
        )
        endpoints = {
            "os": SurvivalEndpoint(time="os_t", event="os_e"),
            name: SurvivalEndpoint(time="dfs_t", event="dfs_e"),
        }
        return competing_deaths(frame, name, endpoints), competing_deaths(frame, "os", endpoints)

    @pytest.mark.parametrize("name", ["dfs", "relapse", "time_to_recurrence", "pfs", "dss"])
    def test_patients_who_died_without_the_event_are_counted(self, name):
        (warned,), silent = self.told(name)
        assert warned.startswith(f"1 of 2 patients censored in '{name}' died ('os')")
        assert silent == ()

    def test_deaths_that_count_as_events_are_no_competition(self):
        assert self.told(dfs_e=[1, 1, 1, 0]) == ((), ())

    def test_an_endpoint_that_cannot_be_read_is_left_out(self):
        assert self.told(os_e=["?", "x", "y", "z"])[0] == ()

    def test_two_endpoints_of_relapse_say_nothing_of_each_other(self):
        frame = pd.DataFrame({"t": [1.0, 2.0], "a": [1, 0], "b": [0, 1]})
        endpoints = {
            "dfs": SurvivalEndpoint(time="t", event="a"),
            "pfs": SurvivalEndpoint(time="t", event="b"),
        }
        assert competing_deaths(frame, "dfs", endpoints) == ()
