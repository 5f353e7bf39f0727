"""Compact training data, and batches made from it on demand.

Of each patient, fold and member a few bytes are kept; network inputs, which are many times as wide
as the cohort's table, are made a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from accomplice.data.arrays import Ints
from accomplice.training.learners.network.dropout import Random

Encode = Callable[[Ints], tuple[Tensor, Tensor]]

#: Roles of a patient for a member; 0 is none.
TRAINS, VALIDATES = 1, 2


class Batch(NamedTuple):
    """b patients of each of k folds, patients last in every array."""

    x: Tensor
    """(k, inputs, b)."""
    present: Tensor
    """(k, modalities, b) 1 where the modality is known."""
    exposure: Tensor
    """(k, 1, j, b) part of each bin at risk."""
    event: Tensor
    """(k, 1, j, b) 1 in the bin of the event."""
    train: Tensor
    """(k, m, b) weight in the member's loss."""
    validate: Tensor
    """(k, m, b) 1 where the member holds the patient out for early stopping."""


@dataclass(frozen=True)
class PackedData:
    """Training data of the network: n patients in k folds of m members."""

    encode: Encode
    """Gives ``x`` and ``present`` of a batch from its rows (k, b)."""
    bins: int
    """Bins of the network; a fold may have fewer."""
    last: Tensor
    """(k, n) uint8: bin of each fold's own grid in which follow-up ends."""
    part: Tensor
    """(k, n) part of that bin at risk; 1 where the event is in it."""
    event: Tensor
    """(k, n) bool: whether follow-up ends with the event."""
    role: Tensor
    """(k, m, n) int8: the patient's role for the member."""

    @cached_property
    def weight(self) -> Tensor:
        """(k, m, 1) of each patient that a member trains on: together they weigh 1."""
        return 1 / (self.role == TRAINS).sum(-1, keepdim=True).clamp_min(1)

    def gather(self, rows: Tensor) -> Batch:
        """Make the batch of some patients, (k, b) rows of the cohort."""
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
        """Rows (k, most) of the patients that each fold trains or validates on.

        A fold with fewer than the most is filled up with others, who have no weight in it.
        """
        own = (self.role != 0).any(1)
        order = own.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        return order[:, : int(own.sum(1).max())].clone()


class Batches:
    """Indices of the patients of each step: all at once, or shuffled slices."""

    def __init__(self, n: int, size: int, steps: int, seed: int) -> None:
        self.n, self.size = n, size
        self.full = n <= size
        self.steps = steps if self.full else -(-n // size)
        self.generator = Random().manual_seed(seed)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        if self.full:
            places = torch.arange(self.n)
            yield from (places for _ in range(self.steps))
        else:
            order = torch.randperm(self.n, generator=self.generator)
            yield from order.split(self.size)
