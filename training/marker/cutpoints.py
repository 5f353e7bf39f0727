"""Every cut-point of a marker, and a correction for the choice of the best one.

The best of many cut-points looks significant by chance far more often than one time in twenty
(Altman et al., "Dangers of using optimal cutpoints in the evaluation of prognostic factors", JNCI
1994). Its p value is corrected by permutation of the maximally selected log-rank statistic (Lausen
and Schumacher, "Maximally selected rank statistics", Biometrics 1992, give an approximation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.hazard_ratios import HazardRatio, fit_effects, two_sided
from accomplice.training.estimators.kaplan_meier import nelson_aalen

#: Part of the patients below the lowest and the highest cut-point.
RANGE = (0.1, 0.9)
#: Most cut-points at which a hazard ratio is estimated.
MOST_CUTS = 300
#: Permutations: most, fewest, and patients permuted in all.
PERMUTATIONS, FEWEST, WORK = 9999, 499, 200_000_000
#: Values held at a time while permuting.
CHUNK = 4_000_000


@dataclass(frozen=True)
class CutScan:
    """Hazard ratios of high against low at every cut-point."""

    share: Array
    """(c,) part of the patients at or below each cut-point, rising."""
    ratios: tuple[HazardRatio, ...]
    """(c,) of the patients above it against the others."""
    median: HazardRatio
    upper_tertile: HazardRatio
    best: int
    """The cut-point with the largest log-rank statistic."""
    p_best: float
    """Of the best cut-point's log-rank statistic, as if no other had been tried."""
    p_corrected: float
    """Of the same, against the best cut-points of permuted markers."""
    permutations: int

    @property
    def significant(self) -> float:
        """Part of the cut-points whose own 95 % interval excludes 1."""
        return float(np.mean([r.certain for r in self.ratios]))


def scan_cuts(x: Array, time: Array, event: Bools, seed: int = 0) -> CutScan:
    """Judge all cut-points between the 10th and the 90th percentile.

    Args:
        x: (n,) marker without missing values, of at least two values in that range.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        seed: of the permutations.
    """
    order = np.argsort(x, kind="stable")
    below = cut_sizes(x[order])
    scores = logrank_scores(time, event)[order]
    statistic = np.abs(standardised(scores[None], below)[0])
    count = int(np.clip(WORK // len(x), FEWEST, PERMUTATIONS))
    maxima = _permuted_maxima(scores, below, count, seed)
    top = float(statistic.max())
    shown = below
    if len(below) > MOST_CUTS:
        place = np.round(np.linspace(0, len(below) - 1, MOST_CUTS)).astype(int)
        shown = np.unique(np.append(below[place], below[statistic.argmax()]))
    at_best = int(np.searchsorted(shown, below[statistic.argmax()]))

    def ratio(size: int) -> HazardRatio:
        high = np.ones(len(x))
        high[order[:size]] = 0.0
        return fit_effects(high, time, event).ratio(1)

    def nearest(part: float) -> HazardRatio:
        return ratio(int(below[np.abs(below / len(x) - part).argmin()]))

    return CutScan(
        share=shown / len(x),
        ratios=tuple(ratio(int(size)) for size in shown),
        median=nearest(1 / 2),
        upper_tertile=nearest(2 / 3),
        best=at_best,
        p_best=two_sided(top),
        p_corrected=float((1 + (maxima >= top * (1 - 1e-12)).sum()) / (1 + count)),
        permutations=count,
    )


def cut_sizes(rising: Array) -> Ints:
    """Patients at or below each cut-point (c,) within ``RANGE``, for rising values (n,).

    Patients of one value stay together.
    """
    sizes = np.flatnonzero(np.diff(rising) > 0) + 1
    share = sizes / len(rising)
    return sizes[(share >= RANGE[0]) & (share <= RANGE[1])]


def logrank_scores(time: Array, event: Bools) -> Array:
    """Return log-rank scores (n,): martingale residuals δ − H(time), H by Nelson and Aalen."""
    return np.asarray(event - nelson_aalen(time, event))


def standardised(scores: Array, below: Ints) -> Array:
    """Standardise the summed scores above each cut-point, by their permutation distribution.

    The sum of m of n scores, drawn without replacement, has the mean m · mean(scores) and the
    variance m (n − m) / (n (n − 1)) · Σ (score − mean)².

    Args:
        scores: (m, n) of patients by rising marker.
        below: (c,) patients at or below each cut-point.

    Returns:
        (m, c) linear rank statistics with mean 0 and variance 1 where the marker means nothing.
    """
    n = scores.shape[1]
    mean, total = scores.mean(axis=1, keepdims=True), scores.sum(axis=1, keepdims=True)
    spread = ((scores - mean) ** 2).sum(axis=1, keepdims=True) / (n * (n - 1))
    above = total - np.cumsum(scores, axis=1)[:, below - 1]
    return np.asarray((above - (n - below) * mean) / np.sqrt(spread * below * (n - below)))


def _permuted_maxima(scores: Array, below: Ints, count: int, seed: int) -> Array:
    rng, n = np.random.default_rng(seed), len(scores)
    step, found = max(1, CHUNK // n), []
    for start in range(0, count, step):
        rows = np.tile(scores, (min(step, count - start), 1))
        found.append(np.abs(standardised(rng.permuted(rows, axis=1), below)).max(axis=1))
    return np.concatenate(found)
