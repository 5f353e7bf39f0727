"""Types of a text table's columns, independent of the parts in which it is read.

A column of numbers with one word in it is text everywhere, so that ``1.50`` does not become ``1.5``
in the parts without the word, and one of whole numbers with a gap somewhere is read alike above and
below the gap. Words for missing are no words in this sense, unless they are levels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.cells.missing import Words, word_of
from accomplice.data.readers.numeric import to_numeric

#: Kinds of cells in one part of a column.
EMPTY, GAPS, TRUTH, WHOLE, FRACTION, WORDS = range(6)
#: Spellings of true and false that pandas knows.
_TRUE, _FALSE = frozenset({"True", "TRUE", "true"}), frozenset({"False", "FALSE", "false"})
_LONGEST = 24
#: Most digits of a whole number that always fits into 64 bits.
_DIGITS = 18


def spellings(words: Collection[str]) -> list[str]:
    """Return words for missing in their usual letter cases, for pandas to find."""
    cased = ((w, w.upper(), w.capitalize(), w.title()) for w in words)
    usual = (each for each in _USUAL if each.lower() in words)
    return sorted({*usual, *(spelt for each in cased for spelt in each)})


_USUAL = ("NaN", "-NaN", "n/A", "N/a")


def settled(cells: pd.Series, words: Words) -> tuple[pd.Series, bool]:
    """Return a part of a column with words for missing replaced, and its type updated.

    pandas leaves words in unusual spellings, and those that are missing among numbers alone, so
    that a column of numbers is text.

    Args:
        cells: as pandas has read them.
        words: further words for missing.

    Returns:
        The column, and whether it differs from pandas' reading.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    known = _words(distinct)
    blank, also = words.blank(str(cells.name)), words.no_numbers(str(cells.name))
    if any(str(text).strip() == "+" for text in distinct):
        blank -= {"-"}
    gone = {i for i, word in known.items() if word in blank}
    others = {i for i, word in known.items() if word in also}
    if not (gone or others):
        return cells, False
    left = [text for i, text in enumerate(distinct) if i not in gone and i not in others]
    numbers = _are_numbers(left)
    gone |= others if numbers else set()
    if gone:
        cells = cells.mask(np.isin(codes, [*gone]))
    if numbers:
        return to_numeric(cells), True
    if not others and left and {*left} <= _TRUE | _FALSE:
        return _truth(cells), True
    return cells, bool(gone)


def typed(cells: pd.Series, found: Collection[int], words: Words) -> pd.Series:
    """Return the cells of a part of a column, read as text, in the type of the whole column.

    Args:
        cells: the part.
        found: kinds of the whole column's cells, from :func:`kinds`.
        words: as :func:`settled` takes them.
    """
    kind = type_of(found)
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    blank = words.blank(str(cells.name))
    if kind in (int, float):
        blank |= words.no_numbers(str(cells.name))
    if gone := [i for i, word in _words(distinct).items() if word in blank]:
        cells = cells.mask(np.isin(codes, gone))
    if kind in (int, float):
        return to_numeric(cells).astype(kind)
    return cells if kind is str else _truth(cells).astype(kind)


def kinds(cells: pd.Series) -> set[int]:
    """Return the kinds of the cells of a part of a column."""
    gaps = {GAPS} if cells.isna().any() else set()
    if gaps and cells.isna().all():
        return {EMPTY}
    if cells.dtype == np.int64:
        return {WHOLE}
    if cells.dtype.kind == "f":
        return {FRACTION}
    truth = cells.dtype == bool or pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
    # Whole numbers too large for 64 bits are best kept as they are spelt.
    return gaps | {TRUTH if truth else WORDS}


def type_of(found: Collection[int]) -> type:
    """Return pandas' type of a column of such cells; ``object`` is truth values with gaps."""
    cells = set(found)
    if WORDS in cells or (TRUTH in cells and cells & {WHOLE, FRACTION}):
        return str
    if TRUTH in cells:
        return object if cells & {EMPTY, GAPS} else bool
    return int if cells == {WHOLE} else float


def is_text(kind: Any) -> bool:
    """Whether a column of a type can hold text."""
    return isinstance(kind, pd.StringDtype) or pd.api.types.is_object_dtype(kind)


def _words(distinct: Iterable[Any]) -> dict[int, str]:
    """Return place -> word, of the texts that are short enough for one."""
    return {
        i: word_of(text)
        for i, text in enumerate(distinct)
        if isinstance(text, str) and len(text) <= _LONGEST
    }


def _are_numbers(texts: Sequence[object]) -> bool:
    """Whether texts are numbers that pandas can read without a loss."""
    if not texts or not isinstance(texts[0], str):
        return False
    spelt = [str(text) for text in texts]
    first = pd.to_numeric(pd.Series(spelt[:3], dtype=object), errors="coerce")
    if first.isna().any() or any(len(text) > _DIGITS and text.isdigit() for text in spelt):
        return False
    return bool(pd.to_numeric(pd.Series(spelt, dtype=object), errors="coerce").notna().all())


def _truth(cells: pd.Series) -> pd.Series:
    """Return true and false, spelt in one of pandas' ways, as such."""
    read = cells.map({**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)})
    return read.astype(object if cells.isna().any() else bool)
