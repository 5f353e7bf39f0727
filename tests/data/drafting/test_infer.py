"""What is made of single columns, seen from a whole draft: infer.py and screen.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accomplice.data.drafting.draft import Draft, draft_study, render_study
from accomplice.data.loading import load_cohort
from accomplice.data.panels.panel import KNOWN_AFTER

N = 60


def base(n: int = N, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "pid": [f"p{i:03}" for i in range(n)],
            "t": rng.exponential(30, n).round(2) + 0.01,
            "e": rng.random(n) < 0.5,
            "x": rng.normal(size=n).round(3),
        }
    )


def draft(tmp_path: Path, frame: pd.DataFrame) -> Draft:
    frame.to_csv(tmp_path / "table.csv", index=False)
    drafted = draft_study(tmp_path / "table.csv", time="t", event="e", out=tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text(render_study(drafted), encoding="utf-8")
    return drafted


def features(drafted: Draft) -> dict:
    return {n: f for fs in drafted.study["modalities"].values() for n, f in fs.items()}


def with_column(cells, name="column", n=N) -> pd.DataFrame:
    return base(n).assign(**{name: [cells[i % len(cells)] for i in range(n)]})


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "cells", "expected"),
        [
            ("bmi", [21.5, 30.0, 27.1], {"kind": "number"}),
            ("flag", [0, 1, 1], {"kind": "number"}),
            ("flag", [0, 1, None], {"kind": "number"}),
            ("n", ["1.5", "unknown", "3", "7"], {"kind": "number"}),
            ("age", [61, 70, 48], {"kind": "number", "unit": "years", "range": [0, 120]}),
            ("age", [61, 70, 999], {"kind": "number"}),
            ("c", ["1,5", "2,25", "3,0"], {"kind": "number", "decimal": ","}),
            ("arm", ["B", "A", "A"], {"kind": "category", "levels": ["A", "B"]}),
            ("q", ["yes", "no", None], {"kind": "category", "levels": ["no", "yes"]}),
            ("q", [True, False, False], {"kind": "category", "levels": ["False", "True"]}),
            ("q", [True, False, None], {"kind": "category", "levels": ["False", "True"]}),
            (
                "ort",
                ["Köln", "Köln", "Ulm", "köln ", "日本"],
                {"kind": "category", "levels": ["Köln", "Ulm", "日本"], "map": {"köln": "Köln"}},
            ),
            ("IL1R1", [0.1, 0.2, 0.3], {"kind": "expression"}),
            ("cd206_log2_tpm", [0.1, 0.2, 0.3], {"kind": "expression"}),
            ("CD68_ihc", [10.0, 0.0, 31.5], {"kind": "density"}),
            ("tumour cells per mm2", [10.0, 0.0, 31.5], {"kind": "density"}),
            ("CD8_density", [10.0, -1.0, 31.5], {"kind": "number"}),
            ("IL1R1_high", [0, 1, 1], {"kind": "number"}),
            (
                "risk",
                ["High", "low", "medium"],
                {
                    "kind": "ordinal",
                    "levels": ["low", "medium", "high"],
                    "map": {"High": "high"},
                },
            ),
            ("expr", ["low", "high"], {"kind": "ordinal", "levels": ["low", "high"]}),
            (
                "her2",
                ["0", "1+", "2+", "3+"],
                {"kind": "ordinal", "levels": ["0", "1+", "2+", "3+"]},
            ),
        ],
    )
    def test_of_a_column(self, tmp_path, name, cells, expected):
        assert features(draft(tmp_path, with_column(cells, name)))[name] == expected

    @pytest.mark.parametrize(
        ("cells", "name"),
        [
            (["STAGE IIIB", "Stage IB", "STAGE IV", "Stage II"], "anything"),
            (["IIIB", "IB", "IV", "II", None], "ajcc_pathologic_stage"),
            ([3, 1, 4, 2], "stage"),
            ([3.0, 1.0, 4.0, None], "Stage"),
        ],
    )
    def test_of_a_stage(self, tmp_path, cells, name):
        drafted = draft(tmp_path, with_column(cells, name))
        assert features(drafted)[name]["levels"] == ["I", "II", "III", "IV"]
        assert drafted.study["baselines"]["stage"] == [name]
        values = load_cohort(tmp_path / "study.yaml").values
        j = list(features(drafted)).index(name)
        assert values[0, j] == 2
        assert values[1, j] == 0

    @pytest.mark.parametrize(
        ("name", "cells", "levels", "coded"),
        [
            ("t", ["T2B", "TX", "pT4a", "T3"], ["T1", "T2", "T3", "T4"], [1, np.nan, 3, 2]),
            ("n", ["N3A", "NX", "N0", "N1"], ["N0", "N1", "N2", "N3"], [3, np.nan, 0, 1]),
            ("m", ["M1", "MX", "M0", "M0"], ["M0", "M1"], [1, np.nan, 0, 0]),
            ("path_M", ["1", "X", "0", "0"], ["M0", "M1"], [1, np.nan, 0, 0]),
            ("t_stage", [2, 3, 4, 1], ["T1", "T2", "T3", "T4"], [1, 2, 3, 0]),
            ("grade", ["G1", "GX", "G3", "G2"], ["G1", "G2", "G3"], [0, np.nan, 2, 1]),
            ("r", ["R0", "RX", "R1", "R0"], ["R0", "R1"], [0, np.nan, 1, 0]),
        ],
    )
    def test_of_codes(self, tmp_path, name, cells, levels, coded):
        if name == "path_M":
            name = "path_m_stage"
        elif len(name) == 1:
            name = f"{name}_code"
        drafted = draft(tmp_path, with_column(cells, name))
        assert features(drafted)[name]["levels"] == levels
        cohort = load_cohort(tmp_path / "study.yaml")
        j = list(features(drafted)).index(name)
        np.testing.assert_array_equal(cohort.values[:4, j], coded)


class TestIgnored:
    @pytest.mark.parametrize(
        ("name", "cells", "reason"),
        [
            ("c", ["1", "2", "3", "4", "5", "6", "high"], "numbers and text in one column"),
            ("c", ["2020-01-03", "2021-11-30", "2019-05-06"], "a date"),
            ("c", ["3.1.2020", "30.11.2021", "6.5.19"], "a date"),
            ("c", [5, 5, 5], "the same value for every patient"),
            ("c", ["a", "A ", "a"], "the same value for every patient"),
            ("c", ["M0", "MX"], "the same value for every patient"),
            ("c", [None], "no patient has a value"),
            ("c", ["?", "unknown"], "no patient has a value"),
            ("c", [1.0] + [None] * 29, "fewer than 5 %"),
            ("c", [f"w{i}" for i in range(N)], "another text for nearly every patient"),
            ("c", [f"w{i}" for i in range(25)], "too many levels"),
            ("c", list(range(1, N + 1)), "numbers the rows"),
            ("sample_id", [f"s{i}" for i in range(7)], "an identifier"),
            ("dx_year", [2001, 2004, 2011], "about the record"),
            ("Hospital", ["A", "B", "C"], "--centre"),
            ("pfs_months", [1.0, 4.0, 2.5], KNOWN_AFTER),
            ("DSS_STATUS", ["0:ALIVE", "1:DEAD WITH TUMOR"], KNOWN_AFTER),
            ("vital status", ["x", "y"], KNOWN_AFTER),
            ("NEW_TUMOR_EVENT_AFTER_INITIAL_TREATMENT", ["Yes", "No"], KNOWN_AFTER),
            ("tumor_status", ["WITH TUMOR", "TUMOR FREE"], KNOWN_AFTER),
            ("primary_therapy_outcome", ["Stable Disease", "other"], KNOWN_AFTER),
            ("cause_of_death", ["tumour", "other"], KNOWN_AFTER),
            ("last_contact_days", [10.0, 20.0, 15.0], KNOWN_AFTER),
        ],
    )
    def test_with_the_reason(self, tmp_path, name, cells, reason):
        drafted = draft(tmp_path, with_column(cells, name))
        assert name not in features(drafted)
        assert reason in drafted.study["ignored"][name]
        assert any(f"'{name}'" in note for note in drafted.notes)

    @pytest.mark.parametrize(
        "leak",
        [
            lambda f: f["t"] / 30.4,
            lambda f: -np.log(f["t"]),
            lambda f: f["t"].where(f["e"]),
            lambda f: f["t"] + np.where(np.arange(N) % 7, 0, 0.5),
            lambda f: f["e"].astype(int),
            lambda f: np.where(f["e"], "gone", "here"),
            lambda f: np.where(f["e"], np.arange(N) % 3 + 1, 0),
            lambda f: f["x"].where(f["e"]) ** 2,
        ],
        ids=[
            "time",
            "time upside down",
            "time of the dead",
            "nearly time",
            "event",
            "event in text",
            "event in three",
            "only of the dead",
        ],
    )
    def test_what_gives_the_outcome_away(self, tmp_path, leak):
        frame = base()
        drafted = draft(tmp_path, frame.assign(innocent=leak(frame)))
        assert KNOWN_AFTER in drafted.study["ignored"]["innocent"]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (lambda f: f["x"], lambda f: f["x"] ** 3),
            (lambda f: f["x"], lambda f: -f["x"]),
            (lambda f: np.where(f["x"] > 0, "f", "m"), lambda f: (f["x"] < 0).astype(int)),
            (lambda f: np.arange(N) % 3, lambda f: 10 - 2 * (np.arange(N) % 3)),
        ],
    )
    def test_what_another_column_says(self, tmp_path, first, second):
        frame = base()
        frame = frame.drop(columns="x").assign(u=first(frame), z=frame["x"] ** 2, w=second(frame))
        drafted = draft(tmp_path, frame)
        assert list(features(drafted)) == ["u", "z"]
        assert "'u'" in drafted.study["ignored"]["w"]

    def test_one_stage_of_two_that_agree(self, tmp_path):
        rng = np.random.default_rng(1)
        stage = rng.integers(1, 5, N)
        text = np.array(["Stage I", "Stage IIA", "Stage III", "Stage IV"], dtype=object)[stage - 1]
        text[:5] = None
        drafted = draft(tmp_path, base().assign(stage=stage, tnm_stage=text))
        assert "stage" in features(drafted)
        assert "the overall stage again" in drafted.study["ignored"]["tnm_stage"]

    def test_another_column_of_the_same_gene(self, tmp_path):
        rng = np.random.default_rng(1)
        genes = rng.normal(size=(N, 3))
        frame = base().assign(PDCD1=genes[:, 0], **{"PD-1 log2": genes[:, 1]})
        drafted = draft(tmp_path, frame.assign(PD1_ihc=np.exp(genes[:, 2])))
        assert list(drafted.study["modalities"]["t_cell"]) == ["PDCD1", "PD1_ihc"]
        assert "'PDCD1' is kept" in drafted.study["ignored"]["PD-1 log2"]
