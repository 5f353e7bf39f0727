"""Features that equal an earlier one in all patients: models use the first one only.

Otherwise the same values would count twice: in a penalty, among the columns that a tree chooses
from, and among the network's inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from accomplice.data.arrays import Array

#: (feature, earlier feature) pairs of the same kind with the same values in all patients.
Repeats = tuple[tuple[int, int], ...]


def repeated_features(values: Array, kinds: Sequence[str]) -> Repeats:
    """Return each feature that repeats an earlier one of its kind, with the first such one.

    Args:
        values: (n, p) coded features, NaN is missing.
        kinds: (p,) their kinds.

    Example:
        >>> values = np.array([[61.0, 0.0, 61.0], [np.nan, 1.0, np.nan]])
        >>> repeated_features(values, ["number", "ordinal", "number"])
        ((2, 0),)
    """
    first: dict[tuple[str, bytes], int] = {}
    found = []
    for j, kind in enumerate(kinds):
        # One form of NaN, and of zero.
        column = np.where(np.isnan(values[:, j]), np.nan, values[:, j]) + 0.0
        earlier = first.setdefault((kind, blake2b(column.tobytes()).digest()), j)
        if earlier != j:
            found.append((j, earlier))
    return tuple(found)


def read_blocks(
    blocks: Mapping[str, tuple[int, ...]], repeats: Repeats
) -> dict[str, tuple[int, ...]]:
    """Return modality -> positions of its features that repeat none; without empty modalities.

    Example:
        >>> read_blocks({"clinical": (0, 1), "copy": (2,)}, ((2, 0),))
        {'clinical': (0, 1)}
    """
    left_out = {j for j, _ in repeats}
    kept = {m: tuple(j for j in block if j not in left_out) for m, block in blocks.items()}
    return {m: block for m, block in kept.items() if block}
