"""The networks of all folds, run without torch: what answers asks nothing of its training.

What ``training.passes`` computes for a step of training, written for an answer: one patient's
networks are forty products of small matrices, in which torch's own bookkeeping takes four times as
long as the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.net import PackedNet

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Networks:
    """Weights of k folds with m networks each, ready to be multiplied by patients; see ``net``."""

    encode: tuple[Floats, ...]
    """By modality (k, m * e, its rows): weights, bias, token."""
    mix: Floats
    """(k, m * blocks + m, rows) of gates and skip; of the skip alone where there is one
    modality."""
    fuse: Floats
    """(k, m, h, blocks * e + 1) weights and bias."""
    hazard: Floats
    """(k, m, j, h + 2) weights, bias, and ones that pass the skip on to all bins."""

    @classmethod
    def of(cls, net: PackedNet) -> Networks:
        """Take a fitted network's weights."""
        with torch.inference_mode():
            encode, *others = net.laid_out()
            encoders, rest = ([w.mT.contiguous().numpy() for w in ws] for ws in (encode, others))
        return cls(tuple(encoders), *rest)

    @property
    def rows(self) -> int:
        """How many rows patients have."""
        return int(self.mix.shape[2])

    def logits(self, x: Floats) -> Floats:
        """Log-odds of the hazards (k, m, j, n).

        Args:
            x: (k, rows, n) of n patients, modality by modality: its inputs, 0 where it is missing,
                a row that is 1 where it is known, and one that is 1 where it is not.
        """
        (k, _, n), (_, m, h, wide), blocks = x.shape, self.fuse.shape, len(self.encode)
        e = (wide - 1) // blocks
        mixed = self.mix @ x
        fused = np.empty((k, m, wide, n), np.float32)
        fused[:, :, -1] = 1
        # Twice the logistic function, which so has no large numbers on the way.
        gate = 1 + np.tanh(mixed[:, :-m] / 2).reshape(k, m, mixed.shape[1] // m - 1, 1, n)
        begin = 0
        for j, weight in enumerate(self.encode):
            rows = x[:, begin : begin + weight.shape[2]]
            begin += weight.shape[2]
            part = fused[:, :, j * e : (j + 1) * e]
            # ReLU where the modality is known; a token passes as it is.
            floor = np.where(rows[:, None, None, -2] > 0, np.float32(0), np.float32(-np.inf))
            np.maximum((weight @ rows).reshape(k, m, e, n), floor, out=part)
            if blocks > 1:
                part *= gate[:, :, j]
        hidden = np.empty((k, m, h + 2, n), np.float32)
        np.maximum(self.fuse @ fused, np.float32(0), out=hidden[:, :, :-2])
        hidden[:, :, -2] = 1
        hidden[:, :, -1] = mixed[:, -m:]
        return self.hazard @ hidden
