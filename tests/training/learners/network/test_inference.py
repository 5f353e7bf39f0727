"""The networks without torch, against the network that was trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.learners.network import inference as networks
from accomplice.training.learners.network.inference import NetShape
from accomplice.training.learners.network.model import PackedNet


def network(modalities, folds=2, members=3, seed=0):
    shape = NetShape(
        folds=folds,
        members=members,
        modalities=modalities,
        encoder_width=5,
        hidden_width=7,
        bins=4,
    )
    torch.manual_seed(seed)
    net = PackedNet(shape).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn_like(weight))
    return net


@given(
    modalities=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    n=st.integers(0, 9),
    seed=st.integers(0, 2**16),
)
def test_they_say_what_the_network_says(modalities, n, seed):
    net = network(modalities, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(2, sum(modalities), n, generator=rng)
    present = torch.randint(0, 2, (2, len(modalities), n), generator=rng).float()
    with torch.inference_mode():
        expected = net(x, present).numpy()
    found = net.networks().logits(x.numpy(), present.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_weights_are_those_of_now_whatever_becomes_of_the_network():
    net = network((2, 3))
    made, before = net.networks(), net.fuse.detach().numpy().copy()
    with torch.no_grad():
        net.fuse.zero_()
    np.testing.assert_array_equal(made.weights["fuse"], before)
    assert made.weights.keys() == dict(net.named_parameters()).keys()


@given(n=st.integers(1, 70), chunk=st.sampled_from([16, 32, 128]), seed=st.integers(0, 2**16))
def test_what_one_is_told_hangs_by_no_bit_on_who_else_is_asked_about(n, chunk, seed):
    made = network((7, 3, 12), seed=seed).networks()
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 22, n)).astype(np.float32)
    present = (rng.random((2, 3, n)) < 0.7).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "CHUNK", chunk)
        together = made.logits(x, present)
    for i in rng.choice(n, min(n, 5), replace=False):
        alone = made.logits(x[..., [i]], present[..., [i]])
        np.testing.assert_array_equal(alone[:, :, 0], together[:, :, i])


def test_presence_may_be_the_same_for_all_folds():
    made = network((2, 3)).networks()
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    present = np.array([[[1, 0, 1, 0], [1, 1, 0, 0]]], np.float32)
    each = made.logits(x, np.repeat(present, 2, axis=0))
    np.testing.assert_array_equal(made.logits(x, present), each)


def test_a_gate_beyond_all_bounds_is_open_or_shut():
    net = network((2, 2), folds=1, members=1)
    with torch.no_grad():
        net.gate_bias.fill_(500.0)
    x, present = torch.randn(1, 4, 3), torch.ones(1, 2, 3)
    with torch.inference_mode():
        expected = net(x, present).numpy()
    found = net.networks().logits(x.numpy(), present.numpy())
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
