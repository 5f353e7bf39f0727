"""The simple models that every run is held against, predicted out of the same folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.anchor import fit_anchor
from training.config import Config
from training.cox import baseline_hazard
from training.ensemble import FoldModel, mean_curve, on_grid
from training.fit import CHUNK, Prepared, truncate

Array = NDArray[np.float64]

KAPLAN_MEIER = "Kaplan-Meier"


def baseline_curves(prepared: Prepared, config: Config) -> dict[str, Array]:
    """Out-of-fold cumulative hazards (n, j + 1) at the common grid's edges, by model.

    The Kaplan–Meier entry is one curve for everybody, on the model's own time bins; the others are
    ridge Cox models of the features that the study file lists under ``baselines``.
    """
    study = prepared.blind.study
    found = {KAPLAN_MEIER: _out_of_fold(prepared, config, ())}
    for name, features in study.baselines.items():
        found[name] = _out_of_fold(prepared, config, features)
    return found


def _out_of_fold(prepared: Prepared, config: Config, features: tuple[str, ...]) -> Array:
    time, event = truncate(prepared.cohort)
    n, edges = len(time), prepared.grid.edges
    repeats = len(prepared.fold)
    found = np.zeros((repeats, n, len(edges)))
    for k, model in enumerate(prepared.models):
        out = prepared.held_out[k]
        repeat = k * repeats // len(prepared.models)
        X = _design(prepared, model, features)
        found[repeat, out] = _fold_curve(model, X, time, event, out, prepared, config)
    return mean_curve(found)


def _design(prepared: Prepared, model: FoldModel, features: tuple[str, ...]) -> Array:
    """A fold's linear columns (n, c) of some features, made of some patients at a time."""
    cohort, columns = prepared.blind, model.preprocessor.linear_columns()
    used = [i for i, c in enumerate(columns) if set(c.features) <= set(features)]
    found = np.empty((len(cohort), len(used)))
    for start in range(0, len(cohort) if used else 0, CHUNK):
        rows = slice(start, start + CHUNK)
        centre = None if cohort.centre is None else cohort.centre[rows]
        found[rows] = model.preprocessor.linear(cohort.values[rows], centre)[:, used]
    return found


def _fold_curve(
    model: FoldModel,
    X: Array,
    time: Array,
    event: NDArray[np.bool_],
    out: NDArray[np.bool_],
    prepared: Prepared,
    config: Config,
) -> Array:
    train = ~out
    if not X.shape[1]:
        flat = baseline_hazard(np.zeros(int(train.sum())), time[train], event[train], model.grid)
        curve = on_grid(model.grid, flat, prepared.grid)
        return np.tile(curve, (int(out.sum()), 1))
    anchor = fit_anchor(
        X[train],
        time[train],
        event[train],
        model.grid,
        np.zeros(X.shape[1], dtype=bool),
        folds=config.anchor.folds,
        seed=config.seed,
    )
    return on_grid(model.grid, anchor.cumulative(X[out]), prepared.grid)
