"""The hazard network: all folds and all ensemble members in one batched forward pass.

Each parameter holds the weights of all folds and members, so that the fits of a whole
cross-validation are one sequence of batched matrix products. No two networks share a weight, so
that nothing leaks between folds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from accomplice.training.learners.network.dropout import Dropout
from accomplice.training.learners.network.forward_backward import Caps, hazard_logits
from accomplice.training.learners.network.generator import Random
from accomplice.training.learners.network.inference import NetShape, Networks


class Share(NamedTuple):
    """The part of a batch that one of several processes computes.

    Each process draws the dropout masks of the whole batch and takes those of its own patients, so
    that several processes train the same network as one would.
    """

    batch: int
    """Number of patients in the whole batch."""
    own: slice
    """Positions of the process's patients in the batch."""


class PackedNet(nn.Module):
    """The networks of k folds of m members, as one module.

    Each modality has an encoder, or a learned token where it is missing; gates weight the
    encodings, a hidden layer fuses them, and the output is the log-odds of the hazard in each bin,
    with a linear skip connection from the inputs.

    Args:
        shape: sizes of the network.
        dropout: fraction of the units dropped while training.
        modality_dropout: probability of replacing a patient's modality by its token while training,
            if there are several modalities.
        base_rate: (folds, bins) log-odds of the average patient's hazard, the initial bias of the
            output; 0 if absent.
        seed: seed of weights and masks.
    """

    owner: Tensor
    """(rows,) modality of each row of :meth:`lay_out`."""
    known: Tensor
    """(modalities,) row of :meth:`lay_out` that is 1 where the modality is known; the next row is 1
    where it is missing."""

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
        self.generator = Random().manual_seed(seed)
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
        sizes = torch.tensor(shape.modalities) + 2
        owner = torch.arange(blocks).repeat_interleave(sizes)
        self.register_buffer("owner", owner, persistent=False)
        self.register_buffer("known", sizes.cumsum(0) - 2, persistent=False)

        # A single modality needs no gates.
        self.gate.requires_grad_(blocks > 1)
        self.gate_bias.requires_grad_(blocks > 1)

    def networks(self) -> Networks:
        """Return a copy of the current weights, for inference without torch."""
        named = self.named_parameters()
        return Networks(self.shape, {n: p.detach().cpu().numpy().copy() for n, p in named})

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return the log-odds of the hazards (folds, members, n, bins).

        Args:
            x: (folds, inputs, n) preprocessed inputs; 0 is the training mean.
            present: (folds, modalities, n) 1 where the patient's modality is known, else 0.
        """
        return self.logits(self.lay_out(x, present)).mT

    def lay_out(self, x: Tensor, present: Tensor) -> Tensor:
        """Arrange the inputs for :meth:`logits`; arguments as for :meth:`forward`.

        Returns:
            Array (folds, rows, n). The rows of a modality are its inputs (0 where it is missing), a
            row that is 1 where it is known (multiplied by the bias), and a row that is 1 where it
            is missing (multiplied by the token).
        """
        parts = []
        for j, part in enumerate(x.split(self.shape.modalities, dim=1)):
            known = present[:, j : j + 1]
            parts += [part * known, known, 1 - known]
        return torch.cat(parts, 1)

    def logits(self, x: Tensor, share: Share | None = None) -> Tensor:
        """Return the log-odds of the hazards (folds, members, bins, n).

        In training mode new dropout masks are drawn, the same for all folds.

        Args:
            x: (folds, rows, n) inputs from :meth:`lay_out`.
            share: part of the batch that ``x`` holds; the whole batch if absent.
        """
        m, h = self.shape.members, self.shape.hidden_width
        blocks = len(self.shape.modalities)
        n, own = (x.shape[-1], slice(None)) if share is None else (share.batch, share.own)
        if self.training and self.modality_dropout > 0 and blocks > 1:
            x = self._withhold(x, n, own)
        caps, scale = None, 1.0
        if self.training and self.dropout.share > 0:
            width = blocks * self.shape.encoder_width
            drawn = self.dropout.draw(m, width + h, n, device=x.device)[..., own]
            # The weights behind dropout are scaled up, which is cheaper than to scale the units.
            caps, scale = Caps(drawn[:, :width], drawn[:, width:]), 1 / (1 - self.dropout.share)
        return hazard_logits(x, *self.factors(scale), caps)

    def factors(self, scale: float = 1.0) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Return the weights ``encode``, ``mix``, ``fuse`` and ``hazard`` of :func:`hazard_logits`.

        Args:
            scale: factor of the weights that multiply units subject to dropout.
        """
        k, m, blocks = self.shape.folds, self.shape.members, len(self.shape.modalities)
        encode = [
            torch.cat(parts, 1)
            for parts in zip(self.encode, self.encode_bias, self.token, strict=True)
        ]
        mix = self._by_modality(self.skip, self.skip.new_zeros(k, blocks, m))
        if blocks > 1:
            mix = torch.cat([self._by_modality(self.gate, self.gate_bias), mix], 2)
        fuse = torch.cat([self.fuse * scale, self.fuse_bias], 1).unflatten(0, (k, m))
        parts = [self.hazard * scale, self.hazard_bias, torch.ones_like(self.hazard_bias)]
        return encode, mix, fuse, torch.cat(parts, 1).unflatten(0, (k, m))

    def _by_modality(self, weight: Tensor, known: Tensor) -> Tensor:
        """Return the weights (k, rows, c) of the rows of :meth:`lay_out`.

        Args:
            weight: (k, inputs, c) weights of the inputs.
            known: (k, modalities, c) weights of the modalities' presence.
        """
        missing = known.new_zeros(len(known), 1, known.shape[2])
        pairs = zip(weight.split(self.shape.modalities, 1), known.split(1, 1), strict=True)
        return torch.cat([part for pair in pairs for part in (*pair, missing)], 1)

    def _withhold(self, x: Tensor, n: int, own: slice) -> Tensor:
        """Replace known modalities of random patients by their tokens (modality dropout)."""
        draw = torch.rand(len(self.known), n, generator=self.generator)[:, own].to(x.device)
        x = x * (draw >= self.modality_dropout).to(x.dtype)[self.owner]
        x[:, self.known + 1] = 1 - x[:, self.known]
        return x
