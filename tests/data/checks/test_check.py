from __future__ import annotations

import io
import re
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from accomplice.data.checks.check import check_study, median_follow_up, render
from accomplice.data.drafting.leaks import near_copies
from accomplice.data.errors import InputError

N = 80


@pytest.fixture
def frame():
    rng = np.random.default_rng(3)
    x = rng.normal(size=N)
    return pd.DataFrame(
        {
            "t": rng.exponential(40, N) + 1,
            "e": np.arange(N) % 2,
            "x": x,
            "nearly_x": x + rng.normal(size=N) * 1e-3,
            "sparse": np.where(np.arange(N) < 30, x**2, np.nan),
            "few": np.where(np.arange(N) < 3, 1.5 + np.arange(N), np.nan),
            "stage": ["I", "II", "III [x]", "II"] * (N // 4),
            "rare": ["a"] * 3 + ["b"] * (N - 3),
            "act": ["yes", "no"] * (N // 2),
        }
    )


def study(tmp_path, frame, horizon=None):
    raw = {
        "name": "demo",
        "source": {"files": ["t.csv"]},
        "endpoints": {
            "survival": {
                "os": {
                    "time": "t",
                    "event": "e",
                    "horizon": horizon,
                    "drop_without_follow_up": True,
                }
            }
        },
        "treatment": {"column": "act", "treated": ["yes"], "untreated": ["no"]},
        "modalities": {
            "clinical": {
                "x": {"kind": "number"},
                "nearly_x": {"kind": "number"},
                "sparse": {"kind": "number"},
                "few": {"kind": "number"},
                "stage": {"kind": "ordinal", "levels": ["I", "II", "III [x]", "IV"]},
                "rare": {"kind": "category", "levels": ["a", "b"]},
            }
        },
    }
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return tmp_path / "study.yaml"


def test_counts(tmp_path, frame):
    frame.loc[0, "t"] = 0.0
    report = check_study(study(tmp_path, frame))
    assert (report.study, report.n, report.binary) == ("demo", N - 1, ())
    (os,) = report.survival
    assert (os.endpoint, os.n, os.left_out, os.events) == ("os", N - 1, 1, 40)
    assert frame["t"].max() <= os.horizon <= frame["t"].max() * 1.01


def test_times_of_decades_throw_doubt_on_the_unit(tmp_path, frame):
    path = study(tmp_path, frame.assign(t=frame["t"] * 30.4))
    raw = yaml.safe_load(path.read_text())
    assert any("unit: days" in line for line in check_study(path).warnings)
    raw["endpoints"]["survival"]["os"]["unit"] = "days"
    path.write_text(yaml.safe_dump(raw))
    assert not any("unit: days" in line for line in check_study(path).warnings)


def test_features(tmp_path, frame):
    rows = {row.name: row for row in check_study(study(tmp_path, frame)).features}
    assert rows["act"].modality == "treatment"
    assert rows["sparse"].missing == pytest.approx(50 / 80)
    assert rows["stage"].values == "I: 20, II: 40, III [x]: 20, IV: 0"
    assert rows["rare"].values == "a: < 5, b: 77"
    assert rows["few"].values == "too few to sum up"
    quartiles = np.quantile(frame["x"], (0.25, 0.5, 0.75))
    assert rows["x"].values == " / ".join(f"{q:.3g}" for q in quartiles)


def test_warnings(tmp_path, frame):
    warned = "\n".join(check_study(study(tmp_path, frame, horizon=5000)).warnings)
    assert "the horizon of 5000 months lies beyond the last follow-up (os)" in warned
    assert "8 parameters need" not in warned
    assert re.search(
        r"7 parameters need \d+ patients with \d+ events by month 5000 \(os; .*; there are 80 with "
        r"40: expect "
        r"effects to shrink to 0\.\d\d of",
        warned,
    )
    assert "levels with fewer than 5 patients: 'rare'" in warned
    assert "more than half of the values are missing: 'sparse', 'few'" in warned
    assert "nearly the same: 'x and nearly_x'" in warned


def test_a_repeated_feature_is_told(tmp_path, frame):
    path = study(tmp_path, frame)
    raw = yaml.safe_load(path.read_text())
    raw["modalities"]["clinical"]["again"] = {
        "column": "rare",
        **raw["modalities"]["clinical"]["rare"],
    }
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    told = "the same in all patients, and so not read: 'again (as rare)'"
    assert told in check_study(path).warnings
    assert told not in check_study(study(tmp_path, frame)).warnings


def test_the_sample_size_counts_what_is_read_and_seen_by_the_horizon(tmp_path, frame):
    path = study(tmp_path, frame, horizon=30)
    raw = yaml.safe_load(path.read_text())
    clinical = raw["modalities"]["clinical"]
    clinical["rare"]["levels"] += ["c", "d"]
    clinical |= {"again": {"column": "rare", **clinical["rare"]}, "same": {"kind": "number"}}
    frame.assign(same=1.0).to_csv(tmp_path / "t.csv", index=False)
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    warned = "\n".join(check_study(path).warnings)
    seen = int((frame["e"].eq(1) & frame["t"].le(30)).sum())
    assert seen < 40
    assert re.search(rf"7 parameters need .* by month 30 .*there are 80 with {seen}:", warned)


def test_further_warnings_are_of_each_endpoint(tmp_path, frame):
    found = check_study(study(tmp_path, frame), lambda cohort: (f"{cohort.endpoint} is odd",))
    assert "os is odd" in found.warnings


def test_no_warnings(tmp_path, frame):
    path = study(tmp_path, pd.concat([frame] * 10))
    raw = yaml.safe_load(path.read_text())
    keep = {k: raw["modalities"]["clinical"][k] for k in ("x", "stage")}
    raw["modalities"]["clinical"] = keep
    path.write_text(yaml.safe_dump(raw))
    report, out = check_study(path), io.StringIO()
    assert report.warnings == ()
    render(report, Console(file=out, width=160))
    assert "sample size: 3 parameters need" in out.getvalue()
    assert "there are enough" in out.getvalue()


def test_rendered_without_a_single_patients_value(tmp_path, frame):
    frame.loc[7, "x"] = 98765.25
    frame.loc[8, "x"] = -98765.25
    report = check_study(study(tmp_path, frame))
    out = io.StringIO()
    render(report, Console(file=out, width=160))
    text = out.getvalue()
    assert "demo: 80 patients, 40 events (os)" in text
    assert "III [x]: 20" in text, "brackets are not markup"
    assert "98765" not in text
    assert re.search(r"warning: 7 parameters need", text)


def test_left_out_patients_are_told(tmp_path, frame):
    frame.loc[60:62, "t"] = np.nan
    out = io.StringIO()
    render(check_study(study(tmp_path, frame)), Console(file=out, width=160))
    assert "77 patients, 3 left out without follow-up" in out.getvalue()


def test_a_bad_study_is_refused(tmp_path, frame):
    with pytest.raises(InputError, match="no column 'act'"):
        check_study(study(tmp_path, frame.drop(columns="act")))


class TestMedianFollowUp:
    def test_without_events_it_is_the_median_time(self):
        assert median_follow_up(np.arange(1.0, 8.0), np.zeros(7, dtype=bool)) == 4

    def test_deaths_do_not_shorten_it(self):
        time = np.array([1.0, 2, 3, 10, 20, 30, 40])
        event = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
        assert median_follow_up(time, event) == 20

    def test_not_reached(self):
        assert median_follow_up(np.array([1.0, 2.0]), np.ones(2, dtype=bool)) is None


def test_near_copies_where_values_are_missing():
    x = np.arange(30.0)
    gaps = np.where(x > 4, -(x**3), np.nan)
    other = np.cos(x * 7)
    assert near_copies(np.column_stack([x, other, gaps]), 0.98) == [(0, 2)]
    few = np.where(x > 25, x, np.nan)
    assert near_copies(np.column_stack([x, few]), 0.98) == []


def endpoints(tmp_path, frame, **changed):
    """The study with these endpoints."""
    path = study(tmp_path, frame)
    raw = yaml.safe_load(path.read_text())
    raw["endpoints"] = raw["endpoints"] | changed
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


class TestEndpoints:
    BINARY: ClassVar = {"r": {"column": "r", "positive": ["1"], "negative": ["0"]}}

    @pytest.fixture
    def whole(self, frame):
        labels = [1] * 3 + [0] * 20 + [None] * (N - 23)
        return frame.assign(r=labels, dt=frame["t"] / 2, de=1).assign(
            dt=lambda f: f["dt"].mask(f.index < 10)
        )

    def test_each_is_counted(self, tmp_path, whole):
        os = {"time": "t", "event": "e"}
        dfs = {"time": "dt", "event": "de", "horizon": 900, "drop_without_follow_up": True}
        path = endpoints(tmp_path, whole, survival={"os": os, "dfs": dfs}, binary=self.BINARY)
        report = check_study(path)
        assert [(e.endpoint, e.n, e.left_out, e.events) for e in report.survival] == [
            ("os", 80, 0, 40),
            ("dfs", 70, 10, 70),
        ]
        (labels,) = report.binary
        assert (labels.positive, labels.negative, labels.unlabelled) == (3, 20, 57)
        warned = "\n".join(report.warnings)
        assert "the horizon of 900 months lies beyond the last follow-up (dfs)" in warned
        assert re.search(r"parameters need .* \(os;", warned)
        assert "fewer than 5 labels of one kind: r gets no model" in warned
        out = io.StringIO()
        render(report, Console(file=out, width=160))
        assert "70 patients, 10 left out without follow-up, 70 events (dfs)" in out.getvalue()
        assert "< 5 positive, 20 negative, 57 unlabelled (r)" in out.getvalue()

    def test_a_note_is_told_once(self, tmp_path, whole):
        os, twice = {"time": "t", "event": "e"}, pd.concat([whole.assign(pid=range(N))] * 2)
        for survival in ({"os": os, "again": os}, {}):
            path = endpoints(tmp_path, twice, survival=survival, binary=self.BINARY)
            raw = yaml.safe_load(path.read_text())
            rows = {"id": "pid", "rows": {"one_per_patient": "first"}}
            path.write_text(yaml.safe_dump(raw | rows, sort_keys=False))
            warned = check_study(path).warnings
            assert sum(f"rows: {2 * N} rows of {N} patients" in line for line in warned) == 1

    def test_labels_alone_will_do(self, tmp_path, whole):
        path = endpoints(tmp_path, whole, survival={}, binary=self.BINARY)
        report = check_study(path)
        assert (report.n, report.survival) == (80, ())
        out = io.StringIO()
        render(report, Console(file=out, width=160))
        assert out.getvalue().startswith("demo: 80 patients\n")
        assert "follow-up" not in out.getvalue()
