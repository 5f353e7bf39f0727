"""Dropout masks, taken from one long mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Dropout:
    """Dropout masks, taken from one long mask.

    To draw a new mask in each step would take longer than the matrix products of a small network; a
    random section of a long mask drawn beforehand is several times cheaper.

    Args:
        share: fraction of the units that are dropped, 0 to 1.
        generator: generator of the masks.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        self.share = share
        self.generator = generator
        self.pool = torch.empty(0)

    def draw(self, *size: int, device: torch.device) -> Tensor:
        """Return a mask, an upper bound of each unit: infinity if it is kept, 0 if it is dropped.

        Kept units are not scaled up by 1 / (1 - ``share``): the caller does that.

        Args:
            size: shape of the mask.
            device: device of the mask.
        """
        length = math.prod(size)
        if len(self.pool) < length + 4096 or self.pool.device != device:
            dropped = torch.rand(2 * length + 4096, generator=self.generator) < self.share
            self.pool = torch.full(dropped.shape, torch.inf).masked_fill_(dropped, 0.0).to(device)
        slack = len(self.pool) - length
        start = int(torch.randint(slack, (1,), generator=self.generator))
        return self.pool[start : start + length].view(size)
