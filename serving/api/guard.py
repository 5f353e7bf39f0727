"""ASGI middleware: tokens, concurrency, and size and duration of requests.

A request reaches the service only if it carries a known token, where there are any; fewer requests
than the limit are under way; and its body, counted as it comes in since a chunked one does not
state its size, is no larger than allowed. BentoML has no limit of the body's size, and refuses
concurrent requests only after it has read them. A server that other machines can reach and that
knows no tokens refuses every request, however it was started.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accomplice.data.errors import InputError
from accomplice.serving.api.errors import (
    CACHE,
    ERRORS,
    HEADERS,
    App,
    Message,
    Receive,
    Send,
    send_error,
)
from accomplice.serving.api.tokens import (
    BELOW,
    BODY_VARIABLE,
    CONCURRENCY_VARIABLE,
    TOKENS_VARIABLE,
    read_tokens,
)

#: Default limits: requests under way at once, and size of a body in MB.
CONCURRENCY, BODY_MB = 128, 16.0
#: Seconds to receive a body, to answer it, and until a refused client may ask again.
SLOWEST_BODY, SLOWEST_ANSWER, RETRY_AFTER = 20.0, 20.0, 1
#: Seconds before a request beyond the concurrency is refused: a client that asks again at once
#: would take the time of answers. No more requests wait for that than may be under way.
HELD_BACK = 0.05
#: Multiple of the allowed size up to which a body is read before the connection is closed.
DRAINED = 16
#: Paths without any check: they tell only whether the server is up.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})
#: The page's frame and files, which need no token: they hold nothing of the model.
FRAME, FILES = frozenset({"/", "/app", "/app/", "/docs"}), ("/app/files/", "/static_content/")
#: Allowed values of the headers that describe a body.
PLAIN = {
    b"content-type": (b"", b"application/json"),
    b"content-encoding": (b"", b"identity"),
}

#: Header of a refusal that leaves a part of the body unread.
CLOSE = ((b"connection", b"close"),)

REFUSALS = {
    403: (
        "tokens_needed",
        "other machines can reach this server, and it knows no tokens: it refuses every request",
    ),
    401: ("unauthorised", "send a known token: Authorization: Bearer TOKEN"),
    408: ("too_slow", "the body took too long to come in"),
    411: ("length_required", "say the body's length, or send it chunked"),
    413: ("too_large", "the body is too large: send fewer patients a request"),
    415: ERRORS[415],
    429: ("too_many_requests", "too many requests are under way: ask again in a moment"),
    504: ("timed_out", "the answer took too long: send fewer patients a request"),
}


@dataclass(frozen=True)
class Limits:
    """Limits of a server."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """Hash -> name of each token; empty if requests need none."""
    concurrency: int = CONCURRENCY
    """Requests under way at once."""
    body: int = int(BODY_MB * 2**20)
    """Bytes of a body."""

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Limits:
        """Read the limits of a server's process.

        Raises:
            InputError: one of the variables does not read.
        """
        named = environ.get(TOKENS_VARIABLE)
        return cls(
            tokens=read_tokens(Path(named)) if named else {},
            concurrency=int(_number(environ, CONCURRENCY_VARIABLE, CONCURRENCY)),
            body=int(_number(environ, BODY_VARIABLE, BODY_MB) * 2**20),
        )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(environ.get(name, default))
    except ValueError:
        value = 0.0
    if not 0 < value < BELOW:
        raise InputError(f"{name}: must be a number above 0 and below {BELOW}")
    return value


@dataclass(eq=False)
class _RefusedError(Exception):
    """A request that is not let through."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """Refuses requests beyond the limits; see the module."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = Limits.of_environment() if limits is None else limits
        self._under_way = self._held_back = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sender = _Sender(send)
        try:
            if scope["path"] in OPEN:
                await self.app(scope, receive, sender)
            else:
                await self._admit(scope, receive, sender)
        except _RefusedError as refused:
            await send_error(sender, refused.status, REFUSALS[refused.status], refused.headers)

    async def _admit(self, scope: Message, receive: Receive, send: _Sender) -> None:
        """Answer a request with a known token, if not too many are under way."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not self.limits.tokens and _from_outside(scope):
            raise _RefusedError(403)
        if not (_of_frame(scope) or self._known(headers.get(b"authorization", b""))):
            raise _RefusedError(401, ((b"www-authenticate", b"Bearer"),))
        # No await between the comparison and the count: no two requests take the last place.
        if self._under_way >= self.limits.concurrency:
            await self._hold_back()
            raise _RefusedError(429, ((b"retry-after", str(RETRY_AFTER).encode()),))
        self._under_way += 1
        try:
            if scope["method"] == "POST" and not _is_json(scope):
                raise _RefusedError(415)
            body = await _read_body(headers, receive, self.limits.body)
            if body is not None:
                await self._pass_on(scope, body, receive, send)
        finally:
            self._under_way -= 1

    async def _hold_back(self) -> None:
        if self._held_back < self.limits.concurrency:
            self._held_back += 1
            try:
                await asyncio.sleep(HELD_BACK)
            finally:
                self._held_back -= 1

    def _known(self, authorization: bytes) -> bool:
        if not self.limits.tokens:
            return True
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        given = hashlib.sha256(token.strip()).hexdigest()
        # All are compared, each in constant time, so that the duration tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self.limits.tokens]
        return any(matches)

    async def _pass_on(self, scope: Message, body: bytes, receive: Receive, send: _Sender) -> None:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def received() -> Message:
            return next(messages, None) or await receive()

        try:
            async with asyncio.timeout(SLOWEST_ANSWER):
                await self.app(scope, received, send)
        except TimeoutError:
            if not send.begun:
                raise _RefusedError(504) from None


class _Sender:
    """Adds the headers of every answer, and knows whether one has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            named = {name.lower() for name, _ in own}
            own += [pair for pair in (*HEADERS, CACHE) if pair[0] not in named]
            message = {**message, "headers": own}
        await self._send(message)


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive, most: int) -> bytes | None:
    """Receive a request's body of at most ``most`` bytes; None if the client has gone.

    Raises:
        _RefusedError: it is too large or too slow, or states no length.
    """
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit():
        raise _RefusedError(411, CLOSE)
    size = int(stated[:20])
    if size > most and headers.get(b"expect", b"").lower() == b"100-continue":
        # The client waits for consent before it sends the body: reading on would give it.
        raise _RefusedError(413, CLOSE)
    parts: list[bytes] = []
    received, more = 0, True
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            while more and received <= DRAINED * most:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                part = message.get("body", b"")
                received += len(part)
                more = message.get("more_body", False)
                # A body that is too large is read on, within limits, and dropped: a client that
                # is still sending would not see the answer.
                if max(size, received) <= most:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError:
        raise _RefusedError(408, CLOSE) from None
    if max(size, received) > most:
        raise _RefusedError(413, CLOSE)
    return b"".join(parts)


def _of_frame(scope: Message) -> bool:
    """Whether the path needs no token."""
    path = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in FRAME or path.startswith(FILES))


def _is_json(scope: Message) -> bool:
    """Whether the headers call the body plain JSON, or do not describe it.

    BentoML reads other types too, among them pickle, or fails on them and logs it.
    """
    allowed = ((PLAIN.get(name.lower()), value) for name, value in scope["headers"])
    return all(value.partition(b";")[0].strip().lower() in own for own, value in allowed if own)


def _from_outside(scope: Message) -> bool:
    """Whether a request came in by an address that other machines can reach."""
    server = scope.get("server")
    try:
        return server is not None and not ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False  # the path of a socket
