"""Merge levels with so few patients that a level could identify a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Minimum number of patients of a level.
LEAST = 5
#: Level into which the levels with few patients are merged.
OTHER = "other"


def merged_into_other(sizes: Mapping[str, int]) -> tuple[str, frozenset[str]]:
    """Return the name of the level for rare levels, and the rare levels that are merged into it.

    Args:
        sizes: level -> number of its patients. A level with the name ``other`` is the one merged
            into.
    """
    other = next((level for level in sizes if level.lower() == OTHER), OTHER)
    return other, frozenset(level for level, n in sizes.items() if n < LEAST and level != other)


def merged_into_neighbours(sizes: Mapping[str, int], levels: Sequence[str]) -> dict[str, str]:
    """Return level with few patients -> the neighbouring level into which it is merged.

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
