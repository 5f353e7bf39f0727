"""The Lightning side of the network: optimiser, early stopping per fold, batches from memory."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from data.errors import InputError
from training.config import NetConfig, TrainerConfig
from training.losses import hazard_nll
from training.net import PackedData, PackedNet
from training.progress import Tick, silent


class Batches:
    """Rows for each step: all patients at once, or shuffled slices; no copy, no collating."""

    def __init__(self, n: int, size: int, steps: int, seed: int) -> None:
        self.n, self.size = n, size
        self.full = n <= size
        self.steps = steps if self.full else -(-n // size)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        if self.full:
            rows = torch.arange(self.n)
            yield from (rows for _ in range(self.steps))
        else:
            order = torch.randperm(self.n, generator=self.generator)
            yield from order.split(self.size)


class Batch(NamedTuple):
    """A slice of each fold's patients: b of them a fold."""

    x: Tensor
    """(k, rows, b) as :meth:`PackedNet.lay_out` arranges them."""
    exposure: Tensor
    """(k, 1, b, j) part of each bin at risk."""
    event: Tensor
    """(k, 1, b, j) 1 in the bin of the event."""
    train: Tensor
    """(k, m, b) weight in each member's loss."""
    validate: Tensor
    """(k, m, b) 1 where a member holds the patient out."""


class PackedHazard(pl.LightningModule):
    """Trains a :class:`PackedNet`; each fold keeps its weights of its best epoch."""

    def __init__(
        self, net: PackedNet, data: PackedData, config: NetConfig, tick: Tick = silent
    ) -> None:
        super().__init__()
        self.tick = tick
        self.net = net
        self.data = data
        self.config = config
        self.scale = 1 / data.train.sum(-1, keepdim=True).clamp_min(1.0)
        self.own = own_patients(data)
        self.whole: Batch | None = None
        folds = net.shape.folds
        self.best_loss = torch.full((folds,), torch.inf)
        self.best_epoch = torch.zeros(folds, dtype=torch.long)
        self.stopped = torch.zeros(folds, dtype=torch.bool)
        self.best = {name: p.detach().clone() for name, p in net.named_parameters()}
        self.history: list[list[float]] = []

    def on_fit_start(self) -> None:
        """Move the cohort to the device once, instead of a batch at a time."""
        moved = {k: v.to(self.device) for k, v in self.data.__dict__.items()}
        self.data, self.scale = PackedData(**moved), self.scale.to(self.device)
        self.own, self.whole = self.own.to(self.device), None
        self.best = {k: v.to(self.device) for k, v in self.best.items()}

    def transfer_batch_to_device(
        self, batch: Tensor, device: torch.device, dataloader_idx: int
    ) -> Tensor:
        """Leave row numbers where they are."""
        return batch

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the likelihood of one batch of rows, each replica's divided by its patients."""
        part = self._batch(batch)
        logits = self.net.logits(part.x).mT
        loss = hazard_nll(logits, part.exposure, part.event, part.train)
        return loss * (self.own.shape[1] / len(batch))

    def _batch(self, places: Tensor) -> Batch:
        """Gather the patients at some places of each fold's list; all of them once for all."""
        if len(places) < self.own.shape[1]:
            return self._gather(places)
        if self.whole is None:
            self.whole = self._gather(places)
        return self.whole

    def _gather(self, places: Tensor) -> Batch:
        data, rows = self.data, self.own[:, places]
        fold = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        by_member = rows.unsqueeze(1).expand(-1, data.train.shape[1], -1)
        return Batch(
            self.net.lay_out(data.x[fold, rows].mT, data.present[rows].mT),
            data.exposure[fold, rows].mT.contiguous().mT.unsqueeze(1),
            data.event[fold, rows].mT.contiguous().mT.unsqueeze(1),
            data.train.gather(2, by_member) * self.scale,
            data.validate.gather(2, by_member),
        )

    def on_train_epoch_end(self) -> None:
        """Look at the held-out patients; keep, or stop, each fold by itself."""
        loss = self.validation_loss()
        self.history.append(loss.tolist())
        self.tick("network", self.current_epoch + 1, self.config.max_epochs)
        better = (loss < self.best_loss) & ~self.stopped
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_epoch[better] = self.current_epoch
        for name, p in self.net.named_parameters():
            by_fold = better.repeat_interleave(p.shape[self._axis(name)] // len(better))
            shape = [1] * p.dim()
            shape[self._axis(name)] = -1
            mask = by_fold.to(p.device).view(shape)
            self.best[name] = torch.where(mask, p.detach(), self.best[name])
        # A stopped fold must not profit from epochs that only its neighbours asked for.
        self.stopped |= self.current_epoch - self.best_epoch >= self.config.patience
        if bool(self.stopped.all()):
            self.trainer.should_stop = True

    @staticmethod
    def _axis(name: str) -> int:
        """Dimension of a parameter that runs over folds (times members)."""
        return 1 if name in ("encode_bias", "token") else 0

    def validation_loss(self) -> Tensor:
        """Mean loss (k,) of each fold's held-out patients, over its members."""
        self.net.eval()
        losses = torch.zeros(self.net.shape.folds)
        with torch.no_grad():
            for places in torch.arange(self.own.shape[1]).split(self.config.batch_size):
                part = self._batch(places)
                logits = self.net.logits(part.x).mT
                at_risk = torch.nn.functional.softplus(logits) * part.exposure
                each = (at_risk - part.event * logits).sum(-1)
                losses += (each * part.validate).sum((1, 2)).cpu()
        self.net.train()
        return losses / self.data.validate.sum((1, 2)).clamp_min(1.0).cpu()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW: decay on weights, none on biases and tokens."""
        free = ("encode_bias", "token", "gate_bias", "fuse_bias", "hazard_bias")
        named = list(self.net.named_parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if n not in free]},
            {"params": [p for n, p in named if n in free], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups,
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )


def own_patients(data: PackedData) -> Tensor:
    """Rows (k, most) of the patients that each fold trains or validates on.

    A fold with fewer than the most is filled up with others, who have no weight in it.
    """
    own = (data.train + data.validate).amax(1) > 0
    order = own.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return order[:, : int(own.sum(1).max())]


def train_net(
    net: PackedNet,
    data: PackedData,
    config: NetConfig,
    trainer: TrainerConfig,
    seed: int,
    tick: Tick = silent,
) -> PackedHazard:
    """Train all folds and members at once; the net ends with each fold's best weights.

    Returns:
        The module, with the validation history of each fold.
    """
    module = PackedHazard(net, data, config, tick)
    batches = Batches(module.own.shape[1], config.batch_size, config.steps_per_epoch, seed)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Batches come from memory: a loader's workers would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
        try:
            runner = pl.Trainer(
                accelerator=trainer.accelerator,
                devices=trainer.devices,
                max_epochs=config.max_epochs,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
        except MisconfigurationException:
            raise InputError(
                f"trainer.accelerator={trainer.accelerator}, trainer.devices={trainer.devices}: "
                "this machine has no such device: use cpu"
            ) from None
        _fit(runner, module, batches)
    net.load_state_dict(module.best, strict=False)
    net.to("cpu").eval()
    return module


def _fit(runner: pl.Trainer, module: PackedHazard, batches: Batches) -> None:
    """Run Lightning's fit so that Ctrl-C reaches the caller.

    Lightning answers it by leaving the process and has later ones ignored; the caller has runs and
    studies to close first.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        runner.fit(module, train_dataloaders=batches)
    except SystemExit:
        if not runner.interrupted:
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
