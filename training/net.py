"""The hazard network: all folds and all ensemble members in one batched forward pass.

Every weight has a leading dimension over folds, and one over members, so that the fits of a whole
cross-validation are one sequence of batched matrix products. No two replicas share a weight: what
one of them learns from its patients cannot reach another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class NetShape:
    """Sizes that decide the network's tensors."""

    folds: int
    members: int
    modalities: tuple[int, ...]
    """How many inputs each modality has; a patient's inputs are laid out one after another."""
    bins: int
    encoder_width: int
    hidden_width: int

    @property
    def inputs(self) -> int:
        """How many inputs a patient has."""
        return sum(self.modalities)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> NetShape:
        """Rebuild from :meth:`to_json`."""
        return cls(**{**raw, "modalities": tuple(raw["modalities"])})


@dataclass(frozen=True)
class PackedData:
    """What the network trains on: n patients seen by k folds of m members."""

    x: Tensor
    """(k, n, inputs) each fold's own preprocessing of all patients."""
    present: Tensor
    """(n, modalities) 1 where the modality is known."""
    exposure: Tensor
    """(k, n, j) part of each bin at risk."""
    event: Tensor
    """(k, n, j) 1 in the bin of the event."""
    train: Tensor
    """(k, m, n) 1 where a member trains on the patient."""
    validate: Tensor
    """(k, m, n) 1 where a member holds the patient out for early stopping."""


class Dropout(nn.Module):
    """Inverted dropout from a pool of random masks.

    A fresh mask a step costs more than the matrix products of a small network; a random stretch
    of a long mask drawn beforehand is as good and several times cheaper.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share = share
        self.generator = generator
        self.pool: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Silence a share of ``x`` (any shape) while training."""
        if not self.training or self.share == 0:
            return x
        size = x.numel()
        if self.pool is None or len(self.pool) < size + 4096 or self.pool.device != x.device:
            keep = torch.rand(2 * size + 4096, generator=self.generator) >= self.share
            self.pool = (keep.to(x.dtype) / (1 - self.share)).to(x.device)
        slack = len(self.pool) - size
        start = int(torch.randint(slack, (1,), generator=self.generator))
        return x * self.pool[start : start + size].view(x.shape)


class PackedNet(nn.Module):
    """Encoders per modality, a token where one is missing, gated fusion, hazards, a linear skip.

    Args:
        shape: sizes.
        dropout: share of units silenced while training.
        modality_dropout: chance of withholding a patient's modality while training.
        base_rate: (folds, bins) log-odds of the average patient's hazard, where the output starts.
        seed: of weights and masks.
    """

    owner: Tensor

    def __init__(
        self,
        shape: NetShape,
        dropout: float = 0.0,
        modality_dropout: float = 0.0,
        base_rate: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.modality_dropout = modality_dropout
        self.generator = torch.Generator().manual_seed(seed)
        self.dropout = Dropout(dropout, self.generator)
        k, m, e = shape.folds, shape.members, shape.encoder_width
        blocks = len(shape.modalities)

        def normal(*size: int, fan_in: int) -> nn.Parameter:
            draw = torch.randn(*size, generator=self.generator)
            return nn.Parameter(draw * math.sqrt(2.0 / max(fan_in, 1)))

        self.encode = nn.ParameterList(
            normal(k, size, m * e, fan_in=size) for size in shape.modalities
        )
        self.encode_bias = nn.Parameter(torch.zeros(blocks, k, 1, m * e))
        self.token = nn.Parameter(torch.zeros(blocks, k, 1, m * e))
        self.gate = nn.Parameter(torch.zeros(k, shape.inputs, m * blocks))
        self.gate_bias = nn.Parameter(torch.zeros(k, blocks, m * blocks))
        self.fuse = normal(k * m, blocks * e, shape.hidden_width, fan_in=blocks * e)
        self.fuse_bias = nn.Parameter(torch.zeros(k * m, 1, shape.hidden_width))
        self.hazard = nn.Parameter(
            torch.randn(k * m, shape.hidden_width, shape.bins, generator=self.generator) * 0.01
        )
        start = torch.zeros(k, shape.bins) if base_rate is None else base_rate
        self.hazard_bias = nn.Parameter(start.repeat_interleave(m, dim=0).unsqueeze(1).clone())
        self.skip = nn.Parameter(torch.zeros(k, shape.inputs, m))
        owner = [j for j, size in enumerate(shape.modalities) for _ in range(size)]
        self.register_buffer("owner", torch.tensor(owner), persistent=False)

    def load_arrays(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Take weights by name; every parameter must be given."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(arrays[name]))
        self.eval()

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return log-odds of the hazards.

        Args:
            x: (folds, n, inputs) preprocessed inputs; 0 is the training mean.
            present: (n, modalities) 1 where the patient's modality is known.

        Returns:
            (folds, members, n, bins).
        """
        k, n, _ = x.shape
        m, e, blocks = self.shape.members, self.shape.encoder_width, len(self.shape.modalities)
        if self.training and self.modality_dropout > 0 and blocks > 1:
            draw = torch.rand(n, blocks, generator=self.generator).to(x.device)
            present = present * (draw >= self.modality_dropout)
            # A withheld modality is not present: its token stands for it.
            x = x * present[:, self.owner]
        encoded = []
        for j, part in enumerate(x.split(self.shape.modalities, dim=2)):
            code = torch.relu(torch.baddbmm(self.encode_bias[j], part, self.encode[j]))
            code = torch.lerp(self.token[j], code, present[:, j : j + 1])
            encoded.append(code.view(k, n, m, e))
        if blocks > 1:
            weight = torch.baddbmm(present @ self.gate_bias, x, self.gate)
            weight = 2 * torch.sigmoid(weight).view(k, n, m, blocks, 1)
            fused = torch.stack(encoded, dim=3) * weight
        else:
            fused = encoded[0]
        fused = fused.permute(0, 2, 1, *range(3, fused.dim())).reshape(k * m, n, blocks * e)
        hidden = torch.relu(torch.baddbmm(self.fuse_bias, self.dropout(fused), self.fuse))
        logits = torch.baddbmm(self.hazard_bias, self.dropout(hidden), self.hazard)
        skip = (x @ self.skip).permute(0, 2, 1).reshape(k * m, n, 1)
        return (logits + skip).view(k, m, n, self.shape.bins)
