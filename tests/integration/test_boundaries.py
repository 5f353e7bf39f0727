"""Who may import whom: data <- training <- serving, and what the served image can do without."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("data", "training", "serving")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
#: The peers of an evaluation are an optional extra, imported where it is installed and asked for.
MAY_COMPARE = frozenset({"training/fitting/peers.py"})
#: The command line starts the service; nothing else in training knows of it.
MAY_SERVE = frozenset(
    f"training/cli/{name}.py" for name in ("demo", "deploy", "promote", "served_model")
)
#: Copyleft, or able to run code from a file.
NOWHERE = {"sksurv", "lifelines", "pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE = {"torch.load", "torch.save", "np.save", "pd.read_pickle", "yaml.load", "eval", "exec"}
NOWHERE_LOADED = {"sksurv", "lifelines"}
HEAVY = ("pytorch_lightning", "lightning", "mlflow", "optuna", "matplotlib")
IMPORTERS = {"import_module", "__import__", "importorskip"}


def imported(source: str) -> Iterator[str]:
    """Every module that a source text imports anywhere, by its full name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be seen"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in IMPORTERS and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


def top_levels(file: Path) -> set[str]:
    names = (name.removeprefix("accomplice.") for name in imported(file.read_text("utf-8")))
    return {name.split(".")[0] for name in names}


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def offenders(
    forbidden: set[str], package: str = "", but: frozenset[str] = frozenset()
) -> list[str]:
    """Files below a package that import something they may not."""
    return [
        f"{name_of(file)}: {sorted(top_levels(file) & forbidden)}"
        for file in FILES
        if name_of(file).startswith(package)
        and name_of(file) not in but
        and top_levels(file) & forbidden
    ]


class TestImports:
    def test_of_data_reach_neither_training_nor_serving_nor_torch(self):
        assert not offenders({"training", "serving", "torch", *HEAVY}, "data/")

    def test_of_training_reach_serving_only_from_the_command_line(self):
        assert not offenders({"serving"}, "training/", MAY_SERVE)

    def test_name_no_copyleft_oracle_and_no_pickle(self):
        assert not offenders(NOWHERE, but=MAY_COMPARE)
        assert not offenders(NOWHERE - {"sksurv"})

    def test_name_no_tests(self):
        assert not offenders({"tests"})

    def test_call_no_loader_that_runs_code(self):
        for file in FILES:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
            assert not calls & UNSAFE, name_of(file)
            assert not any(call.endswith("to_pickle") for call in calls), name_of(file)


def test_the_walk_sees_every_way_to_import():
    source = (
        "import a.b\nfrom c import d\ndef f():\n    import e\n"
        "if x:\n    from g.h import i as j\nimportlib.import_module('k.l')\n__import__('m')\n"
    )
    assert set(imported(source)) == {"a.b", "c.d", "e", "g.h.i", "k.l", "m"}


def test_the_walk_sees_all_packages():
    assert {name_of(f).split("/")[0] for f in FILES} == set(PACKAGES)
    assert len(FILES) > 30


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = (
        f"{statement}\nimport sys\n"
        "names = {m.removeprefix('accomplice.').split('.')[0] for m in sys.modules}\n"
        "print('MODULES', *names)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    line = next(x for x in done.stdout.splitlines() if x.startswith("MODULES"))
    return set(line.split()[1:])


def test_the_service_starts_without_what_only_training_needs():
    if not (ROOT / "serving" / "service.py").is_file():
        pytest.skip("the service is not written yet")
    loaded = loaded_by("import accomplice.serving.service, accomplice.serving.endpoint")
    assert "serving" in loaded
    assert "pandas" in loaded
    assert not loaded & {"torch", *HEAVY, "sksurv"}


def test_what_starts_the_workers_loads_nothing_that_answers():
    loaded = loaded_by("import accomplice.serving.service")
    assert "bentoml" in loaded
    assert not loaded & {"training", "numpy", "pandas", "safetensors", *HEAVY}


def test_a_run_and_its_evaluation_load_no_copyleft_peer():
    modules = ("run", "fitting.peers", "cli.train")
    loaded = loaded_by("import " + ", ".join(f"accomplice.training.{name}" for name in modules))
    assert not loaded & NOWHERE_LOADED


def test_data_loads_without_torch():
    modules = [
        f"accomplice.{name_of(file).removesuffix('.py').replace('/', '.')}"
        for file in FILES
        if name_of(file).startswith("data/") and file.stem != "__init__"
    ]
    loaded = loaded_by("import " + ", ".join(sorted(modules)))
    assert "numpy" in loaded
    assert not loaded & {"training", "serving", "torch", *HEAVY}


def test_help_of_the_command_line_loads_nothing_heavy():
    loaded = loaded_by("import accomplice.training.cli.main")
    assert not loaded & {"numpy", "pandas", "torch", "bentoml", *HEAVY}
