"""Stores and folders that a service may not write or read: it answers, or ends in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.tracking.registry import register_bundle
from accomplice.training.tracking.store import open_store
from tests.serving.conftest import bundle, bundle_path, study, table  # noqa: F401

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can run a command as another user"
)

#: User and group without rights.
NOBODY = 65534
MODEL = "models:/accomplice-made-up/1"
#: Runs the command line, and ends where a server would be started.
COMMAND = """
import sys
from accomplice.serving.deployment import server
from accomplice.training.cli.main import main
server.check_free = lambda *_: sys.exit("started")
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def project(
    bundle: Bundle,  # noqa: F811
    bundle_path: Path,  # noqa: F811
) -> Iterator[Path]:
    """A folder of root's that others can read, with a store, a bundle and a table."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register_bundle(open_store(), "accomplice-made-up", bundle, bundle_path)
        shutil.copytree(bundle_path, "model")
        Path("t.csv").write_text("age_years,stage\n61,II\n")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command line as a user without rights; return exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=folder,
        env=os.environ | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_store_that_may_only_be_read_is_served_and_predicts(project: Path) -> None:
    code, out, said = as_nobody(project, "predict", MODEL, "t.csv")
    assert (code, len(out.splitlines())) == (0, 2), said
    code, _, said = as_nobody(project, "serve", MODEL)
    assert "started" in said


def test_files_that_may_not_be_read_are_said_so(project: Path) -> None:
    artifacts = project / "mlruns" / "artifacts"
    artifacts.chmod(0o700)
    (project / "model" / "model.json").chmod(0o600)
    try:
        for model in (MODEL, "model"):
            code, _, said = as_nobody(project, "predict", model, "t.csv")
            assert (code, said.count("\n")) == (2, 1), said
            assert "cannot be read: permission denied" in said
            assert "no such model" not in said
    finally:
        artifacts.chmod(0o755)
        (project / "model" / "model.json").chmod(0o644)


@pytest.mark.parametrize(
    "words",
    [
        ("package", "model"),
        ("predict", "model", "t.csv", "--out", "p.csv"),
        ("data", "synth", "--out", "cohort"),
    ],
)
def test_a_folder_that_may_not_be_written_is_one_line(
    project: Path, words: tuple[str, ...]
) -> None:
    code, _, said = as_nobody(project, *words)
    assert (code, said.count("\n")) in ((1, 1), (2, 1)), said
    assert "ermission" in said


def test_a_full_disk_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "mlruns")

    monkeypatch.chdir(project)
    for name, words in (
        ("serving.deployment.packaging.copy_file", ("package", "model")),
        ("training.tracking.stores.recorded.os.scandir", ("predict", MODEL, "t.csv")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"accomplice.{name}", full)
            assert main(list(words)) in (1, 2)
        (line,) = capsys.readouterr().err.splitlines()
        assert "no space left" in line.lower()
