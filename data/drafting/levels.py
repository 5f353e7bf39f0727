"""Draft features with levels: known ordered codes, and categories whose spellings are merged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cells.few_patients import LEAST, merged_into_other
from accomplice.data.cells.missing import NO_NUMBERS, word_of
from accomplice.data.cells.text_column import NONE, TextColumn
from accomplice.data.drafting.event_codes import UNKNOWN_CODES
from accomplice.data.errors import some
from accomplice.data.panels.panel import Ordinal, Panel, folded, key_of
from accomplice.data.study_parts import UNLISTED_MISSING

#: Minimum fraction of the patients with a value in a column that can be a feature.
LEAST_FILLED = 0.05

#: Reason: the column is empty.
EMPTY = "no patient has a value"
#: Reason: the column has fewer values than :data:`LEAST_FILLED`.
SPARSE = "fewer than 5 % of the patients have a value"
#: Reason: the column does not vary.
CONSTANT = "the same value for every patient"
#: Reason: the column is free text or an identifier.
UNIQUE = "another text for nearly every patient"
#: Reason: no level has as many patients as a level needs.
FEW_EACH = f"fewer than {LEAST} patients at each level"
#: Minimum fraction of the known cells that belong to an ordered code, for a column to be ordinal.
LEAST_ORDERED = 0.8
#: Maximum number of distinct texts outside the ordered code in an ordinal column, codes for unknown
#: aside.
MOST_ODD = 4
#: Maximum number of characters of a text of few patients that a note quotes.
LONGEST_QUOTED = 8
#: Share of the known cells up to which cells unlike the others are doubtful.
FEW_CELLS = 0.05
#: Start of a text that is a word, or a whole sign such as + or 2+.
_WORD = re.compile(r"[^\W\d_]|\d?[+-]$")
#: A plain number.
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
#: A number or a range of numbers, such as 40-60 years or < 2 cm.
_RANGE = re.compile(
    r"(?:[<>≤≥]=?|under|over|unter|über)?\s*\d+([.,]\d+)?(?P<to>\s*(-|–|to|bis)\s*[<≤]?\d+([.,]\d+)?)?"
    r"\s*\+?\s*(years?|yrs?|y|jahre|mm|cm|%)?"
)


@dataclass(frozen=True)
class LevelledFeature:
    """A drafted feature with levels."""

    spec: dict[str, Any]
    """Its entry in the study file."""
    codes: Array
    """(n,) position of each cell's level, for an ordinal in ``ordinal.levels``; NaN is missing."""
    ordinal: Ordinal | None = None
    """The ordered code of an ordinal."""
    remarks: tuple[str, ...] = field(default=())
    """Assumptions about cells, one line each."""


def fill(n: int, filled: int) -> str | None:
    """Return why a column with ``filled`` values in n patients is no feature; None if enough."""
    if filled == 0:
        return EMPTY
    return SPARSE if filled < LEAST_FILLED * n else None


def known_code(column: TextColumn, panel: Panel) -> LevelledFeature | str | None:
    """Draft an ordinal by the first of the panel's ordered codes that fits the column.

    All known cells must belong to it; in a column that its ``names`` match, 80 % of them, if the
    others have at most four texts. Cells ``None`` that it does not know may be a fifth of all.

    Returns:
        The feature; the reason why it is none; or None if no code fits.
    """
    for ordinal in panel.ordinals if column.counts else ():
        key, none = key_of(column.name), column.none
        if none is not None and ordinal.meaning(none, key) is not None:
            none = None
        known = {text: count for text, count in column.counts.items() if text != none}
        meaning = _ordered(ordinal, known, key) if known else None
        if none is not None and column.counts[none] > (1 - LEAST_ORDERED) * column.counts.total():
            meaning = None
        if meaning is None:
            continue
        known = dict(column.counts)
        odd = sorted(text for text in known if text not in meaning)
        meaning |= dict.fromkeys(odd)
        hidden = {text for text in odd if not _is_quoted(text)}
        occur = {level for level in meaning.values() if level is not None}
        levels = [lv for lv in ordinal.levels if lv in occur or lv not in ordinal.rare]
        spec: dict[str, Any] = {"kind": "ordinal", "levels": levels}
        spellings = {text: meaning[text] for text in sorted({*meaning} - hidden)}
        spellings = {text: level for text, level in spellings.items() if text != level}
        spec |= {"map": spellings} if spellings else {}
        spec |= {"unlisted": UNLISTED_MISSING} if hidden else {}
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
                f"{column.name}: {_quoted(odd)} ({count} cells) is no {ordinal.name} and is taken "
                "for missing; correct it, or map it to a level",
            )
        if column.none is not None and meaning[column.none] is not None:
            remarks = (
                *remarks,
                f"{column.name}: '{column.none}' is read as '{meaning[column.none]}': give "
                f"--missing {column.none} if it means missing",
            )
        return LevelledFeature(
            spec, values, ordinal, (*remarks, *_mixed(column.name, known, meaning, ordinal))
        )
    return None


def _mixed(
    name: str, counts: Mapping[str, int], meaning: Mapping[str, str | None], ordinal: Ordinal
) -> list[str]:
    """Return a remark if few cells are bare (``3``) and the others name the code, or the reverse.

    Args:
        name: the column's name.
        counts: known text -> number of its cells.
        meaning: text -> level, None for missing.
        ordinal: the code.
    """
    known = [text for text in counts if meaning[text] is not None]
    bare = {text for text in known if ordinal.meaning(text, "") is None}
    total = sum(counts[text] for text in known)
    for odd in (bare, {*known} - bare):
        cells = sum(counts[text] for text in odd)
        if 0 < cells <= FEW_CELLS * total:
            read = sorted(f"{text} as {meaning[text]}" for text in odd)
            return [
                f"{name}: {some(read)} ({cells} cells) are read, though written unlike the others"
            ]
    return []


def _ordered(ordinal: Ordinal, known: Mapping[str, int], key: str) -> dict[str, str | None] | None:
    """Return text -> level (None: missing) by an ordered code; None unless it fits most cells.

    Args:
        ordinal: the code.
        known: text -> number of its cells.
        key: the column's name as a key.
    """
    meaning = ordinal.read(known, key)
    if meaning is not None or not ordinal.named(key):
        return meaning
    levels = {text: ordinal.meaning(text, key) for text in known}
    void = ordinal.missing or "(?!)"
    meaning = {t: lv for t, lv in levels.items() if lv or re.fullmatch(void, folded(t))}
    odd = [text for text in known if text not in meaning]
    unknown = [text for text in odd if text in UNKNOWN_CODES]
    total = sum(count for text, count in known.items() if text not in unknown)
    fits = sum(known[text] for text in meaning)
    lacking = not any(re.search(ordinal.needs or "", text) for text in meaning)
    if lacking or len(odd) - len(unknown) > MOST_ODD or fits < LEAST_ORDERED * total:
        return None
    return meaning if len({*meaning.values()} - {None}) > 1 else None


def levels_of(column: TextColumn, panel: Panel, most: int) -> LevelledFeature | str:
    """Draft a category of at most ``most`` levels, or return the reason why it is none.

    Spellings that the panel knows as one label, or that differ only in letter case, blanks or
    quotation marks, are one level. Codes for unknown among words are missing.
    """
    unknown = _unknown(column)
    counts = Counter({text: n for text, n in column.counts.items() if text not in unknown})
    filled = counts.total()
    meaning, remarks = _merged(column.name, counts, panel)
    levels = sorted(set(meaning.values()))
    if len(levels) < 2:
        return CONSTANT
    if len(levels) > max(2, 0.5 * filled) and len(levels) > 0.9 * filled:
        return UNIQUE
    if len(levels) > most or len(levels) > max(2, 0.5 * filled):
        return f"too many levels for a category: {len(levels)}"
    sizes = _by_level(counts, meaning)
    other, few = merged_into_other(sizes)
    levels = sorted({*levels} - few | ({other} if few else set()))
    if len(levels) < 2:
        return FEW_EACH
    spec: dict[str, Any] = {"kind": "category", "levels": levels}
    others: dict[str, str | None] = dict.fromkeys(sorted(unknown))
    # The texts of few patients are not listed: a text that one patient has may identify them.
    listed = {text: level for text, level in meaning.items() if level not in few}
    others |= {text: level for text, level in sorted(listed.items()) if text != level}
    if unknown:
        remarks = (*remarks, code_remark(column.name, sorted(unknown), sum(unknown.values())))
    remarks = (*remarks, *_doubts(column.name, sizes, panel, other if few else None))
    meaning = {text: other if level in few else level for text, level in meaning.items()}
    if others:
        spec["map"] = others
    if few:
        spec["unlisted"] = other
    index = {level: float(i) for i, level in enumerate(levels)}
    values = column.coded({text: index[level] for text, level in meaning.items()})
    if column.none is not None:
        remarks = (*remarks, f"{column.name}: '{column.none}' is taken for a level")
    remarks = (*remarks, *_kept_codes(column, counts), *_ranges(column.name, {*levels} - {other}))
    unsure = sorted(t for t in counts if word_of(t) in NO_NUMBERS and t.lower() != NONE)
    if unsure and not column.forced:
        remarks = (
            *remarks,
            f"{column.name}: {some(unsure)} ({sum(counts[t] for t in unsure)} cells) is taken for "
            f"a level: give --missing '{','.join(unsure)}' if it means missing",
        )
    return LevelledFeature(spec, values, None, remarks)


def code_remark(name: str, codes: Collection[str], cells: int) -> str:
    """Return a remark on ``cells`` cells of a column that hold codes for unknown."""
    return (
        f"{name}: {some(codes)} ({cells} cells) looks like a code for unknown and is taken for "
        "missing; take it out of map if it is a value"
    )


def _is_quoted(text: str) -> bool:
    """Whether a text is too short for a name, and has too few digits for an identifier."""
    return len(text) <= LONGEST_QUOTED and not re.search(r"\d\D*\d\D*\d\D*", text)


def _quoted(texts: Collection[str]) -> str:
    """Return quoted texts for a note, without those that can be a name or an identifier."""
    shown = sorted(filter(_is_quoted, texts))
    hidden = f"{len(texts) - len(shown)} texts that are not shown"
    return some(shown) + (f"{' and ' if shown else ''}{hidden}" if len(shown) < len(texts) else "")


def _unknown(column: TextColumn) -> dict[str, int]:
    """Return code for unknown -> number of its cells, among words; empty for a forced column."""
    found = {text: n for text, n in column.counts.items() if text in UNKNOWN_CODES}
    others = [bool(_WORD.match(text)) for text in column.counts if text not in found]
    return {} if column.forced or 2 * sum(others) <= len(others) else found


def _kept_codes(column: TextColumn, counts: Mapping[str, int]) -> list[str]:
    """Return a remark on codes for unknown (98, or 9 beside 0 to 7) in a forced column."""
    numbers = [float(text) for text in counts if _NUMBER.fullmatch(text)]
    kept = [t for t in counts if t in UNKNOWN_CODES and (len(t) > 1 or max(numbers) == float(t))]
    kept = [t for t in kept if len(t) > 1 or not any(7 < x < float(t) for x in numbers)]
    if not column.forced or not kept:
        return []
    cells = sum(counts[text] for text in kept)
    return [
        f"{column.name}: {some(sorted(kept))} ({cells} cells) looks like a code for unknown and is "
        f"kept as a level: give --missing {','.join(sorted(kept))} if it is none"
    ]


def _ranges(name: str, levels: Collection[str]) -> list[str]:
    """Return a remark if the levels, three or more, are ranges of numbers: they get no order."""
    between = [_RANGE.fullmatch(text) for text in levels]
    if len(between) < 3 or not all(between) or not any(m and m["to"] for m in between):
        return []
    return [
        f"{name}: its levels are ranges, which have no order here: write the feature as an "
        "ordinal, the lowest level first, if that matters"
    ]


def _by_level(counts: Mapping[str, int], meaning: Mapping[str, str]) -> Counter[str]:
    """Return level -> number of its cells."""
    found: Counter[str] = Counter()
    for text, count in counts.items():
        found[meaning[text]] += count
    return found


def _doubts(name: str, counts: Counter[str], panel: Panel, other: str | None) -> list[str]:
    """Return remarks on rare levels, and on the few levels outside an otherwise ordered code.

    Args:
        name: the column's name.
        counts: level -> number of its cells.
        panel: known ordered codes.
        other: level into which levels of few patients are merged; None if there are none.
    """
    found = []
    words = any(_WORD.match(text) for text in counts)
    numbers = {t for t, n in counts.items() if words and not _WORD.match(t) and n >= LEAST}
    merged = [t for t, n in counts.items() if n < LEAST and t != other] if other else []
    odd = [t for t in numbers if counts[t] <= FEW_CELLS * counts.total()] if len(counts) > 2 else []
    for texts, remark in ((merged, f", read as '{other}'; correct"), (odd, "; correct")):
        if texts:
            found.append(
                f"{name}: {_quoted(texts)} ({sum(counts[text] for text in texts)} cells) is a "
                f"level of few patients{remark} it, or map it, if it is none"
            )
    for ordinal in panel.ordinals:
        known = {t: level for t in counts if (level := ordinal.meaning(t, "")) is not None}
        fits, needs = sum(counts[text] for text in known), ordinal.needs or ""
        ordered = len({*known.values()}) > 1 and any(re.search(needs, text) for text in known)
        if ordered and LEAST_ORDERED * counts.total() <= fits < counts.total():
            odd = sorted({*counts} - {*known})
            found.append(
                f"{name}: {_quoted(odd)} ({counts.total() - fits} cells) is no {ordinal.name}, so "
                "that the levels have no order; correct it, or write them as an ordinal"
            )
    return found


def _merged(
    name: str, counts: Mapping[str, int], panel: Panel
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return text -> the commonest spelling of its level, and remarks on merged spellings."""
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
        # A quotation mark in a level is a stray one.
        bare = text.replace('"', "")
        group[text] = label(bare) or folded(bare)
        best.setdefault(group[text], text)
    meaning = {text: best[group[text]] for text in counts}
    joined = {
        level: sorted(t for t in counts if meaning[t] == level and folded(t) != folded(level))
        for level in best.values()
    }
    merged = [f"{some(others)} as '{level}'" for level, others in joined.items() if others]
    return meaning, ((f"{name}: {'; '.join(merged)} are read as one",) if merged else ())


def _fits(
    spelling: Callable[[str, str], str | None],
    counts: Mapping[str, int],
    key: str,
    *,
    named: bool,
) -> bool:
    """Whether two or more of a category's labels occur, in half of the cells or, unnamed, in all.

    Args:
        spelling: text and column's key -> label, None if it is none.
        counts: text -> number of its cells.
        key: the column's name as a key.
        named: whether the category is known by names of columns.
    """
    found = {text: spelling(text, key) for text in counts}
    labels = {label for label in found.values() if label is not None}
    known = sum(counts[text] for text, label in found.items() if label is not None)
    least = 0.5 if named else 1.0
    return len(labels) > 1 and known >= least * sum(counts.values())
