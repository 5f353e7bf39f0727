"""A random generator that can be sent to other processes."""

from __future__ import annotations

from collections.abc import Callable

import torch


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
