"""Dependencies: ranges, the files of exact versions, and licences."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def script(path: Path) -> Any:
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit = script(ROOT / ".ci" / "audit.py")


def direct() -> dict[str, Requirement]:
    """Return name -> requirement of everything that pyproject.toml asks for, extras included."""
    extras = PROJECT["optional-dependencies"].values()
    asked = map(
        Requirement, [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    )
    return {canonicalize_name(each.name): each for each in asked if each.name != PROJECT["name"]}


def pinned(name: str) -> dict[str, Version]:
    """Return name -> version of a file of exact versions."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (re.fullmatch(r"([\w.-]+)==(\S+)", line).groups() for line in lines)
    return {canonicalize_name(name): Version(version) for name, version in pairs}


OLDEST, TESTED = pinned("constraints-oldest.txt"), pinned("constraints.txt")


def floor(requirement: Requirement) -> Version:
    """Return the lower bound of a range, of which there is one."""
    (bound,) = [each for each in requirement.specifier if each.operator in (">=", "==")]
    return Version(bound.version)


@pytest.mark.parametrize("name", direct())
def test_lower_bound_is_what_the_oldest_environment_holds(name: str) -> None:
    bound, oldest = floor(direct()[name]), OLDEST[name]
    # A bound such as 3.1 is met by its first patch, 3.1.0.
    assert oldest.release[: len(bound.release)] == bound.release
    assert not any(oldest.release[len(bound.release) :])


@pytest.mark.parametrize("name", sorted(direct().keys() & TESTED.keys()))
def test_version_that_make_uses_is_in_range(name: str) -> None:
    assert direct()[name].specifier.contains(TESTED[name])


def test_only_what_stands_beside_is_not_installed_by_make() -> None:
    beside = {Requirement(each).name for each in PROJECT["optional-dependencies"]["beside"]}
    assert direct().keys() - TESTED.keys() == beside


def test_image_holds_the_tested_versions() -> None:
    text = (ROOT / "serving" / "deployment" / "requirements.txt").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))
    assert len(locked) > 50
    # Other systems alone need those that are not tested.
    shared = locked.keys() & TESTED.keys()
    assert len(shared) > 0.9 * len(locked)
    assert {name: Version(locked[name]) for name in shared} == {k: TESTED[k] for k in shared}


class TestLicences:
    """Those of the default install and of the image, which ``make audit`` looks at too."""

    def test_are_all_allowed(self) -> None:
        names = audit.default_install() | audit.locked()
        assert {"bentoml", "torch", "uvicorn", "numpy"} <= names
        assert audit.refused_licences(names) == []

    @pytest.mark.parametrize(
        ("said", "refused"),
        [
            ({"License-Expression": "MIT AND (Apache-2.0 OR BSD-3-Clause)"}, False),
            ({"License-Expression": "MIT AND GPL-3.0-or-later"}, True),
            ({"Classifier": "License :: OSI Approved :: MIT License"}, False),
            ({"Classifier": "License :: OSI Approved :: GNU General Public License (GPL)"}, True),
            ({"License": "Apache-2.0"}, False),
            ({"License": "AGPL"}, True),
            ({}, True),
        ],
    )
    def test_others_are_named(
        self, said: dict[str, str], refused: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = Message()
        for name, value in said.items():
            found[name] = value
        monkeypatch.setattr(audit, "metadata", lambda name: found)
        assert bool(audit.refused_licences(["made-up"])) == refused
