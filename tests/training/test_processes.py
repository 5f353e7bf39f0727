"""Signals that reach spawned processes, and ports."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import socket
from contextlib import nullcontext
from multiprocessing.connection import Connection

import pytest

from accomplice.data.errors import InputError
from accomplice.training import processes
from accomplice.training.processes import HOST, free_port, listen, uninterrupted_children


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


def test_free_port_is_none_that_is_taken_nor_one_that_the_system_gives(monkeypatch):
    draw, port = secrets.randbelow, free_port()
    again = [port - processes.FIRST_PORT] * 2
    monkeypatch.setattr(
        processes.secrets, "randbelow", lambda below: again.pop() if again else draw(below)
    )
    with socket.socket() as taken:
        taken.bind((HOST, port))
        assert free_port() != port
    assert not again
    assert port < processes.FIRST_SYSTEM_PORT


def test_only_one_process_listens_on_a_port():
    port = free_port()
    with listen(port), pytest.raises(InputError, match=f"port {port} is taken"):
        listen(port)
