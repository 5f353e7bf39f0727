"""ASGI middleware: who may ask, how much at once, and how much at a time.

A hospital's endpoint is asked by programs that it knows. Before a request reaches the service it
must carry a known token, where there are any; be among the first so many under way; and be no
larger than allowed, counted as it comes in, since a chunked body does not say its size. What is
refused here has cost next to nothing. A server that other machines can reach and that knows no
tokens answers nobody, however it was started.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
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
    envelope,
)
from accomplice.serving.api.tokens import (
    BELOW,
    BODY_VARIABLE,
    CONCURRENCY_VARIABLE,
    TOKENS_VARIABLE,
    read_tokens,
)

#: Requests under way at once, and size of a body in MB, where nothing else is said.
CONCURRENCY, BODY_MB = 128, 16.0
#: Seconds in which a body must have come in whole, in which it must be answered, and after which
#: one that was refused may ask again.
SLOWEST_BODY, SLOWEST_ANSWER, RETRY_AFTER = 20.0, 20.0, 1
#: Seconds until one too many is told so, as long as no more wait for that than may be under way: a
#: program that asks again at once would take the time that answers need.
HELD_BACK = 0.05
#: A body is read on to so many times what is allowed, before the connection is cut.
DRAINED = 16
#: Paths that anybody may ask for: they say nothing but that the server lives.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})
#: The page's frame and files, which say nothing of the model: they need no token. What is in the
#: frame does.
FRAME, FILES = frozenset({"/", "/app", "/app/", "/docs"}), ("/app/files/", "/static_content/")
#: What a body's headers may say of it.
PLAIN = {
    b"content-type": (b"", b"application/json"),
    b"content-encoding": (b"", b"identity"),
}

REFUSALS = {
    403: (
        "tokens_needed",
        "other machines can reach this server, and it knows no tokens: it answers nobody",
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
    """What a server lets through."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """Hash -> name of each token; none means that anybody may ask."""
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


def _number(environ: Mapping[str, str], name: str, usual: float) -> float:
    text = environ.get(name)
    try:
        value = usual if text is None else float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < BELOW:
        raise InputError(f"{name}: must be a number above 0 and below {BELOW}")
    return value


class Guard:
    """Refuses what the limits do not let through; see the module."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = Limits.of_environment() if limits is None else limits
        self._under_way = self._held_back = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        if scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not self.limits.tokens and _from_outside(scope):
            await _refuse(send, 403)
            return
        if not (_of_frame(scope) or self._known(headers.get(b"authorization", b""))):
            await _refuse(send, 401, (b"www-authenticate", b"Bearer"))
            return
        # No await between the look and the count: no two requests take the last place.
        if self._under_way >= self.limits.concurrency:
            await self._hold_back()
            await _refuse(send, 429, (b"retry-after", str(RETRY_AFTER).encode()))
            return
        self._under_way += 1
        try:
            await self._pass_on(scope, headers, receive, send)
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
        # All are compared, each in constant time: how long it takes tells nothing.
        found = [hmac.compare_digest(given, known) for known in self.limits.tokens]
        return any(found)

    async def _pass_on(
        self, scope: Message, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        if scope["method"] == "POST" and not _is_json(scope):
            await _refuse(send, 415)
            return
        stated = headers.get(b"content-length", b"0")
        if not stated.isdigit():
            await _refuse(send, 411)
            return
        parts: list[bytes] = []
        size, more, most = 0, True, self.limits.body
        if int(stated[:20]) > most and headers.get(b"expect", b"").lower() == b"100-continue":
            # It asks first: reading on would be a yes.
            await _refuse(send, 413)
            return
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                while more and size <= DRAINED * most:
                    message = await receive()
                    if message["type"] != "http.request":
                        return  # the client has gone
                    part = message.get("body", b"")
                    size += len(part)
                    more = message.get("more_body", False)
                    # What is too large is read on, within reason, and thrown away: a client that
                    # is still sending would not see the answer.
                    if max(size, int(stated[:20])) <= most:
                        parts.append(part)
                    else:
                        parts.clear()
        except TimeoutError:
            await _refuse(send, 408)
            return
        if max(size, int(stated[:20])) > most:
            await _refuse(send, 413)
            return
        body, given = b"".join(parts), False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(SLOWEST_ANSWER):
                await self.app(scope, whole, sent)
        except TimeoutError:
            if not begun:
                await _refuse(send, 504)


def _of_frame(scope: Message) -> bool:
    """Whether a request asks for what is open to all whom the server answers."""
    path = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in FRAME or path.startswith(FILES))


def _is_json(scope: Message) -> bool:
    """Whether a body says that it is JSON as it is, or nothing of itself.

    BentoML reads other types too, pickles among them, or fails on them and says so in the log.
    """
    said = ((PLAIN.get(name.lower()), value) for name, value in scope["headers"])
    return all(value.partition(b";")[0].strip().lower() in known for known, value in said if known)


def _from_outside(scope: Message) -> bool:
    """Whether a request came in by an address that other machines can reach."""
    server = scope.get("server")
    try:
        return server is not None and not ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False  # a socket's path


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            named = {name.lower() for name, _ in own}
            own += [pair for pair in (*HEADERS, CACHE) if pair[0] not in named]
            message = {**message, "headers": own}
        await send(message)

    return sent


async def _refuse(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps(envelope(*REFUSALS[status])).encode()
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What is left of the body is not read.
        *([(b"connection", b"close")] if status in (408, 411, 413) else ()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})
