"""The installed command line, run from a folder of its own; without the checkout on any path."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from accomplice.training.processes import free_port
from tests.browser.conftest import browser, errors, new_page  # noqa: F401
from tests.installed.environments import FOLDER, PYTHON, SERVICE_PYTHON

#: Settings with which a fit takes seconds.
QUICK = (
    *("--set", "net.members=2", "--set", "net.max_epochs=3", "--set", "evaluation.bootstraps=20"),
    *("--set", "evaluation.explanations=false", "--set", "evaluation.peers=false"),
)
#: Modules of a user's, with names that are ours too.
OWN_MODULES = ("data/__init__.py", "training.py", "serving.py")
#: Seconds that a command, and a server until it is ready, may take.
COMMAND, READY = 300, 60

Run = Callable[..., subprocess.CompletedProcess[str]]


def interpreter(variable: str) -> Path:
    """Return the interpreter that a variable names; skip without it."""
    if variable not in os.environ:
        pytest.skip("run by `make test-installed`")
    return Path(os.environ[variable])


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of ours is named."""
    return {
        "PATH": os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin")),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # What is left open is said, and looked for.
        "PYTHONWARNINGS": "always::ResourceWarning",
    }


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of the environment that holds the wheel."""
    return interpreter(PYTHON)


@pytest.fixture(scope="session")
def service_python() -> Path:
    """The interpreter of the environment that holds what a bento requires."""
    return interpreter(SERVICE_PYTHON)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user works: empty, or with modules of the user's own."""
    made = tmp_path_factory.mktemp("user")
    if os.environ.get(FOLDER) == "own_modules":
        for name in OWN_MODULES:
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(
                f"raise RuntimeError('the user\\'s own {name} was imported')\n"
            )
    return made


@pytest.fixture(scope="session")
def run(python: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the installed command and return what it wrote; it must end with a status."""
    home = tmp_path_factory.mktemp("home")

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(python.parent / "accomplice"), *arguments],
            cwd=folder,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        for sign in ("Traceback", "ResourceWarning"):
            assert sign not in done.stdout + done.stderr, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def study(run: Run) -> str:
    """A synthetic cohort's study file."""
    run("data", "synth", "--n", "160", "--out", "cohort")
    return "cohort/study.yaml"


@pytest.fixture(scope="session")
def model(run: Run, study: str) -> str:
    """A trained bundle, which is the champion."""
    said = run("train", study, "--out", "model", *QUICK).stdout
    assert "champion" in said
    return "model"


@contextlib.contextmanager
def serving(argv: list[str], folder: Path, home: Path, path: str = "/readyz") -> Iterator[str]:
    """Run a server for as long as the block lasts, and yield its address once it answers.

    Args:
        argv: its command; the port follows it.
        folder: to run it in.
        home: of its user.
        path: that it answers when it is ready.
    """
    port, log = free_port(), home / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*argv, str(port)],
            cwd=folder,
            env=environment(home) | {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            url, until = f"http://127.0.0.1:{port}", time.monotonic() + READY
            while not _answers(url + path):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield url
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False, follow_redirects=True).is_success
    except httpx.TransportError:
        return False
