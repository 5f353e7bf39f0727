"""Consoles of any encoding, and failures that are one line each."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from accomplice.data.synthetic import draw
from accomplice.training.cli.main import main

ROOT = Path(__file__).parents[3]
#: Runs commands in one process until one fails, whose exit code is its own.
SCRIPT = """
import json, sys
from accomplice.training.cli.main import main
sys.exit(next(filter(None, map(main, json.loads(sys.argv[1]))), 0))
"""
#: Environments in which Python takes a console for one of another encoding.
ENCODINGS = (
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "cp437:strict"},
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_trained) -> Path:
    """A folder with a bundle, and a table whose names have letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("consoles")
    tiny_trained.bundle.save(folder / "model")
    frame = draw(60, seed=3).frame
    frame["größe"] = frame["age"] + 100.5
    frame["patient_id"] = [f"Müller-{i}✓" for i in range(len(frame))]
    frame.to_csv(folder / "tabelle.csv", index=False)
    return folder


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_encoding(project: Path, encoding: dict[str, str]):
    study = ["--time", "os_months", "--event", "os_event", "--force", "--out", "studie.yaml"]
    commands = [
        ["data", "init", "tabelle.csv", *study],
        ["data", "check", "studie.yaml"],
        ["report", "model", "--out", "r.html"],
        ["predict", "model", "tabelle.csv", "--times", "12"],
    ]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    env |= {"PYTHONPATH": str(ROOT), **encoding}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=project,
        env=env,
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert b"report" in done.stdout
    assert "Müller-7✓" in done.stdout.decode("utf-8", errors="replace")


class TestFailures:
    def line(self, capsys: pytest.CaptureFixture[str], error: Exception, code: int) -> str:
        with pytest.MonkeyPatch.context() as patch:

            def fail(*_: object, **__: object) -> None:
                raise error

            patch.setattr("accomplice.data.synthetic_study.synthesise", fail)
            assert main(["data", "synth", "--out", "nowhere"]) == code
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    def test_of_the_system(self, capsys: pytest.CaptureFixture[str]):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x/y.csv")
        assert "x/y.csv: No space left" in self.line(capsys, error, 1)

    def test_of_a_store(self, capsys: pytest.CaptureFixture[str]):
        error = MlflowException("the server is away\nand more of it")
        assert self.line(capsys, error, 1) == (
            "accomplice: the store failed: the server is away (MlflowException)\n"
        )

    def test_of_the_program_are_not_hidden(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("accomplice.data.synthetic_study.synthesise", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["data", "synth", "--out", "nowhere"])


def test_names_with_blanks_are_quoted_in_the_next_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "synth", "--n", "40", "--out", "my study #1"]) == 0
    assert "next: accomplice train 'my study #1/study.yaml'" in capsys.readouterr().out
    assert len(pd.read_csv("my study #1/cohort.csv")) == 40
