"""Rank correlations of one feature with the others, with 95 % intervals."""

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
    """Spearman's correlation with another feature, with its 95 % interval."""

    form: ClassVar[str] = ".2f"

    feature: str
    """Name of the other feature."""
    modality: str
    """Modality of the other feature."""
    patients: int
    """Number of patients with both values."""


def correlations(study: Study, z: Array, name: str) -> list[Correlation]:
    """Correlate a feature with the others, except categories.

    Args:
        study: study with the p features.
        z: (n, p) scaled features, NaN where missing or a category.
        name: name of the feature.

    Returns:
        The correlations, the strongest first; without those of fewer than ``PAIRS_TO_CORRELATE``
        patients or with a constant.
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
    """Return Spearman's correlation of x (n,) and y (n,), without missing values.

    It is Pearson's correlation of the ranks, with mid-ranks for ties; NaN if x or y is constant.
    """
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(spearmanr(x, y).statistic)


def spearman_interval(value: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a rank correlation r of n > 3 patients.

    It is tanh(atanh r ± 1.96 √((1 + r² / 2) / (n − 3))) (Bonett and Wright, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 2000).
    """
    middle = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    spread = Z95 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return math.tanh(middle - spread), math.tanh(middle + spread)
