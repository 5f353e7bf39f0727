"""Tables that people had, each with what is right: the study, the counts, and what is said."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from accomplice.data.loading import load_cohort
from accomplice.training.cli.main import main

TABLES = Path(__file__).parents[2] / "fixtures" / "tables"
CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load((TABLES / "cases.yaml").read_text("utf-8"))


def test_every_table_has_a_case():
    assert {path.name for path in TABLES.iterdir() if path.is_dir()} == CASES.keys()
    keys = {key for cases in CASES.values() for case in cases for key in case}
    assert keys <= {"init", "check", "code", "says", "patients", "events", "left_out", "median"} | {
        "features",
        "without",
    }


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, cases in CASES.items() for case in cases],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_is_read_as_it_should_be(tmp_path, monkeypatch, capsys, caplog, name, case):
    if "xlsx" in case.get("init", ""):
        pytest.importorskip("openpyxl")
    shutil.copytree(TABLES / name, tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    command = ["data", "check", case["check"]] if "check" in case else ["data", "init"]
    if "init" in case:
        command += [*shlex.split(case["init"]), "--out", "study.yaml"]
    code = main(command)
    out = capsys.readouterr()
    said = " ".join((out.out + out.err + caplog.text).split())
    assert code == case.get("code", 0), said
    for part in case.get("says", ()):
        assert " ".join(part.split()) in said
    if code != 0:
        assert "check" in case or not Path("study.yaml").exists()
        assert len(out.err.strip().splitlines()) == 1
        return
    cohort = load_cohort(Path("study.yaml"))
    counts = {
        "patients": len(cohort),
        "events": int(cohort.event.sum()),
        "left_out": cohort.left_out,
        "median": pytest.approx(np.median(cohort.time), abs=0.01),
    }
    assert {key: case[key] for key in counts if key in case} == {
        key: value for key, value in counts.items() if key in case
    }
    found = {
        feature: spec.kind if spec.levels is None else list(spec.levels)
        for feature, spec in cohort.study.features.items()
    }
    expected = {
        feature: [str(level) for level in spec] if isinstance(spec, list) else spec
        for feature, spec in case.get("features", {}).items()
    }
    assert {feature: found.get(feature) for feature in expected} == expected
    assert not {*case.get("without", ())} & found.keys()
    # All hold the same patients, but for what is told.
    assert {"IL1R1", "CD68"} <= found.keys() or name in ("hash-in-a-cell", "clinical-file-as-table")
