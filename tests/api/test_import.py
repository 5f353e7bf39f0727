"""``import accomplice`` is light, and its names are there when they are asked for."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import accomplice

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "pandas", "pydantic", "sklearn", "torch", "mlflow", "importlib.metadata")
NAMES = {
    *("read_study", "load_cohort", "train", "tune", "evaluate", "load", "predict"),
    *("SurvivalEstimator", "Run", "__version__"),
}


def run(code: str) -> str:
    """Run Python code by itself; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_alone_imports_nothing_heavy():
    assert run(
        f"import sys; before = {{*sys.modules}}; import accomplice; "
        f"print(sorted({{*{HEAVY}}} & ({{*sys.modules}} - before)))"
    ) == ("[]")


def test_a_bundle_is_loaded_and_asked_without_torch_and_mlflow(tiny_trained, tmp_path):
    tiny_trained.bundle.save(tmp_path / "bundle")
    code = (
        "import sys, accomplice, pandas as pd; "
        f"table = pd.DataFrame({{'age': [61.0]}}); "
        f"found = accomplice.predict({str(tmp_path / 'bundle')!r}, table, times=[12]); "
        "print(len(found), sorted({'torch', 'mlflow', 'sklearn'} & {*sys.modules}))"
    )
    assert run(code) == "1 []"


def test_names_are_listed_and_there():
    assert {*accomplice.__all__} == NAMES
    assert {*dir(accomplice)} >= NAMES
    for name in NAMES:
        assert getattr(accomplice, name)
        assert name in vars(accomplice), "the second time it is found without being looked for"


def test_types_are_seen_by_checkers():
    """Each name but the version is imported where a type checker looks."""
    tree = ast.parse(inspect.getsource(accomplice))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("accomplice.")
        for alias in node.names
    }
    assert seen == NAMES - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        accomplice.trian  # noqa: B018


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__", "Run"}))
def test_public_names_are_documented(name):
    assert inspect.getdoc(getattr(accomplice, name))
