"""Training of the networks of a fit: data, sizes and Lightning's run. Needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accomplice.data.arrays import Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.learners.network.batches import TRAINS, VALIDATES, PackedData
from accomplice.training.learners.network.inference import NetShape
from accomplice.training.learners.network.inputs import NetInputs, net_modalities
from accomplice.training.learners.network.lightning import train_net
from accomplice.training.learners.network.model import PackedNet
from accomplice.training.progress import Report, Tick, silent, unreported

#: Factor by which there are fewer members at most, with many patients.
FEWER = 2


@dataclass(frozen=True)
class Encoder:
    """Function that makes the network's inputs for the patients of a batch.

    It is a class, since a closure could not be pickled for the processes of other devices.
    """

    prepared: Prepared
    """Patients and each fold's preprocessing."""
    columns: NetInputs
    """Choice, order and scale of each fold's inputs."""

    def __call__(self, rows: Ints) -> tuple[Tensor, Tensor]:
        """Return the inputs (k, i, b) and the modalities' presence (k, modalities, b) of a batch.

        Args:
            rows: (k, b) positions of each fold's patients in the cohort.
        """
        inputs = [self.prepared.inputs(k, own, np.float32) for k, own in enumerate(rows)]
        x = self.columns.take(
            np.stack([of_fold.linear for of_fold in inputs]),
            np.stack([of_fold.embedded.T for of_fold in inputs]),
        )
        present = np.stack([of_fold.present.T for of_fold in inputs])
        return torch.from_numpy(x), torch.from_numpy(present)


def fit_net(
    prepared: Prepared,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    report: Report = unreported,
) -> tuple[PackedNet, list[list[float]]]:
    """Train the network of all folds.

    Args:
        prepared: patients, folds and each fold's preprocessing and anchor.
        config: run configuration.
        tick: progress callback, called with one device only.
        budget: time budget, checked after each epoch, with one device only.
        report: callback with each epoch and the folds' mean validation loss, called with one device
            only.

    Returns:
        The trained network, and its validation loss (epochs, folds).

    Raises:
        InputError: the configured device does not exist.
    """
    config = for_patients(config, int((~prepared.held_out).sum(axis=1).max()))
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


def for_patients(config: Config, patients: int) -> Config:
    """Return the configuration of a network that is trained on so many patients.

    With more than ``net.batch_size``, dropout falls with the root of their number: it acts as a
    penalty of the weights (Wager, Wang and Liang, "Dropout training as adaptive regularization",
    NeurIPS 2013), which many patients need less. Members differ less, so that there are fewer, but
    not less than 1 / :data:`FEWER` of them.

    Args:
        config: run configuration.
        patients: number of patients of the largest fold.
    """
    net = config.net
    part = math.sqrt(min(1.0, net.batch_size / max(patients, 1)))
    members = math.ceil(net.members * max(part, 1 / FEWER))
    update = {"dropout": net.dropout * part, "members": members}
    return config.model_copy(update={"net": net.model_copy(update=update)})


def untrained(prepared: Prepared, config: Config, base_rate: Tensor) -> PackedNet:
    """Return the network with its initial weights.

    Args:
        prepared: patients, folds and each fold's preprocessing.
        config: run configuration.
        base_rate: (k, bins) log-odds of the average patient's hazard in each fold.
    """
    modalities = net_modalities(prepared.models[0].preprocessor)
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


def pack(prepared: Prepared, config: Config) -> tuple[PackedData, Tensor]:
    """Return the network's training data, and each fold's base rate.

    Args:
        prepared: patients, folds and each fold's preprocessing and anchor.
        config: run configuration.

    Returns:
        The data, with each patient's role for each fold and member, and (k, bins) log-odds of the
        average training patient's hazard, which is clipped to 0.001 to 0.9; -3 in bins that the
        fold lacks.
    """
    time, event = prepared.cohort.outcome
    folds, n, members = len(prepared.models), len(time), config.net.members
    last = np.zeros((folds, n), dtype=np.uint8)
    part, observed = np.zeros((folds, n), dtype=np.float32), np.zeros((folds, n), dtype=bool)
    role = np.zeros((folds, members, n), dtype=np.int8)
    base_rate = np.full((folds, config.grid.bins), -3.0, dtype=np.float32)
    for k, (model, out) in enumerate(zip(prepared.models, prepared.held_out, strict=True)):
        edges, j = model.grid.edges, model.grid.bins
        last[k] = place = model.grid.bin_of(time)
        observed[k] = event & (time <= model.grid.horizon)
        fraction = np.clip((time - edges[place]) / np.diff(edges)[place], 0.0, 1.0)
        # In the bin of the event a patient counts as at risk throughout.
        part[k] = np.where(observed[k], 1.0, fraction)
        inside = np.flatnonzero(~out)
        ends = np.bincount(place[inside], minlength=j)
        at_risk = len(inside) - np.cumsum(ends) + np.bincount(place[inside], part[k, inside], j)
        events = np.bincount(place[inside], observed[k, inside], j)
        rate = np.clip(events / np.maximum(at_risk, 1.0), 1e-3, 0.9)
        base_rate[k, :j] = np.log(rate / (1 - rate))
        parts = min(max(2, round(1 / config.net.validation)), int(event[inside].sum()))
        # Of many patients, one batch suffices to see when to stop.
        judged = np.ones(len(inside), dtype=bool)
        if len(inside) > config.net.batch_size:
            order = np.random.default_rng([config.seed, 7, k]).permutation(len(inside))
            judged[order[config.net.batch_size :]] = False
        for m in range(members):
            # Each member holds out one part of a random division; each division serves as many
            # members as it has parts.
            if m % parts == 0:
                seed = config.seed + 1000 * k + m // parts
                division = stratified_folds(event[inside], time[inside], parts, seed)
            held_out = (division == m % parts) & judged
            role[k, m, inside] = np.where(held_out, VALIDATES, TRAINS)

    columns = NetInputs.of(
        [model.preprocessor for model in prepared.models],
        [model.anchor.beta for model in prepared.models],
    )
    tensors = (torch.from_numpy(a) for a in (last, part, observed, role))
    encode = Encoder(prepared, columns)
    return PackedData(encode, config.grid.bins, *tensors), torch.from_numpy(base_rate)
