"""Test the wheel and a packed bento as their users have them: ``make test-installed``.

Three environments take part: the checkout's, which runs pytest; one that holds the wheel and what
it requires, at the pinned versions; and one that holds what a bento requires, as its image would.
The last two are kept between runs. The tests run twice side by side, from an empty folder and from
one with a user's own ``data``, ``training`` and ``serving``, each in a network without others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.installed.environments import FOLDER, PYTHON, SERVICE_PYTHON, for_service, for_wheel

#: Runs a command in a network of its own, where only the loopback device is there.
UNSHARED = ("unshare", "--map-root-user", "--net")
LOOPBACK = 'ip link set lo up && exec "$@"'


def offline() -> tuple[str, ...]:
    """Return what stands before a command that is to reach this machine alone."""
    command = (*UNSHARED, "sh", "-c", LOOPBACK, "offline")
    if shutil.which("unshare") and shutil.which("ip"):
        tried = subprocess.run([*command, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    print("no network namespaces here: the network stays on", flush=True)
    return ()


def main() -> int:
    """Make the environments, then run the tests in them; return the exit status."""
    wheel_python = for_wheel()
    known = {PYTHON: str(wheel_python), SERVICE_PYTHON: str(for_service(wheel_python))}
    before = offline()
    with tempfile.TemporaryDirectory(prefix="accomplice-installed-") as scratch:
        runs = []
        for folder in ("empty", "own_modules"):
            log = Path(scratch, f"{folder}.log").open("w+")  # noqa: SIM115
            command = [*before, sys.executable, "-m", "pytest", "-m", "installed"]
            command += ["tests/installed", f"--basetemp={scratch}/{folder}", *sys.argv[1:]]
            env = {**os.environ, **known, FOLDER: folder}
            runs.append((folder, log, subprocess.Popen(command, stdout=log, stderr=log, env=env)))
        codes = []
        for folder, log, process in runs:
            codes.append(process.wait())
            log.seek(0)
            print(f"== from {folder}\n{log.read()}", flush=True)
            log.close()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
