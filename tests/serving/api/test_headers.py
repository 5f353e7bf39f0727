from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.serving.api.headers import (
    check_own_machine,
    check_own_site,
    has_body,
    host_name,
    is_json,
    is_own_host,
    read_headers,
)
from accomplice.serving.api.refusals import RefusedError

HOST = (b"host", b"127.0.0.1:3000")


def refusal(check: Any) -> str | None:
    """Return the code with which a check refuses; None if it does not."""
    try:
        check()
    except RefusedError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([HOST], None),
        ([], "bad_request"),
        ([HOST, HOST], "bad_request"),
        ([HOST, (b"Host", b"b")], "bad_request"),
        ([(b"host", b"a b")], "bad_request"),
        ([(b"host", b"a:b")], "bad_request"),
        ([(b"host", b"[::1]:3000")], None),
        ([HOST, (b"authorization", b"a"), (b"Authorization", b"b")], "bad_request"),
        ([HOST, (b"origin", b"a"), (b"origin", b"b")], "bad_request"),
        ([HOST, (b"accept", b"a"), (b"accept", b"b")], None),
        ([HOST, (b"transfer-encoding", b"Chunked")], None),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "unknown_encoding"),
        ([HOST, (b"transfer-encoding", b"identity")], "unknown_encoding"),
    ],
)
def test_headers_are_read_once_each(headers: list[tuple[bytes, bytes]], code: str | None) -> None:
    assert refusal(lambda: read_headers({"headers": headers})) == code


def test_only_http_1_0_has_no_host() -> None:
    assert read_headers({"headers": [], "http_version": "1.0"}) == {}
    assert refusal(lambda: read_headers({"headers": [], "http_version": "1.1"})) == "bad_request"


@pytest.mark.parametrize(
    ("host", "own"),
    [
        (b"localhost", True),
        (b"LocalHost:80", True),
        (b"127.0.0.1", True),
        (b"127.1.2.3:9", True),
        (b"[::1]", True),
        (b"10.0.0.5:3000", False),
        (b"0.0.0.0", False),
        (b"localhost.", False),
        (b"a.localhost", False),
        (b"127.0.0.1.nip.io", False),
        (b"localhost:80:80", False),
        (b"2130706433", False),
        (b"", False),
        (b":80", False),
    ],
)
def test_hosts_of_this_machine(host: bytes, own: bool) -> None:
    assert is_own_host(host, "127.0.0.1") is own


def test_the_address_that_was_asked_is_an_own_host() -> None:
    assert is_own_host(b"127.0.0.9:80", "127.0.0.9")
    assert is_own_host(b"10.0.0.5:80", "10.0.0.5")


@given(st.binary(max_size=12))
def test_any_bytes_are_a_host_or_none(host: bytes) -> None:
    name = host_name(host)
    assert name is None or name.isascii()


@pytest.mark.parametrize("server", [("127.0.0.1", 1), ("::1", 1), ("/run/socket", None), None])
def test_requests_of_this_machine_pass(server: object) -> None:
    scope = {"server": server}
    assert refusal(lambda: check_own_machine(scope, dict([HOST]))) is None


@pytest.mark.parametrize(
    "name", [b"x-forwarded-for", b"forwarded", b"via", b"x-forwarded-anything", b"x-real-ip"]
)
def test_forwarded_requests_do_not(name: bytes) -> None:
    headers = {HOST[0]: HOST[1], name: b""}
    assert refusal(lambda: check_own_machine({}, headers)) == "forwarded"


@pytest.mark.parametrize(
    ("headers", "secured", "passes"),
    [
        ({}, False, True),
        ({b"sec-fetch-site": b"none"}, False, True),
        ({b"sec-fetch-site": b"same-origin", b"origin": b"http://127.0.0.1:3000"}, False, True),
        ({b"origin": b"HTTP://127.0.0.1:3000"}, False, True),
        ({b"origin": b"http://127.0.0.1"}, False, False),
        ({b"origin": b"null"}, False, False),
        ({b"origin": b""}, False, False),
        ({b"sec-fetch-site": b"same-site"}, True, False),
        # A proxy that does not pass the host on: the browser knows better.
        ({b"sec-fetch-site": b"same-origin", b"origin": b"https://clinic.example"}, True, True),
        ({b"sec-fetch-site": b"same-origin", b"origin": b"https://clinic.example"}, False, False),
        ({b"origin": b"https://clinic.example"}, True, False),
    ],
)
def test_sites(headers: dict[bytes, bytes], secured: bool, passes: bool) -> None:
    given = {HOST[0]: HOST[1], **headers}
    found = refusal(lambda: check_own_site(given, by_link=False, secured=secured))
    assert found == (None if passes else "other_site")


@pytest.mark.parametrize(
    ("headers", "body", "kind"),
    [
        ({}, False, False),
        ({b"content-length": b"0"}, False, False),
        ({b"content-length": b"2", b"content-type": b"application/json"}, True, True),
        ({b"transfer-encoding": b"chunked", b"content-type": b"Application/JSON;x"}, True, True),
        ({b"content-type": b"application/json", b"content-encoding": b"br"}, False, False),
        ({b"content-type": b"text/plain; application/json"}, False, False),
    ],
)
def test_bodies(headers: dict[bytes, bytes], body: bool, kind: bool) -> None:
    assert has_body(headers) is body
    assert is_json(headers) is kind
