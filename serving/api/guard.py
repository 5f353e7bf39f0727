"""ASGI middleware that decides which requests reach the service, and adds headers to all answers.

Except for the paths in ``OPEN``, a request reaches the service only if

- it comes from this machine, where the server has no tokens (see ``api.headers``);
- it is not sent by a page of another site;
- it carries a known token, where the server has any, or is for a page without the form or a file
  of one (``FRAME``, ``FILES``);
- fewer requests than the limit are under way;
- its body, if it is a POST request, is JSON;
- its body is no larger than allowed, arrives in time, and there is memory for it.

A request that needs no token does not count as under way, and its body is not read. BentoML
has no limit of the body's size, and refuses concurrent requests only after it has read them.
``api.connections`` has the limits of connections.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from accomplice.data.errors import InputError
from accomplice.serving.api.bodies import SMALL, Memory, Pace, Share, read_body
from accomplice.serving.api.errors import (
    CACHE,
    HEADERS,
    TOKEN_KEY,
    App,
    Message,
    Receive,
    Send,
    send_error,
)
from accomplice.serving.api.headers import (
    check_own_machine,
    check_own_site,
    has_body,
    is_json,
    read_headers,
)
from accomplice.serving.api.refusals import CLOSE, RETRY, RefusedError
from accomplice.serving.api.tokens import TOKENS_VARIABLE, TokenFile
from accomplice.serving.requests.schemas import POST_ROUTES

#: Maximum number of requests under way at once: environment variable and default.
CONCURRENCY_VARIABLE, CONCURRENCY = "ACCOMPLICE_CONCURRENCY", 128
#: Maximum size of a body in MB: environment variable and default.
BODY_VARIABLE, BODY_MB = "ACCOMPLICE_MAX_BODY_MB", 16.0
#: Maximum size in MB of large bodies and answers at once: environment variable and default.
MEMORY_VARIABLE, MEMORY_MB = "ACCOMPLICE_MEMORY_MB", 512.0
#: Upper bound (exclusive) of all these.
BELOW = 1_000_000
#: Bytes of the largest answer, which has to fit.
ANSWER = 48 * 2**20
#: Maximum size in bytes of a body with one patient: other requests wait while it is parsed.
SINGLE = 2**21
#: Paths of requests for a list of patients.
LISTS = frozenset({"/predict_batch"})
#: Maximum time in seconds until an answer begins.
SLOWEST_ANSWER = 20.0
#: Bytes of an answer that are sent at once.
PART = 2**18
#: Maximum time in seconds in which a client receives such a part; ``api.connections`` cuts off
#: earlier a client that receives nothing.
SLOWEST_PART = 60.0
#: Seconds before a request beyond the concurrency is refused: a client that asks again at once
#: would slow down the answers. At most as many requests wait for a refusal as may be under way.
HELD_BACK = 0.05
#: Paths that any address and site may request: their answers show only whether the server is up.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})
#: Paths of the pages without the form, which show nothing of the model: GET and HEAD need no token.
FRAME = frozenset({"/", "/app", "/app/", "/docs"})
#: Beginnings of the paths of the pages' files, which need no token either.
FILES = ("/app/files/", "/static_content/")
#: Key of a request's state: the request counts as under way.
ADMITTED = "admitted"
#: Status, for the log, of a request whose client left before the answer began.
LEFT = 499
#: Methods that only read.
READ = ("GET", "HEAD")


@dataclass(frozen=True)
class Limits:
    """Tokens and limits of a server."""

    tokens: Callable[[], Mapping[str, str]] | None = None
    """Function that returns SHA-256 -> name of the tokens valid now; None if requests need none."""
    concurrency: int = CONCURRENCY
    """Maximum number of requests under way at once."""
    body: int = int(BODY_MB * 2**20)
    """Maximum size in bytes of a body."""
    memory: int = int(MEMORY_MB * 2**20)
    """Maximum size in bytes of large bodies and answers at once."""

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Limits:
        """Return the limits that environment variables set, or the default ones.

        Args:
            environ: the environment variables.

        Raises:
            InputError: a limit is no number in its range, or the token file is invalid.
        """
        token_file = environ.get(TOKENS_VARIABLE)
        limits = cls(
            tokens=TokenFile(Path(token_file)).names if token_file else None,
            concurrency=int(
                _number(environ, CONCURRENCY_VARIABLE, CONCURRENCY, "--concurrency, ", whole=True)
            ),
            body=int(_number(environ, BODY_VARIABLE, BODY_MB) * 2**20),
            memory=int(_number(environ, MEMORY_VARIABLE, MEMORY_MB, "--memory, ") * 2**20),
        )
        least = limits.body + ANSWER
        if limits.memory < least:
            raise InputError(f"--memory: a body and an answer need at least {least >> 20} MB")
        return limits


def _number(
    environ: Mapping[str, str], name: str, default: float, option: str = "", *, whole: bool = False
) -> float:
    try:
        value = float(environ.get(name, default))
    except ValueError:
        value = 0.0
    if not 0 < value < BELOW or (whole and not value.is_integer()):
        kind = "whole number" if whole else "number"
        raise InputError(f"{option}{name}: must be a {kind} above 0 and below {BELOW}")
    return value


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
        self.memory = Memory(self.limits.memory)
        """Memory of large bodies and answers."""
        self._pace = Pace()
        self._under_way = self._held_back = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer or refuse one HTTP request; pass other scopes, such as the lifespan, on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                _redirect_no_slashes(scope)
            await self.app(scope, receive, send)
            return
        with Share(self.memory) as share:
            sender = _Sender(send, share)
            try:
                await self._admit(scope, receive, sender)
                if not sender.begun:
                    # The client has left. BentoML keeps the request until an answer begins.
                    await send({"type": "http.response.start", "status": LEFT, "headers": []})
                    await send({"type": "http.response.body", "body": b""})
            except RefusedError as refused:
                await send_error(sender, refused.status, refused.error, refused.headers)

    async def _admit(self, scope: Message, receive: Receive, send: _Sender) -> None:
        """Answer a request that passes all checks.

        Raises:
            RefusedError: the request fails a check, its client has disconnected, or the service
                does not begin its answer in time.
        """
        headers, path, method = read_headers(scope), scope["path"], scope["method"]
        if not path.isprintable():
            # A newline at the end is no part of a route for Starlette.
            raise RefusedError("not_found", CLOSE)
        send.close = method != "POST" and has_body(headers)
        # Where another method is asked for, the service says so; the body is not read.
        if send.close and method in READ and path not in POST_ROUTES:
            raise RefusedError("no_body", CLOSE)
        if path in OPEN:
            await self.app(scope, _nothing, send)
            return
        secured = self.limits.tokens is not None
        if not secured:
            check_own_machine(scope, headers)
        by_link = method in READ and path in FRAME
        check_own_site(headers, by_link=by_link, secured=secured)
        if by_link or (method in READ and path.startswith(FILES)):
            await self._pass_on(scope, b"", receive, send)
            return
        if not self._authorised(scope, headers.get(b"authorization", b"")):
            raise RefusedError("unauthorised", ((b"www-authenticate", b"Bearer"),))
        if self._under_way >= self.limits.concurrency:
            await self._hold_back()
            raise RefusedError("too_many_requests", RETRY)
        body = b""
        if method == "POST":
            if not is_json(headers) and (has_body(headers) or b"content-type" in headers):
                raise RefusedError("unsupported_media_type")
            most = self.limits.body if path in LISTS else min(self.limits.body, SINGLE)
            body = await read_body(headers, receive, most, send.share, self._pace)
        # A request counts only once its body is read, so that slow bodies do not delay others. No
        # await between the comparison and the count: they cannot pass the limit.
        if self._under_way >= self.limits.concurrency:
            raise RefusedError("too_many_requests", RETRY)
        self._under_way += 1
        # Connections without a request under way are the first that are closed.
        scope.setdefault("state", {})[ADMITTED] = True
        try:
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
        if self.limits.tokens is None:
            return True
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        given = hashlib.sha256(token.strip()).hexdigest()
        # All are compared, each in constant time, so that the duration reveals nothing.
        tokens = self.limits.tokens().items()
        names = [name for known, name in tokens if hmac.compare_digest(given, known)]
        if names:
            scope[TOKEN_KEY] = names[0]
        return bool(names)

    async def _pass_on(self, scope: Message, body: bytes, receive: Receive, send: _Sender) -> None:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def received() -> Message:
            return next(messages, None) or await receive()

        try:
            async with asyncio.timeout(SLOWEST_ANSWER) as send.limit:
                await self.app(scope, received, send)
        except TimeoutError:
            if not send.begun:
                raise RefusedError("timed_out") from None
        finally:
            send.limit = None


class _Sender:
    """Sender of an answer: adds headers, and sends a long body in parts.

    Args:
        send: sends a message to the client.
        share: the request's memory, of which a long body takes its size.
    """

    def __init__(self, send: Send, share: Share) -> None:
        self._send = send
        self._start: Message | None = None
        self.share = share
        """The request's memory."""
        self.close = False
        """Whether the connection is closed after the answer."""
        self.begun = False
        """Whether an answer has begun."""
        self.limit: asyncio.Timeout | None = None
        """Limit of the time until the answer begins; each of its parts has its own."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            headers += [pair for pair in (*HEADERS, CACHE) if pair[0] not in names]
            if self.close and b"connection" not in names:
                headers += CLOSE
            # Held back until the body's size is known: without memory for it there is no answer.
            self._start = {**message, "headers": headers}
            return
        body = message.get("body", b"")
        if self._start is not None:
            self.share.grow(self.share.size + len(body) if len(body) > SMALL else 0)
            start, self._start = self._start, None
            self.begun = True
            if self.limit is not None and not self.limit.expired():
                self.limit.reschedule(None)
            await self._send(start)
        if len(body) <= SMALL and not message.get("more_body"):
            await self._send(message)
            return
        for i in range(0, max(len(body), 1), PART):
            part = {**message, "body": body[i : i + PART]}
            if i + PART < len(body):
                part["more_body"] = True
            async with asyncio.timeout(SLOWEST_PART):
                await self._send(part)


async def _nothing() -> Message:
    """Return an empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _redirect_no_slashes(scope: Message) -> None:
    """Let Starlette answer 404 to a path with a slash too many.

    Its redirect would send the body again, to the host of the request's header.
    """
    if "app" in scope:
        scope["app"].router.redirect_slashes = False
