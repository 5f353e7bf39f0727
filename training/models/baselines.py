"""Baselines: simple models that every run is compared with, fitted on the same folds.

Kaplan–Meier is here one curve for all patients with a constant hazard in each of the model's own
time bins, which comes close to the Kaplan–Meier estimate; the others are ridge Cox models of the
features that the study file lists under ``baselines``. They are kept in the bundle, so that the
model is compared with the same baselines on another cohort: refitted there, they would have an
advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.training.estimators.hazard import TimeGrid, from_survival
from accomplice.training.learners.anchor import Anchor
from accomplice.training.models.ensemble import CHUNK, Ensemble, on_grid
from accomplice.training.models.fold_model import FoldModel

#: Name of the baseline without features.
KAPLAN_MEIER = "Kaplan-Meier"


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline; its features are read by the preprocessing of the model's own folds."""

    name: str
    features: tuple[str, ...]
    """Features of the Cox model; none for Kaplan–Meier."""
    folds: tuple[Anchor, ...]
    """Fitted Cox model of each repeat and fold; for Kaplan–Meier it has no columns."""

    def cumulative(
        self, ensemble: Ensemble, values: Array, centre: NDArray[np.str_] | None = None
    ) -> Array:
        """Return the cumulative hazard (n, j + 1) of new patients at the ensemble's edges.

        Its survival is the mean of the folds' survival curves, as for the ensemble.

        Args:
            ensemble: the ensemble fitted on the same folds.
            values: (n, p) coded features without the treatment.
            centre: (n,) hospital; None where no hospital is known.
        """
        mean = np.zeros((len(values), len(ensemble.grid.edges)))
        for model, anchor in zip(ensemble.folds, self.folds, strict=True):
            X = design(model, self.features, values, centre)
            mean += np.exp(-curves(anchor, X, model, ensemble.grid)) / len(self.folds)
        return from_survival(mean)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        folds = [anchor.to_json() for anchor in self.folds]
        return {"name": self.name, "features": list(self.features), "folds": folds}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Baseline:
        """Rebuild from :meth:`to_json`."""
        folds = tuple(Anchor.from_json(anchor) for anchor in raw["folds"])
        return cls(raw["name"], tuple(raw["features"]), folds)


def design(
    model: FoldModel, features: tuple[str, ...], values: Array, centre: NDArray[np.str_] | None
) -> Array:
    """Return the columns (n, c) of a fold's linear design that are made of given features alone.

    Args:
        model: the fold's models, whose preprocessor makes the columns.
        features: names of the features.
        values: (n, p) coded features without the treatment.
        centre: (n,) hospital; None where no hospital is known.
    """
    columns = model.preprocessor.linear_columns()
    read = set(model.preprocessor.read_for(features))
    used = [i for i, c in enumerate(columns) if set(c.features) <= read]
    found = np.empty((len(values), len(used)))
    for start in range(0, len(values) if used else 0, CHUNK):
        rows = slice(start, start + CHUNK)
        hospitals = None if centre is None else centre[rows]
        found[rows] = model.preprocessor.linear(values[rows], hospitals)[:, used]
    return found


def curves(anchor: Anchor, X: Array, model: FoldModel, grid: TimeGrid) -> Array:
    """Return the cumulative hazard (n, j + 1) of a fold's baseline at the common grid's edges.

    Args:
        anchor: the baseline's Cox model of the fold.
        X: (n, c) columns by :func:`design`.
        model: the fold's models, whose time bins ``anchor`` has.
        grid: the common bins.
    """
    return on_grid(model.grid, anchor.cumulative(X), grid)
