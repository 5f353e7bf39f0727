"""Out-of-fold predictions of a fit, and their repetition from a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import from_survival
from accomplice.training.fitting.baselines import (
    curves_by_fold,
    fit_baselines,
    out_of_fold_curves,
)
from accomplice.training.fitting.fit import Fitted, assemble
from accomplice.training.fitting.folds import assign_folds
from accomplice.training.fitting.peers import NOTHING_BEGUN, out_of_fold, peers
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.models.baselines import Baseline
from accomplice.training.models.predictions import MODEL, OUT_OF_FOLD, FoldCurves, Predictions
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.second_process import Task


def from_fit(
    fitted: Fitted,
    config: Config,
    baselines: Sequence[Baseline] | None = None,
    budget: Budget = UNLIMITED,
    begun: Mapping[tuple[str, int], Task[Array]] = NOTHING_BEGUN,
) -> Predictions:
    """Return a fit's out-of-fold predictions, with those of baselines and peers on the same folds.

    Args:
        fitted: fitted model with its predictions.
        config: run configuration.
        baselines: fitted baselines of the same folds; fitted here if absent.
        budget: time budget, of which the peers may take a part.
        begun: fits of the peers that were begun; see :func:`fitting.peers.begin_peers`.
    """
    prepared = fitted.prepared
    curves = {MODEL: fitted.blind} | dict(zip(fitted.ensemble.names, fitted.learners, strict=True))
    own = fit_baselines(prepared, config) if baselines is None else baselines
    others, notes = peers(prepared, config, budget, begun)
    return Predictions(
        cohort=prepared.cohort,
        protocol=OUT_OF_FOLD,
        group=prepared.group,
        grid=prepared.grid,
        curves=curves,
        baselines=out_of_fold_curves(own, prepared)
        | {name: out_of_fold(each, prepared) for name, each in others.items()},
        served=fitted.cumulative,
        again=fitted.again,
        notes=notes,
        by_fold=_by_fold(fitted, own, others),
    )


def _by_fold(
    fitted: Fitted, baselines: Sequence[Baseline], peers: Mapping[str, Array]
) -> FoldCurves:
    """Return the predictions of each fold's models, baselines and peers of the first repeat."""
    prepared, learners = fitted.prepared, from_survival(fitted.by_fold)
    folds, patients = len(learners), learners.shape[2]
    model = [stack.cumulative(each) for stack, each in zip(fitted.stacks, learners, strict=True)]
    return FoldCurves(
        rows=np.arange(patients),
        fold=prepared.fold[0, :patients],
        curves={
            MODEL: np.stack(model),
            **dict(zip(fitted.ensemble.names, learners.swapaxes(0, 1), strict=True)),
            **curves_by_fold(baselines, prepared, patients),
            **{name: each[:folds, :patients] for name, each in peers.items()},
        },
    )


def replay(model: SurvivalModel, cohort: Cohort, config: Config) -> Fitted:
    """Repeat a run's out-of-fold predictions from its bundle, without training.

    Args:
        model: the bundle's model.
        cohort: the cohort that the model was trained on.
        config: configuration of that run; with the cohort it determines the folds.

    Returns:
        The fit with the bundle's ensemble and an empty history.

    Raises:
        InputError: the cohort cannot be divided into folds; see :func:`folds.assign_folds`.
    """
    ensemble, cohort = model.ensemble, cohort.in_order()
    fold = assign_folds(cohort, *cohort.outcome, config)
    prepared = Prepared(
        cohort,
        cohort.prognostic(),
        fold,
        ensemble.folds,
        ensemble.grid,
        config.folds.by == "centre",
    )
    fitted = assemble(prepared, ensemble.net, config, history=[])
    return replace(fitted, ensemble=ensemble)
