"""Checks of a request's headers: host, site, forwarding, and the body's type and encoding.

A server without tokens answers only requests of this machine. Three kinds of request come from this
machine but were caused by others: those of a page whose name was rebound to 127.0.0.1 (shown by
``Host``), those of another site's page (``Origin``, ``Sec-Fetch-Site``), and those that a proxy
forwards.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from accomplice.serving.api.errors import Message
from accomplice.serving.api.refusals import CLOSE, RefusedError

#: Headers of a request by lower-case name.
Named = Mapping[bytes, bytes]

#: Headers that a request may have only once, since servers differ in which of two they use.
ONCE = (
    *(b"host", b"authorization", b"origin", b"sec-fetch-site", b"content-type"),
    *(b"content-encoding", b"content-length", b"transfer-encoding"),
)
#: Headers by which proxies mark a request as forwarded; ``x-forwarded-*`` are others.
FORWARDED = frozenset(
    (
        *(b"forwarded", b"via", b"client-ip", b"x-client-ip", b"x-cluster-client-ip"),
        *(b"x-real-ip", b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip"),
        *(b"x-original-forwarded-for", b"x-original-host", b"x-envoy-external-address"),
    )
)
#: Beginning of further such headers.
FORWARDED_BY = b"x-forwarded"
#: A host and perhaps a port (RFC 9110, 7.2).
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
#: Values of ``Sec-Fetch-Site`` of a request by the server's own page, or by the user directly.
OWN_SITE = (b"same-origin", b"none")


def read_headers(scope: Message) -> dict[bytes, bytes]:
    """Return a request's headers by lower-case name.

    Args:
        scope: the request's ASGI scope.

    Raises:
        RefusedError: a header of `ONCE` occurs twice, the host is missing or invalid, or the body
            has another transfer encoding than chunked.
    """
    headers = {name.lower(): value for name, value in scope["headers"]}
    if len(headers) < len(scope["headers"]):
        names = [name.lower() for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in ONCE):
            raise RefusedError("bad_request", CLOSE)
    host = headers.get(b"host")
    if host is None:
        # HTTP/1.0 has none.
        if scope.get("http_version") != "1.0":
            raise RefusedError("bad_request", CLOSE)
    elif host_name(host) is None:
        raise RefusedError("bad_request", CLOSE)
    if headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
        raise RefusedError("unknown_encoding", CLOSE)
    return headers


def has_body(headers: Named) -> bool:
    """Whether a request has a body, by its headers."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def is_json(headers: Named) -> bool:
    """Whether the body is uncompressed JSON, by the headers.

    A body without a type is refused: a page of another site can send one without a preflight
    request. BentoML reads other types too, among them pickle, or fails on them and logs that.
    """
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    return kind == b"application/json" and coding == b"identity"


def check_own_machine(scope: Message, headers: Named) -> None:
    """Refuse a request to a server without tokens that does not come from this machine.

    Args:
        scope: the request's ASGI scope.
        headers: the request's headers.

    Raises:
        RefusedError: the request came in by an address that other machines can reach, was forwarded
            by a proxy, or is for another host.
    """
    server = scope.get("server")
    address = None if server is None else server[0]
    if address is not None and _is_loopback(address) is False:
        raise RefusedError("tokens_needed", CLOSE)
    if not FORWARDED.isdisjoint(headers) or any(n.startswith(FORWARDED_BY) for n in headers):
        raise RefusedError("forwarded", CLOSE)
    if b"host" in headers and not is_own_host(headers[b"host"], address):
        raise RefusedError("unknown_host", CLOSE)


def check_own_site(headers: Named, *, by_link: bool, secured: bool) -> None:
    """Refuse a request that a browser sends for a page of another site.

    With tokens, there may be a proxy whose ``Host`` differs from the one that the browser asked;
    then ``Sec-Fetch-Site``, if present, is used in place of ``Origin``.

    Args:
        headers: the request's headers.
        by_link: whether pages of other sites may link to the requested path.
        secured: whether the server has tokens.

    Raises:
        RefusedError: the request comes from another site.
    """
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None and site not in OWN_SITE and not (by_link and _is_link(headers)):
        raise RefusedError("other_site", CLOSE)
    if origin is None or (secured and site is not None):
        return
    if origin.partition(b"://")[2].lower() != headers.get(b"host", b"").lower():
        raise RefusedError("other_site", CLOSE)


@lru_cache(64)
def host_name(host: bytes) -> str | None:
    """Return the name or address in a ``Host`` header, without its port; None if it is invalid."""
    match = HOST.fullmatch(host)
    return None if match is None else match[1].decode().lower().strip("[]")


@lru_cache(64)
def is_own_host(host: bytes, server: str | None) -> bool:
    """Whether a ``Host`` header names this machine, by any port: tunnels change it.

    Args:
        host: the header's value.
        server: address by which the request came in, if known.
    """
    name = host_name(host)
    return name is not None and (name in ("localhost", server) or _is_loopback(name) is True)


def _is_loopback(name: str) -> bool | None:
    """Whether an IP address can be reached from this machine alone; None if it is no address."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return None  # a name, or the path of a socket


def _is_link(headers: Named) -> bool:
    """Whether a browser sends the request because the user followed a link."""
    mode, place = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    return (mode, place) == (b"navigate", b"document")
