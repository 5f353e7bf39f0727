"""Start servers on this machine alone and surely end them."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType

from accomplice.data.errors import InputError

HOST = "127.0.0.1"
#: Seconds that a server has to end by itself: longer than BentoML gives its workers, which is 30.
GRACE = 35.0


def free_port() -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_free(port: int, host: str = HOST) -> None:
    """Refuse a port that no server could listen on.

    Raises:
        InputError: it is taken, it wants rights that we have not, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InputError(f"{host} is no address of this machine: name another") from None
            if error.errno == errno.EACCES:
                raise InputError(f"port {port} needs rights: name one above 1023") from None
            raise InputError(f"port {port} is taken: name another one") from None


def end(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End a server and all its workers, which are in sessions of their own.

    Args:
        process: of the server.
        grace: seconds that it has to end by itself.
    """
    import psutil  # type: ignore[import-untyped]  # takes time that most commands need not

    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    # psutil knows a process by its start as well: a pid that was given anew is left alone.
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


@contextlib.contextmanager
def term_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: by itself it would leave the server running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
