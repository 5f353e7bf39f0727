"""Peers: two learners of scikit-survival, fitted on a run's folds and compared with its model.

They are fitted for the evaluation only and are not part of a bundle: scikit-survival is under the
GPL, an optional extra, and imported in functions of this module alone. Their settings are fixed to
values that suit cohorts of some hundred patients; nothing is tuned, so that they take seconds. The
forest is Ishwaran et al., "Random survival forests", Ann Appl Stat 2008; the boosted trees are
Friedman, "Greedy function approximation: a gradient boosting machine", Ann Stat 2001, with Cox's
partial likelihood as the loss and a random half of the patients for each tree.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from accomplice.data.arrays import Array
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.learners.learner import strongest_columns
from accomplice.training.models.ensemble import mean_curve
from accomplice.training.models.predictions import BOOSTED, FOREST, PEERS

#: Extra of the package that installs scikit-survival.
EXTRA = "peers"
#: Maximum number of patients; with more, the peers would take minutes.
MOST_PATIENTS = 2000
#: Fraction of the remaining time budget that the peers may take.
TIME = 0.3


def peers(
    prepared: Prepared, config: Config, budget: Budget = UNLIMITED
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Fit the peers on each fold's training patients, and predict all patients with each fit.

    Args:
        prepared: patients, folds and the preprocessing that makes the peers' linear columns.
        config: run configuration; ``evaluation.peers`` switches the peers on.
        budget: time budget; a peer that exceeds its share of it is left out.

    Returns:
        Peer -> cumulative hazards (k, n, j + 1) at the common grid's edges, predicted by the fit of
        each repeat and fold; and notes on missing peers, with the reason.
    """
    if not config.evaluation.peers:
        return {}, ()
    n = len(prepared.cohort)
    if find_spec("sksurv") is None:
        return {}, (f"no {' and no '.join(PEERS)}: install accomplice[{EXTRA}] for them",)
    if n > MOST_PATIENTS:
        return {}, (f"no {' and no '.join(PEERS)}: {n} patients are more than {MOST_PATIENTS}",)
    found: dict[str, Array] = {}
    notes = []
    for place, name in enumerate(PEERS):
        own = budget.share(TIME / (len(PEERS) - place))
        curves = _by_fold(_learners(config.seed)[name], prepared, own)
        if curves is None:
            notes.append(f"no {name}: there was no time for it")
            budget.cut(name, 0, f"{len(prepared.models)} folds")
        else:
            found[name] = curves
    return found, tuple(notes)


def _learners(seed: int) -> dict[str, Callable[[], Any]]:
    """Return peer -> function that makes its unfitted estimator."""
    ensemble = import_module("sksurv.ensemble")
    return {
        # A third of the columns at each split, since few of many columns are prognostic.
        FOREST: lambda: ensemble.RandomSurvivalForest(
            n_estimators=100, min_samples_leaf=15, max_features=1 / 3, random_state=seed
        ),
        BOOSTED: lambda: ensemble.GradientBoostingSurvivalAnalysis(
            n_estimators=100,
            learning_rate=0.05,
            max_depth=2,
            min_samples_leaf=5,
            subsample=0.5,
            random_state=seed,
        ),
    }


def out_of_fold(curves: Array, prepared: Prepared) -> Array:
    """Return out-of-fold cumulative hazards (n, j + 1), averaged over repeats.

    Args:
        curves: (k, n, j + 1) cumulative hazards predicted by the fit of each repeat and fold.
        prepared: the folds.
    """
    repeats, n = prepared.fold.shape
    alone = curves.reshape(repeats, -1, *curves.shape[1:])
    return mean_curve(np.stack([alone[r, f, np.arange(n)] for r, f in enumerate(prepared.fold)]))


def _by_fold(learner: Callable[[], Any], prepared: Prepared, budget: Budget) -> Array | None:
    """Return cumulative hazards (k, n, j + 1) by the fit of each fold; None if time runs out."""
    outcomes = import_module("sksurv.util").Surv
    time, event = prepared.cohort.outcome
    found = np.empty((len(prepared.models), len(time), len(prepared.grid.edges)))
    blind, pace = prepared.blind, budget.pace()
    if budget.left() <= 0:
        return None
    for k, (model, out) in enumerate(zip(prepared.models, prepared.held_out, strict=True)):
        if k > 0 and not pace.another():
            return None
        X = model.preprocessor.linear(blind.values, blind.centre)
        train = np.flatnonzero(~out)
        X = X[:, strongest_columns(X[train], time[train], event[train])]
        fitted = learner().fit(X[train], outcomes.from_arrays(event[train], time[train]))
        steps = fitted.predict_survival_function(X, return_array=True)
        months, edges = fitted.unique_times_, prepared.grid.edges
        found[k] = at_edges(steps, months, edges, len(train))
    return found


def at_edges(steps: Array, months: Array, edges: Array, n: int) -> Array:
    """Return the cumulative hazard (r, j + 1) at a grid's edges from step functions of survival.

    A tree's survival can be 0, which is an infinite hazard; it is bounded below by 0.5 / n.

    Args:
        steps: (r, m) survival of r patients from each of the months on.
        months: (m,) months of the steps, rising.
        edges: (j + 1,) edges of the grid, in months.
        n: number of training patients.
    """
    place = np.searchsorted(months, edges, side="right")
    read = np.pad(steps, ((0, 0), (1, 0)), constant_values=1.0)[:, place]
    return np.asarray(-np.log(np.maximum(read, 0.5 / n)))
