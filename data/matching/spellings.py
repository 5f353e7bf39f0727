"""Recognise other spellings of a feature's levels, by letter case, as numbers or by the panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from accomplice.data.panels.panel import key_of, load_panel, same_key
from accomplice.data.study_parts import Feature

#: Maximum number of characters of a text that is looked up.
LONGEST = 64


def _single(pairs: Iterable[tuple[str | None, str]]) -> dict[str | None, str | None]:
    """Return key -> its value; None where a key occurs more than once."""
    found: dict[str | None, str | None] = {}
    for key, value in pairs:
        found[key] = None if key in found else value
    return found


@dataclass(frozen=True)
class Spellings:
    """Rules for spellings of a feature's levels that its study does not list."""

    key: str
    """Name of the feature's column, as :func:`panel.key_of` writes it."""
    alike: dict[str | None, str | None]
    """Text as :func:`panel.same_key` writes it -> its level or listed spelling; None if several."""
    coded: list[tuple[Callable[[str, str], str | None], dict[str | None, str | None]]]
    """The panels' functions from a cell and its column's key to a meaning, each with a dictionary:
    meaning -> the level with this meaning, None if several levels have it."""

    @classmethod
    def of(cls, feature: Feature, name: str) -> Self:
        """Return the spellings of a feature's levels in a column of this name.

        Args:
            feature: the feature, with its levels and map.
            name: name of the feature's column.
        """
        panel, key = load_panel(), key_of(name)
        levels = feature.levels or ()
        listed = dict.fromkeys((*levels, *(feature.map or ())))
        codes = [code.meaning for code in panel.ordinals if code.named(key)]
        labels = [c.spelling for c in panel.categories.values() if c.names is not None]
        coded = [
            (meaning, _single((meaning(level, key), level) for level in levels))
            for meaning in (*codes, *labels)
        ]
        alike = _single((same_key(spelling), spelling) for spelling in listed)
        return cls(key, alike, [entry for entry in coded if {*entry[1]} - {None}])

    def level(self, text: str) -> str | None:
        """Return the level or listed spelling that another text means.

        None if it means no level or may mean several, or is longer than ``LONGEST``.
        """
        if len(text) > LONGEST:
            return None
        if (plain := same_key(text)) in self.alike:
            return self.alike[plain]
        for meaning, levels in self.coded:
            meant = meaning(plain, self.key)
            if meant is not None and (level := levels.get(meant)) is not None:
                return level
        return None
