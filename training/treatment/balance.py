"""Balance of the features between treated and untreated patients, before and after weighting.

The standardised mean difference of a feature is the difference of its means over the root of the
mean of its variances in both arms (Austin, "Balance diagnostics for comparing the distribution of
baseline covariates between treatment groups in propensity-score matched samples", Stat Med 2009).
Weights are overlap weights, 1 − e for the treated and e for the untreated (Li, Morgan and
Zaslavsky, "Balancing covariates via propensity score weighting", JASA 2018), as in the fit of the
effect. For the test: under the right propensity Σ (z − e) x has mean 0 and variance Σ e (1 − e) x².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from accomplice.data.arrays import Array
from accomplice.training.estimators.policy import BALANCED, SIGNIFICANT

#: Maximum number of features on record, those that differ most.
MOST_SHOWN = 30


@dataclass(frozen=True)
class Balance:
    """Standardised mean differences, treated less untreated, of features that vary."""

    names: tuple[str, ...]
    """(c,) columns of the linear design, by falling size of the larger of both differences."""
    before: Array
    """(c,) differences of all compared patients."""
    after: Array
    """(c,) differences weighted by overlap."""
    p: float
    """p value of all differences after weighting together, by Bonferroni's correction."""

    @property
    def worst(self) -> int:
        """Position of the feature that differs most after weighting."""
        return int(np.abs(self.after).argmax())

    @property
    def largest(self) -> float:
        """Size of the largest difference after weighting; 0 if no feature varies."""
        return float(np.abs(self.after).max(initial=0.0))

    @property
    def off(self) -> bool:
        """Whether some feature differs after weighting by more than 0.1, and beyond chance."""
        return self.largest > BALANCED and self.p < SIGNIFICANT

    def to_json(self) -> dict[str, Any]:
        """Return the differences as plain data."""
        rows = list(zip(self.names, self.before.tolist(), self.after.tolist(), strict=True))
        return {
            "largest": self.largest,
            "p": self.p,
            "off": self.off,
            "features": [{"name": n, "before": b, "after": a} for n, b, a in rows[:MOST_SHOWN]],
        }


def balance(X: Array, names: tuple[str, ...], treated: Array, propensity: Array) -> Balance:
    """Return the balance of the columns of a design (n, c) that vary in both arms together.

    Args:
        X: (n, c) design of the compared patients.
        names: (c,) names of the columns.
        treated: (n,) 1 or 0; both occur.
        propensity: (n,) propensity, out of fold, inside (0, 1).

    Example:
        >>> X = np.array([[0.0], [1.0], [1.0], [0.0], [0.0], [1.0]])
        >>> treated = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        >>> chance = np.where(X[:, 0] == 1, 2 / 3, 1 / 3)
        >>> found = balance(X, ("x",), treated, chance)
        >>> print(f"{found.before[0]:.2f} {found.after[0]:.2f}")
        0.71 0.00
    """
    kept = np.flatnonzero(X.std(axis=0) > 1e-9)
    X, had = X[:, kept], treated == 1
    spread = np.sqrt((X[had].var(axis=0) + X[~had].var(axis=0)) / 2)
    spread = np.where(spread > 1e-9, spread, X.std(axis=0))

    def difference(weight: Array) -> Array:
        means = (np.average(X[arm], axis=0, weights=weight[arm]) for arm in (had, ~had))
        with_it, without = means
        return np.asarray((with_it - without) / spread)

    overlap = propensity * (1 - propensity)
    before, after = difference(np.ones(len(X))), difference(np.abs(treated - propensity))
    centred = X - np.average(X, axis=0, weights=overlap)
    spread_of_sum = np.sqrt(np.maximum(overlap @ centred**2, 1e-12))
    z = (treated - propensity) @ centred / spread_of_sum
    p = min(1.0, 2 * max(len(kept), 1) * float(ndtr(-np.abs(z).max(initial=0.0))))
    order = np.argsort(-np.maximum(np.abs(before), np.abs(after)), kind="stable")
    return Balance(tuple(names[kept[i]] for i in order), before[order], after[order], p)
