"""Fit a model: network, out-of-fold predictions, stack, and the treatment's effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config, StackConfig
from accomplice.training.estimators.hazard import TimeGrid, from_survival, log_risk
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.stack import Stack, fit_stack
from accomplice.training.models.ensemble import Ensemble
from accomplice.training.models.forward import BLOCK, BatchedEnsemble
from accomplice.training.progress import Tick, silent
from accomplice.training.treatment.benefit import under
from accomplice.training.treatment.cross_fitted import CrossFitted, cross_fit

#: Maximum number of patients on whom the fold models' predictions are compared.
MOST_COMPARED = 2000
#: Upper bound of the ratio that :func:`spread_ratio` returns.
MOST_SPREAD = 1.5
#: Upper bound of the variance that :func:`effects_variance` returns.
MOST_VARIANCE = 0.1


@dataclass(frozen=True)
class Fitted:
    """A fitted model with out-of-fold predictions of the cohort that it was fitted on."""

    ensemble: Ensemble
    """Models of all folds, with the stack that is fitted on all patients."""
    prepared: Prepared
    """Patients, folds and fitted fold models."""
    learners: Array
    """(l, n, j + 1) out-of-fold cumulative hazards of the learners."""
    by_fold: Array
    """(k, l, m, j + 1) survival of the first m patients, at most ``MOST_COMPARED``, predicted by
    the learners of each fold of the first repeat; most of these patients trained that fold."""
    stacks: tuple[Stack, ...]
    """Stack of each fold of the first repeat, fitted on the patients of the other folds."""
    blind: Array
    """(n, j + 1) out-of-fold stacked cumulative hazard, predicted without the treatment."""
    cumulative: Array
    """(n, j + 1) ``blind`` under the observed treatment; equal to ``blind`` without ``effect``."""
    effect: CrossFitted | None
    """The treatment's effect; None if none was estimated."""
    no_effect: str
    """Reason why no effect was estimated; empty if one was."""
    history: list[list[float]]
    """(epochs, k) validation loss of the network of each repeat and fold."""

    def again(self, values: Array, rows: Ints | None = None, /) -> Array:
        """Predict the patients out of fold with other values of their features.

        Args:
            values: (m, p) coded features without the treatment.
            rows: (m,) positions of the patients in the cohort; None: all, in order.

        Returns:
            (m, j + 1) cumulative hazards, as ``blind``.
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
) -> Fitted:
    """Train the networks of all folds, stack them with the other learners, estimate the effect.

    Args:
        prepared: patients, folds and the learners fitted before the network.
        config: run configuration.
        tick: progress callback.
        budget: time budget of the network's training.

    Raises:
        InputError: the configured device does not exist.
    """
    net, history = trained_networks(prepared, config, tick, budget)
    return assemble(prepared, net, config, history)


def trained_networks(
    prepared: Prepared,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
) -> tuple[Networks, list[list[float]]]:
    """Train the networks of all folds.

    Arguments and errors are those of :func:`fit`.

    Returns:
        The networks, and their validation loss (epochs, k).
    """
    # Torch and Lightning are imported here, since only training needs them.
    from accomplice.training.fitting.network import fit_net

    net, history = fit_net(prepared, config, tick, budget)
    return net.networks(), history


def assemble(
    prepared: Prepared, net: Networks, config: Config, history: list[list[float]]
) -> Fitted:
    """Predict out of fold, fit the stacks, and estimate the treatment's effect.

    Args:
        prepared: patients, folds and fitted fold models.
        net: the fitted networks of these folds.
        config: run configuration.
        history: (epochs, k) validation loss of the network of each repeat and fold.
    """
    by_fold = BatchedEnsemble(prepared.models, net, prepared.grid).by_fold()
    learners = out_of_fold(prepared, by_fold)
    fold, outcome, grid = prepared.fold[0], prepared.cohort.outcome, prepared.grid
    stacks = cross_fit_stacks(fold, learners, *outcome, grid, config.stack)
    blind = stacked(fold, stacks, learners)
    whole = fit_stack(learners, *outcome, grid, config.stack)
    alone = each_fold(prepared, by_fold)
    ratio = spread_ratio(alone, len(prepared.fold), whole) * (1 + effects_variance(prepared, blind))
    whole = replace(whole, slope=whole.slope * ratio)
    ensemble = Ensemble(prepared.models, net, grid, whole)
    found = treatment_effect(prepared, blind, config)
    treated, one = prepared.cohort.treated, alone[: len(stacks)]
    if isinstance(found, str) or treated is None:
        reason = found if isinstance(found, str) else ""
        return Fitted(
            ensemble, prepared, learners, one, stacks, blind, blind, None, reason, history
        )
    cumulative = under(blind, found.patients, treated)
    return Fitted(ensemble, prepared, learners, one, stacks, blind, cumulative, found, "", history)


def cross_fit_stacks(
    fold: Ints, learners: Array, time: Array, event: Bools, grid: TimeGrid, config: StackConfig
) -> tuple[Stack, ...]:
    """Return the stack of each fold, fitted on the patients of the other folds.

    Args:
        fold: (n,) held-out fold of each patient.
        learners: (l, n, j + 1) out-of-fold cumulative hazards of the learners.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        grid: the j time bins.
        config: strengths of the priors.
    """
    return tuple(
        fit_stack(learners[:, rows], time[rows], event[rows], grid, config)
        for rows in (fold != k for k in range(int(fold.max()) + 1))
    )


def stacked(fold: Ints, stacks: Sequence[Stack], learners: Array) -> Array:
    """Return cumulative hazards (n, j + 1), each patient's by the stack of the patient's fold.

    Args:
        fold: (n,) held-out fold of each patient.
        stacks: the stack of each fold.
        learners: (l, n, j + 1) out-of-fold cumulative hazards of the learners.
    """
    found = np.zeros(learners.shape[1:])
    for k, stack in enumerate(stacks):
        found[fold == k] = stack.cumulative(learners[:, fold == k])
    return found


def treatment_effect(prepared: Prepared, blind: Array, config: Config) -> CrossFitted | str:
    """Estimate the treatment's effect by cross-fitting, or return why that is impossible.

    Args:
        prepared: patients and folds.
        blind: (n, j + 1) out-of-fold cumulative hazard, predicted without the treatment.
        config: run configuration.
    """
    cohort, fold = prepared.cohort, prepared.fold[0]
    preprocessors = [m.preprocessor for m in prepared.models[: int(fold.max()) + 1]]
    return cross_fit(cohort, preprocessors, fold, blind, prepared.grid, config.effect, config.seed)


def out_of_fold(prepared: Prepared, by_fold: Sequence[BatchedEnsemble]) -> Array:
    """Return the learners' cumulative hazards (l, n, j + 1), out of fold.

    Survival is averaged over the repeats' models that were fitted without the patient.

    Args:
        prepared: patients and folds.
        by_fold: the models of each repeat and fold, as ensembles of one fold.
    """
    grid, repeats, n = prepared.grid, len(prepared.fold), len(prepared.cohort)
    survived = np.zeros((len(by_fold[0].names), n, grid.bins + 1))
    for k, (models, out) in enumerate(zip(by_fold, prepared.held_out, strict=True)):
        held_out = np.flatnonzero(out)
        for rows in np.split(held_out, range(BLOCK, len(held_out), BLOCK)):
            if len(rows):
                curves = models.of_inputs(prepared.inputs(k, rows)).learners[0]
                survived[:, rows] += curves / repeats
    return from_survival(survived)


def effects_variance(prepared: Prepared, blind: Array) -> float:
    """Return the relative variance v of effect sizes between cohorts.

    The effects in one cohort are those of the population times 1 + x, with x of mean 0 and variance
    v. Out-of-fold predictions cannot show x, since held-out patients belong to the same cohort. On
    new patients the calibration slope is the out-of-fold slope divided by 1 + x, in the mean about
    the out-of-fold slope times 1 + v. Therefore the served slope is multiplied by 1 + v. With E the
    expected events of each patient and z the log-hazard less its mean, both out of fold, v is
    1 / Σ E z², the variance of a slope by its Poisson likelihood.

    Args:
        prepared: patients and folds.
        blind: (n, j + 1) out-of-fold cumulative hazard, predicted without the treatment.

    Returns:
        v, at most ``MOST_VARIANCE``.
    """
    expected = prepared.grid.at_own(blind, prepared.cohort.outcome[0])
    log_hz = within(log_risk(blind), prepared.group)
    around = log_hz - np.average(log_hz, weights=expected)
    information = float(expected @ around**2)
    return min(1 / max(information, 1e-12), MOST_VARIANCE)


def each_fold(prepared: Prepared, by_fold: Sequence[BatchedEnsemble]) -> Array:
    """Return survival (k, l, m, j + 1) predicted by the learners of each repeat and fold.

    Args:
        prepared: the patients, of whom the first m are predicted, at most ``MOST_COMPARED``.
        by_fold: the models of each repeat and fold, as ensembles of one fold.
    """
    some = np.arange(min(MOST_COMPARED, len(prepared.cohort)))
    return np.stack(
        [m.of_inputs(prepared.inputs(k, some)).learners[0] for k, m in enumerate(by_fold)]
    )


def spread_ratio(alone: Array, repeats: int, stack: Stack) -> float:
    """Return the ratio of the variances of log-hazards of one fold's models and of their mean.

    A patient's log-hazard is here the mean over the bins of the log of the stacked cumulative
    hazard. Both variances are over patients; that of one fold's models is averaged over the folds.

    The stack's slope is fitted to predictions of one fold's models for each patient, but new
    patients get the mean over all folds. The mean varies less, since the differences between the
    fold models, which do not correlate with the outcome, are averaged. The calibration slope, a
    covariance divided by a variance, therefore grows by the ratio of the two variances. The ratio
    needs no outcomes.

    Args:
        alone: (k, l, m, j + 1) survival by the learners of each repeat and fold.
        repeats: number of repeats.
        stack: weights of the learners.

    Returns:
        The ratio, at least 1 and at most ``MOST_SPREAD``.
    """
    folds, (patients, edges) = len(alone) // repeats, alone.shape[2:]
    survived = np.zeros((folds, patients, edges - 1))
    for k, curves in enumerate(alone):
        survived[k % folds] += np.tensordot(stack.weights, curves, axes=1)[:, 1:] / repeats
    one, mean = (
        np.log(np.maximum(from_survival(s), 1e-12)).mean(axis=-1)
        for s in (survived, survived.mean(axis=0))
    )
    ratio = one.var(axis=1).mean() / max(mean.var(), 1e-12)
    return float(np.clip(ratio, 1.0, MOST_SPREAD))
