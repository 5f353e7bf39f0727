"""Environments of the installed tests, kept between runs under a name that their pins make."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
#: Variables by which the tests learn of the two interpreters, and of the folder to run from.
PYTHON, SERVICE_PYTHON = "ACCOMPLICE_INSTALLED_PYTHON", "ACCOMPLICE_SERVICE_PYTHON"
FOLDER = "ACCOMPLICE_INSTALLED_FOLDER"
#: Prints the path of the lock of the image's packages.
LOCK = "from accomplice.serving.deployment.container import LOCK; print(LOCK)"


def for_wheel() -> Path:
    """Return the interpreter of an environment of this tree's wheel and its requirements."""
    pins = CONSTRAINTS.read_text(encoding="utf-8")
    required = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        constrained = ("--constraint", str(CONSTRAINTS))
        python = _kept("wheel", pins + required, str(wheel), *constrained)
        # What it requires is there: this tree's own files are not.
        _pip(python, "--no-deps", "--force-reinstall", str(wheel))
    return python


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of what git would commit, so that nothing else gets into it."""
    source = folder / "source"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(names).split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def for_service(wheel_python: Path) -> Path:
    """Return the interpreter of an environment made as the image of a bento is."""
    asked = subprocess.run(
        [wheel_python, "-c", LOCK], cwd="/", capture_output=True, text=True, check=True
    )
    lock = Path(asked.stdout.strip())
    only = ("--only-binary", ":all:", "--require-hashes", "--requirement", str(lock))
    return _kept("service", lock.read_text(encoding="utf-8"), *only)


def _kept(name: str, decided_by: str, *asked: str) -> Path:
    """Return the interpreter of an environment, making it where no earlier run did."""
    version = "{}.{}.{}".format(*sys.version_info)
    digest = hashlib.sha256(f"{version}\n{decided_by}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "accomplice-tests" / f"{name}-{version}-{digest}"
    python, done = folder / "bin" / "python", folder / ".done"
    if not done.is_file():
        print(f"making an environment for the {name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        _pip(python, *asked)
        done.touch()
    return python


def _pip(python: Path, *asked: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *asked], check=True)
