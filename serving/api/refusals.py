"""Refusals of requests that never reach the service: their codes, statuses and messages."""

from __future__ import annotations

from dataclasses import dataclass

from accomplice.serving.api.errors import ERRORS

#: Headers of a request or an answer: name and value of each.
Headers = tuple[tuple[bytes, bytes], ...]

#: Header of a refusal before the whole body was read.
CLOSE = ((b"connection", b"close"),)
#: Seconds after which a client may repeat a request that was refused because of too much load.
RETRY_AFTER = 1
#: Header with these seconds.
RETRY = ((b"retry-after", str(RETRY_AFTER).encode()),)

#: Code of a refusal -> its HTTP status and message.
REFUSALS = {
    "bad_request": (400, "send each header once, and Host: NAME or NAME:PORT"),
    "no_body": (400, "this request takes no body: send none"),
    "cut_off": (400, "the body ended before its stated length"),
    "unauthorised": (401, "send a known token: Authorization: Bearer TOKEN"),
    "tokens_needed": (
        403,
        "other machines can reach this server, and it has no tokens: it refuses every request",
    ),
    "forwarded": (
        403,
        "a proxy passes requests on to this server, which has no tokens: serve with --tokens FILE",
    ),
    "unknown_host": (
        403,
        "without tokens this server answers to 127.0.0.1, [::1], localhost and its own address",
    ),
    "other_site": (403, "pages of another site may not ask; a proxy must pass Host on"),
    "not_found": (404, ERRORS[404][1]),
    "too_slow": (408, "the body took too long to come in"),
    "length_required": (411, "say the body's length, or send it chunked"),
    "too_large": (413, "the body is too large: send fewer patients a request"),
    "unsupported_media_type": (415, ERRORS[415][1]),
    "too_many_requests": (429, "too many requests are under way: ask again in a moment"),
    "unknown_encoding": (501, "no transfer encoding but chunked is read"),
    "timed_out": (504, "the answer took too long: send fewer patients a request"),
}


@dataclass(eq=False)
class RefusedError(Exception):
    """Refusal of a request."""

    code: str
    """Code in `REFUSALS`."""
    headers: Headers = ()
    """Further headers of the answer."""

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return REFUSALS[self.code][0]

    @property
    def error(self) -> tuple[str, str]:
        """Code and message of the answer."""
        return self.code, REFUSALS[self.code][1]
