"""Draft features with levels: known ordered codes, and categories whose spellings are merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.drafting.outcome import UNKNOWN_CODES
from accomplice.data.errors import some
from accomplice.data.panels.panel import Ordinal, Panel, folded, key_of

#: A column with values for a smaller share of the patients is left out.
LEAST_FILLED = 0.05

EMPTY = "no patient has a value"
SPARSE = "fewer than 5 % of the patients have a value"
CONSTANT = "the same value for every patient"
UNIQUE = "another text for nearly every patient"
#: Fewest of the known cells, as a part of 1, in an ordered code for a column to be ordinal.
MOST_ORDERED = 0.8
#: Most spellings outside the ordered code, however many cells they fill.
MOST_ODD = 4
#: Words that can be a level, as in "no treatment", or missing.
NONE = "none"


@dataclass(frozen=True)
class Levels:
    """A column as its distinct texts."""

    name: str
    codes: Ints
    """(n,) place of each cell's text; -1 where the cell is blank."""
    texts: list[str]
    words: Collection[str]
    """Texts that mean missing, in lower case."""
    forced: bool = False
    """Whether all texts are levels, by option."""

    @cached_property
    def missing(self) -> list[bool]:
        """Which texts mean missing."""
        found = [text.lower() in self.words for text in self.texts]
        signed = any(text in ("+", "pos", "positive") for text in map(str.lower, self.texts))
        for i, text in enumerate(self.texts):
            if (text == "-" and signed) or (text.lower() == NONE and self.forced):
                found[i] = False
        return found

    @cached_property
    def empty(self) -> Bools:
        """(n,) which cells are missing."""
        return np.array([*self.missing, True])[self.codes]

    @cached_property
    def counts(self) -> Counter[str]:
        """Known text -> its cells."""
        found: Counter[str] = Counter()
        for code, count in zip(
            *np.unique(self.codes[~self.empty], return_counts=True), strict=True
        ):
            found[self.texts[int(code)]] += int(count)
        return found

    @cached_property
    def none(self) -> str | None:
        """The text ``None``, as the column spells it."""
        return next((text for text in self.texts if text.lower() == NONE), None)

    def coded(self, meaning: Mapping[str, float]) -> Array:
        """Return the numbers of the cells (n,) by their texts; NaN where there is none."""
        return np.array([*(meaning.get(text, np.nan) for text in self.texts), np.nan])[self.codes]


@dataclass(frozen=True)
class Read:
    """A feature with levels."""

    spec: dict[str, Any]
    codes: Array
    """(n,) numbers that order as the levels do; NaN is missing."""
    ordinal: Ordinal | None = None
    remarks: tuple[str, ...] = field(default=())


def fill(n: int, filled: int) -> str | None:
    """Return the reason that a column with values of too few of n patients is no feature."""
    if filled == 0:
        return EMPTY
    return SPARSE if filled < LEAST_FILLED * n else None


def known_code(column: Levels, panel: Panel) -> Read | str | None:
    """Read a column by the first ordered code that fits all but a few of its cells."""
    known = {text: count for text, count in column.counts.items() if text.lower() != NONE}
    for ordinal in panel.ordinals if known else ():
        meaning = _ordered(ordinal, known, key_of(column.name))
        if meaning is None:
            continue
        odd = sorted(text for text in known if text not in meaning)
        meaning |= dict.fromkeys(odd)
        occur = {level for level in meaning.values() if level is not None}
        levels = [lv for lv in ordinal.levels if lv in occur or lv not in ordinal.rare]
        spec: dict[str, Any] = {"kind": "ordinal", "levels": levels}
        spellings = {text: meaning[text] for text in sorted(meaning) if text != meaning[text]}
        if spellings:
            spec["map"] = spellings
        # By the whole code's levels, so that two columns of one code can be compared.
        index = {level: float(i) for i, level in enumerate(ordinal.levels)}
        values = column.coded({t: index[lv] for t, lv in meaning.items() if lv is not None})
        why = fill(len(values), int((~np.isnan(values)).sum()))
        if why is not None or len(occur) < 2:
            return why or CONSTANT
        remarks: tuple[str, ...] = ()
        if odd:
            count = sum(known[text] for text in odd)
            remarks = (
                f"{column.name}: {some(odd)} ({count} cells) is no {ordinal.name} and is taken for "
                "missing; correct it, or map it to a level",
            )
        return Read(spec, values, ordinal, remarks)
    return None


def _ordered(ordinal: Ordinal, known: Mapping[str, int], key: str) -> dict[str, str | None] | None:
    """Return text -> level by an ordered code, if most cells are of it."""
    meaning = ordinal.read(known, key)
    if meaning is not None or not ordinal.named(key):
        return meaning
    sure = {text: found for text in known if (found := ordinal.read([text], key)) is not None}
    meaning = {text: found[text] for text, found in sure.items()}
    odd = [text for text in known if text not in meaning]
    unknown = [text for text in odd if text in UNKNOWN_CODES]
    total = sum(count for text, count in known.items() if text not in unknown)
    fits = sum(known[text] for text in meaning)
    if ordinal.needs or len(odd) - len(unknown) > MOST_ODD or fits < MOST_ORDERED * total:
        return None
    return meaning if len({*meaning.values()} - {None}) > 1 else None


def levels_of(column: Levels, panel: Panel, most: int) -> Read | str:
    """Read a category: spellings of one label, as the panel knows them, are one level."""
    counts, filled = column.counts, column.counts.total()
    meaning, remarks = _merged(column.name, counts, panel)
    levels = sorted(set(meaning.values()))
    if len(levels) < 2:
        return CONSTANT
    if len(levels) > max(2, 0.5 * filled) and len(levels) > 0.9 * filled:
        return UNIQUE
    if len(levels) > most or len(levels) > max(2, 0.5 * filled):
        return f"too many levels for a category: {len(levels)}"
    spec: dict[str, Any] = {"kind": "category", "levels": levels}
    others = {text: level for text, level in sorted(meaning.items()) if text != level}
    if others:
        spec["map"] = others
    index = {level: float(i) for i, level in enumerate(levels)}
    values = column.coded({text: index[level] for text, level in meaning.items()})
    if column.none is not None:
        remarks = (*remarks, f"{column.name}: '{column.none}' is taken for a level")
    return Read(spec, values, None, remarks)


def _merged(
    name: str, counts: Mapping[str, int], panel: Panel
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Map each text to the commonest spelling of its level."""
    key = key_of(name)
    label: Callable[[str], str | None] = next(
        (
            (lambda text, known=known: known.spelling(text, key))
            for known in panel.categories.values()
            if _fits(known.spelling, counts, key, named=known.names is not None)
        ),
        lambda _: None,
    )
    best: dict[str, str] = {}
    group: dict[str, str] = {}
    for text in sorted(counts, key=lambda t: (-counts[t], t)):
        group[text] = label(text) or folded(text)
        best.setdefault(group[text], text)
    meaning = {text: best[group[text]] for text in counts}
    joined = {
        level: sorted(t for t in counts if meaning[t] == level and folded(t) != folded(level))
        for level in best.values()
    }
    told = [f"{some(others)} as '{level}'" for level, others in joined.items() if others]
    return meaning, ((f"{name}: {'; '.join(told)} are read as one",) if told else ())


def _fits(
    spelling: Callable[[str, str], str | None],
    counts: Mapping[str, int],
    key: str,
    *,
    named: bool,
) -> bool:
    """Whether a category's spellings are those of a column; all of them where no name tells."""
    met = {text: spelling(text, key) for text in counts}
    labels = {label for label in met.values() if label is not None}
    known = sum(counts[text] for text, label in met.items() if label is not None)
    most = 0.5 if named else 1.0
    return len(labels) > 1 and known >= most * sum(counts.values())
