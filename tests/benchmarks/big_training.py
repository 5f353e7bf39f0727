"""Training on big cohorts: rows a second against a bare torch loop, memory, cost against patients.

One fold of eight members on 40 features. The bare loop has the network's inputs of its patients in
memory already and does with the same batches what must be done: gather, forward, backward, step,
and a look at as many held-out patients after the pass. Training makes the inputs of each batch
anew, since those of a million patients would take ten times the memory of their features.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import psutil
import torch
from matplotlib import pyplot as plt

from accomplice.data.cohort import Cohort
from accomplice.data.study import parse_study
from accomplice.training.config import Config, configure
from accomplice.training.fitting.network import pack, untrained
from accomplice.training.fitting.prepare import Prepared, prepare
from accomplice.training.learners.network.batches import PARTS
from accomplice.training.learners.network.lightning import train_net
from accomplice.training.learners.network.losses import hazard_losses, hazard_nll

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
BARE = 100_000
FEATURES = 40
MIB = 2**20
PLOT = Path(".bench") / "big_training.png"


def simulated(n: int) -> Cohort:
    """Patients with numbers, some skewed and some missing, of which a few matter."""
    rng = np.random.default_rng(0)
    kinds = {"number": "", "density": "d"}
    study = parse_study(
        {
            "name": "big",
            "source": {"reader": "table", "files": ("big.csv",)},
            "id": "id",
            "endpoints": {"survival": {"os": {"time": "time", "event": "event"}}},
            "modalities": {
                kind: {f"x{letter}{i}": {"kind": kind} for i in range(FEATURES // 2)}
                for kind, letter in kinds.items()
            },
        },
        "big.yaml",
    )
    values = rng.standard_normal((n, FEATURES))
    rate = np.exp(values[:, :5].sum(axis=1) * 0.3) / 40
    np.exp(values[:, FEATURES // 2 :], out=values[:, FEATURES // 2 :])
    for column in values.T:
        column[rng.random(n) < 0.05] = np.nan
    death, censoring = rng.exponential(1 / rate), rng.uniform(1, 80, n)
    time, event = np.minimum(death, censoring), death <= censoring
    return Cohort(
        study=study,
        ids=np.arange(n).astype(str),
        values=values,
        centre=None,
        binary={},
        endpoint="os",
        time=time,
        event=event,
    )


def prepared_fold(n: int, config: Config) -> Prepared:
    """One fold of n patients; its preprocessing, bins and anchor are those of the first 5000."""
    cohort = simulated(n)
    few = prepare(cohort.take(np.arange(min(n, 5000))), config)
    every = {"cohort": cohort, "blind": cohort.prognostic(), "fold": np.arange(n)[None] % 5}
    return replace(few, **every, models=few.models[:1])


def trained(prepared: Prepared, config: Config) -> None:
    """One pass of the package's training."""
    patients, size = int((prepared.fold[0] != 0).sum()), config.net.batch_size // PARTS
    config = configure([f"net.steps_per_epoch={-(-patients // size)}"], config)
    data, base_rate = pack(prepared, config)
    net = untrained(prepared, config, base_rate)
    train_net(net, data, config.net, config.trainer, seed=0)


def bare_seconds(prepared: Prepared, config: Config) -> float:
    """Processor time of one pass over the patients in plain torch, their inputs in memory."""
    data, base_rate = pack(prepared, config)
    net = untrained(prepared, config, base_rate)
    x, present, *rest = data.gather(data.own())
    x, present = x.mT.contiguous(), present.mT.contiguous()
    settings = config.net
    optimiser = torch.optim.AdamW(
        net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    began, n = time.process_time(), x.shape[1]
    for rows in torch.randperm(n).split(settings.batch_size // PARTS):
        exposure, event, train, _ = (part[..., rows] for part in rest)
        logits = net.train()(x[:, rows].mT, present[:, rows].mT).mT
        optimiser.zero_grad()
        (hazard_nll(logits, exposure, event, train) * (n / len(rows))).backward()
        optimiser.step()
    with torch.no_grad():
        rows = torch.arange(min(n, settings.batch_size))
        exposure, event, _, validate = (part[..., rows] for part in rest)
        logits = net.eval()(x[:, rows].mT, present[:, rows].mT).mT
        (hazard_losses(logits, exposure, event) * validate).sum()
    return time.process_time() - began


@contextmanager
def peak(found: list[float]) -> Iterator[None]:
    """Append the most memory, in bytes, that the block takes beyond what was taken before."""
    process, over = psutil.Process(), threading.Event()
    before, most = process.memory_info().rss, 0

    def watch() -> None:
        nonlocal most
        while not over.wait(0.01):
            most = max(most, process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        found.append(most)


def main() -> None:
    """Print the ratios and draw cost against patients."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    config = configure(["net.max_epochs=1"])
    bare, ours, taken, memory = [], [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained(prepared_fold(SIZES[0], config), config)  # imports and first allocations
        # The largest first: memory that others had freed would hide what it takes.
        for n in reversed(SIZES):
            prepared = prepared_fold(n, config)
            began = time.process_time()
            with peak(memory):
                trained(prepared, config)
            taken.append(time.process_time() - began)
        few = prepared_fold(BARE, config)
        for _ in range(3):
            bare.append(bare_seconds(few, config))
            began = time.process_time()
            trained(few, config)
            ours.append(time.process_time() - began)
    print(
        f"{FEATURES} features, one fold x {config.net.members} members, batches of "
        f"{config.net.batch_size // PARTS}: {0.8 * BARE / min(ours):.0f} patients a second, "
        f"{min(bare) / min(ours):.2f} of a bare torch loop's"
    )
    taken.reverse()
    exponent = np.polyfit(np.log(SIZES), np.log(taken), 1)[0]
    matrix = SIZES[-1] * FEATURES * 4
    print(
        f"{SIZES[-1]} patients: {taken[-1]:.0f} s a pass, {memory[0] / MIB:.0f} MiB beyond the "
        f"cohort, {memory[0] / matrix:.1f} times its float32 matrix; "
        f"cost grows as n^{exponent:.2f} from {SIZES[0]} patients"
    )
    PLOT.parent.mkdir(exist_ok=True)
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    axes.loglog(SIZES, taken, "o-", label="measured")
    axes.loglog(SIZES, taken[-1] * np.array(SIZES) / SIZES[-1], "--", label="linear")
    axes.set(xlabel="patients", ylabel="seconds of one pass", title=f"n^{exponent:.2f}")
    axes.legend()
    figure.savefig(PLOT)
    plt.close(figure)
