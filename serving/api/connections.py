"""Connections of the server: uvicorn's HTTP protocol with limits of headers, time and number.

uvicorn's protocol reads headers of any length for any time, parses all requests that a client sends
ahead, and keeps any number of connections. Here what follows an unanswered request is kept as it
came, and a connection is closed if

- its headers are longer than `LONGEST_HEADERS`, more than `MOST_HEADERS` or take longer than
  `SLOWEST_HEADERS`, or a body that is not read for a refused request takes longer than
  `SLOWEST_MESSAGE`;
- it is idle between two requests;
- its client takes nothing of an answer for `SLOWEST_READER`;
- others are opened beyond a number by address or in all. The one closed is then the oldest without
  a request that passed the guard, so that connections that ask for nothing keep nobody away.

An encrypted connection is counted from its beginning, before there is a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import json
import math
import os
import resource
import sys
import termios
from collections.abc import Iterable, Mapping
from ssl import SSLContext
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_remote_addr

from accomplice.serving.api.errors import envelope
from accomplice.serving.api.guard import ADMITTED
from accomplice.serving.api.transport import Encryption, Flow
from accomplice.serving.deployment.listener import read_proxy

#: Maximum size in bytes of a request's line, headers and trailers.
LONGEST_HEADERS = 2**16
#: Maximum number of a request's headers and trailers.
MOST_HEADERS = 100
#: Bytes that are parsed at once, except those of a body: they hold few whole requests.
PIECE = 2**10
#: Maximum time in seconds to receive them, from the connection's beginning or the last answer on.
SLOWEST_HEADERS = 10.0
#: Maximum time in seconds to receive a request whose answer does not wait for its body.
SLOWEST_MESSAGE = 30.0
#: Maximum time in seconds for which a client reads nothing of its answer.
SLOWEST_READER = 20.0
#: Maximum number of connections of an address, and of all.
MOST_OF_ADDRESS, MOST = 256, 1000
#: File descriptors that a process needs besides those of its connections.
OTHER_FILES = 64
#: Length in bits of the prefix of an IPv6 address that identifies its network.
NETWORK = 64
#: Seconds between two checks of all connections.
PAUSE = 1.0

#: Error of a request whose headers are too long.
ERROR = json.dumps(
    envelope("headers_too_long", f"the headers are too long: 64 kB and {MOST_HEADERS} at most")
).encode()
#: Answer to such a request.
TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ERROR), ERROR)
)


class Connections:
    """Open connections of a server, by the address of their client.

    Args:
        proxy: address of a proxy, whose connections are not limited by address; None without one.
        of_address: maximum number of connections of an address.
        most: maximum number of all connections.
    """

    def __init__(
        self, proxy: str | None = None, of_address: int = MOST_OF_ADDRESS, most: int = MOST
    ) -> None:
        self._proxy, self._of_address, self._most = proxy, of_address, most
        # In the order in which they were opened.
        self._open: dict[str, dict[Connection, None]] = {}
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of_environment(
        cls, concurrency: int, environ: Mapping[str, str] = os.environ
    ) -> Connections:
        """Return the connections within the limits that environment variables and system set.

        Args:
            concurrency: maximum of requests under way at once.
            environ: the environment variables.

        Raises:
            InputError: the proxy's address is invalid.
        """
        proxy = read_proxy(environ)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = MOST
        if files != resource.RLIM_INFINITY:
            most = min(MOST, max(files - OTHER_FILES, files // 4))
        return cls(
            None if proxy is None else owner_of(proxy), max(MOST_OF_ADDRESS, 2 * concurrency), most
        )

    def add(self, new: Connection) -> None:
        """Add a new connection, and close another one if there are too many."""
        owner = new.owner
        of_owner = self._open.setdefault(owner, {})
        of_owner[new] = None
        self._number += 1
        if len(of_owner) > self._of_address and owner != self._proxy:
            self._close(self._chosen([owner]) or new)
        elif self._number > self._most:
            # A proxy's are those of many clients.
            others = [each for each in self._open if each != self._proxy]
            self._close(self._chosen(others) or self._chosen(self._open) or new)
        if self._timer is None:
            self._timer = new.loop.call_later(PAUSE, self._close_overdue, new.loop)

    def remove(self, old: Connection) -> None:
        """Remove a connection."""
        of_owner = self._open.get(old.owner, {})
        if old in of_owner:
            del of_owner[old]
            self._number -= 1
            if not of_owner:
                del self._open[old.owner]

    def _chosen(self, owners: Iterable[str]) -> Connection | None:
        """Return the connection to be closed of those that wait; None where none waits.

        It is the oldest of the address with most, preferably one without any request yet.

        Args:
            owners: the addresses.
        """
        waiting = ([c for c in self._open[each] if not c.under_way] for each in owners)
        found = max(waiting, key=len, default=[])
        return next((each for each in found if each.cycle is None), found[0]) if found else None

    def _close(self, chosen: Connection) -> None:
        self.remove(chosen)
        chosen.transport.abort()

    def _close_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close all connections past their deadline, now and at regular intervals."""
        now = loop.time()
        for of_owner in [*self._open.values()]:
            for each in [*of_owner]:
                if each.is_over(now):
                    self._close(each)
        self._timer = loop.call_later(PAUSE, self._close_overdue, loop) if self._open else None


class Connection(HttpToolsProtocol):
    """Connection of one client.

    Args:
        open_connections: all connections of the server.
        tls: certificate and key; None to answer without encryption.
        options: those of uvicorn.
    """

    flow: Flow

    def __init__(
        self, *, open_connections: Connections, tls: SSLContext | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.owner = ""
        """Address of the client, or its network."""
        self._connections, self._tls = open_connections, tls
        # The request that is being answered, or was last.
        self._answered: RequestResponseCycle | None = None
        # Bytes that came in behind a request that waits, and bytes of a body that are to come in.
        self._kept, self._of_body = b"", 0
        # Time until which the client has to send something; infinite if it need not.
        self._until = math.inf
        # Time since which the client has left bytes unread, or infinity, and their number.
        self._stuck, self._unsent = math.inf, 0
        # Bytes and number of the headers that are complete, and bytes of which the parser has made
        # nothing.
        self._headers = self._number = self._unread = 0
        self._has_headers = False

    @property
    def under_way(self) -> bool:
        """Whether a request of the connection has passed the guard and is not answered yet."""
        cycle = self._answered
        if cycle is None or cycle.response_complete:
            return False
        return ADMITTED in cycle.scope["state"]

    def is_over(self, now: float) -> bool:
        """Whether the connection has to be closed.

        Args:
            now: the event loop's time.
        """
        if math.isinf(self._stuck):
            # The guard limits the time of a request that has passed it.
            return now > self._until and not self.under_way
        if now <= self._stuck + SLOWEST_READER:
            return False
        before, self._unsent, self._stuck = self._unsent, self._count_unsent(), now
        return self._unsent >= before

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a new connection, and again once it is encrypted."""
        self._until = self.loop.time() + SLOWEST_HEADERS
        if self.transport is None:
            client = get_remote_addr(transport)
            self.owner, self.transport = owner_of(client[0]) if client else "", transport
            self._connections.add(self)
            if self._tls is not None and not transport.is_closing():
                self._encrypt(transport, self._tls)
                return
        super().connection_made(transport)
        self.flow = Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the lost connection."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read bytes of the client; keep those that follow a request that waits for another."""
        data, begin, self._kept = self._kept + data, 0, b""
        while begin < len(data) and not (self.pipeline or self.transport.is_closing()):
            end = begin + max(PIECE, self._of_body)
            self._unread += len(data[begin:end])
            super().data_received(data[begin:end])
            if self._headers + self._unread > LONGEST_HEADERS or self._number > MOST_HEADERS:
                self._refuse_headers()
            begin = end
        if not self.transport.is_closing():
            self._kept = data[begin:]
            self.flow.hold(bool(self._kept))

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP, unless the connection is being closed."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Reset the counts at the beginning of a request."""
        super().on_message_begin()
        self._headers = self._number = self._of_body = 0
        self._has_headers = False

    def on_url(self, url: bytes) -> None:
        """Count a part of the request's line."""
        self._unread = 0
        self._headers += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; a trailer is counted and ignored."""
        self._unread = 0
        # With the colon, a blank and the line's end.
        self._headers += len(name) + len(value) + 4
        self._number += 1
        if self._has_headers:
            return
        super().on_header(name, value)
        if name.lower() == b"content-length" and value.isdigit():
            self._of_body = int(value[:20])

    def on_headers_complete(self) -> None:
        """Start the answer, unless the headers are too long."""
        self._has_headers = True
        if self._headers > LONGEST_HEADERS or self._number > MOST_HEADERS:
            self._refuse_headers()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._unread = 0
        self._of_body = max(0, self._of_body - len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End with a request."""
        self._unread = self._of_body = 0
        super().on_message_complete()
        # After an early refusal wait for the next request; else the guard limits the answer's time.
        early = self.cycle is not None and self.cycle.response_complete
        self._until = self.loop.time() + SLOWEST_HEADERS if early else math.inf

    def on_response_complete(self) -> None:
        """Set the deadline after a complete answer."""
        if not self.cycle.more_body:
            self._until = self.loop.time() + SLOWEST_HEADERS
        super().on_response_complete()
        if self._kept:
            self.loop.call_soon(self.data_received, b"")

    def pause_writing(self) -> None:
        """Pause the answer, which the client reads too slowly."""
        self._stuck, self._unsent = self.loop.time(), self._count_unsent()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Continue the answer."""
        self._stuck = math.inf
        # The rest is sent in the background.
        self._until = max(self._until, self.loop.time() + SLOWEST_HEADERS)
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered, waits = cycle, cycle.more_body
        self._until = self.loop.time() + SLOWEST_MESSAGE if waits else math.inf
        super()._start_asgi_task(cycle, app)

    def _encrypt(self, transport: asyncio.Transport, tls: SSLContext) -> None:
        """Agree with the client on a key; a client that has none by then is closed."""
        agreed = self.loop.create_future()
        agreed.add_done_callback(self._end_without_key)
        between = Encryption(
            *(self.loop, self, tls, agreed),
            server_side=True,
            ssl_handshake_timeout=math.ceil(SLOWEST_HEADERS),
        )
        transport.set_protocol(between)
        between.connection_made(transport)

    def _end_without_key(self, agreed: asyncio.Future[None]) -> None:
        if agreed.cancelled() or agreed.exception() is not None or self.flow is None:
            self._connections.remove(self)

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: such a request is answered as any other."""

    def _count_unsent(self) -> int:
        """Return the bytes of answers that the client has not received, as far as is known."""
        unsent = self.transport.get_write_buffer_size()
        found = self.transport.get_extra_info("socket")
        # asyncio is notified of large steps only; the rest of the unread bytes is in the system's
        # buffer.
        with contextlib.suppress(OSError):
            kept = fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, bytes(4))
            unsent += int.from_bytes(kept, sys.byteorder)
        return unsent

    def _refuse_headers(self) -> None:
        """Close the connection, after an answer if none is being sent."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(TOO_LONG)
        self.transport.close()


def owner_of(address: str) -> str:
    """Return an IPv4 address, or the network of an IPv6 address, which one client can use."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, NETWORK), strict=False))
