"""Random draws: generators that can be sent to other processes, and dropout masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class Random(torch.Generator):
    """A generator that is pickled by value, for other processes.

    Torch's own goes as a shared tensor that is freed before the process has begun.
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
    """Dropout masks from a pool.

    A fresh mask a step costs more than the matrix products of a small network; a random stretch
    of a long mask drawn beforehand is as good and several times cheaper.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        self.share = share
        self.generator = generator
        self.pool = torch.empty(0)

    def draw(self, *size: int, device: torch.device) -> Tensor:
        """Return infinity for each unit that is kept and 0 for each that is silenced."""
        length = math.prod(size)
        if len(self.pool) < length + 4096 or self.pool.device != device:
            silent = torch.rand(2 * length + 4096, generator=self.generator) < self.share
            self.pool = torch.full(silent.shape, torch.inf).masked_fill_(silent, 0.0).to(device)
        slack = len(self.pool) - length
        start = int(torch.randint(slack, (1,), generator=self.generator))
        return self.pool[start : start + length].view(size)
