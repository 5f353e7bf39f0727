"""A propensity by boosted trees, for thresholds and interactions beyond the listed terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.splits import stratified_folds
from accomplice.training.config import BoostingConfig
from accomplice.training.estimators.logistic import (
    Logistic,
    expit,
    fit_logistic,
    log_likelihood,
    logit,
)
from accomplice.training.learners.boosting import boost
from accomplice.training.learners.trees import Trees, join

#: Settings; smaller than those of survival, since the treatment has no censoring and one fit is
#: made for each fold.
CONFIG = BoostingConfig(members=3, depth=2, learning_rate=0.15, max_rounds=100, patience=10)
#: Ridge of the calibration's slope, relative to the number of patients of the rarer arm.
SLOPE_PRIOR = 0.02


@dataclass(frozen=True)
class LogisticSums:
    """Log-likelihood of labels at the log-odds ``usual`` + score, for many scores at once."""

    label: Bools
    """(n,) labels."""
    usual: float
    """Log-odds at score 0."""

    def value(self, score: Array, weight: Array) -> Array:
        """Return the log-likelihood (m,) for scores and weights (m, n)."""
        return np.asarray((weight * log_likelihood(self.label, self.usual + score)).sum(axis=1))

    def slopes(self, score: Array, weight: Array) -> tuple[Array, Array]:
        """Return gradient y − p and curvature p (1 − p) (m, n) of probabilities p."""
        del weight
        chance = expit(self.usual + score)
        return self.label - chance, chance * (1 - chance)


@dataclass(frozen=True)
class BoostedPropensity:
    """Boosted trees of several members; the log-odds are the calibrated mean of the members'."""

    trees: Trees
    """All trees of all members."""
    step: Array
    """(nodes,) log-odds added by a leaf, divided by the number of members."""
    calibration: Logistic
    """The log-odds of the treatment, from the sum of steps (n, 1)."""

    def probability(self, X: Array) -> Array:
        """Return the probability (n,) for a design X (n, p)."""
        total = np.zeros(len(X))
        if self.trees.count:
            step = self.step[self.trees.leaf_nodes]
            for rows in self.trees.batches(len(X)):
                total[rows] = step.take(self.trees.leaves(X[rows])).sum(axis=0)
        return self.calibration.probability(total[:, None])

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        trees = {name: array.tolist() for name, array in self.trees.arrays().items()}
        calibration = self.calibration.to_json()
        return {"count": self.trees.count, **trees, "step": self.step.tolist()} | {
            "calibration": calibration
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> BoostedPropensity:
        """Rebuild from :meth:`to_json`."""
        arrays = {name: np.array(raw[name]) for name in ("feature", "cut", "left")}
        trees = Trees.from_arrays(raw["count"], arrays)
        step = np.array(raw["step"], dtype=float)
        return cls(trees, step, Logistic.from_json(raw["calibration"]))


def boost_propensity(X: Array, label: Bools, seed: int) -> tuple[BoostedPropensity, Array]:
    """Boost the log-odds of a label.

    Args:
        X: (n, p) design.
        label: (n,) labels; both values occur at least as often as there are members.
        seed: seed of folds, subsamples and candidate columns.

    Returns:
        The fit, and the probability (n,) predicted by the member that left the patient out.
    """
    rng, members = np.random.default_rng(seed), CONFIG.members
    fold = stratified_folds(label, np.arange(len(label), dtype=float), members, seed)
    sums = LogisticSums(label, float(logit(label.mean())))
    rounds, score = boost(X, sums, fold, members, CONFIG, rng)
    held_out = score[fold, np.arange(len(label))][:, None]
    rarer = float(min(label.sum(), (~label).sum()))
    calibration = fit_logistic(held_out, label, SLOPE_PRIOR * rarer)
    trees, step = join(rounds)
    found = BoostedPropensity(trees, step / members, calibration)
    return found, calibration.probability(held_out)
