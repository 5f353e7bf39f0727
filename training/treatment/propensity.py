"""The propensity score: the probability of being treated, given the features.

Rosenbaum and Rubin, "The central role of the propensity score in observational studies for causal
effects", Biometrika 1983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.training.estimators.logistic import Logistic, choose_logistic

#: Maximum of patients in a fit, which suffices for the few coefficients.
MOST_PATIENTS = 20_000
#: Least distance of a propensity from 0 and 1; nearer ones are clipped.
RAREST = 0.01


@dataclass(frozen=True)
class Propensity:
    """A fitted propensity score P(treated | features), by ridge logistic regression."""

    columns: Ints
    """(c,) indices of the columns of the linear design that are used."""
    model: Logistic
    """Regression on these columns."""

    def chance(self, X: Array) -> Array:
        """Return the propensity (n,), clipped to [RAREST, 1 − RAREST], for a design X (n, p)."""
        chance = self.model.probability(X[:, self.columns])
        return np.minimum(np.maximum(chance, RAREST), 1 - RAREST)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {"columns": self.columns.tolist(), "model": self.model.to_json()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Propensity:
        """Rebuild from :meth:`to_json`."""
        return cls(np.array(raw["columns"], dtype=int), Logistic.from_json(raw["model"]))


def fit_propensity(X: Array, treated: Array, seed: int, columns: Ints | None = None) -> Propensity:
    """Fit the propensity score, to a random ``MOST_PATIENTS`` if more patients are known.

    Args:
        X: (n, p) linear design.
        treated: (n,) 1, 0, or NaN for patients who are left out.
        seed: seed of the folds by which the penalty is chosen.
        columns: (c,) indices of the columns that may be used; by default all. They must not be
            chosen by the treatment, which would make the penalty too small. Columns without
            variation are left out.
    """
    known = np.flatnonzero(~np.isnan(treated))
    if len(known) > MOST_PATIENTS:
        known = np.random.default_rng(seed).permutation(known)[:MOST_PATIENTS]
    X, label = X[known], treated[known] == 1
    spread = X.std(axis=0)
    columns = np.arange(X.shape[1]) if columns is None else columns
    columns = columns[spread[columns] > 1e-9]
    return Propensity(columns, choose_logistic(X[:, columns], label, seed=seed))
