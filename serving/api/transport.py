"""What lies between a connection and its client: control of reading, and TLS."""

from __future__ import annotations

from asyncio.sslproto import SSLProtocol

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's control of reading and writing, by which reading can be held."""

    _held = False

    def hold(self, held: bool) -> None:
        """Hold reading, whatever the answer under way asks for, or go on with it."""
        before, self._held = self._held, held
        if held:
            self.pause_reading()
        elif before:
            self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, unless reading is held."""
        if not self._held:
            super().resume_reading()


class Encryption(SSLProtocol):
    """TLS on a connection that is open already.

    It is asyncio's on any event loop: the loops themselves show a connection only once there is a
    key, and uvloop's own takes three times the memory.
    """

    max_size = 2**16
    """Bytes that are read at once, for which each connection holds memory."""
