"""Connections that are slow, silent, too many or too long, against uvicorn in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from ssl import SSLContext
from typing import Any

import pytest
import uvicorn

from accomplice.data.errors import InputError
from accomplice.serving.api import connections
from accomplice.serving.api.connections import MOST_HEADERS, PIECE, Connections, owner_of
from accomplice.serving.api.guard import ADMITTED
from accomplice.serving.deployment.http_server import http_config
from accomplice.serving.deployment.listener import PROXY_VARIABLE
from accomplice.training.processes import HOST

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#: Seconds after which the server cuts off, in these tests.
SOON = 0.4
#: Parts of 64 kB of a large answer.
PARTS = 100


class App:
    """Answers with many bytes or few; a request for /wait has a place until it is told to go on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.sent = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        if scope["path"] == "/wait":
            scope["state"][ADMITTED] = True
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        if scope["method"] == "POST" and scope["path"] != "/refused":
            while (await receive()).get("more_body"):
                pass
        while scope["path"] == "/listen" and not self.go.is_set():
            # As Starlette does, to hear that the client has gone.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(receive(), 0.001)
        parts = PARTS if scope["path"] == "/large" else 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for i in range(parts):
            size = 1 if scope["path"] == "/few" else 2**16
            part = {"type": "http.response.body", "body": b"x" * size, "more_body": i < parts - 1}
            await send(part)
            self.sent += 1


class Server:
    def __init__(self, app: App, tls: SSLContext | None = None, **limits: Any) -> None:
        self.app, self.connections = app, Connections(**limits)
        self.listener = socket.create_server((HOST, 0))
        self.uvicorn = uvicorn.Server(http_config(app, self.connections, tls))
        self.thread = threading.Thread(target=self.uvicorn.run, args=([self.listener],))
        self.thread.start()

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
        connection.settimeout(5)
        connection.connect(self.listener.getsockname())
        connection.sendall(sent)
        return connection

    def close(self) -> None:
        self.app.go.set()
        self.uvicorn.should_exit = self.uvicorn.force_exit = True
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("SLOWEST_HEADERS", "SLOWEST_MESSAGE", "SLOWEST_READER"):
        monkeypatch.setattr(connections, name, SOON)
    monkeypatch.setattr(connections, "PAUSE", SOON / 10)
    server = Server(App(), of_address=6, most=8)
    yield server
    server.close()


def rest(connection: socket.socket) -> bytes:
    """Return all that a connection receives until its end."""
    received = b""
    try:
        while part := connection.recv(2**16):
            received += part
    except ConnectionResetError:
        pass
    return received


def ends(connection: socket.socket) -> bool:
    """Whether a connection is closed within a few times the limit, and not at once."""
    began = time.monotonic()
    rest(connection)
    return SOON / 2 < time.monotonic() - began < 10 * SOON


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"\r\n",
        b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{",
        GET + b"GET / HTTP/1.1\r\nX:",
        GET + b"\r\n",
    ],
)
def test_silence_is_cut_off(server: Server, sent: bytes) -> None:
    with server.connect(sent) as connection:
        assert ends(connection)


def test_a_byte_now_and_then_renews_nothing(server: Server) -> None:
    with server.connect(b"GET / HTTP/1.1\r\nX: ") as connection:
        began = time.monotonic()
        try:
            while time.monotonic() - began < 20 * SOON:
                connection.sendall(b"a")
                time.sleep(SOON / 8)
        except OSError:
            pass
        assert time.monotonic() - began < 5 * SOON


def test_a_request_under_way_is_not_cut_off(server: Server) -> None:
    with server.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        time.sleep(3 * SOON)
        server.app.go.set()
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_the_body_of_a_request_with_a_place_may_take_longer(server: Server) -> None:
    head = b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{"
    with server.connect(head) as connection:
        time.sleep(3 * SOON)
        server.app.go.set()
        connection.sendall(b"}")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_does_not_read_is_cut_off_and_its_answer_is_freed(server: Server) -> None:
    with server.connect(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        time.sleep(4 * SOON)
        # The application goes on, as to a client that has gone.
        assert server.app.sent == PARTS
        assert len(rest(connection)) < PARTS / 2 * 2**16
    assert not server.uvicorn.server_state.connections


def test_a_client_that_reads_slowly_gets_its_answer(server: Server) -> None:
    with server.connect(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") as slow:
        received, began = 0, time.monotonic()
        while part := slow.recv(2**20):
            received += len(part)
            time.sleep(0.001)
    assert received > PARTS * 2**16
    assert time.monotonic() - began > 2 * SOON


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 2**14),
        (b"GET / HTTP/1.1\r\n", b"X-Header: value\r\n" * 2**10),
        (b"GET /", b"a" * 2**14),
        (b"GET / HTTP/1.1\r\n", b"a" * 2**14),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: value\r\n" * 2**10),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"a" * 2**14),
    ],
)
def test_headers_that_never_end_are_refused(server: Server, pieces: tuple[bytes, bytes]) -> None:
    with server.connect(pieces[0]) as connection:
        sent = 0
        try:
            while sent < 2**24:
                connection.sendall(pieces[1])
                sent += len(pieces[1])
        except OSError:
            pass
        assert sent < 2**22


def test_long_headers_are_refused_in_words_and_others_are_not(server: Server) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n"
    with server.connect(head % (b"X: %b\r\n" % (b"a" * 2**12) * 17)) as connection:
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b'{"error": {"code": "headers_too_long"' in answer
    with server.connect(head % (b"X: %b\r\n" % (b"a" * 2**12) * 15)) as connection:
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_more_headers_than_a_client_sends_are_refused(server: Server) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n"
    for number, status in ((MOST_HEADERS - 2, b"200"), (MOST_HEADERS - 1, b"431")):
        with server.connect(head % (b"a:\r\n" * number)) as connection:
            assert rest(connection)[9:12] == status
    with server.connect(b"GET / HTTP/1.1\r\n") as connection:
        # None of them is kept, and they are not waited for.
        connection.sendall(b"a:\r\n" * 12_000)
        assert rest(connection)[9:12] == b"431"


def test_requests_sent_ahead_wait_as_they_came(server: Server) -> None:
    few, post = GET.replace(b"/", b"/few", 1), b"POST /few HTTP/1.1\r\nHost: a\r\n"
    body = post + b"Content-Length: 5000\r\n\r\n" + b"x" * 5000
    parts = b"1388\r\n" + b"y" * 5000 + b"\r\n" + b"1\r\nz\r\n" * 500 + b"0\r\n\r\n"
    chunks = post + b"Transfer-Encoding: chunked\r\n\r\n" + parts
    with server.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        connection.sendall(few * 2000 + (body + few + chunks) * 3)
        time.sleep(0.2)
        (one,) = server.uvicorn.server_state.connections
        # Nearly all are kept as bytes: parsed, they would take eighty times the memory.
        assert len(one.pipeline) <= PIECE // len(few) + 1
        server.app.go.set()
        connection.sendall(few.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = rest(connection)
    assert answers.count(b"HTTP/1.1 200 ") == 1 + 2000 + 9 + 1


def test_what_is_sent_ahead_without_an_end_is_not_read(server: Server) -> None:
    with server.connect(b"POST /listen HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") as one:
        one.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 2**26:
                sent += one.send(GET * 1000)
        assert sent < 2**25


def test_trailers_are_left_out(server: Server) -> None:
    chunks = b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n"
    with server.connect(b"POST / HTTP/1.1\r\nHost: a\r\n" + chunks + GET) as connection:
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_silent_connections_make_room_for_others(server: Server) -> None:
    silent = [server.connect() for _ in range(40)]
    for _ in range(10):
        with server.connect(GET) as connection:
            assert connection.recv(12) == b"HTTP/1.1 200"
    silent += [server.connect() for _ in range(20)]
    time.sleep(0.05)
    assert len(server.uvicorn.server_state.connections) <= 6
    for each in silent:
        each.close()


def test_a_request_under_way_is_closed_for_nobody(server: Server) -> None:
    with server.connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n") as waiting:
        time.sleep(0.05)
        others = [server.connect(GET) for _ in range(30)]
        time.sleep(0.05)
        server.app.go.set()
        assert waiting.recv(12) == b"HTTP/1.1 200"
    for each in others:
        each.close()


def test_a_websocket_is_a_request_as_any_other(server: Server) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with server.connect(b"GET / HTTP/1.1\r\nHost: a\r\n" + upgrade + key) as connection:
        assert connection.recv(12) == b"HTTP/1.1 200"


class Opened:
    """A connection that is counted and closed, and no more."""

    def __init__(self, owner: str, place: bool = False) -> None:
        self.owner, self.under_way, self.cycle = owner, place, None
        self.loop = self.transport = self
        self.aborted = False

    def call_later(self, *_: Any) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


def opened(made: Connections, *owners: str, place: bool = False) -> list[Opened]:
    found = [Opened(owner, place) for owner in owners]
    for each in found:
        made.add(each)  # type: ignore[arg-type]
    return found


def test_one_address_takes_no_connections_of_another() -> None:
    made = Connections(of_address=10, most=12)
    quiet = opened(made, "b", "c")
    loud = opened(made, *"a" * 30)
    assert not any(each.aborted for each in quiet)
    assert [each.aborted for each in loud] == [True] * 20 + [False] * 10


def test_beyond_all_the_address_with_most_connections_loses_one() -> None:
    made = Connections(of_address=10, most=12)
    loud, others = opened(made, *"a" * 8), opened(made, *"bcdefghi")
    assert [each.aborted for each in loud] == [True] * 4 + [False] * 4
    assert not any(each.aborted for each in others)


def test_beyond_all_a_request_under_way_is_closed_for_no_address() -> None:
    made = Connections(of_address=10, most=12)
    pool = opened(made, *"a" * 5, place=True)
    waiting = opened(made, "a", "a")
    crowd = opened(made, *map(str, range(40)))
    assert not any(each.aborted for each in pool)
    assert [each.aborted for each in waiting] == [True, True]
    assert [each.aborted for each in crowd] == [True] * 33 + [False] * 7


def test_beyond_all_a_proxy_is_the_last_to_lose_one() -> None:
    made = Connections(proxy="a", of_address=10, most=12)
    proxy = opened(made, *"a" * 8)
    crowd = opened(made, *map(str, range(40)))
    assert not any(each.aborted for each in proxy)
    assert sum(each.aborted for each in crowd) == 36


def test_where_all_of_all_have_a_place_the_new_one_is_closed() -> None:
    made = Connections(of_address=10, most=2)
    assert [each.aborted for each in opened(made, *"abc", place=True)] == [False, False, True]


def test_a_proxy_may_have_as_many_as_there_are() -> None:
    made = Connections(proxy="a", of_address=2, most=12)
    assert [each.aborted for each in opened(made, *"a" * 14)] == [True] * 2 + [False] * 12


def test_where_all_have_a_place_the_last_is_closed() -> None:
    made = Connections(of_address=2)
    assert [each.aborted for each in opened(made, *"aaa", place=True)] == [False, False, True]


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2:3:4:5", "2001:db8:0:0::/64"),
        ("", ""),
    ],
)
def test_owners(address: str, owner: str) -> None:
    assert owner_of(address) in (owner, owner.replace("0:0::", ":").replace(":::", "::"))


@pytest.mark.parametrize(
    ("files", "most"), [(-1, 1000), (1_000_000, 1000), (1024, 960), (80, 20), (24, 6)]
)
def test_other_files_have_room(monkeypatch: pytest.MonkeyPatch, files: int, most: int) -> None:
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (files, files))
    assert Connections.of_environment(128, {})._most == most


def test_limits_of_the_environment() -> None:
    made = Connections.of_environment(500, {PROXY_VARIABLE: "10.0.0.9"})
    assert (made._proxy, made._of_address) == ("10.0.0.9", 1000)
    assert made._most <= connections.MOST
    with pytest.raises(InputError, match="--proxy"):
        Connections.of_environment(128, {PROXY_VARIABLE: "proxy.example"})
