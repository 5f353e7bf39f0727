"""Fit a model on a cohort: folds, anchors, the packed network, out-of-fold predictions, stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data.cohort import Cohort
from data.errors import InputError
from data.preprocess import Inputs, Preprocessor
from data.splits import centre_folds, stratified_folds
from training.anchor import fit_anchor
from training.config import Config
from training.ensemble import (
    Ensemble,
    FoldModel,
    anchor_curve,
    net_curve,
    net_inputs,
    net_logits,
)
from training.hazard import TimeGrid, survival
from training.net import NetShape, PackedData, PackedNet
from training.progress import Tick, silent
from training.stack import Stack, fit_stack

Array = NDArray[np.float64]

#: Events below which nothing is trained.
FEWEST_EVENTS = 10


@dataclass(frozen=True)
class Prepared:
    """All that a fit needs before the network: it depends on no setting of the network."""

    cohort: Cohort
    fold: NDArray[np.int_]
    """(repeats, n) held-out fold of each patient."""
    models: tuple[FoldModel, ...]
    """One a repeat and fold."""
    inputs: tuple[Inputs, ...]
    """Each fold's inputs of all patients."""
    grid: TimeGrid
    """Common bins."""

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
    """(2, n, j + 1) out-of-fold cumulative hazards of anchor and network."""
    cumulative: Array
    """(n, j + 1) out-of-fold stacked cumulative hazard, the stack fitted on the other folds."""
    history: list[list[float]]
    """Validation loss of each fold, epoch by epoch."""


def truncate(cohort: Cohort) -> tuple[Array, NDArray[np.bool_]]:
    """Return time and event (n,), administratively censored at the cohort's horizon."""
    horizon = cohort.horizon
    return np.minimum(cohort.time, horizon), cohort.event & (cohort.time <= horizon)


def prepare(cohort: Cohort, config: Config, tick: Tick = silent) -> Prepared:
    """Divide the patients and fit preprocessing, bins and anchor on each training fold.

    Raises:
        InputError: there are too few events.
    """
    time, event = truncate(cohort)
    fold = assign_folds(cohort, time, event, config)
    models, inputs = [], []
    for assignment in fold:
        for k in range(int(assignment.max()) + 1):
            model, made = _fit_fold(cohort, time, event, assignment != k, config)
            models.append(model)
            inputs.append(made)
            tick("folds", len(models), fold.size // len(assignment) * (int(fold.max()) + 1))
    grid = _grid(time, event, cohort.horizon, config)
    return Prepared(cohort, fold, tuple(models), tuple(inputs), grid)


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
    cohort: Cohort, time: Array, event: NDArray[np.bool_], train: NDArray[np.bool_], config: Config
) -> tuple[FoldModel, Inputs]:
    horizon = cohort.take(train).horizon
    centre = None if cohort.centre is None else cohort.centre[train]
    preprocessor = Preprocessor.fit(
        cohort.study, cohort.values[train], centre, config.net.embedding_bins
    )
    inputs = preprocessor.transform(cohort.values, cohort.centre)
    grid = _grid(time[train], event[train], horizon, config)
    first = next(iter(cohort.study.blocks))
    markers = np.array([c.modality != first for c in preprocessor.linear_columns()])
    anchor = fit_anchor(
        inputs.linear[train],
        time[train],
        event[train],
        grid,
        markers,
        ratios=config.anchor.marker_penalties,
        folds=config.anchor.folds,
        seed=config.seed,
    )
    return FoldModel(preprocessor, grid, anchor), inputs


def fit(prepared: Prepared, config: Config, tick: Tick = silent) -> Fitted:
    """Train the network of all folds at once, then stack it with the anchors."""
    net, history = fit_net(prepared, config, tick)
    learners = out_of_fold(prepared, net)
    time, event = truncate(prepared.cohort)
    grid = prepared.grid

    def stack(rows: NDArray[np.bool_]) -> Stack:
        return fit_stack(learners[:, rows], time[rows], event[rows], grid, config.stack)

    cumulative = np.zeros((len(time), grid.bins + 1))
    for k in range(int(prepared.fold[0].max()) + 1):
        out = prepared.fold[0] == k
        cumulative[out] = stack(~out).cumulative(learners[:, out])
    whole = stack(np.ones(len(time), dtype=bool))
    ensemble = Ensemble(prepared.models, net, grid, whole)
    return Fitted(ensemble, prepared, learners, cumulative, history)


def out_of_fold(prepared: Prepared, net: PackedNet) -> Array:
    """Cumulative hazards (2, n, j + 1) by the fold models that have not seen the patient."""
    grid, repeats = prepared.grid, len(prepared.fold)
    survived = np.zeros((2, len(prepared.cohort), grid.bins + 1))
    logits = net_logits(net, prepared.models, prepared.inputs)
    for k, (model, inputs) in enumerate(zip(prepared.models, prepared.inputs, strict=True)):
        rows = np.flatnonzero(prepared.held_out[k])
        part = Inputs(*(a[rows] for a in inputs))
        survived[0, rows] += survival(anchor_curve(model, part, grid)) / repeats
        survived[1, rows] += survival(net_curve(model, logits[k][:, rows], grid)) / repeats
    return np.asarray(-np.log(np.maximum(survived, 1e-300)))


def fit_net(
    prepared: Prepared, config: Config, tick: Tick = silent
) -> tuple[PackedNet, list[list[float]]]:
    """Train the packed network; return it with each fold's validation history."""
    # Lightning is imported here and not above: predicting must not need it.
    from training.module import train_net

    data, base_rate = pack(prepared, config)
    modalities = prepared.models[0].net_modalities
    shape = NetShape(
        folds=len(prepared.models),
        members=config.net.members,
        modalities=modalities,
        bins=config.grid.bins,
        encoder_width=max(4, config.net.encoder_width // len(modalities)),
        hidden_width=config.net.hidden_width,
    )
    net = PackedNet(
        shape, config.net.dropout, config.net.modality_dropout, base_rate, seed=config.seed
    )
    module = train_net(net, data, config.net, config.trainer, config.seed, tick)
    return net, module.history


def pack(prepared: Prepared, config: Config) -> tuple[PackedData, torch.Tensor]:
    """Lay out all folds for one batched training; return the data and each fold's base rate."""
    time, event = truncate(prepared.cohort)
    folds, n, bins = len(prepared.models), len(time), config.grid.bins
    exposure = np.zeros((folds, n, bins), dtype=np.float32)
    happened = np.zeros((folds, n, bins), dtype=np.float32)
    train = np.zeros((folds, config.net.members, n), dtype=np.float32)
    base_rate = np.full((folds, bins), -3.0, dtype=np.float32)
    validate = np.zeros_like(train)
    for k, (model, out) in enumerate(zip(prepared.models, prepared.held_out, strict=True)):
        j = model.grid.bins
        happened[k, :, :j] = model.grid.events(time, event)
        # In the bin of the event a patient counts as at risk throughout.
        exposure[k, :, :j] = np.maximum(model.grid.exposure(time), happened[k, :, :j])
        inside = np.flatnonzero(~out)
        at_risk, total = exposure[k, inside].sum(0)[:j], happened[k, inside].sum(0)[:j]
        rate = np.clip(total / np.maximum(at_risk, 1.0), 1e-3, 0.9)
        base_rate[k, :j] = np.log(rate / (1 - rate))
        parts = max(2, round(1 / config.net.validation))
        for m in range(config.net.members):
            # Members take turns in holding out each part of several random divisions.
            made = min(parts, int(event[inside].sum()))
            division = stratified_folds(
                event[inside], time[inside], made, config.seed + 1000 * k + m // made
            )
            held = division == m % made
            validate[k, m, inside[held]] = 1.0
            train[k, m, inside[~held]] = 1.0
    x, present = net_inputs(prepared.models, prepared.inputs)
    tensors = (torch.from_numpy(a) for a in (exposure, happened, train, validate))
    return PackedData(x, present, *tensors), torch.from_numpy(base_rate)
