"""The hazard network: all folds and all ensemble members in one batched forward pass.

Every weight has a leading dimension over folds, and one over members, so that the fits of a whole
cross-validation are one sequence of batched matrix products. No two replicas share a weight, so
that nothing leaks from the patients of one to another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from accomplice.training.learners.network.dropout import Dropout, Random
from accomplice.training.learners.network.forward_backward import Caps, hazard_logits
from accomplice.training.learners.network.inference import NetShape, Networks


class Share(NamedTuple):
    """The patients of a batch that one of several processes has.

    Each process draws the masks of the whole batch, as one process alone would, and takes those of
    its own patients: so several processes train the same network as one.
    """

    batch: int
    """Patients of the whole batch."""
    own: slice
    """Places of the process's own."""


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
    """(rows,) modality of each row that :meth:`lay_out` makes."""
    known: Tensor
    """(modalities,) the row that is 1 where the modality is known; in the next it is 0."""

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

        # One modality has nothing to be weighed against.
        self.gate.requires_grad_(blocks > 1)
        self.gate_bias.requires_grad_(blocks > 1)

    def networks(self) -> Networks:
        """Return the current weights for inference without torch."""
        named = self.named_parameters()
        return Networks(self.shape, {n: p.detach().cpu().numpy().copy() for n, p in named})

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return log-odds of the hazards.

        Args:
            x: (folds, inputs, n) preprocessed inputs; 0 is the training mean.
            present: (folds, modalities, n) 1 where the patient's modality is known.

        Returns:
            (folds, members, n, bins).
        """
        return self.logits(self.lay_out(x, present)).mT

    def lay_out(self, x: Tensor, present: Tensor) -> Tensor:
        """Arrange inputs, as :meth:`forward` takes them, as :meth:`logits` reads them.

        Returns:
            (folds, rows, n): modality by modality its inputs, 0 where it is missing, whether it is
            known, which carries the bias, and whether it is missing, which carries its token.
        """
        parts = []
        for j, part in enumerate(x.split(self.shape.modalities, dim=1)):
            known = present[:, j : j + 1]
            parts += [part * known, known, 1 - known]
        return torch.cat(parts, 1)

    def logits(self, x: Tensor, share: Share | None = None) -> Tensor:
        """Return log-odds of the hazards (folds, members, bins, n) from what :meth:`lay_out` made.

        While training, fresh dropout masks are drawn; the folds share them.

        Args:
            x: (folds, rows, n).
            share: which patients of a batch they are; all of them if absent.
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
            # It is the small weights that are scaled up for the units kept, not the units.
            caps, scale = Caps(drawn[:, :width], drawn[:, width:]), 1 / (1 - self.dropout.share)
        return hazard_logits(x, *self.laid_out(scale), caps)

    def laid_out(self, scale: float = 1.0) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Arrange the weights for ``network.forward_backward``, those behind dropout scaled."""
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
        """Weights (k, rows, c) of :meth:`lay_out`'s rows, from those of inputs and presence."""
        missing = known.new_zeros(len(known), 1, known.shape[2])
        pairs = zip(weight.split(self.shape.modalities, 1), known.split(1, 1), strict=True)
        return torch.cat([part for pair in pairs for part in (*pair, missing)], 1)

    def _withhold(self, x: Tensor, n: int, own: slice) -> Tensor:
        """Modality dropout: replace known modalities of random patients by their tokens."""
        draw = torch.rand(len(self.known), n, generator=self.generator)[:, own].to(x.device)
        x = x * (draw >= self.modality_dropout).to(x.dtype)[self.owner]
        x[:, self.known + 1] = 1 - x[:, self.known]
        return x
