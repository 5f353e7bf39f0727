"""The random generator, sent to another process."""

from __future__ import annotations

import pickle

import torch

from accomplice.training.learners.network.generator import Random


def test_generator_goes_on_where_it_was_in_another_process():
    generator = Random().manual_seed(3)
    torch.rand(5, generator=generator)
    sent = pickle.loads(pickle.dumps(generator))
    assert sent.initial_seed() == 3
    assert torch.equal(torch.rand(5, generator=sent), torch.rand(5, generator=generator))
