"""Signals that reach spawned processes, and ports."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from multiprocessing.connection import Connection

import pytest

from accomplice.data.errors import InputError
from accomplice.training import processes
from accomplice.training.processes import (
    HOST,
    free_port,
    has_ended,
    listen,
    this_process,
    uninterrupted_children,
)


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


class TestProcess:
    def test_this_one_goes_on(self):
        assert not has_ended(this_process())

    def test_one_of_another_machine_is_unknown(self):
        assert not has_ended("0123456789ab.1.1")

    def test_a_number_that_was_given_anew(self):
        machine, number, began = this_process().split(".")
        assert has_ended(f"{machine}.{number}.{int(began) - 1}")

    @pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c"])
    def test_what_names_no_process(self, text: str):
        assert not has_ended(text)
        assert not has_ended(f"{this_process().split('.')[0]}.².1")

    def test_one_that_has_ended(self):
        code = "from accomplice.training.processes import this_process; print(this_process())"
        made = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert has_ended(made.stdout.strip())
        assert int(made.stdout.split(".")[1]) != os.getpid()
