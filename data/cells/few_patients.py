"""Merge the levels that so few patients have that they could be known by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Minimum number of patients of a level.
LEAST = 5
#: Level of the texts that few patients have.
OTHER = "other"


def merged_into_other(sizes: Mapping[str, int]) -> tuple[str, frozenset[str]]:
    """Return the name of the level of all others, and the levels of few patients that are in it.

    Args:
        sizes: level -> number of its patients. A level that is called ``other`` takes the others.
    """
    other = next((level for level in sizes if level.lower() == OTHER), OTHER)
    return other, frozenset(level for level, n in sizes.items() if n < LEAST and level != other)


def merged_into_neighbours(sizes: Mapping[str, int], levels: Sequence[str]) -> dict[str, str]:
    """Return level of few patients -> the level next to it that takes them.

    The rarest goes first, into the rarer of its neighbours. Levels without a patient, and the last
    two with one, stay.

    Args:
        sizes: level -> number of its patients.
        levels: the levels in order.
    """
    found: dict[str, str] = {}
    left = {level: sizes[level] for level in levels if sizes.get(level)}
    while len(left) > 2 and min(left.values()) < LEAST:
        order = list(left)
        rarest = min(order, key=left.__getitem__)
        place = order.index(rarest)
        beside = [order[i] for i in (place - 1, place + 1) if 0 <= i < len(order)]
        into = min(beside, key=left.__getitem__)
        left[into] += left.pop(rarest)
        found = {level: into if end == rarest else end for level, end in found.items()}
        found[rarest] = into
    return found
