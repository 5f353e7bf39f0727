"""Verbs that do not train import neither torch nor Lightning."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from accomplice.data.panels.panel import panel_text
from accomplice.data.synthetic import draw

#: Runs verbs in one process and prints, as its last line, which of them brought torch along.
SCRIPT = """
import json, sys
from accomplice.training.cli.main import main
found = {}
for argv in json.loads(sys.argv[1]):
    try:
        code = main(argv)
    except SystemExit as exit_:
        code = exit_.code
    loaded = [name for name in ("torch", "pytorch_lightning") if name in sys.modules]
    found[argv[0]] = [code, loaded]
print(json.dumps(found))
"""


@pytest.fixture
def models(tmp_path, tiny_trained) -> Path:
    """A folder with two cohorts, their study files, and two models of the first."""
    folder, bundle = tmp_path, tiny_trained.bundle
    for name, seed in (("own", 11), ("other", 4)):
        (folder / name).mkdir()
        draw(240, seed=seed).frame.head(140).to_csv(folder / name / "cohort.csv", index=False)
        study = panel_text("synthetic_gastric")
        (folder / name / "study.yaml").write_text(study, encoding="utf-8")
    bundle.save(folder / "model1")
    replace(bundle, provenance={**bundle.provenance, "note": "another"}).save(folder / "model2")
    return folder


def test_only_what_trains_imports_torch(models):
    asked = [
        ["data", "check", "own/study.yaml"],
        ["predict", "model1", "own/cohort.csv", "--times", "12", "--out", "p.csv"],
        ["report", "model1", "--out", "r.html"],
        ["power", "--n", "200", "--draws", "20", "--sizes", "200"],
        ["evaluate", "model1", "other/study.yaml", "--bootstraps", "5"],
        ["marker", "own/study.yaml", "--marker", "IL1R1", "--set", "evaluation.bootstraps=5"],
        ["compare", "model1", "model2", "--study", "own/study.yaml"],
        ["promote", "model2", "--force", "to see what it imports"],
        ["package", "model1"],
        # What is wrong with these is found after all their imports.
        ["serve", "model1", "--tokens", "none"],
        ["ui", "--storage", "nonsense"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(asked)],
        cwd=models,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {verb: loaded for verb, (_, loaded) in found.items() if loaded} == {}
    failed = {verb: code for verb, (code, _) in found.items() if code}
    assert failed == {"serve": 2, "ui": 2}, done.stderr
