"""What of a patient is missing, as inputs of the models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.study import Study

#: Features beyond which a modality's columns get no indicator of their own.
WIDE = 50


def missing_inputs(study: Study) -> tuple[list[int], list[str]]:
    """Features, and modalities of several features, whose missingness is an input.

    In a wide modality (an expression panel) values go missing together: the modality's own
    indicator says it all.
    """
    blocks = study.blocks
    features = [j for block in blocks.values() if len(block) <= WIDE for j in block]
    return features, [m for m, block in blocks.items() if len(block) > 1]


@dataclass(frozen=True)
class Absences:
    """Indicators of what is missing.

    A feature that is missing with its whole modality is counted there alone.
    """

    features: Ints
    """(f,) whose own indicators there are."""
    member: Array
    """(p, m) 1 where a feature is of a modality of several."""
    of_modality: Array
    """(m, f) the same of these features."""

    @classmethod
    def of(cls, study: Study) -> Absences:
        """Return those of a study."""
        features, modalities = missing_inputs(study)
        member = np.zeros((len(study.features), len(modalities)))
        for j, modality in enumerate(modalities):
            member[list(study.blocks[modality]), j] = 1
        places = np.array(features, dtype=int)
        return cls(places, member, member[places].T)

    def inputs(self, values: Array) -> Array:
        """Return the indicators (n, f + m) of coded features (n, p)."""
        unknown = np.isnan(values)
        whole = ((~unknown).astype(float) @ self.member == 0).astype(float)
        alone = unknown[:, self.features] * (whole @ self.of_modality == 0)
        return np.concatenate([alone, whole], axis=1)
