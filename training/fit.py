"""Fit a model on a cohort: folds, learners, out-of-fold predictions, stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from data.cohort import Cohort
from data.errors import InputError
from data.preprocess import Inputs, Preprocessor
from data.splits import centre_folds, stratified_folds
from training.anchor import fit_anchor
from training.batches import TRAINS, VALIDATES, PackedData
from training.benefit import under
from training.boosting import fit_boosting
from training.budget import UNLIMITED, Budget
from training.config import Config
from training.cox import RiskSums
from training.effect import CrossFitted, cross_fit
from training.ensemble import Ensemble, FoldModel, learner_curves, net_inputs, net_logits
from training.forest import fit_forest
from training.hazard import TimeGrid, survival
from training.net import NetShape, PackedNet
from training.progress import Tick, silent
from training.stack import LEARNERS, Stack, fit_stack

Array = NDArray[np.float64]

#: Columns that trees choose from at the most.
TREE_COLUMNS = 256
#: Patients on whom the folds are compared, and the most that averaging is believed to take.
MOST_COMPARED, MOST_LOST = 2000, 1.5
#: Events below which nothing is trained.
FEWEST_EVENTS = 10
#: Patients predicted at a time.
CHUNK = 8192
#: Part of a fold's time, beyond the anchor's, that its forest may take; boosting has the rest.
FOREST_TIME = 0.4

#: Told of each epoch and the folds' mean validation loss. What it raises ends the fit.
Report = Callable[[int, float], None]


def unreported(epoch: int, loss: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Prepared:
    """All that a fit needs before the network: it depends on no setting of the network."""

    cohort: Cohort
    blind: Cohort
    """The same patients without their treatment, as the learners see them."""
    fold: NDArray[np.int_]
    """(repeats, n) held-out fold of each patient."""
    models: tuple[FoldModel, ...]
    """One a repeat and fold."""
    grid: TimeGrid
    """Common bins."""

    def inputs(
        self, k: int, rows: NDArray[np.int_], precision: type[np.floating] = np.float64
    ) -> Inputs:
        """Some patients' inputs of fold model k, made anew: kept for all they fill the memory."""
        centre = None if self.blind.centre is None else self.blind.centre[rows]
        preprocessor = self.models[k].preprocessor
        return preprocessor.transform(self.blind.values[rows], centre, precision)

    def encode(self, rows: NDArray[np.int_]) -> tuple[torch.Tensor, torch.Tensor]:
        """The network's inputs of each fold's own rows (k, b)."""
        return net_inputs(
            self.models, [self.inputs(k, each, np.float32) for k, each in enumerate(rows)]
        )

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """(k, n) patients that each fold model has not seen."""
        repeats, _ = self.fold.shape
        folds = len(self.models) // repeats
        return np.concatenate([[f == k for k in range(folds)] for f in self.fold])


@dataclass(frozen=True)
class Fitted:
    """A fitted model with its honest predictions of the cohort it was fitted on."""

    ensemble: Ensemble
    prepared: Prepared
    learners: Array
    """(l, n, j + 1) out-of-fold cumulative hazards of the learners."""
    stacks: tuple[Stack, ...]
    """One a fold of the first division, fitted on its other folds."""
    blind: Array
    """(n, j + 1) out-of-fold stacked cumulative hazard, the stack fitted on the other folds."""
    cumulative: Array
    """(n, j + 1) the same under the treatment that the patient had."""
    effect: CrossFitted | None
    """The treatment's effect, where it was asked for and could be estimated."""
    no_effect: str
    """Why there is none."""
    history: list[list[float]]
    """Validation loss of each fold, epoch by epoch."""

    def again(self, values: Array, rows: NDArray[np.int_] | None = None, /) -> Array:
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
        return stacked(other.fold[0], self.stacks, out_of_fold(other, self.ensemble.net))


def truncate(cohort: Cohort) -> tuple[Array, NDArray[np.bool_]]:
    """Return time and event (n,), administratively censored at the cohort's horizon."""
    horizon = cohort.horizon
    return np.minimum(cohort.time, horizon), cohort.event & (cohort.time <= horizon)


def prepare(
    cohort: Cohort, config: Config, tick: Tick = silent, budget: Budget = UNLIMITED
) -> Prepared:
    """Divide the patients; fit on each training fold all but the network.

    Raises:
        InputError: there are too few events.
    """
    time, event = truncate(cohort)
    fold = assign_folds(cohort, time, event, config)
    blind = cohort.prognostic()
    models: list[FoldModel] = []
    total = sum(int(assignment.max()) + 1 for assignment in fold)
    for assignment in fold:
        for k in range(int(assignment.max()) + 1):
            own = budget.share(1 / (total - len(models)))
            models.append(_fit_fold(blind, time, event, assignment != k, config, own))
            tick("folds", len(models), total)
    grid = _grid(time, event, cohort.horizon, config)
    return Prepared(cohort, blind, fold, tuple(models), grid)


def assign_folds(
    cohort: Cohort, time: Array, event: NDArray[np.bool_], config: Config
) -> NDArray[np.int_]:
    """Return the held-out fold (repeats, n) of each patient.

    Raises:
        InputError: there are too few events, or no centres to leave out.
    """
    folds = int(min(config.folds.folds, event.sum() // 2))
    if event.sum() < FEWEST_EVENTS:
        raise InputError(
            f"{int(event.sum())} events before the horizon are too few to train and validate on: "
            f"{FEWEST_EVENTS} are needed, and some hundred for a model of worth"
        )
    if config.folds.by == "centre":
        if cohort.centre is None:
            raise InputError("folds.by=centre: the study file names no centre column")
        fold = centre_folds(cohort.centre)
        if min(event[fold != k].sum() for k in range(fold.max() + 1)) < FEWEST_EVENTS // 2:
            raise InputError("folds.by=centre: without one centre too few events are left")
        return fold[None]
    repeats = range(config.folds.repeats)
    return np.stack([stratified_folds(event, time, folds, config.seed + r) for r in repeats])


def check_folds(cohort: Cohort, config: Config) -> None:
    """Refuse, before any work, a cohort that cannot be divided; see :func:`assign_folds`."""
    assign_folds(cohort, *truncate(cohort), config)


def _grid(time: Array, event: NDArray[np.bool_], horizon: float, config: Config) -> TimeGrid:
    return TimeGrid.fit(time, event, horizon, config.grid.bins, config.grid.events_each)


def _fit_fold(
    cohort: Cohort,
    time: Array,
    event: NDArray[np.bool_],
    train: NDArray[np.bool_],
    config: Config,
    budget: Budget,
) -> FoldModel:
    horizon = cohort.take(train).horizon
    centre = None if cohort.centre is None else cohort.centre[train]
    preprocessor = Preprocessor.fit(
        cohort.study, cohort.values[train], centre, config.net.embedding_bins
    )
    grid = _grid(time[train], event[train], horizon, config)
    first = next(iter(cohort.study.blocks))
    markers = np.array([c.modality != first for c in preprocessor.linear_columns()])
    X, months, seen = preprocessor.linear(cohort.values[train], centre), time[train], event[train]
    anchor = fit_anchor(
        X,
        months,
        seen,
        grid,
        markers,
        ratios=config.anchor.marker_penalties,
        folds=config.anchor.folds,
        seed=config.seed,
    )
    columns = strongest(X, months, seen)
    a_part = budget.share(FOREST_TIME)
    forest = fit_forest(X, months, seen, grid, columns, config.forest, config.seed, a_part)
    boosting = fit_boosting(X, months, seen, grid, columns, config.boosting, config.seed, budget)
    return FoldModel(preprocessor, grid, anchor, forest, boosting)


def strongest(X: Array, time: Array, event: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Columns (c,) of X (n, p) that trees may cut: those with the largest log-rank statistics.

    Among thousands, a tree's few draws would seldom meet one that matters (Fan and Lv, "Sure
    independence screening for ultrahigh dimensional feature space", J R Stat Soc B 2008).
    """
    spread = X.std(axis=0)
    varied = np.flatnonzero(spread > 1e-9)
    if len(varied) <= TREE_COLUMNS:
        return varied if len(varied) else np.arange(min(1, X.shape[1]))
    # At equal risks, the gradient of Cox's likelihood by a column is its log-rank statistic.
    gradient, _ = RiskSums.of(time, event).slopes(np.zeros((1, len(X))), np.ones((1, len(X))))
    statistic = np.abs(gradient[0] @ (X[:, varied] - X[:, varied].mean(axis=0)) / spread[varied])
    return np.sort(varied[np.argsort(-statistic, kind="stable")[:TREE_COLUMNS]])


def fit(
    prepared: Prepared,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    report: Report = unreported,
) -> Fitted:
    """Train the network of all folds at once, then stack it with the folds' other learners."""
    net, history = fit_net(prepared, config, tick, budget, report)
    return assemble(prepared, net, config, history)


def assemble(
    prepared: Prepared, net: PackedNet, config: Config, history: list[list[float]]
) -> Fitted:
    """Predict out of fold, stack the learners, and fit the treatment's effect beside them."""
    learners = out_of_fold(prepared, net)
    time, event = truncate(prepared.cohort)
    grid = prepared.grid

    def stack(rows: NDArray[np.bool_]) -> Stack:
        return fit_stack(learners[:, rows], time[rows], event[rows], grid, config.stack)

    fold = prepared.fold[0]
    stacks = tuple(stack(fold != k) for k in range(int(fold.max()) + 1))
    blind = stacked(fold, stacks, learners)
    whole = stack(np.ones(len(time), dtype=bool))
    whole = replace(whole, slope=whole.slope * spread_lost(prepared, net, whole))
    ensemble = Ensemble(prepared.models, net, grid, whole)
    found = treatment_effect(prepared, blind, config)
    treated = prepared.cohort.treated
    if isinstance(found, str) or treated is None:
        reason = found if isinstance(found, str) else ""
        return Fitted(ensemble, prepared, learners, stacks, blind, blind, None, reason, history)
    cumulative = under(blind, found.patients, treated)
    return Fitted(ensemble, prepared, learners, stacks, blind, cumulative, found, "", history)


def stacked(fold: NDArray[np.int_], stacks: Sequence[Stack], learners: Array) -> Array:
    """Stack (l, n, j + 1) cumulative hazards, each patient's by the stack of their fold (n,)."""
    found = np.zeros(learners.shape[1:])
    for k, stack in enumerate(stacks):
        found[fold == k] = stack.cumulative(learners[:, fold == k])
    return found


def treatment_effect(prepared: Prepared, blind: Array, config: Config) -> CrossFitted | str:
    """Fit the treatment's effect beside the learners' blind curves (n, j + 1), or say why not."""
    fold = prepared.fold[0]
    preprocessors = [m.preprocessor for m in prepared.models[: int(fold.max()) + 1]]
    return cross_fit(
        prepared.cohort, preprocessors, fold, blind, prepared.grid, config.effect, config.seed
    )


def out_of_fold(prepared: Prepared, net: PackedNet) -> Array:
    """Cumulative hazards (l, n, j + 1) by the fold models that have not seen the patient."""
    grid, repeats, n = prepared.grid, len(prepared.fold), len(prepared.cohort)
    survived = np.zeros((len(LEARNERS), n, grid.bins + 1))
    held_out = prepared.held_out
    for rows in np.split(np.arange(n), range(CHUNK, n, CHUNK)):
        inputs = [prepared.inputs(k, rows) for k in range(len(prepared.models))]
        logits = net_logits(net, prepared.models, inputs)
        for k, (model, made) in enumerate(zip(prepared.models, inputs, strict=True)):
            out = np.flatnonzero(held_out[k, rows])
            part = Inputs(*(a[out] for a in made))
            curves = learner_curves(model, part, logits[k][:, out], grid)
            survived[:, rows[out]] += survival(curves) / repeats
    return np.asarray(-np.log(np.maximum(survived, 1e-300)))


def spread_lost(prepared: Prepared, net: PackedNet, stack: Stack) -> float:
    """How much more patients' log-hazards vary in one fold's answer than in the mean of all folds'.

    Slope and level are fitted to out-of-fold predictions, one fold model a patient (and repeat);
    fresh patients get the mean of all. Averaging takes out what the models disagree on. That has
    no covariance with the truth, so the slope of truth on prediction, a covariance over a
    variance, grows by the ratio of the variances. No outcome is needed to know it.
    """
    some = np.arange(min(MOST_COMPARED, len(prepared.cohort)))
    inputs = [prepared.inputs(k, some) for k in range(len(prepared.models))]
    logits = net_logits(net, prepared.models, inputs)
    folds = len(prepared.models) // len(prepared.fold)
    each = np.zeros((folds, len(inputs[0].linear), prepared.grid.bins))
    for k, (model, made) in enumerate(zip(prepared.models, inputs, strict=True)):
        curves = survival(learner_curves(model, made, logits[k], prepared.grid))
        each[k % folds] += np.tensordot(stack.weights, curves, axes=1)[:, 1:] / len(prepared.fold)
    alone, together = (
        np.log(np.maximum(-np.log(np.maximum(s, 1e-300)), 1e-12)).mean(axis=-1)
        for s in (each, each.mean(axis=0))
    )
    lost = alone.var(axis=1).mean() / max(together.var(), 1e-12)
    return float(np.clip(lost, 1.0, MOST_LOST))


def fit_net(
    prepared: Prepared,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    report: Report = unreported,
) -> tuple[PackedNet, list[list[float]]]:
    """Train the packed network; return it with each fold's validation history."""
    # Lightning is imported here and not above: predicting must not need it.
    from training.module import train_net

    data, base_rate = pack(prepared, config)
    net = untrained(prepared, config, base_rate)
    pace = budget.pace()

    def watch(epoch: int, loss: float) -> bool:
        report(epoch, loss)
        return pace.another()

    module = train_net(net, data, config.net, config.trainer, config.seed, tick, watch)
    epochs = len(module.history)
    if epochs < config.net.max_epochs and not bool(module.stopped.all()):
        budget.cut("network", epochs, f"at most {config.net.max_epochs} epochs")
    return net, module.history


def untrained(prepared: Prepared, config: Config, base_rate: torch.Tensor) -> PackedNet:
    """Make the network for each of the base rate's folds (k, bins)."""
    modalities = prepared.models[0].net_modalities
    shape = NetShape(
        folds=len(base_rate),
        members=config.net.members,
        modalities=modalities,
        bins=config.grid.bins,
        encoder_width=max(4, config.net.encoder_width // len(modalities)),
        hidden_width=config.net.hidden_width,
    )
    settings = config.net
    return PackedNet(shape, settings.dropout, settings.modality_dropout, base_rate, config.seed)


def pack(prepared: Prepared, config: Config) -> tuple[PackedData, torch.Tensor]:
    """Say what each patient is to each fold and member; return also each fold's base rate."""
    time, event = truncate(prepared.cohort)
    folds, n, members = len(prepared.models), len(time), config.net.members
    last = np.zeros((folds, n), dtype=np.uint8)
    part, died = np.zeros((folds, n), dtype=np.float32), np.zeros((folds, n), dtype=bool)
    role = np.zeros((folds, members, n), dtype=np.int8)
    base_rate = np.full((folds, config.grid.bins), -3.0, dtype=np.float32)
    for k, (model, out) in enumerate(zip(prepared.models, prepared.held_out, strict=True)):
        edges, j = model.grid.edges, model.grid.bins
        last[k] = place = model.grid.bin_of(time)
        died[k] = event & (time <= model.grid.horizon)
        way = np.clip((time - edges[place]) / np.diff(edges)[place], 0.0, 1.0)
        # In the bin of the event a patient counts as at risk throughout.
        part[k] = np.where(died[k], 1.0, way)
        inside = np.flatnonzero(~out)
        ends = np.bincount(place[inside], minlength=j)
        at_risk = len(inside) - np.cumsum(ends) + np.bincount(place[inside], part[k, inside], j)
        total = np.bincount(place[inside], died[k, inside], j)
        rate = np.clip(total / np.maximum(at_risk, 1.0), 1e-3, 0.9)
        base_rate[k, :j] = np.log(rate / (1 - rate))
        made = min(max(2, round(1 / config.net.validation)), int(event[inside].sum()))
        for m in range(members):
            # Members take turns in holding out each part of several random divisions.
            if m % made == 0:
                seed = config.seed + 1000 * k + m // made
                division = stratified_folds(event[inside], time[inside], made, seed)
            role[k, m, inside] = np.where(division == m % made, VALIDATES, TRAINS)
    tensors = (torch.from_numpy(a) for a in (last, part, died, role))
    return PackedData(prepared.encode, config.grid.bins, *tensors), torch.from_numpy(base_rate)
