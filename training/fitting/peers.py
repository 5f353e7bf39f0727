"""Peers: two learners of scikit-survival, fitted on a run's folds and compared with its model.

They are fitted for the evaluation only and are not part of a bundle: scikit-survival is under the
GPL, an optional extra, and imported in functions of this module alone. Their settings are fixed to
values that suit cohorts of some hundred patients; nothing is tuned, so that they take seconds. The
forest is Ishwaran et al., "Random survival forests", Ann Appl Stat 2008; the boosted trees are
Friedman, "Greedy function approximation: a gradient boosting machine", Ann Stat 2001, with Cox's
partial likelihood as the loss and a random half of the patients for each tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np

from accomplice.data.arrays import Array
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.learners.learner import strongest_columns
from accomplice.training.models.ensemble import mean_curve
from accomplice.training.models.predictions import BOOSTED, FOREST, PEERS
from accomplice.training.second_process import SecondProcess, Task

#: Extra of the package that installs scikit-survival.
EXTRA = "peers"
#: Maximum number of patients; with more, the peers would take minutes.
MOST_PATIENTS = 2000
#: Fraction of the remaining time budget that the peers may take.
TIME = 0.3
#: No fit of a peer, as a default argument.
NOTHING_BEGUN: Mapping[tuple[str, int], Task[Array]] = MappingProxyType({})


def peers(
    prepared: Prepared,
    config: Config,
    budget: Budget = UNLIMITED,
    begun: Mapping[tuple[str, int], Task[Array]] = NOTHING_BEGUN,
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Fit the peers on each fold's training patients, and predict all patients with each fit.

    Args:
        prepared: patients, folds and the preprocessing that makes the peers' linear columns.
        config: run configuration; ``evaluation.peers`` switches the peers on.
        budget: time budget; a peer that exceeds its share of it is left out.
        begun: fits of the second process; see :func:`begin_peers`.

    Returns:
        Peer -> cumulative hazards (k, n, j + 1) at the common grid's edges, predicted by the fit of
        each repeat and fold; and notes on missing peers, with the reason.
    """
    if not config.evaluation.peers:
        return {}, ()
    reason = _why_none(prepared)
    if reason:
        return {}, (f"no {' and no '.join(PEERS)}: {reason}",)
    found: dict[str, Array] = {}
    # The last first: the second process has begun with the first.
    done = {key: each.result() for key, each in reversed([*begun.items()])}
    notes = []
    for place, name in enumerate(PEERS):
        own = budget.share(TIME / (len(PEERS) - place))
        folds = [done[name, k] for k in range(len(prepared.models)) if (name, k) in done]
        curves = np.stack(folds) if folds else _by_fold(name, prepared, config.seed, own)
        if curves is None:
            notes.append(f"no {name}: there was no time for it")
            budget.cut(name, 0, f"{len(prepared.models)} folds")
        else:
            found[name] = curves
    return found, tuple(notes)


def begin_peers(
    prepared: Prepared, config: Config, second: SecondProcess
) -> dict[tuple[str, int], Task[Array]]:
    """Begin the fits of the peers, if there is a second process.

    Args:
        prepared: patients and folds.
        config: run configuration.
        second: the second process, or none.

    Returns:
        Peer and fold -> its fit, see :func:`of_fold`; empty if there are no peers, or without a
        second process.
    """
    if not (second.runs and config.evaluation.peers) or _why_none(prepared):
        return {}
    folds = range(len(prepared.models))
    return {
        (name, k): second.submit(of_fold, name, prepared, config.seed, k)
        for name in PEERS
        for k in folds
    }


def _why_none(prepared: Prepared) -> str:
    """Return the reason why there can be no peers; empty if there can."""
    if find_spec("sksurv") is None:
        return f"install accomplice[{EXTRA}] for them"
    n = len(prepared.cohort)
    return f"{n} patients are more than {MOST_PATIENTS}" if n > MOST_PATIENTS else ""


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


def _by_fold(name: str, prepared: Prepared, seed: int, budget: Budget) -> Array | None:
    """Return cumulative hazards (k, n, j + 1) by the fit of each fold; None if time runs out."""
    pace = budget.pace()
    if budget.left() <= 0:
        return None
    found = []
    for k in range(len(prepared.models)):
        if k > 0 and not pace.another():
            return None
        found.append(of_fold(name, prepared, seed, k))
    return np.stack(found)


def of_fold(name: str, prepared: Prepared, seed: int, k: int) -> Array:
    """Return cumulative hazards (n, j + 1) of all patients by a peer's fit of one fold.

    Args:
        name: name of the peer.
        prepared: patients and folds.
        seed: seed of the peer.
        k: position of the fold in ``prepared.models``.
    """
    outcomes = import_module("sksurv.util").Surv
    time, event = prepared.cohort.outcome
    blind = prepared.blind
    X = prepared.models[k].preprocessor.linear(blind.values, blind.centre)
    train = np.flatnonzero(~prepared.held_out[k])
    X = X[:, strongest_columns(X[train], time[train], event[train])]
    fitted = _learners(seed)[name]().fit(X[train], outcomes.from_arrays(event[train], time[train]))
    steps = fitted.predict_survival_function(X, return_array=True)
    return at_edges(steps, fitted.unique_times_, prepared.grid.edges, len(train))


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
