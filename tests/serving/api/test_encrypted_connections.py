"""Connections with TLS, from their beginning on, against uvicorn in a thread."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accomplice.serving.api import connections
from accomplice.serving.deployment.listener import tls_context
from accomplice.training.processes import HOST
from tests.serving.api.test_connections import GET, PARTS, SOON, App, Server, rest
from tests.serving.deployment.test_listener import files  # noqa: F401


@pytest.fixture
def server(files: tuple[Path, Path, Path]) -> Iterator[Server]:  # noqa: F811
    server = Server(App(), tls_context(*files[:2]), of_address=6, most=8)
    yield server
    server.close()


@pytest.fixture
def client(files: tuple[Path, Path, Path]) -> ssl.SSLContext:  # noqa: F811
    return ssl.create_default_context(cafile=files[0])


def encrypted(server: Server, client: ssl.SSLContext, sent: bytes) -> ssl.SSLSocket:
    connection = client.wrap_socket(server.connect(), server_hostname=HOST)
    connection.sendall(sent)
    return connection


def hello(client: ssl.SSLContext) -> bytes:
    """Return the bytes by which a client begins."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    begun = client.wrap_bio(received, sent, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()
    return sent.read()


def number(server: Server) -> int:
    return server.connections._number


def closed_of(opened: list[socket.socket]) -> int:
    """Return how many connections the server has closed, and close the others."""
    closed = 0
    for each in opened:
        each.settimeout(0.05)
        try:
            while each.recv(2**16):
                pass
            closed += 1
        except ConnectionError:
            closed += 1
        except TimeoutError:
            pass
        each.close()
    return closed


@pytest.mark.parametrize("begun", [False, True])
def test_those_without_a_key_are_counted(
    server: Server, client: ssl.SSLContext, begun: bool
) -> None:
    opened = [server.connect(hello(client) if begun else b"") for _ in range(40)]
    for _ in range(3):
        with encrypted(server, client, GET) as connection:
            assert connection.recv(12) == b"HTTP/1.1 200"
    assert number(server) <= 6
    assert closed_of(opened) >= 34


def test_those_without_a_key_are_closed_in_time(
    files: tuple[Path, Path, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SLOWEST_HEADERS", "PAUSE"):
        monkeypatch.setattr(connections, name, SOON)
    server = Server(App(), tls_context(*files[:2]))
    with server.connect() as silent:
        began = time.monotonic()
        assert rest(silent) == b""
        assert SOON / 2 < time.monotonic() - began < 10 * SOON
    server.close()


def test_those_that_leave_are_counted_no_longer(server: Server, client: ssl.SSLContext) -> None:
    ways = (b"", b"GET / HTTP/1.1\r\n\r\n", hello(client), hello(client)[:9])
    for sent in ways:
        server.connect(sent).close()
    encrypted(server, client, GET[:9]).close()
    until = time.monotonic() + 5
    while number(server) and time.monotonic() < until:
        time.sleep(0.01)
    assert number(server) == 0


def test_a_large_answer_and_requests_sent_ahead_arrive(
    server: Server, client: ssl.SSLContext
) -> None:
    last = b"GET /few HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    large = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    with encrypted(server, client, large + GET * 20 + last) as connection:
        received = rest(connection)
    assert received.count(b"HTTP/1.1 200 ") == 22
    assert len(received) > (PARTS + 20) * 2**16
