"""The network's forward and backward pass, with explicit derivatives.

Automatic differentiation of the same formulas stores and reads several arrays for each layer; here
each layer takes one pass forward and one backward besides its matrix products. Patients are always
the last dimension. Biases, tokens and the linear skip are rows of the factors of the
matrix products, so that no product needs a permuted copy.

Symbols: k folds, m members, e units of an encoder, h hidden units, j bins, n patients, blocks for
the number of modalities, rows for those of ``x``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class Caps(NamedTuple):
    """Dropout of one step, as upper bounds of units: infinity if a unit is kept, 0 if dropped."""

    fused: Tensor
    """(m, blocks * e, n) bounds of the encoders' units."""
    hidden: Tensor
    """(m, h, n) bounds of the hidden units."""


def hazard_logits(
    x: Tensor,
    encode: list[Tensor],
    mix: Tensor,
    fuse: Tensor,
    hazard: Tensor,
    caps: Caps | None,
) -> Tensor:
    """Return the log-odds of the hazards (k, m, j, n) of n patients by k folds of m networks.

    Args:
        x: (k, rows, n) inputs modality by modality, each followed by a row that is 1 where the
            modality is known and one that is 1 where it is missing.
        encode: for each modality (k, its rows, m * e): weights, bias and token.
        mix: (k, rows, m * blocks + m) weights of the gates and of the linear skip; (k, rows, m) of
            the skip alone with one modality.
        fuse: (k, m, blocks * e + 1, h) weights and bias.
        hazard: (k, m, h + 2, j) weights, bias, and ones by which the skip is added to all bins.
        caps: dropout, if any. It does not scale up the kept units: ``fuse`` and ``hazard`` must be
            scaled instead.
    """
    logits: Tensor = _HazardLogits.apply(caps, x, mix, fuse, hazard, *encode)  # type: ignore[no-untyped-call]
    return logits


class Passed(NamedTuple):
    """Results of the forward pass: the log-odds, and the arrays that the backward pass needs."""

    logits: Tensor
    """(k, m, j, n) log-odds of the hazards."""
    gate: Tensor
    """(k, m, blocks, 1, n) gates, 0 to 2; no blocks with one modality."""
    fused: Tensor
    """(k, m, blocks * e + 1, n) gated encodings after dropout, and ones for the bias."""
    hidden: Tensor
    """(k, m, h + 2, n) hidden units, ones for the bias, and the linear skip."""
    codes: list[Tensor]
    """For each modality (k, m, e, n): its encoding."""
    floors: list[Tensor]
    """For each modality (k, 1, 1, n): lower bound of its encoding, 0 where the modality is known,
    −∞ where it is missing."""


def forward_pass(
    x: Tensor,
    encode: Sequence[Tensor],
    mix: Tensor,
    fuse: Tensor,
    hazard: Tensor,
    caps: Caps | None = None,
) -> Passed:
    """Run the forward pass; arguments as for :func:`hazard_logits`."""
    (k, _, n), (_, m, wide, h), blocks = x.shape, fuse.shape, len(encode)
    e = (wide - 1) // blocks
    mixed = mix.mT @ x
    gates = blocks if blocks > 1 else 0
    gate = mixed[:, :-m].sigmoid().mul_(2).view(k, m, gates, 1, n)
    fused, codes, floors = x.new_empty(k, m, wide, n), [], []
    fused[:, :, -1] = 1
    for j, (rows, weight) in enumerate(_pairs(x, encode)):
        # ReLU where the modality is known; a token is not changed.
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
    """The passes as a function of torch, with the arguments of :func:`hazard_logits`."""

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
        # Units set to 0 by ReLU or by dropout have no gradient: one comparison covers both.
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
    """Return each modality's rows of ``x`` with its weights."""
    return zip(x.split([w.shape[1] for w in encode], 1), encode, strict=True)


def _where_positive(values: Tensor, guard: Tensor) -> Tensor:
    """Return ``values`` where ``guard`` is above 0, else 0; faster than ``torch.where``."""
    masked: Tensor = torch.ops.aten.threshold_backward(values, guard, 0)
    return masked


def _silence(values: Tensor, caps: Tensor) -> None:
    """Set the units that dropout drops to 0, in place."""
    guard = caps.expand_as(values)
    torch.ops.aten.threshold_backward(values, guard, 0, grad_input=values)
