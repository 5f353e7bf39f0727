"""All cut-points of a marker, and a p value corrected for the choice of the best one.

The best of many cut-points is significant by chance far more often than one time in twenty (Altman
et al., "Dangers of using 'optimal' cutpoints in the evaluation of prognostic factors", JNCI 1994).
So its p value is that of the maximally selected log-rank statistic, by permutation (Lausen and
Schumacher, "Maximally selected rank statistics", Biometrics 1992, give an approximation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.hazard_ratios import HazardRatio, fit_effects, two_sided
from accomplice.training.estimators.kaplan_meier import nelson_aalen

#: Minimum and maximum fraction of the patients at or below a cut-point.
RANGE = (0.1, 0.9)
#: Maximum number of cut-points, evenly spread, at which hazard ratios are estimated; the best is
#: added.
MOST_CUTS = 300
#: Maximum number of permutations.
PERMUTATIONS = 9999
#: Minimum number of permutations.
FEWEST = 499
#: Maximum product of the numbers of permutations and patients, unless ``FEWEST`` needs more.
WORK = 200_000_000
#: Maximum number of permuted values in memory at once.
CHUNK = 4_000_000


@dataclass(frozen=True)
class CutScan:
    """Hazard ratios of high against low marker at c cut-points."""

    share: Array
    """(c,) fraction of the patients at or below each cut-point, rising."""
    ratios: tuple[HazardRatio, ...]
    """(c,) hazard ratio of the patients above each cut-point against the others."""
    median: HazardRatio
    """Hazard ratio at the cut-point nearest to the median, of all cut-points."""
    upper_tertile: HazardRatio
    """Hazard ratio at the cut-point nearest to the upper tertile, of all cut-points."""
    best: int
    """Position among the c of the cut-point with the largest absolute log-rank statistic."""
    p_best: float
    """p value of the best cut-point's log-rank statistic, as if no other had been tried."""
    p_corrected: float
    """p value of the same statistic among the largest ones of permuted markers."""
    permutations: int
    """Number of permutations."""

    @property
    def significant(self) -> float:
        """Fraction of the c cut-points whose own 95 % interval excludes 1."""
        return float(np.mean([r.certain for r in self.ratios]))


def scan_cuts(x: Array, time: Array, event: Bools, seed: int = 0) -> CutScan:
    """Estimate hazard ratios and test the best of all cut-points from the 10th to 90th percentile.

    The corrected p value is (1 + B) / (1 + permutations), with B the number of permutations whose
    largest statistic is at least the observed one.

    Args:
        x: (n,) marker without missing values and with a cut-point in this range.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        seed: seed of the permutations.

    Raises:
        ValueError: there is no cut-point in this range.
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
    """Return the number of patients at or below each cut-point (c,) within ``RANGE``.

    Args:
        rising: (n,) sorted values; patients with equal values stay on one side.
    """
    sizes = np.flatnonzero(np.diff(rising) > 0) + 1
    share = sizes / len(rising)
    return sizes[(share >= RANGE[0]) & (share <= RANGE[1])]


def logrank_scores(time: Array, event: Bools) -> Array:
    """Return the log-rank scores (n,): martingale residuals event − H(time), H by Nelson–Aalen.

    Args:
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
    """
    return np.asarray(event - nelson_aalen(time, event))


def standardised(scores: Array, below: Ints) -> Array:
    """Return the sums of scores above each cut-point, standardised by their permutation moments.

    The sum of r of n scores, drawn without replacement, has the mean r · mean(scores) and the
    variance r (n − r) / (n (n − 1)) · Σ (score − mean)².

    Args:
        scores: (m, n) m sets of scores of the patients, by rising marker.
        below: (c,) number of patients at or below each cut-point.

    Returns:
        Linear rank statistics (m, c); without an association they have mean 0 and variance 1.
    """
    n = scores.shape[1]
    mean, total = scores.mean(axis=1, keepdims=True), scores.sum(axis=1, keepdims=True)
    spread = ((scores - mean) ** 2).sum(axis=1, keepdims=True) / (n * (n - 1))
    above = total - np.cumsum(scores, axis=1)[:, below - 1]
    return np.asarray((above - (n - below) * mean) / np.sqrt(spread * below * (n - below)))


def _permuted_maxima(scores: Array, below: Ints, count: int, seed: int) -> Array:
    """Return the largest absolute statistic (count,) of each permutation of the scores (n,)."""
    rng, n = np.random.default_rng(seed), len(scores)
    step, found = max(1, CHUNK // n), []
    for start in range(0, count, step):
        rows = np.tile(scores, (min(step, count - start), 1))
        found.append(np.abs(standardised(rng.permuted(rows, axis=1), below)).max(axis=1))
    return np.concatenate(found)
