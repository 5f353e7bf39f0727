"""Random generators that can be sent to other processes, and dropout masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class Random(torch.Generator):
    """A random generator that is pickled by its state, so that other processes can receive it.

    Torch's generator is pickled as a shared tensor, which is freed before the process has started.
    """

    def __reduce__(  # type: ignore[override]
        self,
    ) -> tuple[Callable[[bytes], Random], tuple[bytes]]:
        return self._with_state, (self.get_state().numpy().tobytes(),)

    @classmethod
    def _with_state(cls, state: bytes) -> Random:
        made = cls()
        made.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
        return made


class Dropout:
    """Dropout masks, taken from one long mask.

    To draw a new mask in each step would take longer than the matrix products of a small network; a
    random section of a long mask drawn beforehand is several times cheaper.

    Args:
        share: part of the units that are dropped, 0 to 1.
        generator: generator of the masks.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        self.share = share
        self.generator = generator
        self.pool = torch.empty(0)

    def draw(self, *size: int, device: torch.device) -> Tensor:
        """Return a mask of the given size: infinity for each unit kept, 0 for each dropped."""
        length = math.prod(size)
        if len(self.pool) < length + 4096 or self.pool.device != device:
            dropped = torch.rand(2 * length + 4096, generator=self.generator) < self.share
            self.pool = torch.full(dropped.shape, torch.inf).masked_fill_(dropped, 0.0).to(device)
        slack = len(self.pool) - length
        start = int(torch.randint(slack, (1,), generator=self.generator))
        return self.pool[start : start + length].view(size)
