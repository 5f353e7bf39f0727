"""Recognise other spellings of a feature's levels: by case, as numbers, or by the panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from accomplice.data.panels.panel import key_of, load_panel, same_key
from accomplice.data.study_parts import Feature

#: Maximum of characters of a text that is looked up.
LONGEST = 64


def _single(pairs: Iterable[tuple[str | None, str]]) -> dict[str | None, str | None]:
    """Return key -> its value, None where a key has several."""
    found: dict[str | None, str | None] = {}
    for key, value in pairs:
        found[key] = None if key in found else value
    return found


@dataclass(frozen=True)
class Spellings:
    """Spellings of a feature's levels beside those that its study lists."""

    key: str
    """Of the feature's column, as panels read it."""
    alike: dict[str | None, str | None]
    """Key of a level or listed spelling -> itself; None where several are alike."""
    coded: list[tuple[Callable[[str, str], str | None], dict[str | None, str | None]]]
    """A panel's reading of cells, and its meaning of a level -> that level."""

    @classmethod
    def of(cls, feature: Feature, name: str) -> Self:
        """Return the spellings of a feature in a column of this name."""
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
        return cls(key, alike, [each for each in coded if {*each[1]} - {None}])

    def level(self, text: str) -> str | None:
        """Return the level or listed spelling that another text means, None if it is not sure."""
        if len(text) > LONGEST:
            return None
        if (plain := same_key(text)) in self.alike:
            return self.alike[plain]
        for meaning, levels in self.coded:
            said = meaning(plain, self.key)
            if said is not None and (level := levels.get(said)) is not None:
                return level
        return None
