"""The propensity score: the chance of being treated, given the features.

Rosenbaum and Rubin, "The central role of the propensity score in observational studies for causal
effects", Biometrika 1983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.training.estimators.logistic import Logistic, choose_logistic

#: Patients fitted to at most: the model has few coefficients.
MOST_PATIENTS = 20_000
#: Propensities are held at least this far from 0 and 1.
RAREST = 0.01


@dataclass(frozen=True)
class Propensity:
    """A fitted propensity score P(treated | features), by ridge logistic regression."""

    columns: Ints
    """(c,) columns of the linear design it uses."""
    model: Logistic

    def chance(self, X: Array) -> Array:
        """Propensity (n,) for a linear design X (n, p)."""
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
    """Fit the propensity score.

    Args:
        X: (n, p) linear design.
        treated: (n,) 1, 0, or NaN for patients who are left out.
        seed: of the folds that choose the penalty.
        columns: (c,) that may be used; all if absent. They must not have been chosen by who was
            treated: the penalty would be chosen for less noise than there is.
    """
    known = np.flatnonzero(~np.isnan(treated))
    if len(known) > MOST_PATIENTS:
        known = np.random.default_rng(seed).permutation(known)[:MOST_PATIENTS]
    X, label = X[known], treated[known] == 1
    spread = X.std(axis=0)
    columns = np.arange(X.shape[1]) if columns is None else columns
    columns = columns[spread[columns] > 1e-9]
    return Propensity(columns, choose_logistic(X[:, columns], label, seed=seed))
