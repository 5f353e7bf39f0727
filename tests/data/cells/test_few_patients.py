from __future__ import annotations

import pytest

from accomplice.data.cells.few_patients import merged_into_neighbours, merged_into_other


@pytest.mark.parametrize(
    ("sizes", "into"),
    [
        ((9, 9, 4), {"c": "b"}),
        ((4, 9, 30), {"a": "b"}),
        ((20, 3, 9), {"b": "c"}),
        # The rarest goes first, and what it went into may go on.
        ((20, 30, 2, 1), {"d": "b", "c": "b"}),
        ((2, 2, 2, 20), {"a": "b", "c": "b"}),
        # A level that nobody has stays, and so do the last two.
        ((9, 0, 3), {}),
        ((0, 30, 2, 9), {"c": "d"}),
        ((1, 9), {}),
        ((9, 9, 9), {}),
    ],
)
def test_levels_of_few_go_to_the_rarer_neighbour(sizes, into):
    levels = list("abcd")[: len(sizes)]
    assert merged_into_neighbours(dict(zip(levels, sizes, strict=True)), levels) == into


def test_levels_of_few_are_others():
    assert merged_into_other({"a": 5, "b": 4, "c": 1}) == ("other", {"b", "c"})
    assert merged_into_other({"a": 5, "Other": 1, "c": 1}) == ("Other", {"c"})
    assert merged_into_other({"a": 5, "b": 5}) == ("other", frozenset())
