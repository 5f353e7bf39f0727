"""Say which numbers of a column do not go with its others."""

from __future__ import annotations

import re

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cells.numbers import NumberColumn
from accomplice.data.drafting.event_codes import UNKNOWN_CODES
from accomplice.data.drafting.levels import FEW_CELLS, Levels
from accomplice.data.study_parts import as_level

#: Whole numbers with more values than this are no codes of a category.
MOST_CODES = 12
#: A number so many times the next largest of its column is doubtful.
FAR_BEYOND = 10
#: The same where it is a code for unknown.
FAR_CODE = 2


def beyond(name: str, known: Array) -> list[str]:
    """Say that the largest of a column's known numbers (n,) is far beyond all others.

    A code for unknown, such as 99.9, needs to be less far beyond.
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
    """Say that few of a column's known numbers (n,) are far below all others, such as zeros."""
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
    """Say that few of a column's known numbers (n,) are others than its two most frequent ones."""
    counts = np.sort(np.unique(known, return_counts=True)[1])[::-1]
    others = int(counts[2:].sum())
    if len(counts) < 3 or others > FEW_CELLS * len(known) or counts[1] <= others:
        return []
    return [
        f"{name}: {others} of {len(known)} cells are other numbers than the two of all other "
        "cells: correct them if they are none"
    ]


def ask_grouped(column: Levels, read: NumberColumn) -> list[str]:
    """Ask whether marks group thousands in cells that then are far beyond all others."""
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
