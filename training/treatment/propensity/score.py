"""The propensity score: the probability of being treated, given the features and the centre.

Rosenbaum and Rubin, "The central role of the propensity score in observational studies for causal
effects", Biometrika 1983.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.training.estimators.logistic import Logistic
from accomplice.training.treatment.propensity.boosted import BoostedPropensity
from accomplice.training.treatment.propensity.regions import Regions
from accomplice.training.treatment.propensity.terms import Terms

#: Minimum distance of a propensity from 0 and 1; nearer ones are clipped.
RAREST = 0.01


@dataclass(frozen=True)
class Propensity:
    """A fitted propensity score P(treated | features, centre)."""

    columns: Ints
    """(c,) indices of the columns of the linear design that are used."""
    centres: Mapping[str, float]
    """Name of each of k centres, whose indicators are further columns -> value of its indicator for
    its patients: 1 over its standard deviation, as the design's columns are standardised."""
    model: Logistic
    """Regression on these columns (c + k), and the terms after them."""
    terms: Terms
    """Steps, hinges and products of these columns."""
    trees: BoostedPropensity | None
    """Boosted trees on the columns; None if they have no weight."""
    weight: float
    """Weight of the trees in the mixture, from 0 to 1; the regression has the rest."""
    regions: Regions
    """Regions in which an arm is missing."""

    def used(self, X: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the columns (n, c + k) that are used of a design X (n, p), and the indicators.

        Args:
            X: linear design.
            centre: (n,) centres; None where none is known.
        """
        return np.concatenate(
            [X[:, self.columns], indicators(centre, self.centres, len(X))], axis=1
        )

    def chance(self, X: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the propensity (n,), clipped to [RAREST, 1 − RAREST].

        Args:
            X: (n, p) linear design.
            centre: (n,) centres; None where none is known.
        """
        used = self.used(X, centre)
        chance = self.model.probability(self.terms.beside(used))
        if self.trees is not None:
            chance = (1 - self.weight) * chance + self.weight * self.trees.probability(used)
        chance = self.regions.bound(used, chance)
        return np.minimum(np.maximum(chance, RAREST), 1 - RAREST)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {
            "columns": self.columns.tolist(),
            "centres": dict(self.centres),
            "model": self.model.to_json(),
            "terms": self.terms.to_json(),
            "trees": None if self.trees is None else self.trees.to_json(),
            "weight": self.weight,
            "regions": self.regions.to_json(),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Propensity:
        """Rebuild from :meth:`to_json`; older bundles hold columns and a linear model alone."""
        columns, model = np.array(raw["columns"], dtype=int), Logistic.from_json(raw["model"])
        if "terms" not in raw:
            return only_linear(columns, model)
        return cls(
            columns,
            raw.get("centres", {}),
            model,
            Terms.from_json(raw["terms"]),
            None if raw["trees"] is None else BoostedPropensity.from_json(raw["trees"]),
            raw["weight"],
            Regions.from_json(raw["regions"]),
        )


def only_linear(columns: Ints, model: Logistic) -> Propensity:
    """Return the propensity of a logistic regression alone, on columns (c,) of the design."""
    return Propensity(columns, {}, model, Terms.none(), None, 0.0, Regions.none())


def indicators(centre: NDArray[np.str_] | None, centres: Mapping[str, float], n: int) -> Array:
    """Return the indicators of k centres for n patients (n, k).

    They are 0 for a patient of another centre, or of an unknown one.

    Args:
        centre: (n,) centres; None where none is known.
        centres: name of each centre -> value of its indicator for its patients.
        n: number of patients.
    """
    if centre is None or not centres:
        return np.zeros((n, len(centres)))
    own = centre[:, None] == np.array([*centres])
    return np.where(own, np.array([*centres.values()]), 0.0)
