"""Compact training data of the network, and batches made from it on demand.

Only a few bytes are stored for each patient, fold and member. The inputs, which have many times as
many columns as the cohort's table, are made for one batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from accomplice.data.arrays import Ints
from accomplice.training.learners.network.generator import Random

#: Function from a batch's rows (k, b) to its ``x`` and ``present``; see :class:`Batch`.
Encode = Callable[[Ints], tuple[Tensor, Tensor]]

#: Divisor of the maximum batch that gives a random one: with new patients in each step, fewer of
#: them lower the loss as far.
PARTS = 4

#: Role of a patient on whom a member is trained; 0 is no role.
TRAINS = 1
#: Role of a patient whom a member holds out for early stopping.
VALIDATES = 2


class Batch(NamedTuple):
    """b patients for each of k folds of m members, with j bins."""

    x: Tensor
    """(k, inputs, b) inputs of the network."""
    present: Tensor
    """(k, modalities, b) 1 where the patient's modality is known, else 0."""
    exposure: Tensor
    """(k, 1, j, b) fraction of each bin at risk, 0 to 1."""
    event: Tensor
    """(k, 1, j, b) 1 in the bin of the event, else 0."""
    train: Tensor
    """(k, m, b) weight of the patient in the member's training loss."""
    validate: Tensor
    """(k, m, b) 1 where the member holds the patient out for early stopping, else 0."""


@dataclass(frozen=True)
class PackedData:
    """Training data of the network: n patients in k folds of m members."""

    encode: Encode
    """Function that makes ``x`` and ``present`` of a batch from its rows (k, b)."""
    bins: int
    """Number of bins of the network; a fold may have fewer."""
    last: Tensor
    """(k, n) uint8: bin of the fold's grid in which follow-up ends."""
    part: Tensor
    """(k, n) float: fraction of that bin at risk; 1 if the event is in it."""
    event: Tensor
    """(k, n) bool: whether follow-up ends with the event, up to the fold's horizon."""
    role: Tensor
    """(k, m, n) int8: ``TRAINS``, ``VALIDATES`` or 0, the patient's role for the member."""

    @cached_property
    def weight(self) -> Tensor:
        """(k, m, 1) weight of each training patient of a member; their sum is 1."""
        return 1 / (self.role == TRAINS).sum(-1, keepdim=True).clamp_min(1)

    def gather(self, rows: Tensor) -> Batch:
        """Make a batch.

        Args:
            rows: (k, b) positions of each fold's patients in the cohort.
        """
        x, present = self.encode(rows.numpy())
        last, part, event = (a.gather(1, rows) for a in (self.last, self.part, self.event))
        bins, last = torch.arange(self.bins, dtype=torch.uint8)[:, None], last[:, None, None]
        ends = (bins == last).float()
        role = self.role.gather(2, rows.unsqueeze(1).expand(-1, self.role.shape[1], -1))
        return Batch(
            x,
            present,
            exposure=(bins < last) + ends * part[:, None, None],
            event=ends * event[:, None, None],
            train=(role == TRAINS) * self.weight,
            validate=(role == VALIDATES).float(),
        )

    def own(self) -> Tensor:
        """Return the rows (k, most) of the patients on whom each fold is trained or validated.

        Folds with fewer patients than the largest are padded with others, whose weight is 0.
        """
        return _rows((self.role != 0).any(1))

    def validating(self) -> Tensor:
        """Return the rows (k, most) of the patients whom any member of a fold holds out.

        Folds with fewer such patients than the largest are padded with others, whose weight is 0.
        """
        return _rows((self.role == VALIDATES).any(1))


def _rows(used: Tensor) -> Tensor:
    """Return the rows (k, most) of the used patients (k, n) of each fold, then of others."""
    order = used.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return order[:, : int(used.sum(1).max())].clone()


class Batches:
    """Positions (b,) of the patients of each step of an epoch: all of them, or a random part.

    An epoch has the same number of steps whatever the number of patients, so that early stopping
    counts the steps that were trained. Parts are taken from one shuffled order after the other.

    Args:
        n: number of patients.
        most: maximum number of patients of whom all are in each batch; of more, a batch is a
            random part of ``most`` / ``PARTS``.
        steps: steps of an epoch.
        seed: seed of the shuffling.
    """

    def __init__(self, n: int, most: int, steps: int, seed: int) -> None:
        self.n, self.steps = n, steps
        self.full, self.size = n <= most, max(1, most // PARTS)
        self.generator = Random().manual_seed(seed)
        self.left = torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        if self.full:
            places = torch.arange(self.n)
            yield from (places for _ in range(self.steps))
            return
        for _ in range(self.steps):
            if len(self.left) < self.size:
                self.left = torch.randperm(self.n, generator=self.generator)
            places, self.left = self.left[: self.size], self.left[self.size :]
            yield places
