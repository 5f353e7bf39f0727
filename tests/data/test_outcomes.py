"""Outcomes: patients without follow-up, counted by reason."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.cells.missing import MISSING
from accomplice.data.outcomes import follow_up
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
