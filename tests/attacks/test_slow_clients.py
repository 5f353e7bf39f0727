"""Clients without a token that hold connections, places and memory of a server that has tokens."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accomplice.serving.api.connections import LONGEST_HEADERS, MOST_OF_ADDRESS
from tests.attacks.wire import Server, prediction, read, served

#: Requests under way at once.
PLACES = 4
#: Bytes of Swagger's script, which is the largest file that needs no token.
SCRIPT = "GET /static_content/swagger-ui-bundle.js"


@pytest.fixture(scope="module")
def server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("secured")
    places = {"ACCOMPLICE_CONCURRENCY": str(PLACES)}
    with served(bundle_path, folder, secured=True, **places) as server:
        yield server


def is_answered(server: Server) -> bool:
    """Whether a patient is answered at once."""
    began = time.monotonic()
    return server.ask(body=prediction()).status == 200 and time.monotonic() - began < 2


@pytest.mark.parametrize(
    "line", ["GET /app/", "GET /", "HEAD /docs", "GET /livez", SCRIPT, "GET /model"]
)
def test_a_request_that_only_reads_has_no_body(server: Server, line: str) -> None:
    for body in ({"Content_Length": "9"}, {"Transfer_Encoding": "chunked"}):
        found = server.send(server.head(line, **body))
        assert found.status == 400
        assert found.headers["connection"] == "close"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_another_method_s_body_is_not_waited_for(server: Server, method: str) -> None:
    found = server.send(server.head(f"{method} /predict", Content_Length="9"))
    assert found.status == 405
    assert found.headers["connection"] == "close"


def test_bodies_that_do_not_come_take_no_place(server: Server) -> None:
    heads = (
        server.head("GET /app/", Authorization=None, Content_Length="9"),
        server.head("POST /app/", Authorization=None, Content_Length="9"),
        server.head("POST /livez", Authorization=None, Content_Length="9"),
        server.head("POST /predict", Authorization=None, Content_Length="9"),
        # Even with a token a body takes a place only once it is there.
        server.head("POST /predict", Content_Length="9"),
    )
    for head in heads:
        slow = [server.connect() for _ in range(3 * PLACES)]
        for each in slow:
            each.sendall(head)
        assert is_answered(server)
        for each in slow:
            each.close()


def test_files_that_are_not_read_take_no_place(server: Server) -> None:
    slow = [server.connect(receives=2**11) for _ in range(3 * PLACES)]
    for each in slow:
        each.sendall(server.head(SCRIPT, Authorization=None))
    assert is_answered(server)
    for each in slow:
        each.close()


def test_bodies_without_a_token_take_no_memory(server: Server) -> None:
    before = server.memory
    head = server.head("POST /predict_batch", Authorization=None, Content_Length=str(2**24))
    slow = [server.connect() for _ in range(8)]
    for each in slow:
        each.sendall(head)
        assert read(each).status == 401
        with contextlib.suppress(OSError):
            each.sendall(b" " * 2**22)
    assert server.memory - before < 8
    for each in slow:
        each.close()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /livez HTTP/1.1\r\nX: ", b"a" * 2**16),
        (b"GET /livez HTTP/1.1\r\n", b"X-Header: value\r\n" * 2**12),
        (b"GET /livez?", b"a" * 2**16),
    ],
)
def test_headers_that_never_end_take_no_memory(server: Server, begin: bytes, more: bytes) -> None:
    before = server.memory
    with server.connect() as connection:
        sent = 0
        try:
            connection.sendall(begin)
            while sent < 2**26:
                connection.sendall(more)
                sent += len(more)
        except OSError:
            pass
    assert sent < 2**23
    assert server.memory - before < 8
    assert LONGEST_HEADERS == 2**16


def test_silent_connections_keep_nobody_away(server: Server) -> None:
    silent = []
    for i in range(2 * MOST_OF_ADDRESS):
        silent.append(server.connect())
        if i % 3 == 0:
            silent[-1].sendall(b"GET /model HTTP/1.1\r\nX-Slow: ")
        if i % 50 == 0:
            assert is_answered(server)
    assert is_answered(server)
    for each in silent:
        each.close()


def test_requests_under_way_outlast_a_flood_of_connections(server: Server) -> None:
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(server.ask(body=prediction()).status)

    asking = threading.Thread(target=ask)
    asking.start()
    flood = [server.connect() for _ in range(3 * MOST_OF_ADDRESS)]
    over.set()
    asking.join()
    assert set(statuses) == {200}
    for each in flood:
        each.close()
