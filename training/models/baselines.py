"""The simple models that every run is held against: fitted on the same folds, kept in the bundle.

Kaplan–Meier is one curve for everybody, on the model's own time bins; the others are ridge Cox
models of the features that the study file lists under ``baselines``. Being kept, they can be held
against the model on another cohort too, where a baseline fitted anew would know more than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.training.config import Config
from accomplice.training.estimators.cox import baseline_hazard
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.fitting.prepare import CHUNK, Prepared, truncate
from accomplice.training.learners.anchor import Anchor, fit_anchor
from accomplice.training.models.ensemble import Ensemble, FoldModel, mean_curve, on_grid

KAPLAN_MEIER = "Kaplan-Meier"


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline; its features are read by the preprocessing of the model's own folds."""

    name: str
    features: tuple[str, ...]
    folds: tuple[Anchor, ...]
    """One a repeat and fold; of no column where the curve is the same for everybody."""

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
            mean += np.exp(-_curves(anchor, X, model, ensemble.grid)) / len(self.folds)
        return np.asarray(-np.log(np.maximum(mean, 1e-300)))

    def out_of_fold(self, prepared: Prepared) -> Array:
        """Cumulative hazard (n, j + 1) of the patients it was fitted on, by folds without them."""
        repeats, n = len(prepared.fold), len(prepared.cohort)
        found = np.zeros((repeats, n, len(prepared.grid.edges)))
        blind, held_out = prepared.blind, prepared.held_out
        for k, (model, anchor) in enumerate(zip(prepared.models, self.folds, strict=True)):
            X = design(model, self.features, blind.values, blind.centre)
            out, repeat = held_out[k], k * repeats // len(prepared.models)
            found[repeat, out] = _curves(anchor, X[out], model, prepared.grid)
        return mean_curve(found)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        folds = [anchor.to_json() for anchor in self.folds]
        return {"name": self.name, "features": list(self.features), "folds": folds}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Baseline:
        """Rebuild from :meth:`to_json`."""
        folds = tuple(Anchor.from_json(anchor) for anchor in raw["folds"])
        return cls(raw["name"], tuple(raw["features"]), folds)


def fit_baselines(prepared: Prepared, config: Config) -> tuple[Baseline, ...]:
    """Fit each baseline on each training fold, Kaplan–Meier first, the study's own in their order.

    The study file lists the simplest first, so its last is its clinical model.
    """
    listed = {KAPLAN_MEIER: (), **prepared.blind.study.baselines}
    time, event = truncate(prepared.cohort)
    return tuple(
        Baseline(
            name,
            features,
            tuple(
                _fit_fold(model, features, prepared.blind, time, event, ~out, config)
                for model, out in zip(prepared.models, prepared.held_out, strict=True)
            ),
        )
        for name, features in listed.items()
    )


def out_of_fold_curves(baselines: Sequence[Baseline], prepared: Prepared) -> dict[str, Array]:
    """Out-of-fold cumulative hazards (n, j + 1) at the common grid's edges, by baseline."""
    return {baseline.name: baseline.out_of_fold(prepared) for baseline in baselines}


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


def _fit_fold(
    model: FoldModel,
    features: tuple[str, ...],
    blind: Cohort,
    time: Array,
    event: Bools,
    train: Bools,
    config: Config,
) -> Anchor:
    X = design(model, features, blind.values, blind.centre)[train]
    if not X.shape[1]:
        flat = baseline_hazard(np.zeros(len(X)), time[train], event[train], model.grid)
        return Anchor(np.zeros(0), 0.0, flat, penalty=1.0, ratio=1.0)
    return fit_anchor(
        X,
        time[train],
        event[train],
        model.grid,
        np.zeros(X.shape[1], dtype=bool),
        folds=config.anchor.folds,
        seed=config.seed,
    )


def _curves(anchor: Anchor, X: Array, model: FoldModel, grid: TimeGrid) -> Array:
    return on_grid(model.grid, anchor.cumulative(X), grid)
