"""Start of the service without the command line: ``python -m accomplice.serving``.

This is how ``accomplice serve`` and the container image start it, and how a packed bento is served
where accomplice is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import logging.config
import os
import resource
import select
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.serving.api.tokens import TOKENS_VARIABLE
from accomplice.serving.deployment.handover import HANDOVER_VARIABLE, Handover
from accomplice.serving.deployment.listener import check_address, tls_context
from accomplice.serving.deployment.supervisor import TIED_VARIABLE, UNABLE, Supervisor
from accomplice.training.processes import listen

#: Environment variables, set where they are not set yet, before heavy imports. One thread a worker:
#: more do not help so small a model.
ENVIRONMENT = {"BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: Logging of the server's processes.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "%(asctime)s [%(levelname)s] %(message)s",
            "datefmt": "%Y-%m-%dT%H:%M:%S%z",
        }
    },
    "handlers": {
        "out": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "stream": "ext://sys.stdout",
        }
    },
    "root": {"level": "WARNING", "handlers": ["out"]},
    "loggers": {
        "bentoml": {"level": "INFO", "handlers": [], "propagate": True},
        "uvicorn": {"level": "WARNING"},
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until asked to end, and return the exit code.

    Args:
        argv: arguments; those of the process if absent.

    Returns:
        0: asked to end; 1: the service failed; 2: an argument, a limit or the bundle is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m accomplice.serving",
        description="Serve a bundle: the packed one, or that of the folder ACCOMPLICE_BUNDLE.",
        epilog="Environment: ACCOMPLICE_TOKENS (file of access tokens), ACCOMPLICE_CONCURRENCY "
        "(requests under way at once, 128), ACCOMPLICE_MAX_BODY_MB (a body's size, 16), "
        "ACCOMPLICE_MEMORY_MB (large bodies and answers at once, 512), ACCOMPLICE_PROXY (address "
        "of a proxy, whose connections are those of many).",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address; others need tokens")
    parser.add_argument("--port", type=int, default=3000, help="port (default: 3000)")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM)")
    given = parser.parse_args(argv)
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key: give both")
    # Until the supervisor handles signals: a container's first process has no default handlers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return serve(given.host, given.port, given.tls_cert, given.tls_key)
    except InputError as error:
        say(f"accomplice: {' '.join(str(error).split())}", error=True)
        return UNABLE
    except KeyboardInterrupt:
        return 130


def serve(host: str, port: int, certificate: Path | None = None, key: Path | None = None) -> int:
    """Serve the bundle of the environment, or else the packed one, until asked to end.

    Args:
        host: IP address to listen on.
        port: port to listen on.
        certificate: PEM file of a certificate for TLS; None to answer without encryption.
        key: PEM file of its key.

    Returns:
        The exit code, as :meth:`Supervisor.run` gives it.

    Raises:
        InputError: a limit of the environment is wrong, the address may not be listened on, or the
            certificate cannot be used.
    """
    from accomplice.serving.api.guard import Limits

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _prepare_descriptors()
    limits = Limits.of_environment()
    check_address(host, tokens=bool(os.environ.get(TOKENS_VARIABLE)))
    tls = tls_context(certificate, key) if certificate is not None and key is not None else None
    listener = listen(port, host)
    # All that a worker needs is imported, and the first bundle loaded, before a worker is forked.
    import bentoml

    from accomplice.serving.api.connections import Connections
    from accomplice.serving.deployment.http_server import http_config
    from accomplice.serving.deployment.worker import work
    from accomplice.serving.endpoint import load_first
    from accomplice.serving.service import PAGE, Accomplice, report_unable

    logging.config.dictConfig(LOGGING)
    # As in BentoML's own worker, so that an error at the start ends the process.
    bentoml.server_context.worker_index = 1
    connections = Connections.of_environment(limits.concurrency)
    config = http_config(Accomplice.to_asgi(), connections, tls)  # type: ignore[attr-defined]
    config.load()
    folder, handover = os.environ.pop(TIED_VARIABLE, None), os.environ.get(HANDOVER_VARIABLE)
    tied = [] if folder is None else [0]
    code = 0
    if handover is None or Handover(Path(handover)).wait(tied):
        try:
            load_first(PAGE)
        except InputError as error:
            report_unable(error)
            return UNABLE
        scheme = "http" if tls is None else "https"
        code = Supervisor(listener, partial(work, config, scheme), *tied).run()
    if select.select(tied, [], [], 0)[0]:
        # The process that would remove them has ended.
        for each in filter(None, (folder, handover)):
            shutil.rmtree(each, ignore_errors=True)
    return code


def _prepare_descriptors() -> None:
    """Open closed standard streams, and raise the limit of open files to the system's maximum."""
    # Otherwise the first socket would become a standard stream, which libuv refuses to close.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # On some systems the actual limit is lower.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
