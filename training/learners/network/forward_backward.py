"""The network's forward and backward pass, written out.

Automatic differentiation of the same formulas keeps and passes over several arrays a layer; here
each layer costs one pass forward and one backward beside its matrix products. Everything is laid
out features first, patients last: biases, tokens and the linear skip are rows of the arrays that
the matrix products read, and no product needs a permuted copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class Caps(NamedTuple):
    """Dropout for one step: infinity where a unit is kept, 0 where it is silenced."""

    fused: Tensor
    """(m, blocks * e, n)."""
    hidden: Tensor
    """(m, h, n)."""


def hazard_logits(
    x: Tensor,
    encode: list[Tensor],
    mix: Tensor,
    fuse: Tensor,
    hazard: Tensor,
    caps: Caps | None,
) -> Tensor:
    """Run k folds of m networks on n patients.

    Args:
        x: (k, rows, n) inputs modality by modality, each followed by a row that is 1 where the
            modality is known and one that is 1 where it is not.
        encode: per modality (k, its rows, m * e): weights, bias, token.
        mix: (k, rows, m * blocks + m) weights of gates and skip; of the skip alone where
            there is one modality.
        fuse: (k, m, blocks * e + 1, h) weights and bias.
        hazard: (k, m, h + 2, j) weights, bias, and ones that pass the skip on to all bins.
        caps: dropout, if any. Kept units are not scaled up: ``fuse`` and ``hazard`` are.

    Returns:
        (k, m, j, n).
    """
    logits: Tensor = _HazardLogits.apply(caps, x, mix, fuse, hazard, *encode)  # type: ignore[no-untyped-call]
    return logits


class Passed(NamedTuple):
    """Arrays of the forward pass; see :func:`hazard_logits` for the shapes."""

    logits: Tensor
    gate: Tensor
    fused: Tensor
    hidden: Tensor
    codes: list[Tensor]
    floors: list[Tensor]


def forward_pass(
    x: Tensor,
    encode: Sequence[Tensor],
    mix: Tensor,
    fuse: Tensor,
    hazard: Tensor,
    caps: Caps | None = None,
) -> Passed:
    """Run forward as :func:`hazard_logits`, and keep the arrays that the backward pass needs."""
    (k, _, n), (_, m, wide, h), blocks = x.shape, fuse.shape, len(encode)
    e = (wide - 1) // blocks
    mixed = mix.mT @ x
    gates = blocks if blocks > 1 else 0
    gate = mixed[:, :-m].sigmoid().mul_(2).view(k, m, gates, 1, n)
    fused, codes, floors = x.new_empty(k, m, wide, n), [], []
    fused[:, :, -1] = 1
    for j, (rows, weight) in enumerate(_pairs(x, encode)):
        # ReLU where the modality is known; a token passes as it is.
        floor = rows[:, None, None, -2].log()
        code = (weight.mT @ rows).view(k, m, e, n)
        torch.maximum(code, floor, out=code)
        part = fused[:, :, j * e : (j + 1) * e]
        if blocks > 1:
            torch.mul(code, gate[:, :, j], out=part)
        else:
            part.copy_(code)
        codes.append(code)
        floors.append(floor)
    hidden = x.new_empty(k, m, h + 2, n)
    hidden[:, :, -2] = 1
    hidden[:, :, -1] = mixed[:, -m:]
    if caps is not None:
        _silence(fused[:, :, :-1], caps.fused)
    before = fuse.mT @ fused
    if caps is not None:
        torch.clamp(before, before.new_zeros(()), caps.hidden, out=hidden[:, :, :-2])
    else:
        torch.clamp(before, min=0, out=hidden[:, :, :-2])
    return Passed(hazard.mT @ hidden, gate, fused, hidden, codes, floors)


class _HazardLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        caps: Caps | None,
        x: Tensor,
        mix: Tensor,
        fuse: Tensor,
        hazard: Tensor,
        *encode: Tensor,
    ) -> Tensor:
        made = forward_pass(x, encode, mix, fuse, hazard, caps)
        kept = (made.gate, made.fused, made.hidden, *encode, *made.codes, *made.floors)
        ctx.caps, ctx.blocks = caps, len(encode)
        ctx.save_for_backward(x, fuse, hazard, *kept)
        return made.logits

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, fuse, hazard, gate, fused, hidden, *rest = ctx.saved_tensors  # type: ignore[attr-defined]
        caps, blocks = ctx.caps, ctx.blocks  # type: ignore[attr-defined]
        encode, codes, floors = (rest[i * blocks : (i + 1) * blocks] for i in range(3))
        e = codes[0].shape[2]
        (d_logits,) = grads
        d_logits = d_logits.contiguous()
        d_hazard = hidden @ d_logits.mT
        d_hidden = hazard @ d_logits
        # What ReLU or dropout silenced is zero: one comparison undoes both.
        d_before = _where_positive(d_hidden[:, :, :-2], hidden[:, :, :-2])
        d_fuse = fused @ d_before.mT
        d_fused = fuse @ d_before
        if caps is not None:
            _silence(d_fused[:, :, :-1], caps.fused)
        d_gate = torch.empty_like(gate)
        d_encode = []
        for j, (rows, _) in enumerate(_pairs(x, encode)):
            d_code = d_fused[:, :, j * e : (j + 1) * e]
            if blocks > 1:
                torch.sum(d_code * codes[j], 2, keepdim=True, out=d_gate[:, :, j])
                d_code = d_code * gate[:, :, j]
            d_code = _where_positive(d_code, codes[j] - floors[j])
            d_encode.append(rows @ d_code.flatten(1, 2).mT)
        d_gate.mul_(gate).mul_(1 - gate / 2)
        d_mixed = torch.cat([d_gate.flatten(1, 3), d_hidden[:, :, -1]], 1)
        d_mix = x @ d_mixed.mT
        return None, None, d_mix, d_fuse, d_hazard, *d_encode


def _pairs(x: Tensor, encode: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each modality's rows of ``x`` and its weights."""
    return zip(x.split([w.shape[1] for w in encode], 1), encode, strict=True)


def _where_positive(values: Tensor, guard: Tensor) -> Tensor:
    """``values`` where ``guard`` is above 0, else 0; several times faster than ``torch.where``."""
    kept: Tensor = torch.ops.aten.threshold_backward(values, guard, 0)
    return kept


def _silence(values: Tensor, caps: Tensor) -> None:
    """Set units silenced by dropout to 0, in place."""
    guard = caps.expand_as(values)
    torch.ops.aten.threshold_backward(values, guard, 0, grad_input=values)
