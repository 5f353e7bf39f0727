"""The peers: scikit-survival's learners on a run's own folds, to be compared with as baselines are.

They are of the evaluation alone and go into no bundle: scikit-survival is under the GPL, an
optional extra, and imported here and inside a function only. Their settings are fixed to values
that do well on cohorts of some hundred patients; nothing is tuned, so that they cost seconds. The
forest is Ishwaran et al., "Random survival forests", Ann Appl Stat 2008; the boosted trees are
Friedman's gradient boosting (Ann Stat 2001) of Cox's partial likelihood, with half of the patients
to a tree.
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
from accomplice.training.learners.learner import strongest
from accomplice.training.models.ensemble import mean_curve
from accomplice.training.models.predictions import BOOSTED, FOREST, PEERS

EXTRA = "peers"
#: Patients above which they would take minutes; both grow faster than the patients.
MOST_PATIENTS = 2000
#: Part of the time left that they may take.
TIME = 0.3


def peers(
    prepared: Prepared, config: Config, budget: Budget = UNLIMITED
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Fit the peers on the training folds and predict the patients left out.

    Args:
        prepared: folds, and the preprocessing whose linear columns the peers see.
        config: of the run, which may switch them off.
        budget: of which they may take a part; one that does not get done is left out.

    Returns:
        Cumulative hazards (n, j + 1) at the common grid's edges by peer, and a line for each
        reason why there is not one.
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
        curves = _out_of_fold(_learners(config.seed)[name], prepared, own)
        if curves is None:
            notes.append(f"no {name}: there was no time for it")
            budget.cut(name, 0, f"{len(prepared.models)} folds")
        else:
            found[name] = curves
    return found, tuple(notes)


def _learners(seed: int) -> dict[str, Callable[[], Any]]:
    ensemble = import_module("sksurv.ensemble")
    return {
        # A third of the columns at each cut: among many, few tell of survival.
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


def _out_of_fold(learner: Callable[[], Any], prepared: Prepared, budget: Budget) -> Array | None:
    """Cumulative hazards (n, j + 1) by fold models without the patient; None if time is short."""
    outcomes = import_module("sksurv.util").Surv
    time, event = prepared.cohort.outcome
    repeats, total = len(prepared.fold), len(prepared.models)
    found = np.zeros((repeats, len(time), len(prepared.grid.edges)))
    blind, pace = prepared.blind, budget.pace()
    if budget.left() <= 0:
        return None
    for k, (model, out) in enumerate(zip(prepared.models, prepared.held_out, strict=True)):
        if k > 0 and not pace.another():
            return None
        X = model.preprocessor.linear(blind.values, blind.centre)
        X, train = X[:, strongest(X[~out], time[~out], event[~out])], ~out
        fitted = learner().fit(X[train], outcomes.from_arrays(event[train], time[train]))
        steps = fitted.predict_survival_function(X[out], return_array=True)
        months, edges = fitted.unique_times_, prepared.grid.edges
        found[k * repeats // total, out] = at_edges(steps, months, edges, int(train.sum()))
    return mean_curve(found)


def at_edges(steps: Array, months: Array, edges: Array, n: int) -> Array:
    """Read survival that falls in steps at a grid's edges.

    Args:
        steps: (r, m) survival from each of the months on.
        months: (m,) rising.
        edges: (j + 1,) of the grid.
        n: patients who were trained on.

    Returns:
        Cumulative hazard (r, j + 1). A tree's curve can fall to 0, which n patients do not prove:
        survival stays above half a patient in n.
    """
    place = np.searchsorted(months, edges, side="right")
    read = np.pad(steps, ((0, 0), (1, 0)), constant_values=1.0)[:, place]
    return np.asarray(-np.log(np.maximum(read, 0.5 / n)))
