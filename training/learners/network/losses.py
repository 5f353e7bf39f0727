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
        logits: (…, j, n) log-odds of the hazard in each bin; patients lie last.
        exposure: (…, j, n) part of each bin at risk, 0 to 1; 1 in the bin of the event.
        event: (…, j, n) 1 in the bin of the event.
        weight: (…, n) weight of each patient.

    Returns:
        A scalar. Without patients or events its gradient is zero or finite, never NaN.

    Example:
        >>> one = torch.ones(1, 1)
        >>> hazard_nll(torch.zeros(1, 1), one, one, torch.ones(1))
        tensor(0.6931)
    """
    loss: Tensor = _HazardNLL.apply(logits, exposure, event, weight)  # type: ignore[no-untyped-call]
    return loss


def hazard_losses(logits: Tensor, exposure: Tensor, event: Tensor) -> Tensor:
    """Each patient's share (…, n) of :func:`hazard_nll`.

    Example:
        >>> hazard_losses(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1))
        tensor([0.6931])
    """
    return (torch.nn.functional.softplus(logits) * exposure - event * logits).sum(-2)


class _HazardNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, exposure: Tensor, event: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.save_for_backward(logits, exposure, event, weight)
        return (hazard_losses(logits, exposure, event) * weight).sum()

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, exposure, event, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = torch.sigmoid(logits).mul_(exposure).sub_(event)
        return slope.mul_((weight * grads[0]).unsqueeze(-2)), None, None, None
