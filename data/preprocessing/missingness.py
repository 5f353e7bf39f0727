"""Missingness indicators: a patient's missing values as inputs of the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Ints

#: Modality -> the positions of its features; see :attr:`study.Study.blocks`.
Blocks = Mapping[str, tuple[int, ...]]

#: Features beyond which a modality's columns get no indicator of their own.
WIDE = 50


def missing_inputs(blocks: Blocks) -> tuple[list[int], list[str]]:
    """Features, and modalities of several features, whose missingness is an input.

    In a wide modality (an expression panel) values go missing together: the modality's own
    indicator is enough.
    """
    features = [j for block in blocks.values() if len(block) <= WIDE for j in block]
    return features, [m for m, block in blocks.items() if len(block) > 1]


@dataclass(frozen=True)
class MissingIndicators:
    """Indicators of missing features and modalities.

    A feature that is missing with its whole modality is counted there alone.
    """

    features: Ints
    """(f,) features with an indicator of their own."""
    member: Array
    """(p, m) 1 where a feature is of a modality of several."""
    of_modality: Array
    """(m, f) the same of these features."""

    @classmethod
    def of(cls, blocks: Blocks) -> MissingIndicators:
        """Return the indicators of a study's blocks, which hold each feature once."""
        features, modalities = missing_inputs(blocks)
        member = np.zeros((sum(map(len, blocks.values())), len(modalities)))
        for j, modality in enumerate(modalities):
            member[list(blocks[modality]), j] = 1
        places = np.array(features, dtype=int)
        return cls(places, member, member[places].T)

    def inputs(self, values: Array) -> Array:
        """Return the indicators (n, f + m) of coded features (n, p)."""
        unknown = np.isnan(values)
        whole = ((~unknown).astype(float) @ self.member == 0).astype(float)
        alone = unknown[:, self.features] * (whole @ self.of_modality == 0)
        return np.concatenate([alone, whole], axis=1)
