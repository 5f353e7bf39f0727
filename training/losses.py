"""Losses as pure functions of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def hazard_nll(logits: Tensor, exposure: Tensor, event: Tensor, weight: Tensor) -> Tensor:
    r"""Negative log likelihood of discrete-time hazards, a sum over patients.

    With the hazard :math:`h = \sigma(\text{logit})` of a bin, a patient at risk for the part
    :math:`f` of it contributes :math:`-f \log(1 - h)`, and one who has the event in it
    :math:`-\log h`. Tutz and Schmid, "Modeling Discrete Time-to-Event Data", 2016; the part at
    risk treats the hazard as constant within a bin, so that censoring inside it is exact.

    Its gradient is written out, since it needs one sigmoid where automatic differentiation of
    the softplus form keeps several arrays of this size.

    Args:
        logits: (…, n, j) log-odds of the hazard in each bin.
        exposure: (…, n, j) part of each bin at risk, 0 to 1; 1 in the bin of the event.
        event: (…, n, j) 1 in the bin of the event.
        weight: (…, n) weight of each patient.

    Returns:
        A scalar. Without patients or events its gradient is zero or finite, never NaN.
    """
    loss: Tensor = _HazardNLL.apply(logits, exposure, event, weight)  # type: ignore[no-untyped-call]
    return loss


class _HazardNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, exposure: Tensor, event: Tensor, weight: Tensor
    ) -> Tensor:
        hazard = torch.sigmoid(logits)
        ctx.save_for_backward(hazard, exposure, event, weight)
        at_risk = torch.nn.functional.softplus(logits) * exposure
        return ((at_risk - event * logits).sum(-1) * weight).sum()

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hazard, exposure, event, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = (hazard * exposure - event) * weight.unsqueeze(-1)
        return slope * grads[0], None, None, None
