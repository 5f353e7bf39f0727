"""Worker of a server: uvicorn with the application that BentoML makes from the service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from types import FrameType

import uvicorn

from accomplice.serving.api.errors import logger

#: Seconds that requests under way have when the worker is asked to end; then their connections are
#: cut, whatever their clients do.
DRAIN = 20.0
#: Seconds that the worker has after the supervisor has ended, when nothing else would end it.
ORPHANED = 1.0
#: Seconds between two reports to the supervisor.
REPORT = 5.0


def work(
    config: uvicorn.Config, scheme: str, listener: socket.socket, channel: int, supervisor: int
) -> int:
    """Serve a listening socket until told to end, and return the exit code.

    Args:
        config: uvicorn's configuration, with the application.
        scheme: ``http`` or ``https``, for the log.
        listener: the listening socket.
        channel: file descriptor to write to when ready and from then on, and to close when ending.
        supervisor: file descriptor that can be read once the supervisor has ended.
    """
    threading.Thread(target=_end_with, args=(supervisor,), name="supervisor", daemon=True).start()
    _Server(config, scheme, channel).run(sockets=[listener])
    return 0


def _end_with(supervisor: int) -> None:
    """Wait until the supervisor has ended, then end this process too."""
    os.read(supervisor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHANED)
    os._exit(1)


class _Server(uvicorn.Server):
    """uvicorn's server, which reports its state to the supervisor and ends within ``DRAIN``."""

    def __init__(self, config: uvicorn.Config, scheme: str, channel: int) -> None:
        super().__init__(config)
        self._scheme, self._channel = scheme, channel
        self._next: asyncio.TimerHandle | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen, and say so."""
        await super().startup(sockets)
        if self.started:
            os.set_blocking(self._channel, False)
            self._report()
            host, port = (sockets or [])[0].getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            logger.info("answering at %s://%s:%d", self._scheme, name, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the socket, let running requests end, and abort those that take too long."""
        if self._next is not None:
            self._next.cancel()
        os.close(self._channel)
        asyncio.get_running_loop().call_later(DRAIN, self._cut_off)
        await super().shutdown(sockets)

    def _report(self) -> None:
        """Report that the event loop runs, now and at regular intervals."""
        # A supervisor that is stopped reads nothing.
        with contextlib.suppress(OSError):
            os.write(self._channel, b"+")
        self._next = asyncio.get_running_loop().call_later(REPORT, self._report)

    def _cut_off(self) -> None:
        for connection in [*self.server_state.connections]:
            connection.transport.abort()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down at SIGTERM; ignore Ctrl-C, after which the supervisor ends its workers."""
        if sig == signal.SIGTERM and not self.started:
            os._exit(0)
        if sig == signal.SIGTERM:
            super().handle_exit(sig, frame)
