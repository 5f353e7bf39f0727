"""Missingness indicators: a patient's missing values as inputs of the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Ints

#: Modality -> the positions of its features; see :attr:`study.Study.blocks`.
Blocks = Mapping[str, tuple[int, ...]]

#: Maximum number of features of a modality whose features have missingness indicators of their own.
WIDE = 50


def missing_inputs(blocks: Blocks) -> tuple[list[int], list[str]]:
    """Return the positions of the features, and the modalities, whose missingness is an input.

    A modality of one feature needs no indicator in addition to the feature's. In a modality of more
    than `WIDE` features (an expression panel) values are missing together, so that its own
    indicator suffices.
    """
    features = [j for block in blocks.values() if len(block) <= WIDE for j in block]
    return features, [m for m, block in blocks.items() if len(block) > 1]


@dataclass(frozen=True)
class MissingIndicators:
    """Indicators of missing features and modalities, for p features.

    Where a whole modality is missing, the modality's indicator is 1 and those of its features 0.
    """

    features: Ints
    """(f,) positions of the features with an indicator of their own."""
    member: Array
    """(p, m) 1 where a feature is of a modality that has an indicator, else 0."""
    of_modality: Array
    """(m, f) the rows of ``member`` for ``features``, transposed."""

    @classmethod
    def of(cls, blocks: Blocks, p: int) -> MissingIndicators:
        """Return the indicators of modalities, whose features are some of ``p``."""
        features, modalities = missing_inputs(blocks)
        member = np.zeros((p, len(modalities)))
        for j, modality in enumerate(modalities):
            member[list(blocks[modality]), j] = 1
        places = np.array(features, dtype=int)
        return cls(places, member, member[places].T)

    def inputs(self, values: Array) -> Array:
        """Return the indicators (n, f + m), 0 or 1, of coded features (n, p), NaN is missing."""
        unknown = np.isnan(values)
        whole = ((~unknown).astype(float) @ self.member == 0).astype(float)
        alone = unknown[:, self.features] * (whole @ self.of_modality == 0)
        return np.concatenate([alone, whole], axis=1)
