"""The networks without torch, against the network that was trained."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.net import NetShape, PackedNet
from training.networks import Networks


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
        laid = net.lay_out(x, present).numpy()
    found = Networks.of(net).logits(laid).mT
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_weights_are_a_copy_in_the_order_of_the_products():
    net = network((2, 3))
    made = Networks.of(net)
    assert made.rows == sum(net.shape.modalities) + 2 * len(net.shape.modalities)
    before = made.fuse.copy()
    with torch.no_grad():
        net.fuse.zero_()
    np.testing.assert_array_equal(made.fuse, before)


def test_a_gate_beyond_all_bounds_is_open_or_shut():
    net = network((2, 2), folds=1, members=1)
    with torch.no_grad():
        net.gate_bias.fill_(500.0)
    x, present = torch.randn(1, 4, 3), torch.ones(1, 2, 3)
    with torch.inference_mode():
        expected = net(x, present).numpy()
    found = Networks.of(net).logits(net.lay_out(x, present).detach().numpy()).mT
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
