"""Processes: ports and servers of this machine, and the end of processes of earlier work."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType

from accomplice.data.errors import InputError

HOST = "127.0.0.1"
#: Seconds that a server has to end by itself: longer than BentoML gives its workers, which is 30.
GRACE = 35.0


def this_process() -> str:
    """Return a unique name of this process: its machine, number and start."""
    return f"{_machine()}.{os.getpid()}.{_began(os.getpid())}"


def has_ended(process: str) -> bool:
    """Whether a process by its name was of this machine and has ended; of others it is unknown."""
    machine, _, rest = process.partition(".")
    number, _, began = rest.partition(".")
    return machine == _machine() and number.isdigit() and _began(int(number)) != began


@cache
def _machine() -> str:
    """Return a digest of the machine, its boot and, within a container, its numbering."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _began(number: int) -> str | None:
    """Return when a process began, as the system counts; None where it has ended."""
    if Path("/proc/self/stat").is_file():
        try:
            stat = Path("/proc", str(number), "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # After the name, which may hold blanks and brackets: the state, and the begin in ticks.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    import psutil  # type: ignore[import-untyped]  # takes time that most commands need not

    with contextlib.suppress(psutil.NoSuchProcess):
        return str(round(psutil.Process(number).create_time()))
    return None


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
    import psutil

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
