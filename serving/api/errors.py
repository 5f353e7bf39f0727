"""ASGI middleware: every error in one shape, and a log of requests without their content."""

from __future__ import annotations

import ipaddress
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import Any

from accomplice.data.escaping import printable

#: ASGI scope or message.
Message = MutableMapping[str, Any]
#: ASGI callable that returns the next message of the client.
Receive = Callable[[], Awaitable[Message]]
#: ASGI callable that sends a message to the client.
Send = Callable[[Message], Awaitable[None]]
#: ASGI application.
App = Callable[[Message, Receive, Send], Awaitable[None]]
#: Callback for an answered request: path, status, seconds.
Observe = Callable[[str, int, float], None]

# BentoML's server configures the loggers below this name. Its own access log is off, since it
# writes any path that a client sends.
logger = logging.getLogger("bentoml.accomplice")


class _Printable(logging.Filter):
    """Makes each line of the log printable, whatever names it holds."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logger.addFilter(_Printable())

#: HTTP methods that the log names.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Paths that are not observed, and left out of the log unless access is refused: they are polled
#: every few seconds.
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})

#: Key of the name of a request's token in its scope, set by ``api.guard``.
TOKEN_KEY = "accomplice.token"

#: Status -> code and message of the error that replaces BentoML's.
ERRORS = {
    404: ("not_found", "no such path: GET /docs.json lists them"),
    405: ("method_not_allowed", "not by this method: GET /docs.json says by which"),
    415: ("unsupported_media_type", "send application/json, not compressed"),
    503: ("unavailable", "the server is not ready: try again later"),
}
#: Code and message of an internal error.
INTERNAL = ("internal", "an internal error; the server's log names the place")


def envelope(code: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return an error in the shape that all errors of the endpoint have.

    Args:
        code: short name of the kind of error, for programs.
        message: text for people.
        details: place (``where``) and text (``problem``) of each problem.
    """
    return {"error": {"code": code, "message": message, "details": list(details)}}


#: Security headers of every answer: browsers must not guess its type, frame it, send its address as
#: a referrer, share it with pages of another origin, or use camera, place and microphone.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
#: Header that forbids to store an answer.
CACHE = (b"cache-control", b"no-store")
#: Names of headers that describe an answer's content.
CONTENT_HEADERS = frozenset({b"content-type", b"content-length", b"content-encoding"})


async def send_error(
    send: Send, status: int, error: tuple[str, str], headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send an error.

    Args:
        send: sends a message to the client.
        status: HTTP status.
        error: code and message.
        headers: further headers.
    """
    body = json.dumps(envelope(*error)).encode()
    content = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *content]})
    await send({"type": "http.response.body", "body": body})


class Envelope:
    """Middleware that gives all errors the endpoint's shape, and logs requests.

    Args:
        app: the application.
        routes: paths that the log names.
        observe: callback for each answered request, except those for :data:`QUIET` paths.
    """

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
        if path in QUIET and status not in (401, 403):
            return
        if self.observe is not None and path not in QUIET:
            self.observe(path, status, seconds)
        route = path if path in self.routes or path in QUIET else "(another path)"
        verb = method if method in METHODS else "(another method)"
        name = scope.get(TOKEN_KEY)
        token = "" if name is None else f" token={name}"
        # The address is needed where requests are refused; it is logged nowhere else.
        client = f" from={_address(scope)}" if 400 <= status < 500 else ""
        logger.info("%s %s %d %.1f ms%s%s", verb, route, status, 1000 * seconds, token, client)


def _address(scope: Message) -> str:
    """Return the IP address of a request's client; a proxy's header could hold any text."""
    try:
        address = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return "unknown"
    return str(address).partition("%")[0]


class _Answer:
    """The application's response, passed on; an error is held back until its shape is known."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        """Pass one message of the application on, or hold it back."""
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
        """Send an error with this status, and the text for it, in place of the response."""
        error = ERRORS.get(status, INTERNAL if status >= 500 else ("refused", "refused"))
        given = (*HEADERS, CACHE) if self.held is None else self.held.get("headers", ())
        self.held, self.status = None, status
        headers = [pair for pair in given if pair[0].lower() not in CONTENT_HEADERS]
        await send_error(self._send, status, error, headers)


def _is_envelope(body: bytes) -> bool:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(error, dict) and {"code", "message", "details"} == error.keys()


def log_error(error: BaseException) -> None:
    """Log an internal error by type and place: its text could quote a patient's value."""
    logger.error("%s", kind_and_place(error))


def kind_and_place(error: BaseException) -> str:
    """Return an error's type and place in the code in one line, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in reversed(frames))
    return f"{type(error).__name__} in {places}"
