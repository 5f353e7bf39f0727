"""Requests of web pages, rebound names and proxies to a server without tokens; odd HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.wire import Answer, Server, prediction, read, served


@pytest.fixture(scope="module")
def server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(bundle_path, tmp_path_factory.mktemp("open")) as server:
        yield server


@pytest.mark.parametrize("line", ["POST /predict", "GET /model", "GET /metrics", "GET /app/"])
@pytest.mark.parametrize(
    "host",
    ["attacker.example", "attacker.example:3000", "localhost.attacker.example", "10.0.0.1", ""],
)
def test_a_rebound_name_gets_nothing(server: Server, line: str, host: str) -> None:
    body = prediction() if line.startswith("POST") else None
    found = server.ask(line, body, Host=host)
    assert (found.status, found.code) == (403, "unknown_host")


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:8080", "[::1]:3000", "127.0.0.2:1"])
def test_names_of_this_machine_are_answered(server: Server, host: str) -> None:
    assert server.ask(body=prediction(), Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Origin": "https://attacker.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("line", ["POST /predict", "GET /model", "GET /app/", "OPTIONS /predict"])
def test_a_page_of_another_site_gets_nothing(
    server: Server, line: str, headers: dict[str, str]
) -> None:
    body = prediction() if line.startswith("POST") else None
    found = server.ask(line, body, Host="127.0.0.1", **headers)
    assert (found.status, found.code) == (403, "other_site")
    assert "access-control-allow-origin" not in found.headers


def test_the_own_page_and_links_to_it_are_answered(server: Server) -> None:
    own = {"Host": "127.0.0.1:3000", "Origin": "http://127.0.0.1:3000"}
    assert server.ask(body=prediction(), Sec_Fetch_Site="same-origin", **own).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert server.ask("GET /app/", Sec_Fetch_Dest="document", **link).status == 200
    assert server.ask("GET /model", Sec_Fetch_Dest="document", **link).status == 403


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"],
)
def test_only_what_is_called_json_is_read(server: Server, kind: str | None) -> None:
    # A page can send all of these without asking first, by a form, a Blob or a beacon.
    before = patients(server)
    assert server.ask(body=prediction(), Content_Type=kind).status == 415
    assert patients(server) == before


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-proto", "Forwarded", "Via"),
        *("X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Forwarded-By"),
    ],
)
def test_a_forwarded_request_is_refused_without_tokens(server: Server, name: str) -> None:
    found = server.ask(body=prediction(), **{name: "203.0.113.7"})
    assert (found.status, found.code) == (403, "forwarded")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
        (b"GET /app/%0a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    ],
)
def test_heads(server: Server, head: bytes, status: int) -> None:
    assert server.send(head).status == status


def test_paths_are_taken_at_their_word(server: Server) -> None:
    for path in ("/predict%0a", "/predict%0d", "/predict%00", "/predict/", "/predict%0a/"):
        found = server.ask(f"POST {path}", prediction())
        assert (found.status, found.code) == (404, "not_found"), path


def test_no_redirect_goes_to_a_host_or_carries_a_body(server: Server) -> None:
    for line in ("GET /", "GET /app", "GET /app/form/", "GET /model/", "GET /docs/", "GET //a.b/"):
        found = server.ask(line)
        assert "//" not in found.headers.get("location", ""), line
    for path in ("/predict/", "/explain/", "/what_if/", "/predict_batch/", "/", "/app"):
        assert server.ask(f"POST {path}", prediction()).status in (404, 405)


def test_one_transfer_encoding_is_read(server: Server) -> None:
    body = prediction()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = server.head(Transfer_Encoding="chunked", Connection="close")
    assert server.send(head, chunks).status == 200
    for coding in ("gzip, chunked", "deflate, chunked"):
        found = server.send(server.head(Transfer_Encoding=coding), chunks)
        assert (found.status, found.code) == (501, "unknown_encoding")


def test_the_next_request_of_a_connection_is_answered(server: Server) -> None:
    body = prediction()
    length = {"Content-Length": str(len(body))}
    first = (
        server.head("POST /predict", Content_Type="text/plain", **length) + body,
        server.head("POST /nowhere", **length) + body,
        server.head("POST /livez", **length) + body,
    )
    statuses = []
    for sent in first:
        with server.connect() as connection:
            connection.sendall(sent)
            statuses.append(read(connection).status)
            connection.sendall(server.head(**length) + body)
            after: Answer = read(connection)
            # It is answered, or the connection was closed.
            assert after.status in (200, 0)
    assert statuses == [415, 404, 405]


def patients(server: Server) -> float:
    """Return how many patients the server has answered."""
    lines = server.ask("GET /metrics").content.decode().splitlines()
    name = "accomplice_patients_total "
    return float(next(line.removeprefix(name) for line in lines if line.startswith(name)))
