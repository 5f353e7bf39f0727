"""One tuning trial against five Lightning fits in a row of the same network with a DataLoader.

Both train the same five folds of eight members for the same passes over the data, with a look at
the validation patients after every ten passes. The packed trial takes all folds at once, a full
batch a step; the others take one fold after the other, minibatches of 64 from a DataLoader, and
plain torch operations, as a Lightning tutorial does. Everything runs on one thread, as trials do,
and is measured in seconds of that thread, which other work on the machine moves little.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from accomplice.data.cohort import build_cohort
from accomplice.data.panels.panel import panel_text
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.config import Config, configure
from accomplice.training.fitting.network import fit_net, pack, untrained
from accomplice.training.fitting.prepare import Prepared, prepare
from accomplice.training.learners.network.inputs import net_modalities
from accomplice.training.learners.network.model import PackedNet
from tests.fixtures.plain_net import PlainNet, plain_nll

PATIENTS = 400
PASSES = 50
BATCH = 64


class OneFold(pl.LightningModule):
    """The same network and loss for a single fold, written the usual way."""

    def __init__(self, net: PackedNet, config: Config) -> None:
        super().__init__()
        self.config = config.net
        net.__class__ = PlainNet
        self.net = net

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the likelihood of one minibatch."""
        x, present, exposure, event, train, _ = batch
        return self._loss(x, present, exposure, event, train)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log the likelihood of the held-out patients."""
        x, present, exposure, event, _, validate = batch
        self.log("validation_loss", self._loss(x, present, exposure, event, validate))

    def _loss(
        self, x: Tensor, present: Tensor, exposure: Tensor, event: Tensor, weight: Tensor
    ) -> Tensor:
        logits = self.net(x.T[None], present.T[None])
        return plain_nll(logits.mT, exposure.T[None], event.T[None], weight.T[None]) / len(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW as the packed fit has it."""
        return torch.optim.AdamW(
            self.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )


def folds_in_a_row(prepared: Prepared, config: Config) -> None:
    """Fit each fold by itself."""
    data, base_rate = pack(prepared, config)
    folds = len(prepared.models)
    batch = data.gather(torch.arange(PATIENTS).expand(folds, -1))
    for k in range(folds):
        parts = [part[k].flatten(0, -2).T.contiguous() for part in batch]
        table = TensorDataset(*parts)
        net = untrained(prepared, config, base_rate[k : k + 1])
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=PASSES,
            check_val_every_n_epoch=10,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = DataLoader(table, batch_size=BATCH, shuffle=True)
        trainer.fit(OneFold(net, config), loader, DataLoader(table, BATCH))


def matrix_products(prepared: Prepared, config: Config) -> None:
    """Do the packed trial's large matrix products alone: forward, and twice that backward."""
    data, _ = pack(prepared, config)
    x = data.gather(torch.arange(PATIENTS).expand(len(prepared.models), -1)).x.mT.contiguous()
    folds, n, inputs = x.shape
    members, hidden = config.net.members, config.net.hidden_width
    widths = net_modalities(prepared.models[0].preprocessor)
    each = max(4, config.net.encoder_width // len(widths))
    encode = torch.randn(folds, inputs, members * each)
    encoded = torch.randn(folds * members, n, each * len(widths))
    fuse = torch.randn(folds * members, each * len(widths), hidden)
    last, head = torch.randn(folds * members, n, hidden), torch.randn(folds * members, hidden, 12)
    for _ in range(PASSES):
        for _ in range(3):
            for part, weight in zip(x.split(widths, 2), encode.split(widths, 1), strict=True):
                torch.bmm(part, weight)
            torch.bmm(encoded, fuse)
            torch.bmm(last, head)


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """Processor time of one call."""
    began = time.process_time()
    work(*arguments)
    return time.process_time() - began


def main() -> None:
    """Print the ratio."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    panel = panel_text("synthetic_gastric")
    study = parse_study(yaml.safe_load(panel), "synthetic_gastric.yaml")
    cohort = build_cohort(study, draw(PATIENTS, seed=0).frame)
    # As many passes as both are given: nobody stops early.
    config = configure(
        ["net.steps_per_epoch=10", f"net.max_epochs={PASSES // 10}", "net.patience=1000"]
    )
    prepared = prepare(cohort, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_net(prepared, configure(["net.max_epochs=1"]))  # imports and first allocations
        packed = min(seconds(fit_net, prepared, config) for _ in range(3))
        products = min(seconds(matrix_products, prepared, config) for _ in range(3))
        in_a_row = seconds(folds_in_a_row, prepared, config)
    print(
        f"one trial, 5 folds x {config.net.members} members, {PATIENTS} patients, {PASSES} passes: "
        f"packed {packed:.1f} s; five Lightning fits with a DataLoader {in_a_row:.1f} s; "
        f"ratio {in_a_row / packed:.1f}; packed / its matrix products {packed / products:.1f}"
    )
