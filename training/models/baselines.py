"""Baselines: simple models that every run is compared with, fitted on the same folds.

Kaplan–Meier is one curve for all patients, on the model's own time bins; the others are ridge Cox
models of the features that the study file lists under ``baselines``. They are kept in the bundle,
to be compared with the model on another cohort too, where a refitted baseline would have an
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

KAPLAN_MEIER = "Kaplan-Meier"


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline; its features are read by the preprocessing of the model's own folds."""

    name: str
    features: tuple[str, ...]
    folds: tuple[Anchor, ...]
    """One a repeat and fold; of no column where the curve is the same for all."""

    def cumulative(
        self, ensemble: Ensemble, values: Array, centre: NDArray[np.str_] | None = None
    ) -> Array:
        """Cumulative hazard (n, j + 1) of new patients at the ensemble's edges.

        The folds' survival is averaged, as the ensemble's is.

        Args:
            ensemble: that the baseline was fitted beside.
            values: (n, p) coded features without the treatment.
            centre: (n,) of the patients.
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
    """A fold's linear columns (n, c) of some features, made of some patients at a time."""
    columns = model.preprocessor.linear_columns()
    used = [i for i, c in enumerate(columns) if set(c.features) <= set(features)]
    found = np.empty((len(values), len(used)))
    for start in range(0, len(values) if used else 0, CHUNK):
        rows = slice(start, start + CHUNK)
        here = None if centre is None else centre[rows]
        found[rows] = model.preprocessor.linear(values[rows], here)[:, used]
    return found


def curves(anchor: Anchor, X: Array, model: FoldModel, grid: TimeGrid) -> Array:
    """Cumulative hazard (n, j + 1) of a fold's baseline, at the common grid's edges."""
    return on_grid(model.grid, anchor.cumulative(X), grid)
