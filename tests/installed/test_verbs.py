"""Every verb once, from the installed wheel and without a network."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.installed.conftest import QUICK, Run, environment, serving

pytestmark = pytest.mark.installed

VERBS = {
    *("data", "train", "tune", "predict", "evaluate", "report", "power", "marker", "compare"),
    *("promote", "package", "serve", "token", "ui", "demo"),
}


@pytest.fixture(scope="module", autouse=True)
def unchanged(python: Path) -> object:
    """Nothing that a verb does changes the environment."""

    def frozen() -> str:
        command = [str(python), "-m", "pip", "freeze", "--all"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    before = frozen()
    yield
    assert frozen() == before


def test_no_verb_is_forgotten(run: Run):
    listed = re.findall(r"^    ([a-z]+) ", run("--help").stdout, re.M)
    assert set(listed) == VERBS


def test_data(run: Run, study: str, folder: Path):
    table = "cohort/cohort.csv"
    outcome = ("--time", "os_months", "--event", "os_event")
    run("data", "init", table, *outcome, "--out", "drafted.yaml")
    assert (folder / "drafted.yaml").is_file()
    assert "160" in run("data", "check", study).stdout


def test_train_reads_as_much_as_it_says(model: str, folder: Path):
    assert (folder / model / "manifest.json").is_file()


def test_tune(run: Run, study: str, folder: Path):
    run("tune", study, "--trials", "2", "--out", "tuned", *QUICK)
    assert (folder / "tuned" / "manifest.json").is_file()
    said = run("compare", "model", "tuned").stdout
    assert "tuned" in said


def test_predict(run: Run, model: str, folder: Path):
    run("predict", model, "cohort/cohort.csv", "--times", "12,36", "--out", "predictions.csv")
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 160
    assert all(0 <= float(row["survival@36"]) <= float(row["survival@12"]) <= 1 for row in rows)


def test_evaluate(run: Run, model: str, folder: Path):
    run("data", "synth", "--n", "120", "--seed", "5", "--out", "other")
    run("evaluate", model, "other/study.yaml", "--bootstraps", "20", "--out", "external.html")
    assert "<html" in (folder / "external.html").read_text()


def test_report(run: Run, model: str, folder: Path):
    run("report", model, "--out", "report.html")
    assert "<svg" in (folder / "report.html").read_text()


def test_power(run: Run, folder: Path):
    run("power", "--n", "200", "--draws", "50", "--out", "power.png")
    assert (folder / "power.png").read_bytes().startswith(b"\x89PNG")


def test_marker(run: Run, study: str, folder: Path):
    run("marker", study, "--marker", "IL1R1", "--out", "marker.html", *QUICK)
    assert "IL1R1" in (folder / "marker.html").read_text()


def test_promote(run: Run, model: str):
    assert "champion" in run("promote", model, "--force", "a test").stdout


def test_token(run: Run, folder: Path):
    assert run("token", "--tokens", "tokens", "ward").stdout.strip()
    assert (folder / "tokens").read_text().startswith("ward")


def test_serve(model: str, python: Path, folder: Path, tmp_path: Path):
    argv = [str(python.parent / "accomplice"), "serve", model, "--port"]
    with serving(argv, folder, tmp_path) as url:
        asked = {"patient": {"age": 61, "IL1R1": 7.2}, "times": [12, 36]}
        answer = httpx.post(f"{url}/predict", json=asked, trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert {"risk", "survival@12", "survival@36"} <= answer.json().keys()


def test_ui(model: str, python: Path, folder: Path, tmp_path: Path):
    argv = [str(python.parent / "accomplice"), "ui", "--port"]
    with serving(argv, folder, tmp_path, "/health") as url:
        secret = re.search(r"TOKEN=(\S+)", (tmp_path / "server.log").read_text())[1]
        asked = {"trust_env": False, "timeout": 30, "follow_redirects": True}
        page = httpx.get(url, headers={"Authorization": f"Bearer {secret}"}, **asked)
        closed = httpx.get(url, **asked)
    assert "<title>MLflow</title>" in page.text
    assert closed.status_code == 401
    assert "<title>MLflow</title>" not in closed.text


def test_demo(run: Run):
    said = run("demo", "--short").stdout
    assert "survival@36" in said
    assert "\n== done" in said


IMPORTS_EACH = """
import importlib, pkgutil, accomplice
found = pkgutil.walk_packages(accomplice.__path__, "accomplice.")
names = [m.name for m in found if not m.name.endswith(("__main__", "pyfunc"))]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize("command", [("-c", IMPORTS_EACH), ("-m", "accomplice", "--help")])
def test_beside_a_user_s_own_modules(
    command: tuple[str, ...], python: Path, folder: Path, tmp_path: Path
):
    done = subprocess.run(
        [str(python), *command],
        cwd=folder,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_has_one_name(python: Path, tmp_path: Path):
    code = "from importlib.metadata import files; print(*{f.parts[0] for f in files('accomplice')})"
    done = subprocess.run(
        [str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    named = {name for name in done.stdout.split() if not name.endswith(".dist-info")}
    assert named == {"accomplice", ".."}  # the command lies beside the packages
