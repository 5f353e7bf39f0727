"""Definitions of the terms on the pages, from ``templates/glossary.yaml``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from accomplice.data.readers.yaml_text import own_yaml


def terms(*words: str) -> tuple[tuple[str, str], ...]:
    """Return pairs of term and definition for a page's section.

    Raises:
        KeyError: the glossary lacks a term.
    """
    return tuple((word, _glossary()[word]) for word in words)


@cache
def _glossary() -> dict[str, str]:
    place = files("accomplice.training.reports").joinpath("templates", "glossary.yaml")
    found: dict[str, str] = own_yaml(place.read_text(encoding="utf-8"))
    return found
