"""Check what the default install and the image hold: licences, and known vulnerabilities.

Exits with 1 if a licence is not among :data:`ALLOWED` or a release has a known vulnerability. The
vulnerabilities are looked up by pip-audit, which needs a network; without one that is said.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
#: Exact versions and hashes of the image's packages.
LOCK = ROOT / "serving" / "deployment" / "requirements.txt"
#: Files of exact versions whose known vulnerabilities are looked up.
PINS = (ROOT / "constraints.txt", ROOT / "constraints-oldest.txt", LOCK)
#: Licences that allow to use, change and pass on, by their names in SPDX and in PyPI's classifiers.
#: MPL-2.0 asks for the source of its own files alone.
ALLOWED = frozenset(
    [
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0"),
        *("CC0-1.0", "ISC", "LLVM-exception", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0"),
        *("Unlicense", "Zlib", "Apache Software License", "BSD License", "ISC License (ISCL)"),
        *("MIT License", "Mozilla Public License 2.0 (MPL 2.0)"),
        "Python Software Foundation License",
        # Some packages write these in a field of free text.
        *("3-Clause BSD License", "Apache License 2.0"),
    ]
)
#: Package whose metadata names no licence -> the licence of the text that it brings.
READ = {"huey": "MIT", "skops": "MIT"}


def held(names: Iterable[str]) -> set[str]:
    """Return the names of packages and of all that they require here.

    Args:
        names: requirements, such as ``httpx`` or ``httpx[brotli]``; one that other systems alone
            need, and that is not installed, is left out.
    """
    found: set[str] = set()
    met: set[tuple[str, str]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        for extra in {"", *needed.extras} - {extra for each, extra in met if each == name}:
            met.add((name, extra))
            try:
                listed = requires(name) or []
            except PackageNotFoundError:
                continue
            found.add(name)
            for required in map(Requirement, listed):
                if required.marker is None or required.marker.evaluate({"extra": extra}):
                    waiting.append(required)
    return found


def default_install() -> set[str]:
    """Return the names of all packages that ``pip install accomplice`` brings."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return held(tomllib.loads(text)["project"]["dependencies"])


def locked() -> set[str]:
    """Return the names of the packages in the image."""
    return {*re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)}


def licences(name: str) -> set[str]:
    """Return the names of the licences that a package states, all that an expression holds.

    Raises:
        PackageNotFoundError: the package is not installed.
    """
    said = metadata(name)
    if name in READ:
        return {READ[name]}
    if expression := said.get("License-Expression"):
        return {*re.split(r"\s+(?:AND|OR|WITH)\s+", re.sub(r"[()]", "", expression).strip())}
    classified = [
        each.rpartition(" :: ")[2]
        for each in said.get_all("Classifier", [])
        if each.startswith("License ::")
    ]
    text = said.get("License") or "no licence"
    return {*classified} or {*re.split(r"\s+(?:AND|OR)\s+", text)}


def refused_licences(names: Iterable[str]) -> list[str]:
    """Return a line for each package with a licence that is not allowed."""
    lines = []
    for name in sorted(names):
        try:
            others = licences(name) - ALLOWED
        except PackageNotFoundError:
            continue  # needed on other systems alone
        if others:
            lines.append(f"{name}: {'; '.join(sorted(others))[:200]}")
    return lines


def vulnerabilities(pins: Path) -> tuple[int, list[str]]:
    """Look up the known vulnerabilities of the releases in a file.

    Args:
        pins: file of exact versions.

    Returns:
        Number of releases that could be looked up, and a line for each vulnerability.
    """
    command = ["tool", "run", "--quiet", "pip-audit", "--format", "json", "--no-deps"]
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), *command, "--disable-pip", "--requirement", pins],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        every = json.loads(done.stdout)["dependencies"]
    except ValueError:  # neither pip-audit nor an answer of its service
        return 0, []
    # An index that is not PyPI itself knows the releases, and nothing of their vulnerabilities.
    known = [each for each in every if "vulns" in each]
    return len(known), [
        f"{each['name']} {each['version']}: {', '.join([fault['id'], *fault['aliases']])}; "
        f"without it: {', '.join(fault['fix_versions']) or 'no release'}"
        for each in known
        for fault in each["vulns"]
    ]


def main() -> int:
    """Print how much was looked at and what was found; return 1 if anything was."""
    names = default_install() | locked()
    found = [f"licence of {line}" for line in refused_licences(names)]
    print(f"licences of {len(names)} packages of the default install and the image")
    for pins in PINS:
        known, lines = vulnerabilities(pins)
        print(f"known vulnerabilities of {known} releases in {pins.relative_to(ROOT)}")
        found += [f"{pins.relative_to(ROOT)}: {line}" for line in lines]
        if not known:
            print("  NOT LOOKED UP: pip-audit or its service at pypi.org cannot be reached")
    print(*(found or ["nothing found"]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
