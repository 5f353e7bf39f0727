"""Stores and folders that a service may not write or read: it answers, or ends in one line."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.tracking.registry import register_bundle
from accomplice.training.tracking.store import open_store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes rights away from root")

#: Linux' numbers of the rights by which root reads and writes all files, and of the call that
#: takes rights away from all that a process starts.
RIGHTS, PR_CAPBSET_DROP = (1, 2), 24
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
    bundle: Bundle, bundle_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder that may only be read, with a store, a bundle and a table."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register_bundle(open_store(), "accomplice-made-up", bundle, bundle_path)
        shutil.copytree(bundle_path, "model")
        Path("t.csv").write_text("age_years,stage\n61,II\n")
    set_modes(folder, 0o555, 0o444)
    yield folder
    set_modes(folder, 0o755, 0o644)


def set_modes(folder: Path, folders: int, files: int) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


def drop_rights() -> None:
    """Let a process that root starts obey permissions, as those of other users do."""
    for right in RIGHTS if os.geteuid() == 0 else ():
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, right)


def without_rights(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command line so that permissions hold; return exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=folder,
        preexec_fn=drop_rights,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_store_that_may_only_be_read_is_served_and_predicts(project: Path) -> None:
    code, out, said = without_rights(project, "predict", MODEL, "t.csv")
    assert (code, len(out.splitlines())) == (0, 2), said
    code, _, said = without_rights(project, "serve", MODEL)
    assert "started" in said


def test_files_that_may_not_be_read_are_said_so(project: Path) -> None:
    artifacts = project / "mlruns" / "artifacts"
    artifacts.chmod(0)
    (project / "model" / "model.json").chmod(0)
    try:
        for model in (MODEL, "model"):
            code, _, said = without_rights(project, "predict", model, "t.csv")
            assert (code, said.count("\n")) == (2, 1), said
            assert "cannot be read: permission denied" in said
            assert "no such model" not in said
    finally:
        artifacts.chmod(0o555)
        (project / "model" / "model.json").chmod(0o444)


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
    code, _, said = without_rights(project, *words)
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
