"""The network in the plainest torch: what the written-out passes are held against."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import dropout, softplus

from accomplice.training.learners.network.model import PackedNet


class PlainNet(PackedNet):
    """The parameters of :class:`PackedNet`, its formulas one operation after the other."""

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return log-odds (folds, members, n, bins), as :meth:`PackedNet.forward` does."""
        x, present = x.mT, present.mT
        (k, n, _), m, blocks = x.shape, self.shape.members, len(self.shape.modalities)
        share = self.dropout.share
        if self.training and self.modality_dropout > 0 and blocks > 1:
            draw = torch.rand(present.shape[1:], generator=self.generator)
            present = present * (draw >= self.modality_dropout)
        sizes = torch.tensor(self.shape.modalities)
        x = x * present.repeat_interleave(sizes, 2)
        encoded = []
        for j, part in enumerate(x.split(self.shape.modalities, dim=2)):
            code = torch.relu(part @ self.encode[j] + self.encode_bias[j])
            known = present[:, :, j : j + 1]
            code = known * code + (1 - known) * self.token[j]
            encoded.append(code.view(k, n, m, -1))
        fused = torch.stack(encoded, dim=3)
        if blocks > 1:
            gate = torch.sigmoid(x @ self.gate + present @ self.gate_bias)
            fused = fused * 2 * gate.view(k, n, m, blocks, 1)
        fused = fused.permute(0, 2, 1, 3, 4).reshape(k * m, n, -1)
        fused = dropout(fused, share, self.training)
        hidden = torch.relu(fused @ self.fuse + self.fuse_bias)
        hidden = dropout(hidden, share, self.training)
        logits = hidden @ self.hazard + self.hazard_bias
        skip = (x @ self.skip).transpose(1, 2).reshape(k * m, n, 1)
        return (logits + skip).view(k, m, n, -1)


def plain_nll(logits: Tensor, exposure: Tensor, event: Tensor, weight: Tensor) -> Tensor:
    """Negative log likelihood as :func:`learners.network.losses.hazard_nll` gives it."""
    at_risk = softplus(logits) * exposure
    return ((at_risk - event * logits).sum(-2) * weight).sum()
