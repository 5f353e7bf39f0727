"""A text that few patients have is drafted as no level, and stands in no bundle."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from accomplice.data.checks.check import check_study
from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.loading import load_cohort
from accomplice.data.study import load_study

N = 200
#: Texts of one to four patients each.
REMARKS = {"ward": "Mrs Miller, the mayor's wife", "t_stage": "refused by Miller 2019"}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "pid": [f"p{i:03}" for i in range(N)],
            "months": rng.exponential(20, N).round(1) + 0.1,
            "dead": rng.integers(0, 2, N),
            "act": rng.choice(["yes", "no"], N),
            "stage": rng.choice(["I", "II", "III"], N),
            "t_stage": rng.choice(["T1", "T2", "T3"], N),
            "ward": rng.choice(["north", "south", "west"], N),
        }
    )
    for column, remark in REMARKS.items():
        frame.loc[7, column] = remark
    frame.loc[[1, 2, 3, 4], "ward"] = "cellar"
    frame.loc[[1, 2, 3], "stage"] = "IV"
    return frame


def drafted(folder, frame, **options):
    frame.to_csv(folder / "t.csv", index=False)
    out = folder / "study.yaml"
    made = draft_study(folder / "t.csv", time="months", event="dead", out=out, **options)
    out.write_text(render_study(made), encoding="utf-8")
    return made, {n: f for fs in made.study["modalities"].values() for n, f in fs.items()}


def test_categories_of_few_are_other(tmp_path, frame):
    made, features = drafted(tmp_path, frame)
    ward = features["ward"]
    assert ward == {
        "kind": "category",
        "levels": ["north", "other", "south", "west"],
        "unlisted": "other",
    }
    assert any("(5 cells) is a level of few patients, read as 'other'" in n for n in made.notes)
    cohort = load_cohort(tmp_path / "study.yaml")
    column = cohort.values[:, list(cohort.study.features).index("ward")]
    assert (column == 1).sum() == 5


def test_an_order_is_kept_by_the_neighbour(tmp_path, frame):
    made, features = drafted(tmp_path, frame)
    assert features["stage"]["levels"] == ["I", "II", "III"]
    assert features["stage"]["map"] == {"IV": "III"}
    assert any("stage: IV (3 cells) is read as III" in note for note in made.notes)


def test_a_stage_at_which_the_treatment_is_no_option_stays(tmp_path, frame):
    _, features = drafted(tmp_path, frame, treatment="act")
    assert features["stage"]["levels"] == ["I", "II", "III", "IV"]
    assert "levels with fewer than 5 patients: 'stage'" in warned(tmp_path)


def test_no_remark_stands_in_the_study_file(tmp_path, frame):
    made, features = drafted(tmp_path, frame)
    text = (tmp_path / "study.yaml").read_text() + repr(made.notes)
    assert not any(remark in text for remark in REMARKS.values())
    assert features["t_stage"]["unlisted"] == "missing"
    load_cohort(tmp_path / "study.yaml")


def test_declared_levels_arms_and_centres_stay_with_a_warning(tmp_path, frame):
    frame["act"] = ["yes"] * 3 + ["no"] * (N - 3)
    drafted(tmp_path, frame.assign(hospital=frame["ward"]), treatment="act", centre="hospital")
    path = tmp_path / "study.yaml"
    path.write_text(
        path.read_text().replace(
            "[north, other, south, west]", "[cellar, north, other, south, west]"
        )
    )
    study = load_study(path)
    assert study.features["ward"].levels == ("cellar", "north", "other", "south", "west")
    assert study.treatment.treated == ("yes",)
    said = warned(tmp_path)
    assert re.search("levels with fewer than 5 patients: .*'ward'.*'act'", said)
    assert "fewer than 5 patients are in 2 of the 5 centres of column 'hospital'" in said


def warned(folder):
    return "\n".join(check_study(folder / "study.yaml").warnings)
