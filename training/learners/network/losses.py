"""Loss of discrete-time hazards, as pure functions of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


def hazard_nll(logits: Tensor, exposure: Tensor, event: Tensor, weight: Tensor) -> Tensor:
    r"""Return the negative log-likelihood of discrete-time hazards, a weighted sum over patients.

    With the hazard :math:`h = \sigma(\text{logit})` of a bin, a patient at risk for the part
    :math:`f` of the bin contributes :math:`-f \log(1 - h)`, and a patient with the event in it
    :math:`-\log h` (Tutz and Schmid, "Modeling Discrete Time-to-Event Data", 2016). The part
    :math:`f` assumes a constant hazard within a bin, for which censoring inside it is exact.

    The gradient is explicit: it needs one sigmoid, while automatic differentiation of the softplus
    form would store several arrays of this size.

    Args:
        logits: (…, j, n) log-odds of the hazard in each bin; patients lie last.
        exposure: (…, j, n) part of each bin at risk, 0 to 1; 1 in the bin of the event.
        event: (…, j, n) 1 in the bin of the event, else 0.
        weight: (…, n) weight of each patient.

    Returns:
        The scalar sum. Its gradient, by ``logits`` alone, is finite, also without patients or
        events.

    Example:
        >>> one = torch.ones(1, 1)
        >>> hazard_nll(torch.zeros(1, 1), one, one, torch.ones(1))
        tensor(0.6931)
    """
    loss: Tensor = _HazardNLL.apply(logits, exposure, event, weight)  # type: ignore[no-untyped-call]
    return loss


def hazard_losses(logits: Tensor, exposure: Tensor, event: Tensor) -> Tensor:
    """Return each patient's unweighted term (…, n) of :func:`hazard_nll`.

    Args:
        logits: (…, j, n) log-odds of the hazard in each bin.
        exposure: (…, j, n) part of each bin at risk, 0 to 1; 1 in the bin of the event.
        event: (…, j, n) 1 in the bin of the event, else 0.

    Example:
        >>> hazard_losses(torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1))
        tensor([0.6931])
    """
    return (torch.nn.functional.softplus(logits) * exposure - event * logits).sum(-2)


class _HazardNLL(torch.autograd.Function):
    """The loss with its gradient, as a function of torch."""

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
