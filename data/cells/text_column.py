"""A column of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints

#: A word that can be a level, as in "no treatment", or mean missing; in lower case.
NONE = "none"


@dataclass(frozen=True)
class TextColumn:
    """A column of texts: its distinct texts, and one of them for each cell."""

    name: str
    codes: Ints
    """(n,) position of each cell's text in ``texts``; -1 where the cell is blank."""
    texts: list[str]
    """The distinct texts."""
    words: Collection[str]
    """Texts that mean missing, in lower case."""
    forced: bool = False
    """Whether an option says that the texts are levels."""

    @cached_property
    def missing(self) -> list[bool]:
        """Whether each text means missing: not ``-`` beside ``+``, nor ``none`` if ``forced``."""
        found = [text.lower() in self.words for text in self.texts]
        signed = any(text in ("+", "pos", "positive") for text in map(str.lower, self.texts))
        for i, text in enumerate(self.texts):
            if (text == "-" and signed) or (text.lower() == NONE and self.forced):
                found[i] = False
        return found

    @cached_property
    def empty(self) -> Bools:
        """(n,) whether a cell is missing."""
        return np.array([*self.missing, True])[self.codes]

    @cached_property
    def counts(self) -> Counter[str]:
        """Text that is not missing -> number of its cells."""
        found: Counter[str] = Counter()
        for code, count in zip(
            *np.unique(self.codes[~self.empty], return_counts=True), strict=True
        ):
            found[self.texts[int(code)]] += int(count)
        return found

    @cached_property
    def none(self) -> str | None:
        """The text ``None`` in the column's spelling; None if it does not occur."""
        return next((text for text in self.texts if text.lower() == NONE), None)

    def coded(self, meaning: Mapping[str, float]) -> Array:
        """Return the number of each cell (n,), NaN where its text has none.

        Args:
            meaning: text -> number.
        """
        return np.array([*(meaning.get(text, np.nan) for text in self.texts), np.nan])[self.codes]
