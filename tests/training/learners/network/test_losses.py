"""The hazard likelihood against its formula and against automatic differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import softplus

from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.learners.network.losses import hazard_nll

untimed = settings(deadline=None)


@st.composite
def batches(draw, largest=6.0):
    """Logits (2, j, n), part of each bin at risk, events and weights, all in double precision."""
    n, j = draw(st.integers(1, 5)), draw(st.integers(1, 4))

    def numbers(one, *shape):
        size = math.prod(shape)
        drawn = draw(st.lists(one, min_size=size, max_size=size))
        return torch.tensor(drawn, dtype=torch.float64).reshape(shape)

    logits = numbers(st.floats(-largest, largest), 2, j, n)
    exposure = numbers(st.floats(0, 1), 2, j, n)
    place = draw(st.lists(st.integers(-1, j - 1), min_size=n, max_size=n))
    event = torch.zeros(2, j, n, dtype=torch.float64)
    for i, at in enumerate(place):
        if at >= 0:
            event[:, at, i] = 1.0
    weight = numbers(st.sampled_from([0.0, 0.25, 1.0, 2.0]), 2, n)
    return logits, torch.maximum(exposure, event), event, weight


class TestValue:
    @untimed
    @given(batch=batches())
    def test_equals_the_plain_formula(self, batch):
        logits, exposure, event, weight = batch
        hazard = 1 / (1 + np.exp(-logits.numpy()))
        # Where the event is in a bin its whole exposure counts: -f log(1-h) - log(h / (1-h)).
        each = -exposure.numpy() * np.log(1 - hazard)
        each = each - event.numpy() * (np.log(hazard) - np.log(1 - hazard))
        expected = (each.sum(-2) * weight.numpy()).sum()
        assert hazard_nll(*batch).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def test_one_patient_by_hand(self):
        logits = torch.tensor([[0.0], [math.log(1 / 3)], [5.0]], dtype=torch.float64)
        exposure = torch.tensor([[1.0], [1.0], [0.0]], dtype=torch.float64)
        event = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
        # Survives a bin of hazard 1/2, then has the event in one of hazard 1/4.
        loss = hazard_nll(logits, exposure, event, torch.ones(1, dtype=torch.float64))
        assert loss.item() == pytest.approx(-math.log(0.5 * 0.25))

    def test_censoring_inside_a_bin_counts_its_part(self):
        grid = TimeGrid(np.array([0.0, 10.0, 20.0]))
        exposure = torch.tensor(grid.exposure(np.array([14.0]))).T
        logits = torch.zeros(2, 1, dtype=torch.float64)
        loss = hazard_nll(logits, exposure, torch.zeros_like(logits), torch.ones(1))
        assert loss.item() == pytest.approx(1.4 * math.log(2))

    def test_is_a_sum_over_patients_so_that_parts_add_up(self):
        torch.manual_seed(0)
        logits, exposure = torch.randn(3, 4, 10), torch.rand(3, 4, 10)
        event, weight = torch.zeros(3, 4, 10), torch.rand(3, 10)
        whole = hazard_nll(logits, exposure, event, weight)
        parts = [
            hazard_nll(logits[..., s], exposure[..., s], event[..., s], weight[:, s])
            for s in (slice(0, 3), slice(3, 10))
        ]
        torch.testing.assert_close(whole, sum(parts))


class TestGradient:
    @untimed
    @given(batch=batches(), factor=st.floats(-3, 3))
    def test_equals_automatic_differentiation(self, batch, factor):
        logits, exposure, event, weight = batch
        ours = logits.clone().requires_grad_()
        (factor * hazard_nll(ours, exposure, event, weight)).backward()
        plain = logits.clone().requires_grad_()
        each = (softplus(plain) * exposure - event * plain).sum(-2) * weight
        (factor * each.sum()).backward()
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-9, atol=1e-12)

    @untimed
    @given(batch=batches())
    def test_equals_finite_differences(self, batch):
        logits, *rest = batch
        assert torch.autograd.gradcheck(
            lambda x: hazard_nll(x, *rest), (logits.requires_grad_(),), eps=1e-6, atol=1e-6
        )

    def test_broadcasts_over_members(self):
        torch.manual_seed(0)
        logits = torch.randn(2, 3, 4, 7, requires_grad=True)
        exposure = torch.rand(2, 1, 4, 7)
        event = torch.zeros(2, 1, 4, 7)
        event[:, :, 1, :3] = 1.0
        hazard_nll(logits, exposure, event, torch.rand(2, 3, 7)).backward()
        assert logits.grad.shape == logits.shape

    @untimed
    @given(batch=batches())
    def test_weightless_patients_do_not_pull(self, batch):
        logits, exposure, event, weight = batch
        logits.requires_grad_()
        hazard_nll(logits, exposure, event, weight).backward()
        assert (logits.grad.mT[weight == 0] == 0).all()

    def test_without_events_or_patients_it_is_zero_or_finite(self):
        logits = torch.randn(1, 3, 4, requires_grad=True)
        zeros = torch.zeros(1, 3, 4)
        hazard_nll(logits, torch.rand(1, 3, 4), zeros, torch.ones(1, 4)).backward()
        assert torch.isfinite(logits.grad).all()
        assert (logits.grad >= 0).all()  # only survival: every hazard is pushed down
        none = torch.randn(1, 3, 0, requires_grad=True)
        empty = hazard_nll(none, torch.zeros(1, 3, 0), torch.zeros(1, 3, 0), torch.zeros(1, 0))
        empty.backward()
        assert empty.item() == 0
        assert none.grad.shape == (1, 3, 0)

    @untimed
    @given(batch=batches(largest=1e4), scale=st.sampled_from([1.0, 1e10, 1e30]))
    def test_huge_logits_give_no_nan(self, batch, scale):
        logits, exposure, event, weight = (part.float() for part in batch)
        logits = (logits * scale).requires_grad_()
        loss = hazard_nll(logits, exposure, event, weight)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()
        # A hazard lies in [0, 1], so a patient's pull is never more than their weight.
        assert (logits.grad.abs() <= weight.unsqueeze(-2) + 1e-6).all()
