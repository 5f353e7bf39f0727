"""Processes that are spawned: signals that reach them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import nullcontext
from multiprocessing.connection import Connection

import pytest

from accomplice.training.processes import uninterrupted_children


def told(pipe: Connection) -> None:
    """Send whether this process hears Ctrl-C."""
    pipe.send(signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("within", [uninterrupted_children, nullcontext])
def test_children_hear_no_interrupt_from_their_first_moment(within):
    context = multiprocessing.get_context("spawn")
    answer, pipe = context.Pipe(duplex=False)
    with within():
        child = context.Process(target=told, args=(pipe,))
        child.start()
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    child.join(60)
    assert answer.recv() == (within is nullcontext)
