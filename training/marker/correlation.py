"""Rank correlations of one feature with the others, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import spearmanr

from accomplice.data.arrays import Array
from accomplice.data.study import Study
from accomplice.training.estimators.intervals import Z95, Estimate
from accomplice.training.estimators.policy import PAIRS_TO_CORRELATE


@dataclass(frozen=True, kw_only=True)
class Correlation(Estimate):
    """Spearman's correlation with one feature, with its 95 % interval."""

    form: ClassVar[str] = ".2f"

    feature: str
    modality: str
    patients: int


def correlations(study: Study, z: Array, name: str) -> list[Correlation]:
    """Correlate a feature with every other that has an order, the strongest first.

    Args:
        study: describes the p features.
        z: (n, p) scaled features, NaN where missing or a category.
        name: the feature.
    """
    names, own = list(study.features), z[:, list(study.features).index(name)]
    found = []
    for modality, block in study.blocks.items():
        for j in block:
            both = ~np.isnan(own) & ~np.isnan(z[:, j])
            if names[j] == name or both.sum() < PAIRS_TO_CORRELATE:
                continue
            value = spearman(own[both], z[both, j])
            if not math.isnan(value):
                n = int(both.sum())
                low, high = spearman_interval(value, n)
                found.append(
                    Correlation(value, low, high, feature=names[j], modality=modality, patients=n)
                )
    return sorted(found, key=lambda c: -abs(c.value))


def spearman(x: Array, y: Array) -> float:
    """Spearman's correlation: Pearson's of the ranks (n,), ties at mid-ranks; NaN if constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(spearmanr(x, y).statistic)


def spearman_interval(value: float, n: int) -> tuple[float, float]:
    """Bound a rank correlation r of n patients: tanh(atanh r ± z √((1 + r²/2) / (n − 3))).

    Bonett and Wright, Psychometrika 2000.
    """
    middle = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    spread = Z95 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return math.tanh(middle - spread), math.tanh(middle + spread)
