"""Configuration of uvicorn, which reads HTTP for the service: its protocol and its limits."""

from __future__ import annotations

from functools import partial
from ssl import SSLContext

import uvicorn

from accomplice.serving.api.connections import Connection, Connections
from accomplice.serving.api.errors import App
from accomplice.training.processes import BACKLOG

#: Seconds that a connection may stay open between two requests.
KEEP_ALIVE = 5


def http_config(
    app: App, connections: Connections, tls: SSLContext | None = None
) -> uvicorn.Config:
    """Return uvicorn's configuration.

    Args:
        app: the service as an ASGI application.
        connections: open connections of the server, and their limits.
        tls: certificate and key; None to answer without encryption.
    """
    return uvicorn.Config(
        app,
        # The connection does TLS itself: uvicorn's shows no connection before there is a key.
        http=partial(Connection, open_connections=connections, tls=tls),  # type: ignore[arg-type]
        ws="none",
        interface="asgi3",
        lifespan="on",
        # One worker in any environment: the metrics are of one process.
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        # The log's form is set by the process that starts the service.
        log_config=None,
        access_log=False,
        server_header=False,
        # A client's address is that of its connection; its headers can be forged.
        proxy_headers=False,
    )
