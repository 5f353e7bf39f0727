"""Questions about a column's outlying numbers: another unit, a code or grouped thousands."""

from __future__ import annotations

import re

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cells.numbers import NumberColumn
from accomplice.data.cells.text_column import TextColumn
from accomplice.data.drafting.event_codes import UNKNOWN_CODES
from accomplice.data.drafting.levels import FEW_CELLS
from accomplice.data.study_parts import as_level

#: Maximum number of distinct numbers of a column that can be codes of a category; also the minimum
#: count of numbers in a column in which :func:`beyond` judges the largest.
MOST_CODES = 12
#: Ratio of a column's largest number to the next, from which the largest is doubtful.
FAR_BEYOND = 10
#: The same ratio where the largest number is a code for unknown.
FAR_CODE = 2


def beyond(name: str, known: Array) -> list[str]:
    """Return a question if the largest of a column's numbers is far beyond all others.

    That is at least :data:`FAR_BEYOND` times the next largest, or :data:`FAR_CODE` times if it is
    a code for unknown.

    Args:
        name: the column's name.
        known: its known numbers (n,).

    Returns:
        One line; none with fewer than :data:`MOST_CODES` numbers, with a negative number, or if the
        next largest is 0.
    """
    last = np.unique(known)[-2:]
    if len(known) < MOST_CODES or len(last) < 2 or known.min() < 0 or last[0] <= 0:
        return []
    times = FAR_CODE if as_level(float(last[1])) in UNKNOWN_CODES else FAR_BEYOND
    if last[1] < times * last[0]:
        return []
    cells = int((known == last[1]).sum())
    return [
        f"{name}: {cells} cells are more than {times} times the next largest: do they belong here?"
    ]


def far_below(name: str, known: Array) -> list[str]:
    """Return a question if few of a column's known numbers (n,) are far below the rest.

    Few is at most a fifth of them, and far below is less than a tenth of the median. The rest must
    be at least 0.3 times the median and have more than :data:`MOST_CODES` distinct values. With a
    negative number there is no question.

    Args:
        name: the column's name.
        known: its known numbers (n,).
    """
    median = float(np.median(known))
    low, others = known < 0.1 * median, known[known >= 0.1 * median]
    cells = int(low.sum())
    if not 0 < cells <= 0.2 * len(known) or known.min() < 0 or others.min() < 0.3 * median:
        return []
    if len(np.unique(others)) <= MOST_CODES:
        return []
    return [
        f"{name}: {cells} cells are less than a tenth of the median, and all others far above: do "
        "they belong here, or is that unknown, or another unit?"
    ]


def among_two(name: str, known: Array) -> list[str]:
    """Return a remark if nearly all of a column's known numbers (n,) are one of two values.

    The others must be at most :data:`levels.FEW_CELLS` of the numbers, and fewer than the numbers
    of either value.

    Args:
        name: the column's name.
        known: its known numbers (n,).
    """
    counts = np.sort(np.unique(known, return_counts=True)[1])[::-1]
    others = int(counts[2:].sum())
    if len(counts) < 3 or others > FEW_CELLS * len(known) or counts[1] <= others:
        return []
    return [
        f"{name}: {others} of {len(known)} cells are other numbers than the two of all other "
        "cells: correct them if they are none"
    ]


def ask_grouped(column: TextColumn, read: NumberColumn) -> list[str]:
    """Return a question if numbers with grouped thousands are far beyond all others.

    That is if the smallest of them is at least :data:`FAR_BEYOND` times the largest of the others.

    Args:
        column: the column's texts.
        read: its numbers, thousands read as grouped.
    """
    mark = "," if read.mark == "." else r"\."
    grouped = np.array(
        [bool(re.fullmatch(rf"\d+{mark}\d{{3}}", t)) for t in column.texts] + [False]
    )
    cells = grouped[column.codes] & ~np.isnan(read.values)
    others = read.values[~cells & ~np.isnan(read.values)]
    if read.mark is None or not cells.any() or not len(others):
        return []
    if read.values[cells].min() < FAR_BEYOND * others.max():
        return []
    return [
        f"column '{column.name}': {int(cells.sum())} cells are more than {FAR_BEYOND} times all "
        f"others if their marks group thousands: correct them, or give --number '{column.name}' if "
        "they do"
    ]
