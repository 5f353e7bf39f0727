"""ASGI middleware that checks tokens, limits concurrency, size and duration, and adds headers.

Except for the paths in ``OPEN``, a request reaches the service only if

- it carries a known token, where the server has any, or is for a page without the form or a file
  of one (``FRAME``, ``FILES``);
- it came in by an address that no other machine can reach, where the server has no tokens;
- fewer requests than the limit are under way;
- its body, if it is a POST request, is JSON;
- its body is no larger than allowed, and arrives in time. Bytes are counted as they come in, since
  a chunked body does not state its size.

BentoML has no limit of the body's size, and refuses concurrent requests only after it has read
them.
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
    TOKEN_KEY,
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
    TokenFile,
)

#: Default maximum of requests under way at once.
CONCURRENCY = 128
#: Default maximum of a body's size, in MB.
BODY_MB = 16.0
#: Maximum of seconds to receive a body.
SLOWEST_BODY = 20.0
#: Maximum of seconds to answer a request.
SLOWEST_ANSWER = 20.0
#: Seconds until a client that was refused for concurrency may ask again.
RETRY_AFTER = 1
#: Seconds before a request beyond the concurrency is refused: a client that asks again at once
#: would slow down the answers. At most as many requests wait for a refusal as may be under way.
HELD_BACK = 0.05
#: Multiple of the allowed size up to which a body is read before the connection is closed.
DRAINED = 16
#: Paths without any check: they tell only whether the server is up.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})
#: Paths of the pages without the form, which hold nothing of the model: GET and HEAD need no token.
FRAME = frozenset({"/", "/app", "/app/", "/docs"})
#: Beginnings of the paths of the pages' files, which need no token either.
FILES = ("/app/files/", "/static_content/")
#: Header that describes a body -> its allowed values.
PLAIN = {
    b"content-type": (b"", b"application/json"),
    b"content-encoding": (b"", b"identity"),
}

#: Header of a refusal that may leave a part of the body unread.
CLOSE = ((b"connection", b"close"),)

#: Status -> code and message of a refusal.
REFUSALS = {
    400: ("cut_off", "the body ended before its stated length"),
    403: (
        "tokens_needed",
        "other machines can reach this server, and it has no tokens: it refuses every request",
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
    """Tokens and limits of a server."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each known token -> its name; empty if requests need none."""
    concurrency: int = CONCURRENCY
    """Maximum of requests under way at once."""
    body: int = int(BODY_MB * 2**20)
    """Maximum of bytes of a body."""

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Limits:
        """Return the limits that environment variables set, or the default ones.

        Args:
            environ: the environment variables.

        Raises:
            InputError: a limit is no number in its range, or the token file is invalid.
        """
        token_file = environ.get(TOKENS_VARIABLE)
        return cls(
            tokens=TokenFile(Path(token_file)) if token_file else {},
            concurrency=int(_number(environ, CONCURRENCY_VARIABLE, CONCURRENCY, whole=True)),
            body=int(_number(environ, BODY_VARIABLE, BODY_MB) * 2**20),
        )


def _number(environ: Mapping[str, str], name: str, default: float, *, whole: bool = False) -> float:
    try:
        value = float(environ.get(name, default))
    except ValueError:
        value = 0.0
    if not 0 < value < BELOW or (whole and not value.is_integer()):
        kind = "whole number" if whole else "number"
        raise InputError(f"{name}: must be a {kind} above 0 and below {BELOW}")
    return value


@dataclass(eq=False)
class _RefusedError(Exception):
    """Refusal of a request."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """Middleware that refuses requests without a token or beyond the limits.

    It adds the headers ``errors.HEADERS`` and ``errors.CACHE`` to every answer that lacks them.

    Args:
        app: the application.
        limits: tokens and limits; those of the environment if absent.

    Raises:
        InputError: ``limits`` is absent, and as :meth:`Limits.of_environment`.
    """

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = Limits.of_environment() if limits is None else limits
        self._under_way = self._held_back = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer or refuse one HTTP request; pass other scopes, such as the lifespan, on."""
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
        """Answer a request that passes all checks.

        Raises:
            _RefusedError: the request fails a check, its client has gone, or the service does not
                begin its answer in time.
        """
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not self.limits.tokens and _from_outside(scope):
            raise _RefusedError(403)
        given = headers.get(b"authorization", b"")
        if not (_needs_no_token(scope) or self._authorised(scope, given)):
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

    def _authorised(self, scope: Message, authorization: bytes) -> bool:
        """Whether the header holds a known token, or no token is needed.

        The token's name is kept in the scope, for the log.
        """
        tokens = self.limits.tokens
        if not tokens:
            return True
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        given = hashlib.sha256(token.strip()).hexdigest()
        # All are compared, each in constant time, so that the duration reveals nothing.
        names = [name for known, name in tokens.items() if hmac.compare_digest(given, known)]
        if names:
            scope[TOKEN_KEY] = names[0]
        return bool(names)

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
    """Sender that adds the headers of every answer, and records whether one has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            headers += [pair for pair in (*HEADERS, CACHE) if pair[0] not in names]
            message = {**message, "headers": headers}
        await self._send(message)


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive, most: int) -> bytes:
    """Return a request's body of at most ``most`` bytes.

    Raises:
        _RefusedError: the body is too large, too slow or cut off, or its stated length is no
            number.
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
                    # The client has gone, but BentoML waits until an answer begins.
                    raise _RefusedError(400, CLOSE)
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


def _needs_no_token(scope: Message) -> bool:
    """Whether a request needs no token: GET or HEAD of a page without the form, or of a file."""
    path = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in FRAME or path.startswith(FILES))


def _is_json(scope: Message) -> bool:
    """Whether the headers call the body plain JSON, or do not describe it.

    BentoML reads other types too, among them pickle, or fails on them and logs it.
    """
    allowed = ((PLAIN.get(name.lower()), value) for name, value in scope["headers"])
    return all(value.partition(b";")[0].strip().lower() in good for good, value in allowed if good)


def _from_outside(scope: Message) -> bool:
    """Whether a request came in by an address that other machines can reach."""
    server = scope.get("server")
    try:
        return server is not None and not ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False  # the path of a socket
