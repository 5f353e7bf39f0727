"""Reading of a request's body within limits of size, time and memory of all requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from accomplice.serving.api.errors import Receive
from accomplice.serving.api.refusals import CLOSE, RETRY, RefusedError

#: Maximum time in seconds to receive a body.
SLOWEST_BODY = 20.0
#: Size in bytes of a body or an answer up to which it is not counted.
SMALL = 2**16
#: Maximum number of large bodies that receive data in a round of the event loop.
TURNS = 2
#: Multiple of the allowed size up to which a body is read before the connection is closed.
DRAINED = 16


@dataclass
class Memory:
    """Memory for large bodies and answers."""

    most: int
    """Maximum size in bytes."""
    held: int = 0
    """Number of bytes in use."""


@dataclass
class Share:
    """Share of the memory that one request uses until the end of a ``with`` block."""

    memory: Memory
    """Memory of all requests."""
    size: int = 0
    """Number of bytes in use."""

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.held -= self.size

    def grow(self, size: int) -> None:
        """Enlarge the share to a size, unless that is small.

        Small bodies and answers are not counted, so that large ones do not delay single patients.

        Args:
            size: number of bytes of the request's body and answer.

        Raises:
            RefusedError: there is not enough memory.
        """
        if size <= max(SMALL, self.size):
            return
        if self.memory.held + size - self.size > self.memory.most:
            raise RefusedError("too_many_requests", (*RETRY, *CLOSE))
        self.memory.held += size - self.size
        self.size = size


class Pace:
    """Limit on large bodies: in each round of the event loop only a few of them receive data.

    Otherwise many large bodies at the same time would delay all other requests.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = 0

    async def turn(self) -> None:
        """Wait for the next turn."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            loop.call_soon(self._begin_round, loop)
        if self._taken < TURNS:
            self._taken += 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _begin_round(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the bodies that have waited longest receive data in the next round."""
        self._taken = 0
        while self._waiting and self._taken < TURNS:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._taken += 1
        if self._taken:
            loop.call_soon(self._begin_round, loop)


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, most: int, share: Share, pace: Pace
) -> bytes:
    """Return a request's body.

    Bytes are counted as they come in, since a chunked body does not state its size.

    Args:
        headers: the request's headers.
        receive: function that returns the next part of the body.
        most: maximum size in bytes.
        share: the request's share of memory, from which the body's size is taken.
        pace: limit on large bodies.

    Raises:
        RefusedError: the body is too large, too slow or cut off, its stated length is not a number,
            or there is not enough memory for it.
    """
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit():
        raise RefusedError("length_required", CLOSE)
    size = int(stated[:20])
    if size > most and headers.get(b"expect", b"").lower() == b"100-continue":
        # The client waits with the body for an answer, which reading would give.
        raise RefusedError("too_large", CLOSE)
    if size <= most:
        share.grow(size)
    body = bytearray()
    received, more = 0, True
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            while more and received <= DRAINED * most:
                if received > SMALL:
                    await pace.turn()
                message = await receive()
                if message["type"] != "http.request":
                    # The client has disconnected, but BentoML waits until an answer begins.
                    raise RefusedError("cut_off", CLOSE)
                part: bytes = message.get("body", b"")
                received += len(part)
                more = message.get("more_body", False)
                # The rest of a body that is too large is read, within limits, and dropped: a client
                # that is still sending would not see the answer.
                if max(size, received) > most:
                    body.clear()
                    continue
                share.grow(received)
                if not more and not body:
                    return part
                # Extended in place, since joining a list of parts would need the memory twice.
                body += part
    except TimeoutError:
        raise RefusedError("too_slow", CLOSE) from None
    if max(size, received) > most:
        raise RefusedError("too_large", CLOSE)
    return bytes(body)
