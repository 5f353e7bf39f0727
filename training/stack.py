"""Combine the learners and calibrate: weights, slope and level from out-of-fold predictions.

The stacked survival is ``(1 - share) S_anchor + share S_net``: a mean of survival curves is one
again, and its Brier score is never worse than the mean of theirs (see Gneiting and Ranjan,
"Combining predictive distributions", Electron J Stat 2013). Share, slope and level maximise the
out-of-fold likelihood under normal priors around an equal share, slope 1 and level 0: with few
events such likelihoods are noisy, and equal weights are hard to beat (Clemen, "Combining
forecasts", Int J Forecast 1989). With many events the priors give way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import StackConfig
from training.hazard import TimeGrid

Array = NDArray[np.float64]

#: Log-likelihood units that are more than chance: half the 95 % quantile of chi-square on 1 degree.
CLEARLY = 1.92
SHARES = np.linspace(0.0, 1.0, 41)
SLOPES = np.linspace(0.5, 1.6, 45)


@dataclass(frozen=True)
class Stack:
    """How the learners' cumulative hazards become one."""

    share: float
    """The network's part, 0 to 1; the anchor has the rest."""
    slope: float
    """Stretch of the log cumulative hazard around its mean; below 1 draws patients together."""
    level: float
    """Added to the log cumulative hazard of everybody."""
    centre: Array
    """(j,) mean log cumulative hazard at the end of each bin."""

    def cumulative(self, learners: Array) -> Array:
        """Stacked cumulative hazard at the edges (n, j + 1) from the learners' (2, n, j + 1)."""
        pooled = _pool(learners, self.share)
        ends = np.exp(self.centre + self.slope * (_log_ends(pooled) - self.centre) + self.level)
        # A slope above 1 could bend a steep curve back; survival must never rise.
        return np.pad(np.maximum.accumulate(ends, axis=-1), ((0, 0), (1, 0)))

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {**vars(self), "centre": self.centre.tolist()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Stack:
        """Rebuild from :meth:`to_json`."""
        return cls(**{**raw, "centre": np.array(raw["centre"], dtype=float)})


def fit_stack(
    learners: Array, time: Array, event: NDArray[np.bool_], grid: TimeGrid, config: StackConfig
) -> Stack:
    """Fit share, slope and level.

    Args:
        learners: (2, n, j + 1) out-of-fold cumulative hazard of anchor and network at the edges.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        grid: the j bins.
        config: widths of the priors.
    """
    at_risk, happened = grid.exposure(time), grid.events(time, event)

    def likelihood(cumulative: Array) -> float:
        gathered = np.diff(cumulative, axis=1)
        return float(
            (happened * np.log(np.maximum(gathered, 1e-10))).sum() - (at_risk * gathered).sum()
        )

    reached = np.array([likelihood(_pool(learners, share)) for share in SHARES])
    posterior = reached - (SHARES - 0.5) ** 2 / (2 * config.share_sd**2)
    best = int(np.argmax(posterior))
    # Where the network clearly does harm, it has no part.
    share = float(SHARES[best]) if reached[best] > reached[0] - CLEARLY else 0.0

    centre = _log_ends(_pool(learners, share)).mean(axis=0)
    precision, events = 1 / config.level_sd**2, float(event.sum())
    found = Stack(share, 1.0, 0.0, centre), -np.inf
    for slope in SLOPES:
        flat = Stack(share, float(slope), 0.0, centre)
        cumulative = flat.cumulative(learners)
        expected = float(grid.at_own(cumulative, time).sum())
        # Events against expected events, with the prior as that many of each beforehand.
        level = float(np.log((events + precision) / (expected + precision)))
        score = likelihood(cumulative * np.exp(level))
        score -= (slope - 1) ** 2 / (2 * config.slope_sd**2) + level**2 * precision / 2
        if score > found[1]:
            found = Stack(share, float(slope), level, centre), score
    return found[0]


def _pool(learners: Array, share: float) -> Array:
    """Cumulative hazard of the mean survival (n, j + 1)."""
    anchor, net = np.exp(-learners)
    return np.asarray(-np.log(np.maximum((1 - share) * anchor + share * net, 1e-300)))


def _log_ends(cumulative: Array) -> Array:
    """Log cumulative hazard at the end of each bin (n, j)."""
    return np.log(np.maximum(cumulative[:, 1:], 1e-12))
