"""Types of a text table's columns, independent of the parts in which it is read.

A column of numbers and one word is text in all parts, so that ``1.50`` does not become ``1.5`` in
the parts without the word. A column of whole numbers with an empty cell has one type above and
below that cell. A word for missing counts as an empty cell, unless it is a level of the feature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.cells.exact_numbers import to_numeric
from accomplice.data.cells.missing import Words, word_of

#: Kind of a part in which all cells are empty.
EMPTY = 0
#: Kind of a part in which some cells are empty; found beside `TRUTH` or `WORDS`.
GAPS = 1
#: Kind of a part of truth values.
TRUTH = 2
#: Kind of a part of whole numbers without an empty cell.
WHOLE = 3
#: Kind of a part of numbers with a fraction or an empty cell among them.
FRACTION = 4
#: Kind of a part with any other text.
WORDS = 5
#: Spellings of true that pandas reads as a truth value.
_TRUE = frozenset({"True", "TRUE", "true"})
#: Spellings of false that pandas reads as a truth value.
_FALSE = frozenset({"False", "FALSE", "false"})
#: Maximum number of characters of a cell that is compared with the words for missing.
_LONGEST = 24
#: Maximum number of digits of a whole number that always fits into 64 bits.
_DIGITS = 18
#: Usual letter cases of words for missing, in addition to those that `spellings` makes.
_USUAL = ("NaN", "-NaN", "n/A", "N/a")


def spellings(words: Collection[str]) -> list[str]:
    """Return words for missing in their usual letter cases, for pandas to read as missing."""
    cased = ((w, w.upper(), w.capitalize(), w.title()) for w in words)
    usual = (spelling for spelling in _USUAL if spelling.lower() in words)
    return sorted({*usual, *(spelling for cases in cased for spelling in cases)})


def without_missing_words(cells: pd.Series, words: Words) -> tuple[pd.Series, bool]:
    """Return a part of a column with its words for missing emptied, in the type of the rest.

    pandas misses words in unusual letter cases, and words that mean missing only among numbers; the
    column then stays text. Here those cells are emptied and the type is found again. A ``-`` is no
    word for missing in a part that has ``+``.

    Args:
        cells: the part, as pandas has read it.
        words: the study's changes to the words for missing.

    Returns:
        The part, and whether it differs from pandas' reading.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    known = _words(distinct)
    blank, among_numbers = words.blank(str(cells.name)), words.no_numbers(str(cells.name))
    if has_plus(distinct):
        blank -= {"-"}
    emptied = {i for i, word in known.items() if word in blank}
    others = {i for i, word in known.items() if word in among_numbers}
    if not (emptied or others):
        return cells, False
    left = [text for i, text in enumerate(distinct) if i not in emptied and i not in others]
    numbers = _are_numbers(left)
    emptied |= others if numbers else set()
    if emptied:
        cells = cells.mask(np.isin(codes, [*emptied]))
    if numbers:
        return to_numeric(cells), True
    if not others and left and {*left} <= _TRUE | _FALSE:
        return _truth(cells), True
    return cells, bool(emptied)


def as_column_type(cells: pd.Series, found: Collection[int], words: Words) -> pd.Series:
    """Return a part of a column, read as text, in the type of the whole column.

    Words for missing are emptied.

    Args:
        cells: the part.
        found: kinds of all parts of the column, from :func:`kinds`.
        words: the study's changes to the words for missing, with ``-`` as a level of the column if
            it has ``+``.
    """
    kind = type_of(found)
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    blank = words.blank(str(cells.name))
    if kind in (int, float):
        blank |= words.no_numbers(str(cells.name))
    if emptied := [i for i, word in _words(distinct).items() if word in blank]:
        cells = cells.mask(np.isin(codes, emptied))
    if kind in (int, float):
        return to_numeric(cells).astype(kind)
    return cells if kind is str else _truth(cells).astype(kind)


def kinds(cells: pd.Series) -> set[int]:
    """Return the kinds of cells, such as `WHOLE`, in a part of a column."""
    gaps = {GAPS} if cells.isna().any() else set()
    if gaps and cells.isna().all():
        return {EMPTY}
    if cells.dtype == np.int64:
        return {WHOLE}
    if cells.dtype.kind == "f":
        return {FRACTION}
    truth = cells.dtype == bool or pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
    # Whole numbers too large for 64 bits stay text, so that no digit is lost.
    return gaps | {TRUTH if truth else WORDS}


def type_of(found: Collection[int]) -> type:
    """Return pandas' type of a column whose parts are of the kinds ``found``.

    Truth values with empty cells are ``object``.
    """
    cells = set(found)
    if WORDS in cells or (TRUTH in cells and cells & {WHOLE, FRACTION}):
        return str
    if TRUTH in cells:
        return object if cells & {EMPTY, GAPS} else bool
    return int if cells == {WHOLE} else float


def is_text(kind: Any) -> bool:
    """Whether a column of a type can hold text."""
    return isinstance(kind, pd.StringDtype) or pd.api.types.is_object_dtype(kind)


def has_plus(distinct: Iterable[object]) -> bool:
    """Whether ``+`` is among a column's distinct cells: its ``-`` is then a level."""
    return any(str(cell).strip() == "+" for cell in distinct)


def _words(distinct: Iterable[Any]) -> dict[int, str]:
    """Return position -> word of the texts that are short enough for a word for missing."""
    return {
        i: word_of(text)
        for i, text in enumerate(distinct)
        if isinstance(text, str) and len(text) <= _LONGEST
    }


def _are_numbers(texts: Sequence[object]) -> bool:
    """Whether texts are numbers that pandas can read without a loss; False if there are none."""
    if not texts or not isinstance(texts[0], str):
        return False
    strings = [str(text) for text in texts]
    first = pd.to_numeric(pd.Series(strings[:3], dtype=object), errors="coerce")
    if first.isna().any() or any(len(text) > _DIGITS and text.isdigit() for text in strings):
        return False
    return bool(pd.to_numeric(pd.Series(strings, dtype=object), errors="coerce").notna().all())


def _truth(cells: pd.Series) -> pd.Series:
    """Return spellings of true and false as truth values; empty cells stay empty."""
    read = cells.map({**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)})
    return read.astype(object if cells.isna().any() else bool)
