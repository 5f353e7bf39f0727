"""ASGI middleware: every error in one shape, and a log of requests without their content."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Observe = Callable[[str, int, float], None]
"""Callback for each answered request: path, status, seconds."""

# BentoML's server configures the loggers below this name. Its own access log is off, since it
# writes any path that a client sends.
logger = logging.getLogger("bentoml.accomplice")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Paths left out of the log: probes of every few seconds.
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})

ERRORS = {
    404: ("not_found", "no such path: GET /docs.json lists them"),
    405: ("method_not_allowed", "not by this method: GET /docs.json says by which"),
    415: ("unsupported_media_type", "send application/json, not compressed"),
    503: ("unavailable", "the server is not ready: try again later"),
}
INTERNAL = ("internal", "an internal error; the server's log names the place")


def envelope(code: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the one shape that every error of the endpoint has."""
    return {"error": {"code": code, "message": message, "details": list(details)}}


#: Headers of every answer: the page sends requests to this server alone, and must not be framed.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
CACHE = (b"cache-control", b"no-store")
#: Headers that describe an answer's content.
OF_CONTENT = frozenset({b"content-type", b"content-length", b"content-encoding"})


async def send_error(
    send: Send, status: int, error: tuple[str, str], headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an error, given as code and message, with further headers."""
    body = json.dumps(envelope(*error)).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": body})


class Envelope:
    """Gives the errors of the service and of BentoML the endpoint's shape."""

    def __init__(
        self, app: App, routes: tuple[str, ...] = (), observe: Observe | None = None
    ) -> None:
        self.app = app
        self.routes = frozenset(routes)
        self.observe = observe

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        answer = _Answer(send)
        try:
            await self.app(scope, receive, answer.send)
        except Exception as error:
            log_error(error)
            if answer.status == 0 or answer.held:
                await answer.replace(500)
        self._log(scope, answer.status, perf_counter() - began)

    def _log(self, scope: Message, status: int, seconds: float) -> None:
        path, method = scope["path"], scope["method"]
        if path in QUIET:
            return
        if self.observe is not None:
            self.observe(path, status, seconds)
        route = path if path in self.routes else "(another path)"
        verb = method if method in METHODS else "(another method)"
        logger.info("%s %s %d %.1f ms", verb, route, status, 1000 * seconds)


class _Answer:
    """Passes a response on; holds back an error until its shape is known."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        """Take one message of the app."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400:
                self.held = message
                return
        elif self.held is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            if not _is_envelope(self._body):
                await self.replace(self.status)
                return
            start, self.held = self.held, None
            await self._send(start)
            message = {"type": "http.response.body", "body": self._body}
        await self._send(message)

    async def replace(self, status: int) -> None:
        """Answer with the error of a status in place of the app's answer."""
        error = ERRORS.get(status, INTERNAL if status >= 500 else ("refused", "refused"))
        kept = (*HEADERS, CACHE) if self.held is None else self.held.get("headers", ())
        self.held, self.status = None, status
        headers = [pair for pair in kept if pair[0].lower() not in OF_CONTENT]
        await send_error(self._send, status, error, headers)


def _is_envelope(body: bytes) -> bool:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(error, dict) and {"code", "message", "details"} == error.keys()


def log_error(error: BaseException) -> None:
    """Log an internal error by its kind and place: its text could quote a patient's value."""
    logger.error("%s", kind_and_place(error))


def kind_and_place(error: BaseException) -> str:
    """Return an error's kind and place in one line, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames))
    return f"{type(error).__name__} in {places}"
