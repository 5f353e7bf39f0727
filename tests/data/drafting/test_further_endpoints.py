"""Endpoints that a draft finds beside the one that the user names."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.loading import load_cohort
from tests.data.drafting.test_asked import N, base, drafted, features

TIMES = (base()["os_months"] / 2).round(2)
SEEN = [i % 3 == 0 for i in range(N)]


@pytest.mark.parametrize(
    ("time", "event", "cells", "name"),
    [
        ("DFS_MONTHS", "DFS_STATUS", ["1:Recurred", "0:DiseaseFree"], "dfs"),
        ("DSS.time", "DSS", [1, 0], "dss"),
        ("pfs_time", "pfs_event", ["yes", "no"], "pfs"),
        ("months_to_relapse", "relapse", [True, False], "dfs"),
    ],
)
def test_a_time_and_an_event_that_are_named_alike(tmp_path, time, event, cells, name):
    status = [cells[0] if each else cells[1] for each in SEEN]
    made = drafted(tmp_path, base().assign(**{time: TIMES, event: status}))
    raw = made.study["endpoints"]["survival"]
    assert list(raw) == ["os", name]
    assert (raw[name]["time"], raw[name]["event"]) == (time, event)
    assert not {time, event} & {*features(made), *made.study.get("ignored", {})}
    note = f"further endpoints: {name} ('{time}' in months, '{event}': 20 events of 60 patients)"
    assert any(each.startswith(note) for each in made.notes)
    cohort = load_cohort(tmp_path / "study.yaml", further=True)
    np.testing.assert_allclose(cohort.further[name].time, TIMES)
    assert cohort.further[name].event.tolist() == SEEN


def test_the_unit_is_the_names_or_that_of_the_first(tmp_path):
    frame = base().assign(dfs_days=TIMES * 30, dfs=SEEN, pfs_time=TIMES, pfs=SEEN)
    raw = drafted(tmp_path, frame.rename(columns={"os_months": "os_weeks"}), time="os_weeks").study
    units = {name: each["unit"] for name, each in raw["endpoints"]["survival"].items()}
    assert units == {"os": "weeks", "dfs": "days", "pfs": "weeks"}


def test_patients_without_it_are_left_out_of_it_alone(tmp_path):
    times = TIMES.where(np.arange(N) >= 25)
    drafted(tmp_path, base().assign(dfs_months=times, dfs_status=SEEN))
    cohort = load_cohort(tmp_path / "study.yaml", further=True)
    assert (len(cohort), len(cohort.further["dfs"])) == (60, 35)


@pytest.mark.parametrize(
    "columns",
    [
        {"dfs_months": TIMES},
        {"dfs_months": TIMES, "dfs_status": ["a", "b"] * 30},
        {"dfs_months": TIMES, "dfs_time": TIMES, "dfs_status": SEEN},
        {"dfs_months": TIMES, "relapse": SEEN},
        {"dfs_months": ["x"] * N, "dfs_status": SEEN},
        {"dfs_months": TIMES * 1000, "dfs_status": SEEN},
    ],
    ids=["no event", "no coding", "two times", "named otherwise", "no numbers", "too long"],
)
def test_what_is_not_plain_is_left_out(tmp_path, columns):
    made = drafted(tmp_path, base().assign(**columns))
    assert list(made.study["endpoints"]["survival"]) == ["os"]
    assert not made.asked
    assert not {*columns} & {*features(made)}
    if "dfs_status" in columns and isinstance(columns["dfs_months"], list):
        assert any("dfs: not drafted beside os: column 'dfs_months'" in n for n in made.notes)
