"""Start, supervision and end of a server of a bundle or a packed Bento on this machine."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import accomplice
from accomplice.data.errors import InputError
from accomplice.serving.api.guard import CONCURRENCY_VARIABLE, MEMORY_VARIABLE, Limits
from accomplice.serving.api.tokens import TOKENS_VARIABLE, read_tokens
from accomplice.serving.deployment.bento_files import check_bento, trusted_copy
from accomplice.serving.deployment.handover import BUNDLE_VARIABLE, HANDOVER_VARIABLE
from accomplice.serving.deployment.listener import (
    PROXY_VARIABLE,
    check_address,
    read_proxy,
    tls_context,
)
from accomplice.serving.deployment.memory import TUNABLES, TUNABLES_VARIABLE
from accomplice.serving.deployment.supervisor import TIED_VARIABLE
from accomplice.training.models.manifest import MANIFEST, digest_of
from accomplice.training.processes import GRACE, HOST, check_free, end, term_interrupts

#: Parent folder of the package; not resolved, since in a checkout the package holds links.
ROOT = Path(accomplice.__file__).parents[1]
#: Name of the file that makes a folder a Bento.
BENTO = "bento.yaml"
#: Module that starts the service, relative to the folder of the package or of a Bento's sources.
START = Path("accomplice", "serving", "__main__.py")

#: Environment variables of other servers: their bundles, their settings of BentoML, and the folder
#: of their Prometheus counters.
OTHERS = re.compile(
    f"{BUNDLE_VARIABLE}|{HANDOVER_VARIABLE}|BENTO(ML)?_.*|(?i:PROMETHEUS_MULTIPROC_DIR)"
)


class ServerError(RuntimeError):
    """Failure of a server or of its packaging."""


def quiet_environment() -> dict[str, str]:
    """Return the environment of a BentoML process: this process's, without other servers'."""
    env = {k: v for k, v in os.environ.items() if not OTHERS.fullmatch(k)}
    # The environment's own programs come first, also where it was never activated.
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env.setdefault(TUNABLES_VARIABLE, TUNABLES)
    # One thread a worker: more do not help so small a model.
    return env | {"BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Supply(Protocol):
    """Supply of bundles to a server: one while it starts, and perhaps others later."""

    every: float | None
    """Seconds between two checks for another bundle; None if there is only the first."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the server needs."""

    def begin(self) -> None:
        """Hand over the first bundle.

        Raises:
            InputError: there is no such bundle, or it was changed.
        """

    def refresh(self) -> None:
        """Hand over another bundle, if there is one; never raise."""


@dataclass(frozen=True)
class Access:
    """Address, tokens, concurrency and certificate of a server."""

    host: str = HOST
    """IP address that the server listens on."""
    tokens: Path | None = None
    """Token file; needed if other machines can reach the server."""
    concurrency: int | None = None
    """Maximum number of requests under way at once; the guard's default if absent."""
    certificate: Path | None = None
    """PEM file of a certificate for TLS; None to answer without encryption."""
    key: Path | None = None
    """PEM file of the certificate's key."""
    memory: int | None = None
    """Maximum size in MB of large bodies and answers at once; the guard's default if absent."""
    proxy: str | None = None
    """Address of a proxy, whose connections are not limited by address."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the server needs.

        Raises:
            InputError: ``host`` or ``proxy`` is no IP address, other machines could reach a server
                without tokens, the token file is invalid, a limit given or of this process's
                environment is out of range, or the certificate cannot be used.
        """
        check_address(self.host, tokens=self.tokens is not None)
        if (self.certificate is None) != (self.key is None):
            raise InputError("--tls-cert, --tls-key: give both")
        if self.certificate is not None and self.key is not None:
            tls_context(self.certificate, self.key)
        env = {}
        if self.tokens is not None:
            read_tokens(self.tokens)
            # Links stay: an orchestrator changes a mounted file by another link.
            env[TOKENS_VARIABLE] = str(self.tokens.absolute())
        if self.concurrency is not None:
            env[CONCURRENCY_VARIABLE] = str(self.concurrency)
        if self.memory is not None:
            env[MEMORY_VARIABLE] = str(self.memory)
        if self.proxy is not None:
            env[PROXY_VARIABLE] = self.proxy
        read_proxy({**os.environ, **env})
        Limits.of_environment({**os.environ, **env})
        return env

    def arguments(self) -> list[str]:
        """Return the arguments of the server's command, except its port."""
        given = ["--host", self.host]
        if self.certificate is not None and self.key is not None:
            given += ["--tls-cert", str(self.certificate.resolve())]
            given += ["--tls-key", str(self.key.resolve())]
        return given


def serve_command(
    path: Path | None, port: int, access: Access | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the whole environment that serve a bundle or a Bento.

    Args:
        path: folder of the bundle or Bento; None if a bundle is handed over later.
        port: port that the server listens on.
        access: address, tokens, limits and certificate; the defaults of ``Access`` if absent.

    Raises:
        InputError: ``path`` is no bundle or Bento, the bundle was changed, the Bento was packed
            before it could be served so, or as for :meth:`Access.environment`.
    """
    access = access or Access()
    env = quiet_environment() | access.environment()
    folder = ROOT
    path = None if path is None else path.resolve()
    if path is None:
        pass
    elif (path / BENTO).is_file():
        folder = path / "src"
        if not (folder / START).is_file():
            raise InputError(f"{path}: was packed by an earlier release: package the model again")
        check_bento(path)
    elif (path / MANIFEST).is_file():
        digest_of(path)
        env[BUNDLE_VARIABLE] = str(path)
    else:
        raise InputError(f"{path}: neither a bundle ({MANIFEST}) nor a Bento ({BENTO}) is there")
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), env.get("PYTHONPATH")]))
    argv = [sys.executable, "-m", "accomplice.serving", "--port", str(port)]
    return [*argv, *access.arguments()], env


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    env: Mapping[str, str],
    port: int,
    timeout: float = 60.0,
    log: Path | None = None,
) -> Iterator[str]:
    """Run a server until the block ends.

    Args:
        argv: the server's command, from :func:`serve_command`; 127.0.0.1 must reach its address.
        env: the server's whole environment, from :func:`serve_command`.
        port: port that the server listens on.
        timeout: seconds until the server must be ready.
        log: file for the server's output; a temporary one if absent.

    Yields:
        The server's URL, without a slash at the end.

    Raises:
        InputError: the port cannot be listened on.
        ServerError: the server ended or was not ready in time; the text holds the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="accomplice-serve-") as home:
        log_path = log or Path(home) / "server.log"
        with log_path.open("wb") as out:
            process = _start(argv, env, port, Path(home), out)
            try:
                if not _ready(process, port, timeout):
                    how = "was not ready in time" if process.poll() is None else "ended"
                    tail = log_path.read_text(encoding="utf-8", errors="replace")[-4000:]
                    raise ServerError(f"the server {how}; its log ends with:\n{tail}")
                yield f"http://{HOST}:{port}"
            finally:
                end(process)


def serve(
    path: Path | None,
    port: int,
    access: Access | None = None,
    supply: Supply | None = None,
    trust: Path | None = None,
) -> None:
    """Serve a bundle or a Bento in the foreground until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        path: folder of the bundle or Bento; None if ``supply`` hands over a bundle.
        port: port that the server listens on.
        access: address, tokens, limits and certificate; the defaults of ``Access`` if absent.
        supply: supply of bundles. It begins while the server starts, since MLflow takes as long to
            load.
        trust: file of the public keys by one of which ``path`` must be signed; then a copy is
            served, checked as it is made. None: any bundle or Bento.

    Raises:
        InputError: as for :func:`serve_command` and :func:`trusted_copy`, the supply raises it, or
            the port cannot be listened on.
        ServerError: the server ended by itself.
    """
    # SIGTERM by itself would leave the folder behind.
    with term_interrupts(), tempfile.TemporaryDirectory(prefix="accomplice-serve-") as home:
        if path is not None and trust is not None:
            path = trusted_copy(path, trust, Path(home))
        argv, env = serve_command(path, port, access)
        if supply is not None:
            env |= supply.environment()
        host = HOST if access is None else access.host
        process = _start(argv, env, port, Path(home), None, host)
        # Without a bundle the worker has no requests, so that the server is killed at once.
        grace = 0.0
        try:
            # While the server starts, so that its end does not wait for it; and where an interrupt
            # is awaited.
            import psutil  # type: ignore[import-untyped]  # noqa: F401

            if supply is not None:
                supply.begin()
            grace = GRACE
            code = _wait(process, supply)
        except KeyboardInterrupt:
            return
        finally:
            end(process, grace)
    raise ServerError(f"the server ended by itself (exit code {code}): its log says why")


def _wait(process: subprocess.Popen[bytes], supply: Supply | None) -> int:
    """Wait for a server and return its exit code; meanwhile refresh the supply of its bundle."""
    while supply is not None and supply.every is not None:
        try:
            return process.wait(supply.every)
        except subprocess.TimeoutExpired:
            supply.refresh()
    return process.wait()


def _start(
    argv: Sequence[str],
    env: Mapping[str, str],
    port: int,
    home: Path,
    out: IO[bytes] | None,
    host: str = HOST,
) -> subprocess.Popen[bytes]:
    """Start a server with a folder as its home; its output goes to a file, or to the terminal.

    Raises:
        InputError: the port cannot be listened on.
    """
    check_free(port, host)
    return subprocess.Popen(
        list(argv),
        # A home of its own for BentoML. As working folder it has no modules that hide ours.
        env={**env, "BENTOML_HOME": str(home), TIED_VARIABLE: str(home)},
        cwd=home,
        # The server ends when this process does, and with it the other end of the pipe.
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=None if out is None else subprocess.STDOUT,
        # Ctrl-C reaches this process alone, which then ends the server in order.
        start_new_session=True,
    )


def _ready(process: subprocess.Popen[bytes], port: int, timeout: float) -> bool:
    """Wait until a server is ready or ends, and return whether it was ready in time.

    Args:
        process: the server's process.
        port: port that the server listens on.
        timeout: seconds to wait.
    """
    until = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < until:
        # Not by urllib, which would ask a proxy named in the environment.
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False
