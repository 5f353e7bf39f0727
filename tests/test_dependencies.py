"""The oldest releases that pyproject.toml allows are those that ``make test-oldest`` installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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
