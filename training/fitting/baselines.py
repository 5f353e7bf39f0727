"""Fitting of the baselines on a fit's training folds, and their out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.training.config import Config
from accomplice.training.estimators.cox import baseline_hazard
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.learners.anchor import Anchor, fit_anchor
from accomplice.training.models.baselines import KAPLAN_MEIER, Baseline, curves, design
from accomplice.training.models.ensemble import mean_curve
from accomplice.training.models.fold_model import FoldModel


def fit_baselines(prepared: Prepared, config: Config) -> tuple[Baseline, ...]:
    """Fit each baseline on each training fold.

    Args:
        prepared: patients, folds and preprocessing of the fit.
        config: run configuration; its anchor folds and seed are used.

    Returns:
        Kaplan–Meier, then the baselines of the study file in their order.
    """
    listed = {KAPLAN_MEIER: (), **prepared.blind.study.baselines}
    time, event = prepared.cohort.outcome
    return tuple(
        Baseline(
            name,
            features,
            tuple(
                _fit_fold(
                    model, features, prepared.blind, time, event, np.flatnonzero(~out), config
                )
                for model, out in zip(prepared.models, prepared.held_out, strict=True)
            ),
        )
        for name, features in listed.items()
    )


def out_of_fold_curves(baselines: Sequence[Baseline], prepared: Prepared) -> dict[str, Array]:
    """Return baseline name -> out-of-fold cumulative hazards (n, j + 1) at the common grid's edges.

    Args:
        baselines: fitted on the folds of ``prepared``.
        prepared: patients and folds of the fit.
    """
    return {baseline.name: _out_of_fold(baseline, prepared) for baseline in baselines}


def curves_by_fold(
    baselines: Sequence[Baseline], prepared: Prepared, patients: int
) -> dict[str, Array]:
    """Return baseline name -> cumulative hazards (k, m, j + 1) by each fold of the first repeat.

    Args:
        baselines: fitted on the folds of ``prepared``.
        prepared: patients and folds of the fit.
        patients: number m of the first patients, who are predicted.
    """
    blind = prepared.blind.take(np.arange(patients))
    models = prepared.models[: len(prepared.models) // len(prepared.fold)]
    found = {}
    for each in baselines:
        alone = []
        for model, anchor in zip(models, each.folds, strict=False):
            X = design(model, each.features, blind.values, blind.centre)
            alone.append(curves(anchor, X, model, prepared.grid))
        found[each.name] = np.stack(alone)
    return found


def _out_of_fold(baseline: Baseline, prepared: Prepared) -> Array:
    """Return cumulative hazards (n, j + 1), each patient's from folds fitted without them."""
    repeats, n = len(prepared.fold), len(prepared.cohort)
    found = np.zeros((repeats, n, len(prepared.grid.edges)))
    blind, held_out = prepared.blind, prepared.held_out
    for k, (model, anchor) in enumerate(zip(prepared.models, baseline.folds, strict=True)):
        X = design(model, baseline.features, blind.values, blind.centre)
        out, repeat = held_out[k], k * repeats // len(prepared.models)
        found[repeat, out] = curves(anchor, X[out], model, prepared.grid)
    return mean_curve(found)


def _fit_fold(
    model: FoldModel,
    features: tuple[str, ...],
    blind: Cohort,
    time: Array,
    event: Bools,
    train: Ints,
    config: Config,
) -> Anchor:
    """Fit one baseline on one training fold; without columns, all patients get one curve."""
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
