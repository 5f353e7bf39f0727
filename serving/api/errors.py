"""ASGI middleware: every error in one shape, and a log of requests that holds nothing of them."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Observe = Callable[[str, int, float], None]
"""Is told of each answered request: its path, the status and the seconds it took."""

# BentoML's server configures the loggers below this name; its own access log is turned off in
# favour of this one, because it writes whatever path was asked for.
logger = logging.getLogger("bentoml.accomplice")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Paths that the log leaves out: they are asked for every few seconds.
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})

ERRORS = {
    404: ("not_found", "no such path: GET /docs.json lists them"),
    405: ("method_not_allowed", "not by this method: GET /docs.json says by which"),
    415: ("unsupported_media_type", "send application/json, not compressed"),
    503: ("unavailable", "the server is not ready: try again later"),
}
INTERNAL = ("internal", "an error of the server's; its log names the place")


def envelope(code: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the one shape that every error of the endpoint has."""
    return {"error": {"code": code, "message": message, "details": list(details)}}


#: Of every answer. The page asks nobody but this server, and nobody may frame it.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
CACHE = (b"cache-control", b"no-store")
#: What of an answer's headers is about its content.
OF_CONTENT = frozenset({b"content-type", b"content-length", b"content-encoding"})


class Envelope:
    """Gives every error the endpoint's shape, whoever made it."""

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
        """Take one message of the app's."""
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
        """Answer with the error of a status in place of what the app said."""
        code, text = ERRORS.get(status, INTERNAL if status >= 500 else ("refused", "refused"))
        body = json.dumps(envelope(code, text)).encode()
        kept = (*HEADERS, CACHE) if self.held is None else self.held.get("headers", ())
        headers = [pair for pair in kept if pair[0].lower() not in OF_CONTENT]
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        self.held, self.status = None, status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_envelope(body: bytes) -> bool:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(error, dict) and {"code", "message", "details"} == error.keys()


def log_error(error: BaseException) -> None:
    """Log an error of ours by its kind and place: its text could quote a patient's value."""
    logger.error("%s", kind_and_place(error))


def kind_and_place(error: BaseException) -> str:
    """Return what may be said of an error of ours, in one line."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames))
    return f"{type(error).__name__} in {places}"
