"""Training of the network by Lightning: optimiser, early stopping by fold, several processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from accomplice.data.errors import InputError
from accomplice.training.config import NetConfig, TrainerConfig
from accomplice.training.learners.network.batches import Batch, Batches, PackedData
from accomplice.training.learners.network.inference import fold_axis
from accomplice.training.learners.network.losses import hazard_losses, hazard_nll
from accomplice.training.learners.network.model import PackedNet, Share
from accomplice.training.processes import uninterrupted_children
from accomplice.training.progress import Tick, silent

# At import, since other processes import this module and do not call ``train_net``.
for _library in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_library).setLevel(logging.ERROR)

#: Callback with each epoch and the folds' mean validation loss; returns whether to continue.
Watch = Callable[[int, float], bool]


def to_the_end(epoch: int, loss: float) -> bool:  # noqa: ARG001
    """Default callback: continue until early stopping."""
    return True


#: Pattern of the warning that Lightning calls a deprecated function of torch.
TREESPEC = r".*`isinstance\(treespec, LeafSpec\)`.*"


#: Names of environment variables by which schedulers and launchers describe the processes that they
#: have started, and of Lightning's own, which override the Trainer's defaults.
SCHEDULED = re.compile(
    "(SLURM|LSB|JSM|TORCHELASTIC|PL_TRAINER)_.*|((GLOBAL|GROUP|LOCAL|NODE)_)?RANK|WORLD_SIZE"
    "|MASTER_(ADDR|PORT)|STANDALONE_PORT"
)


@contextmanager
def unscheduled() -> Iterator[None]:
    """Hide the variables of ``SCHEDULED``; on exit drop those set by Lightning, restore the hidden.

    With them Lightning would use the processes of a Slurm allocation, of torchrun or of LSF, and
    refuse to train with other ``trainer.devices``.
    """
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if SCHEDULED.fullmatch(name)}
    try:
        yield
    finally:
        for name in filter(SCHEDULED.fullmatch, [*os.environ]):
            del os.environ[name]
        os.environ.update(hidden)


class PackedHazard(pl.LightningModule):
    """Lightning module that trains a :class:`PackedNet`; each fold keeps its best epoch's weights.

    Several processes divide the patients of each batch: the likelihood is a sum over patients, and
    so are its gradient and the validation loss.

    Args:
        net: network of k folds, trained in place.
        data: training data of the same folds.
        config: settings of the training.
        tick: progress callback.
        watch: callback after each epoch; returns whether to continue.
    """

    best_loss: Tensor
    """(k,) validation loss of each fold's best epoch."""
    best_epoch: Tensor
    """(k,) each fold's best epoch, from 0."""
    stopped: Tensor
    """(k,) whether the fold has stopped early."""
    losses: Tensor
    """(epochs, k) validation loss; NaN in epochs after the end of the training."""

    def __init__(
        self,
        net: PackedNet,
        data: PackedData,
        config: NetConfig,
        tick: Tick = silent,
        watch: Watch = to_the_end,
    ) -> None:
        super().__init__()
        self.tick, self.watch = tick, watch
        self.net = net
        self.data = data
        self.config = config
        self.own = data.own()
        few = self.own.shape[1] <= config.batch_size
        self.validating = self.own if few else data.validating()
        self.kept: dict[int, Batch] = {}
        folds = net.shape.folds
        # Buffers, since other processes return these with the weights.
        self.register_buffer("best_loss", torch.full((folds,), torch.inf))
        self.register_buffer("best_epoch", torch.zeros(folds, dtype=torch.long))
        self.register_buffer("stopped", torch.zeros(folds, dtype=torch.bool))
        self.register_buffer("losses", torch.full((config.max_epochs, folds), torch.nan))
        self.best = {name: p.detach().clone() for name, p in net.named_parameters()}

    @property
    def history(self) -> list[list[float]]:
        """(epochs, k) validation loss of each fold, of the epochs that were trained."""
        return [loss for loss in self.losses.tolist() if loss[0] == loss[0]]

    def setup(self, stage: str) -> None:
        """Ignore the warning of ``TREESPEC`` in processes that Lightning has started."""
        if self.trainer.world_size > 1:
            warnings.filterwarnings("ignore", message=TREESPEC)

    def on_fit_start(self) -> None:
        """Move the best weights to the device of the weights."""
        self.best = {name: v.to(self.device) for name, v in self.best.items()}

    def transfer_batch_to_device(
        self, batch: Tensor, device: torch.device, dataloader_idx: int
    ) -> Tensor:
        """Return the batch's positions (b,) unmoved, since they index arrays on the CPU."""
        return batch

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the sum over folds and members of their mean losses, estimated from a batch.

        Args:
            batch: (b,) positions of the patients in ``own``.
            batch_idx: number of the batch, not used.
        """
        part = self._part(self.own, batch)
        logits = self.net.logits(part.x, Share(len(batch), self._places))
        loss = hazard_nll(logits, part.exposure, part.event, part.train)
        # Lightning averages the gradients over processes, and a batch is a part of all patients.
        return loss * (self.trainer.world_size * self.own.shape[1] / len(batch))

    @property
    def _places(self) -> slice:
        """Slice of a batch that this process computes."""
        return slice(self.trainer.global_rank, None, self.trainer.world_size)

    def _part(self, rows: Tensor, places: Tensor) -> Batch:
        """Return this process's part of a batch, with ``x`` as ``PackedNet.logits`` reads it.

        A batch of all ``rows`` is made once and cached.

        Args:
            rows: (k, most) rows of each fold's patients in the cohort.
            places: (b,) positions of the batch's patients in ``rows``.
        """
        whole = len(places) == rows.shape[1]
        if whole and len(places) in self.kept:
            return self.kept[len(places)]
        own = rows[:, places[self._places]]
        part = Batch(*(array.to(self.device) for array in self.data.gather(own)))
        part = part._replace(x=self.net.lay_out(part.x, part.present))
        if whole:
            self.kept[len(places)] = part
        return part

    def on_train_epoch_end(self) -> None:
        """Compute the validation loss, keep each fold's best weights, and stop folds early."""
        loss = self.validation_loss()
        self.losses[self.current_epoch] = loss
        self.tick("network", self.current_epoch + 1, self.config.max_epochs)
        better = (loss < self.best_loss) & ~self.stopped
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_epoch[better] = self.current_epoch
        for name, p in self.net.named_parameters():
            by_fold = better.repeat_interleave(p.shape[fold_axis(name)] // len(better))
            shape = [1] * p.dim()
            shape[fold_axis(name)] = -1
            self.best[name] = torch.where(by_fold.view(shape), p.detach(), self.best[name])
        # A stopped fold stays stopped, even if the training continues for other folds.
        self.stopped |= self.current_epoch - self.best_epoch >= self.config.patience
        proceed = self.watch(self.current_epoch, float(loss.mean()))
        if bool(self.stopped.all()) or not proceed:
            self.trainer.should_stop = True

    def on_fit_end(self) -> None:
        """Restore each fold's best weights."""
        self.net.load_state_dict(self.best, strict=False)

    def validation_loss(self) -> Tensor:
        """Return the mean loss (k,) of each fold, over its members and their held-out patients."""
        self.net.eval()
        sums = torch.zeros(2, self.net.shape.folds, device=self.device)
        with torch.no_grad():
            for places in torch.arange(self.validating.shape[1]).split(self.config.batch_size):
                part = self._part(self.validating, places)
                losses = hazard_losses(self.net.logits(part.x), part.exposure, part.event)
                sums[0] += (losses * part.validate).sum((1, 2))
                sums[1] += part.validate.sum((1, 2))
        self.net.train()
        sums = torch.as_tensor(self.trainer.strategy.reduce(sums, reduce_op="sum"))
        return sums[0] / sums[1].clamp_min(1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW, with weight decay on weights, but not on biases and tokens."""
        undecayed = ("encode_bias", "token", "gate_bias", "fuse_bias", "hazard_bias")
        named = list(self.net.named_parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if n not in undecayed]},
            {"params": [p for n, p in named if n in undecayed], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups,
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )


def train_net(
    net: PackedNet,
    data: PackedData,
    config: NetConfig,
    trainer: TrainerConfig,
    seed: int,
    tick: Tick = silent,
    watch: Watch = to_the_end,
) -> PackedHazard:
    """Train the networks of all folds and members at once.

    Args:
        net: network, trained in place; at the end it has each fold's best weights, on the CPU.
        data: training data of the same folds.
        config: settings of the training.
        trainer: kind and number of devices.
        seed: seed of the batches.
        tick: progress callback, called with one device only.
        watch: callback after each epoch, with one device only; returns whether to continue. An
            exception ends the training.

    Returns:
        The Lightning module, with the validation history of each fold.

    Raises:
        InputError: the machine has no such device.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    # With several devices, training runs in other processes, which cannot call back to this one.
    alone = trainer.devices == 1
    module = PackedHazard(
        net, data, config, tick if alone else silent, watch if alone else to_the_end
    )
    batches = Batches(module.own.shape[1], config.batch_size, config.steps_per_epoch, seed)
    with warnings.catch_warnings(), unscheduled():
        # Batches are in memory: workers of a data loader would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=TREESPEC)
        try:
            runner = pl.Trainer(
                accelerator=trainer.accelerator,
                devices=trainer.devices,
                # Spawned: Lightning's default starts the whole command again in each process.
                strategy="ddp_spawn" if trainer.devices > 1 else "auto",
                plugins=[LightningEnvironment()],  # so that no other is detected
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
    net.to("cpu").eval()
    return module


def _fit(runner: pl.Trainer, module: PackedHazard, batches: Batches) -> None:
    """Run Lightning's fit so that Ctrl-C reaches the caller and ends the other devices' processes.

    On Ctrl-C Lightning exits and ignores further ones, but the caller has runs and studies to close
    first. The other processes do not receive it; they are killed, since Python would wait until
    their training ends.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    before = signal.getsignal(signal.SIGINT)
    others = {*multiprocessing.active_children()}
    try:
        with uninterrupted_children():
            runner.fit(module, train_dataloaders=batches)
    except SystemExit:
        if not runner.interrupted:
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
    finally:
        for process in {*multiprocessing.active_children()} - others:
            process.kill()
