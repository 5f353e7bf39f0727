"""Fit a model on a cohort: folds, learners, out-of-fold predictions, stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import from_survival
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.stack import Stack, fit_stack
from accomplice.training.models.ensemble import Ensemble
from accomplice.training.models.forward import BLOCK, BatchedEnsemble
from accomplice.training.progress import Report, Tick, silent, unreported
from accomplice.training.treatment.benefit import under
from accomplice.training.treatment.effect import CrossFitted, cross_fit

#: Most patients for the comparison of folds, and upper bound of the spread lost by averaging.
MOST_COMPARED, MOST_LOST = 2000, 1.5


@dataclass(frozen=True)
class Fitted:
    """A fitted model with out-of-fold predictions of the cohort it was fitted on."""

    ensemble: Ensemble
    prepared: Prepared
    learners: Array
    """(l, n, j + 1) out-of-fold cumulative hazards of the learners."""
    stacks: tuple[Stack, ...]
    """One a fold of the first division, fitted on its other folds."""
    blind: Array
    """(n, j + 1) out-of-fold stacked cumulative hazard, the stack fitted on the other folds."""
    cumulative: Array
    """(n, j + 1) the same under the observed treatment."""
    effect: CrossFitted | None
    """The treatment's effect, where it was to be estimated and could be."""
    no_effect: str
    """The reason if there is none."""
    history: list[list[float]]
    """Validation loss of each fold, epoch by epoch."""

    def again(self, values: Array, rows: Ints | None = None, /) -> Array:
        """Out-of-fold ``blind`` (m, j + 1) of the same patients, had they had other features.

        Args:
            values: (m, p) coded features without the treatment.
            rows: (m,) the patients that they are of; all, in order, if absent.
        """
        prepared = self.prepared
        if rows is not None:
            cohort, blind = prepared.cohort.take(rows), prepared.blind.take(rows)
            prepared = replace(prepared, cohort=cohort, blind=blind, fold=prepared.fold[:, rows])
        other = replace(prepared, blind=replace(prepared.blind, values=values))
        return stacked(other.fold[0], self.stacks, out_of_fold(other, self.ensemble.alone))


def fit(
    prepared: Prepared,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    report: Report = unreported,
) -> Fitted:
    """Train the network of all folds at once, then stack it with the folds' other learners."""
    # Torch and Lightning are imported by what trains: nothing else here needs them.
    from accomplice.training.fitting.network import fit_net

    net, history = fit_net(prepared, config, tick, budget, report)
    return assemble(prepared, net.networks(), config, history)


def assemble(
    prepared: Prepared, net: Networks, config: Config, history: list[list[float]]
) -> Fitted:
    """Predict out of fold, stack the learners, and fit the treatment's effect beside them."""
    alone = BatchedEnsemble(prepared.models, net, prepared.grid).by_fold()
    learners = out_of_fold(prepared, alone)
    time, event = prepared.cohort.outcome
    grid = prepared.grid

    def stack(rows: Bools) -> Stack:
        return fit_stack(learners[:, rows], time[rows], event[rows], grid, config.stack)

    fold = prepared.fold[0]
    stacks = tuple(stack(fold != k) for k in range(int(fold.max()) + 1))
    blind = stacked(fold, stacks, learners)
    whole = stack(np.ones(len(time), dtype=bool))
    whole = replace(whole, slope=whole.slope * spread_lost(prepared, alone, whole))
    ensemble = Ensemble(prepared.models, net, grid, whole)
    found = treatment_effect(prepared, blind, config)
    treated = prepared.cohort.treated
    if isinstance(found, str) or treated is None:
        reason = found if isinstance(found, str) else ""
        return Fitted(ensemble, prepared, learners, stacks, blind, blind, None, reason, history)
    cumulative = under(blind, found.patients, treated)
    return Fitted(ensemble, prepared, learners, stacks, blind, cumulative, found, "", history)


def stacked(fold: Ints, stacks: Sequence[Stack], learners: Array) -> Array:
    """Stack (l, n, j + 1) cumulative hazards, each patient's by the stack of their fold (n,)."""
    found = np.zeros(learners.shape[1:])
    for k, stack in enumerate(stacks):
        found[fold == k] = stack.cumulative(learners[:, fold == k])
    return found


def treatment_effect(prepared: Prepared, blind: Array, config: Config) -> CrossFitted | str:
    """Fit the treatment's effect on the learners' blind curves (n, j + 1), or return why not."""
    fold = prepared.fold[0]
    preprocessors = [m.preprocessor for m in prepared.models[: int(fold.max()) + 1]]
    return cross_fit(
        prepared.cohort, preprocessors, fold, blind, prepared.grid, config.effect, config.seed
    )


def out_of_fold(prepared: Prepared, alone: Sequence[BatchedEnsemble]) -> Array:
    """Cumulative hazards (l, n, j + 1) by the fold models that have not seen the patient.

    Args:
        prepared: the patients and their folds.
        alone: the models of each fold by themselves.
    """
    grid, repeats, n = prepared.grid, len(prepared.fold), len(prepared.cohort)
    survived = np.zeros((len(alone[0].names), n, grid.bins + 1))
    for k, (models, out) in enumerate(zip(alone, prepared.held_out, strict=True)):
        held_out = np.flatnonzero(out)
        for rows in np.split(held_out, range(BLOCK, len(held_out), BLOCK)):
            if len(rows):
                curves = models.of_inputs(prepared.inputs(k, rows)).learners[0]
                survived[:, rows] += curves / repeats
    return from_survival(survived)


def spread_lost(prepared: Prepared, alone: Sequence[BatchedEnsemble], stack: Stack) -> float:
    """Ratio of the variance of patients' log-hazards in one fold's models to that of their mean.

    Slope and level are fitted to out-of-fold predictions, one fold model a patient (and repeat);
    new patients get the mean of all. Averaging removes the models' disagreement. That has
    no covariance with the truth, so the slope of truth on prediction, a covariance over a
    variance, grows by the ratio of the variances. No outcome is needed to know it.
    """
    some = np.arange(min(MOST_COMPARED, len(prepared.cohort)))
    repeats = len(prepared.fold)
    folds = len(alone) // repeats
    each = np.zeros((folds, len(some), prepared.grid.bins))
    for k, models in enumerate(alone):
        curves = models.of_inputs(prepared.inputs(k, some)).learners[0]
        each[k % folds] += np.tensordot(stack.weights, curves, axes=1)[:, 1:] / repeats
    one, mean = (
        np.log(np.maximum(from_survival(s), 1e-12)).mean(axis=-1) for s in (each, each.mean(axis=0))
    )
    lost = one.var(axis=1).mean() / max(mean.var(), 1e-12)
    return float(np.clip(lost, 1.0, MOST_LOST))
